/* SPDX-License-Identifier: Apache-2.0 */
#include "config_test.h"

#include <errno.h>
#include <jansson.h>

#include "config/config.h"

/* What --print-config writes. */
static char *print_of(const char *line)
{
	struct run_request request;
	struct vm_config c;
	struct err err;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	cr_assert_eq(test_run(line, &c, &request, &err), 0, "%s: %s", line, err.msg);
	cr_assert_eq(config_print(&c, out), 0);
	cr_assert_eq(fclose(out), 0);
	vm_config_done(&c);
	return text;
}

static void expect_round_trip(const char *line)
{
	char *first = print_of(line), *second;
	char path[32], again[64];

	test_write_file(first, path);
	(void)snprintf(again, sizeof(again), "--config|%s", path);
	second = print_of(again);
	cr_expect_str_eq(first, second, "%s", line);
	(void)unlink(path);
	free(first);
	free(second);
}

Test(config, print__read_again_gives_the_same_bytes)
{
	expect_round_trip("-k|bz");
	expect_round_trip("-k|bz|-m|1G,hugepages=2M");
	expect_round_trip("-k|bz|-m|33000000K,shared=off,prefault=on");
	expect_round_trip("-k|bz|--serial|pty");
	expect_round_trip("-k|bz|--serial|none|--kernel-defaults|off|-a|x -- y");
	expect_round_trip("-k|bz|-c|12,sockets=2,threads=2");
	expect_round_trip("-k|bz|-c|sockets=3");
	expect_round_trip("-k|bz|-a|quote \" backslash \\ tab \t newline \n \u00fc \u20ac");
	expect_round_trip("-k|bz|-a|");
	expect_round_trip("-k|bz|--timeout|1.0005s|--stop-timeout|1ms|--on-panic|wait|-q");
	expect_round_trip(
		"-k|bz|-i|rd|--protocol|pvh|--console|unix=/x/y,z|--debugcon|file=a=b|"
		"--on-reboot|restart|--result|r|--name|n|--log|l|--log-level|debug|--sandbox|log");
}

Test(config, print__devices_read_again_give_the_same_bytes)
{
	expect_round_trip("-k|bz|-d|a|-d|b,ro|-d|c,,d,overlay,cache=none");
	expect_round_trip("-k|bz|-d|a,bw=1025,bw_burst=1500,iops=4294967295,iops_burst=1,queues=1,"
			  "qsize=4,serial=\"x\",lock=off,iothread=0,packed=off,id=x");
	expect_round_trip("-k|bz|-n|none");
	expect_round_trip("-k|bz|-n|user|-n|tap=a,mtu=68|-n|fd=3|-n|stream=unix:/x,,y,listen|"
			  "--publish|80:80|--publish|[::1]:1:1/udp");
	expect_round_trip("-k|bz|--rng|--balloon|--vsock|4294967294,uds=x");
	expect_round_trip("-k|bz|--rng|bw=1024|--balloon|size=4K,stats=1h,reporting=off");
	expect_round_trip("-k|bz|--vhost-user|a|--vhost-user|b,type=rng,server,reconnect=0,id=x");
	expect_round_trip("-k|bz|--pmem|a|--pmem|b,size=2M,ro|--port|a|--port|b,stream=unix=/x");
	expect_round_trip("-k|bz|--hvc|console|--watchdog|none|--transport|mmio|--io-engine|epoll");
	expect_round_trip("-k|bz|--iothreads|64,poll=1.5us,pin=0:0:1");
	expect_round_trip("-k|bz|-m|1G,max=2G,plugged=128M,block=128M");
	expect_round_trip("-k|bz|-m|1G,hugepages=1G,max=2G");
}

Test(config, print__arrays_are_in_order_and_empty_ones_left_out)
{
	char *json = test_run_json("-k|bz|-d|a|-d|b|--rng");

	cr_expect(strstr(json, "\"disks\":[{\"path\":\"a\","), "%s", json);
	cr_expect(strstr(json, "},{\"path\":\"b\","), "%s", json);
	cr_expect(strstr(json, "\"rng\":{}"), "%s", json);
	cr_expect_null(strstr(json, "\"nets\""));
	cr_expect_null(strstr(json, "\"balloon\""));
	cr_expect_null(strstr(json, "\"iothread\""));
	free(json);
}

Test(config, print__leaves_out_what_is_not_given)
{
	char *text = print_of("-k|bz");

	cr_expect_null(strstr(text, "null"));
	cr_expect_null(strstr(text, "\"initrd\""));
	cr_expect_null(strstr(text, "\"timeout\""));
	cr_expect_null(strstr(text, "\"sockets\""));
	cr_expect_null(strstr(text, "\"result\""));
	free(text);
}

Test(config, print__begins_with_the_version_and_ends_the_line)
{
	char *text = print_of("-k|bz|--name|web");

	cr_expect_eq(strncmp(text, "{\n  \"version\": 1,\n  \"name\": \"web\",\n", 35), 0, "%s",
		     text);
	cr_expect_str_eq(text + strlen(text) - 3, "\n}\n");
	free(text);
}

Test(config, print__shows_the_whole_command_line)
{
	char *text = print_of("-k|bz|-a|quiet");

	cr_expect(strstr(text, "\"cmdline\": \"console=ttyS0 panic=-1 quiet\""), "%s", text);
	free(text);
}

Test(config, print__topology_that_was_not_given_can_still_be_chosen)
{
	char *text = print_of("-k|bz|-c|4"), path[32], line[64];

	test_write_file(text, path);
	(void)snprintf(line, sizeof(line), "--config|%s|-c|6", path);
	free(text);
	text = print_of(line);
	cr_expect(strstr(text, "\"boot\": 6"), "%s", text);
	free(text);
	(void)unlink(path);
}

Test(config, print__tells_that_the_disk_is_full)
{
	struct vm_config c;
	FILE *full = fopen("/dev/full", "w");

	cr_assert_not_null(full);
	vm_config_init(&c);
	cr_expect_eq(config_print(&c, full), -EIO);
	vm_config_done(&c);
	(void)fclose(full);
}

Test(config, to_json__is_one_line)
{
	char *json = test_run_json("-k|bz");

	cr_expect_null(strchr(json, '\n'));
	cr_expect_eq(strncmp(json, "{\"version\":1,", 13), 0, "%s", json);
	free(json);
}

Test(config, done__can_be_called_twice)
{
	struct vm_config c;

	vm_config_init(&c);
	vm_config_done(&c);
	vm_config_done(&c);
	cr_expect_null(c.name);
}
