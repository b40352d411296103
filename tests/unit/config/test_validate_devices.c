/* SPDX-License-Identifier: Apache-2.0 */
#include "config_test.h"

#include "base/checked.h"

static void expect_ok(const char *line)
{
	struct run_request request;
	struct vm_config c;
	struct err err;

	cr_expect_eq(test_run(line, &c, &request, &err), 0, "%s: %s", line, err.msg);
	vm_config_done(&c);
}

Test(validate_devices, required__keys_are_asked_for)
{
	test_run_fails("-k|bz|-d|path=a|-d|path=b|--set|disks.2.ro=on", "/disks/2/path: is missing",
		       NULL);
	test_run_fails("-k|bz|--vsock|3", "/vsock/uds: is missing", NULL);
	test_run_fails("-k|bz|--vsock|uds=x", "/vsock/cid: is missing", NULL);
	test_run_fails("-k|bz|--set|vsock=on", "/vsock/cid: is missing", NULL);
	test_run_fails("-k|bz|--pmem|ro=on", "/pmem/0/path: is missing", NULL);
	test_run_fails("-k|bz|--port|stream=pty", "/ports/0/name: is missing", NULL);
}

Test(validate_devices, net__is_of_exactly_one_kind)
{
	test_run_fails("-k|bz|-n|queues=2",
		       "/nets/0: exactly one of tap, fd, user, stream and none", "is not one");
	test_run_fails("-k|bz|-n|tap=a,fd=3", "/nets/0: exactly one of", "several");
	test_run_fails("-k|bz|-n|tap=a|-n|user,none", "/nets/1: exactly one of", "several");
	test_run_fails("-k|bz|-n|user=off", "/nets/0: exactly one of", "is not one");
	expect_ok("-k|bz|-n|user=off,tap=a");
}

Test(validate_devices, ids__are_unique_and_none_of_a_fixed_device)
{
	static const char *const fixed[] = {
		"serial0",  "rtc0", "i8042",	"exit0", "acpi_pm",   "pci0",	  "vsock0",
		"pvpanic0", "rng0", "balloon0", "mem0",	 "debugcon0", "console0", "watchdog0"};
	char line[64];

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		(void)snprintf(line, sizeof(line), "-k|bz|-d|a,id=%s", fixed[i]);
		test_run_fails(line, "/disks/0/id", fixed[i]);
	}
	test_run_fails("-k|bz|-d|a,id=x|-n|user,id=x", "/nets/0/id: 'x'", "/disks/0");
	test_run_fails("-k|bz|-d|a,id=disk1|-d|b", "/disks/1/id: 'disk1'", "/disks/0");
	test_run_fails("-k|bz|-n|user|--pmem|p,id=net0", "/pmem/0/id: 'net0'", "/nets/0");
	expect_ok("-k|bz|-d|a,id=disk0|-d|b|-n|user|--pmem|p");
	expect_ok("-k|bz|-d|a,id=disk1|-d|b,id=disk0");
}

Test(validate_devices, image__is_written_by_one_device)
{
	test_run_fails("-k|bz|-d|a|-d|b|-d|a", "/disks/2/path: 'a'", "/disks/0");
	test_run_fails("-k|bz|-d|a|--pmem|a", "/pmem/0/path: 'a'", "/disks/0");
	test_run_fails("-k|bz|--vhost-user|a|--vhost-user|a", "/vhost_user/1/path: 'a'", NULL);
	test_run_fails("-k|bz|--vhost-user|a,server", "/vhost_user/0/server", "type=");
	test_run_fails("-k|bz|-m|64M,shared=off|--vhost-user|a", "/memory/shared", "leave it out");
	test_run_fails("-k|bz|--vhost-user|a,iothread=1", "/vhost_user/0/iothread", NULL);
	test_run_fails("-k|bz|--vhost-user|a,type=disk", "'disk' is no type", "blk");
	test_run_fails("-k|bz|--vhost-user|a,type=26", "file systems", "yet");
	test_run_fails("-k|bz|--vhost-user|a,type=rng,mtu=1500", "/vhost_user/0/mtu", "rng");
	expect_ok("-k|bz|--vhost-user|a,type=net,mtu=1500,mac=52:54:00:00:00:01,queues=2,packed");
	test_run_fails("-k|bz|--vhost-user|a,type=64", "'64' is no type", NULL);
	test_run_fails("-k|bz|--vhost-user|a,id=x|-d|b,id=x", "/vhost_user/0/id: 'x'", "/disks/0");
	expect_ok("-k|bz|--vhost-user|a|--vhost-user|b,type=4,queues=2,qsize=64,server,wait=1s,"
		  "reconnect=off,on-lost=replay");
	test_run_fails("-k|bz|--pmem|a|--pmem|a", "/pmem/1/path: 'a'", "/pmem/0");
	expect_ok("-k|bz|-d|a,ro|-d|a,ro");
	expect_ok("-k|bz|-d|a,overlay|-d|a,overlay");
	expect_ok("-k|bz|-d|a,ro|--pmem|a,ro");
	expect_ok("-k|bz|-d|a,ro|-d|a");
}

Test(validate_devices, disk__keys_agree)
{
	test_run_fails("-k|bz|-d|b|-d|a,ro,overlay", "/disks/1/overlay", "ro");
	test_run_fails("-k|bz|-d|a,bw_burst=1M", "/disks/0/bw_burst", "give bw");
	test_run_fails("-k|bz|-d|a,iops_burst=1", "/disks/0/iops_burst", "give iops");
	test_run_fails("-k|bz|-d|a,iops_burst=1,bw=1M", "/disks/0/iops_burst", "give iops");
	expect_ok("-k|bz|-d|a,iops_burst=1,iops=1,bw=1M,bw_burst=1M");
}

Test(validate_devices, iothread__is_one_that_there_is)
{
	test_run_fails("-k|bz|-d|a|-d|b,iothread=1", "/disks/1/iothread: there is no I/O thread 1",
		       "--iothreads 2");
	test_run_fails("-k|bz|--iothreads|4|-n|user,iothread=4", "/nets/0/iothread",
		       "--iothreads 5");
	test_run_fails("-k|bz|--vsock|3,uds=x,iothread=1", "/vsock/iothread", "--iothreads 2");
	expect_ok("-k|bz|-d|a,iothread=0");
	expect_ok("-k|bz|-d|a,iothread=63|--iothreads|64");
}

Test(validate_devices, nets__share_nothing)
{
	test_run_fails("-k|bz|-n|none|-n|user", "/nets/0: none", "other cards");
	test_run_fails("-k|bz|-n|user|-n|none", "/nets/1: none", "other cards");
	test_run_fails("-k|bz|-n|none|-n|none", "/nets/1: none", "other cards");
	test_run_fails("-k|bz|-n|user|-n|tap=a|-n|user", "/nets/2/user", "/nets/0");
	test_run_fails("-k|bz|-n|tap=a|-n|tap=a", "/nets/1/tap", "/nets/0");
	test_run_fails("-k|bz|-n|fd=3|-n|fd=3", "/nets/1/fd", "/nets/0");
	test_run_fails("-k|bz|-n|stream=unix:a|-n|stream=unix:a", "/nets/1/stream", "/nets/0");
	test_run_fails("-k|bz|-n|user,mac=52:54:00:00:00:aa|-n|tap=a,mac=52:54:00:00:00:AA",
		       "/nets/1/mac", "/nets/0");
	expect_ok("-k|bz|-n|user|-n|tap=a|-n|tap=b|-n|fd=3|-n|fd=4|-n|stream=unix:a");
	expect_ok("-k|bz|-n|none");
}

Test(validate_devices, net__keys_belong_to_their_kind)
{
	test_run_fails("-k|bz|-n|user,queues=2", "/nets/0/queues", "tap");
	test_run_fails("-k|bz|-n|fd=3,queues=2", "/nets/0/queues", "tap");
	test_run_fails("-k|bz|-n|stream=unix:a,queues=2", "/nets/0/queues", "tap");
	test_run_fails("-k|bz|-n|tap=a,listen", "/nets/0/listen", "stream");
	expect_ok("-k|bz|-n|tap=a,queues=16");
	expect_ok("-k|bz|-n|user,queues=1");
}

Test(validate_devices, publish__needs_the_user_net_and_a_port_of_its_own)
{
	test_run_fails("-k|bz|--publish|80:80", "/publish", "--net user");
	test_run_fails("-k|bz|-n|tap=a|--publish|80:80", "/publish", "--net user");
	test_run_fails("-k|bz|-n|user|--publish|80:80|--publish|80:81", "/publish/1", "'80:80'");
	test_run_fails("-k|bz|-n|user|--publish|80:80|--publish|1.2.3.4:80:80", "/publish/1",
		       "'80:80'");
	expect_ok("-k|bz|-n|user|--publish|80:80|--publish|80:80/udp|--publish|81:80");
	expect_ok("-k|bz|-n|user|--publish|1.2.3.4:80:80|--publish|1.2.3.5:80:80");
}

Test(validate_devices, ports__have_names_and_streams_of_their_own)
{
	test_run_fails("-k|bz|--port|a|--port|b|--port|a", "/ports/2/name: 'a'", "/ports/0");
	test_run_fails("-k|bz|--port|a,stream=stdio", "--console and --port", "stdio");
	test_run_fails("-k|bz|--port|a,stream=unix=x|--port|b,stream=unix=x", "--port and --port",
		       "unix=x");
	expect_ok("-k|bz|--port|a,stream=pty|--port|b,stream=pty|--port|c");
}

Test(validate_devices, balloon__leaves_something)
{
	test_run_fails("-k|bz|--balloon|size=256M", "/balloon/size: 256M", "256M");
	test_run_fails("-k|bz|--balloon|size=1G", "/balloon/size: 1G", "256M");
	expect_ok("-k|bz|--balloon|size=255M");
}

Test(validate_devices, plug__is_whole_blocks_above_the_size)
{
	test_run_fails("-k|bz|-m|1G,max=1G", "max=1G", "more than the size 1G");
	test_run_fails("-k|bz|-m|1G,max=512M", "max=512M", "more than the size 1G");
	test_run_fails("-k|bz|-m|1G,max=1090M", "max=1090M", "128M");
	test_run_fails("-k|bz|-m|1G,max=1280M,block=256M,plugged=128M", "plugged=128M", "256M");
	test_run_fails("-k|bz|-m|1G,max=1152M,block=256M", "max=1152M", "256M");
	test_run_fails("-k|bz|-m|1G,max=2G,plugged=1026M", "plugged=1026M", "at most 1G");
	test_run_fails("-k|bz|-m|1G,plugged=2M", "plugged=2M", "max=");
	test_run_fails("-k|bz|-m|1G,hugepages=1G,max=2G,block=2M", "block=2M", "block=1G");
	expect_ok("-k|bz|-m|1G,max=1152M");
	expect_ok("-k|bz|-m|1G,max=2G,plugged=1G");
	expect_ok("-k|bz|-m|1G,hugepages=1G,max=2G");
	expect_ok("-k|bz|-m|1G,hugepages=2M,max=2G,plugged=2M");
}

Test(validate_devices, console__is_carried_once)
{
	struct run_request request;
	struct vm_config c;
	struct err err;

	test_run_fails("-k|bz|--hvc|console|--serial|console", "--serial and --hvc", NULL);
	test_run_fails("-k|bz|--hvc|pty|--serial|none|--console|pty", "nothing would carry it",
		       "--hvc is pty");
	test_run_fails("-k|bz|--hvc|stdio", "--console and --hvc", "stdio");
	expect_ok("-k|bz|--hvc|pty");
	expect_ok("-k|bz|--hvc|console|--serial|file=x");
	expect_ok("-k|bz|--hvc|stdio|--serial|none");
	cr_assert_eq(test_run("-k|bz|--hvc|console", &c, &request, &err), 0, "%s", err.msg);
	cr_expect_str_eq(c.serial, "none");
	cr_expect_str_eq(c.console, "stdio");
	vm_config_done(&c);
	cr_assert_eq(test_run("-k|bz|--hvc|pty|--serial|none", &c, &request, &err), 0, "%s",
		     err.msg);
	cr_expect_str_eq(c.console, "none");
	vm_config_done(&c);
}

/* Configurations that no parser made. */
Test(validate_devices, elements__are_checked_again)
{
	struct vm_config c;
	struct err err = {0};

	vm_config_init(&c);
	c.kernel.path = strdup("bz");
	c.disks = calloc(2, sizeof(*c.disks));
	c.n_disks = 2;
	for (int i = 0; i < 2; i++)
		c.disks[i] = (struct config_disk){
			.path = strdup(i ? "b" : "a"), .qsize = 4, .iothread = -1};
	cr_expect_eq(config_validate(&c, &err), 0, "%s", err.msg);
	c.disks[1].qsize = 6;
	cr_expect_lt(config_validate(&c, &err), 0);
	cr_expect(strstr(err.msg, "/disks/1/qsize: 6"), "%s", err.msg);
	c.disks[1].qsize = 4;
	c.disks[1].cache = 9;
	err = (struct err){0};
	cr_expect_lt(config_validate(&c, &err), 0);
	cr_expect(strstr(err.msg, "/disks/1/cache: 9"), "%s", err.msg);
	c.disks[1].cache = 0;
	c.publish = calloc(1, sizeof(*c.publish));
	c.publish[0].text = strdup("x");
	c.n_publish = 1;
	err = (struct err){0};
	cr_expect_lt(config_validate(&c, &err), 0);
	cr_expect(strstr(err.msg, "/publish/0: 'x'"), "%s", err.msg);
	vm_config_done(&c);
}
