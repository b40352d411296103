/* SPDX-License-Identifier: Apache-2.0 */
/* Disks, networks and the like: by flags, by --set and from a file. */
#include "config_test.h"

#include <errno.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"
#include "config/schema.h"

/* What a command line that must be right makes; the caller calls vm_config_done(). */
static struct vm_config run(const char *line)
{
	struct run_request request;
	struct vm_config c;
	struct err err;

	cr_assert_eq(test_run(line, &c, &request, &err), 0, "%s: %s", line, err.msg);
	return c;
}

/* Different ways to write the same thing; b may be a JSON text. */
static void expect_same(const char *a, const char *b)
{
	char *json_a = test_run_json(a), *json_b, path[32], line[64];

	if (*b == '{') {
		test_write_file(b, path);
		(void)snprintf(line, sizeof(line), "--config|%s", path);
		json_b = test_run_json(line);
		(void)unlink(path);
	} else {
		json_b = test_run_json(b);
	}
	cr_expect_str_eq(json_a, json_b, "%s and %s differ", a, b);
	free(json_a);
	free(json_b);
}

Test(groups, nothing__is_there_by_default)
{
	struct vm_config c = run("-k|bz");

	cr_expect_eq(c.n_disks + c.n_nets + c.n_publish + c.n_pmem + c.n_ports, 0);
	cr_expect(!c.disks && !c.nets && !c.publish && !c.pmem && !c.ports);
	cr_expect(!c.vsock && !c.rng && !c.balloon);
	cr_expect_eq(c.watchdog, CONFIG_WATCHDOG_OFF);
	cr_expect_eq(c.transport, CONFIG_TRANSPORT_PCI);
	cr_expect_eq(c.io_engine, CONFIG_ENGINE_AUTO);
	cr_expect_eq(c.iothreads.count, 1);
	cr_expect_eq(c.iothreads.poll_ns, 0);
	cr_expect_null(c.iothreads.pin);
	cr_expect_str_eq(c.hvc, "none");
	cr_expect_eq(c.memory.max + c.memory.plugged, 0);
	cr_expect_eq(c.memory.block, MIB(2));
	vm_config_done(&c);
}

Test(groups, disk__has_its_defaults)
{
	struct vm_config c = run("-k|bz|-d|a.img");
	const struct config_disk *d = c.disks;

	cr_assert_eq(c.n_disks, 1);
	cr_expect_str_eq(d->path, "a.img");
	cr_expect(!d->ro && !d->overlay && d->lock && d->packed);
	cr_expect_eq(d->cache, CONFIG_CACHE_WRITEBACK);
	cr_expect_eq(d->queues, 0);
	cr_expect_eq(d->qsize, 256);
	cr_expect(!d->serial && !d->id);
	cr_expect_eq(d->bw + d->bw_burst + d->iops + d->iops_burst, 0);
	cr_expect_eq(d->iothread, -1);
	vm_config_done(&c);
}

Test(groups, disk__every_key_reaches_its_member)
{
	struct vm_config c =
		run("-k|bz|--iothreads|4|--disk|a.img,cache=unsafe,queues=64,qsize=32768,"
		    "serial=01234567890123456789,lock=off,overlay=on,bw=100M,iops=1000,"
		    "bw_burst=1G,iops_burst=7,iothread=3,packed=off,id=root|-d|b,ro");
	const struct config_disk *d = c.disks;

	cr_assert_eq(c.n_disks, 2);
	cr_expect(d->overlay && !d->lock && !d->packed && !d->ro);
	cr_expect_eq(d->cache, CONFIG_CACHE_UNSAFE);
	cr_expect_eq(d->queues, 64);
	cr_expect_eq(d->qsize, 32768);
	cr_expect_str_eq(d->serial, "01234567890123456789");
	cr_expect_eq(d->bw, MIB(100));
	cr_expect_eq(d->bw_burst, GIB(1));
	cr_expect_eq(d->iops, 1000);
	cr_expect_eq(d->iops_burst, 7);
	cr_expect_eq(d->iothread, 3);
	cr_expect_str_eq(d->id, "root");
	cr_expect(c.disks[1].ro);
	vm_config_done(&c);
}

Test(groups, net__every_kind_and_key)
{
	struct vm_config c =
		run("-k|bz|-n|tap=tap0,mac=52:54:00:00:00:01,queues=2,qsize=512,mtu=9000,"
		    "offload=off,bw=1M,pps=10,iothread=0,packed=off,id=lan|--net|fd=7|"
		    "--net|user|--net|stream=unix:/s,listen");
	const struct config_net *n = c.nets;

	cr_assert_eq(c.n_nets, 4);
	cr_expect_eq(config_net_kind(&n[0]), CONFIG_NET_TAP);
	cr_expect_str_eq(n[0].tap, "tap0");
	cr_expect_str_eq(n[0].mac, "52:54:00:00:00:01");
	cr_expect_eq(n[0].queues, 2);
	cr_expect_eq(n[0].qsize, 512);
	cr_expect_eq(n[0].mtu, 9000);
	cr_expect(!n[0].offload && !n[0].packed);
	cr_expect_eq(n[0].bw, MIB(1));
	cr_expect_eq(n[0].pps, 10);
	cr_expect_eq(n[0].iothread, 0);
	cr_expect_str_eq(n[0].id, "lan");
	cr_expect_eq(config_net_kind(&n[1]), CONFIG_NET_FD);
	cr_expect_eq(n[1].fd, 7);
	cr_expect_eq(config_net_kind(&n[2]), CONFIG_NET_USER);
	cr_expect(n[2].offload && n[2].packed && !n[2].mac);
	cr_expect_eq(n[2].iothread, -1);
	cr_expect_eq(config_net_kind(&n[3]), CONFIG_NET_STREAM);
	cr_expect_str_eq(config_stream_path(&n[3]), "/s");
	cr_expect(n[3].listen);
	vm_config_done(&c);
	c = run("-k|bz|--net|none");
	cr_assert_eq(c.n_nets, 1);
	cr_expect_eq(config_net_kind(&c.nets[0]), CONFIG_NET_NONE);
	vm_config_done(&c);
}

Test(groups, others__every_key_reaches_its_member)
{
	struct vm_config c = run(
		"-k|bz|-m|1G,max=2G,plugged=256M,block=128M|--vsock|3,uds=/v,iothread=1,packed=off|"
		"--rng|bw=1M|--balloon|size=64,deflate_on_oom=off,reporting=off,stats=5s|--pmem|p,"
		"ro,"
		"size=64M,id=pm|--pmem|q|--port|org.x.0,stream=unix=/"
		"p|--port|b|--hvc|pty|--watchdog|"
		"pause|--iothreads|2,poll=50us,pin=1:0|--io-engine|epoll|--transport|mmio");

	cr_expect_eq(c.memory.max, GIB(2));
	cr_expect_eq(c.memory.plugged, MIB(256));
	cr_expect_eq(c.memory.block, MIB(128));
	cr_expect_eq(c.vsock->cid, 3);
	cr_expect_str_eq(c.vsock->uds, "/v");
	cr_expect_eq(c.vsock->iothread, 1);
	cr_expect_not(c.vsock->packed);
	cr_expect_eq(c.rng->bw, MIB(1));
	cr_expect_eq(c.balloon->size, MIB(64));
	cr_expect(!c.balloon->deflate_on_oom && !c.balloon->reporting);
	cr_expect_eq(c.balloon->stats_ns, 5 * NS_PER_S);
	cr_assert_eq(c.n_pmem, 2);
	cr_expect(c.pmem[0].ro && !c.pmem[1].ro);
	cr_expect_eq(c.pmem[0].size, MIB(64));
	cr_expect_eq(c.pmem[1].size, 0);
	cr_assert_eq(c.n_ports, 2);
	cr_expect_str_eq(c.ports[0].name, "org.x.0");
	cr_expect_str_eq(c.ports[0].stream, "unix=/p");
	cr_expect_str_eq(c.ports[1].stream, "none");
	cr_expect_str_eq(c.hvc, "pty");
	cr_expect_eq(c.watchdog, CONFIG_WATCHDOG_PAUSE);
	cr_expect_eq(c.iothreads.count, 2);
	cr_expect_eq(c.iothreads.poll_ns, 50 * NS_PER_US);
	cr_expect_eq(config_pin_cpu(&c, 0), 1);
	cr_expect_eq(c.io_engine, CONFIG_ENGINE_EPOLL);
	cr_expect_eq(c.transport, CONFIG_TRANSPORT_MMIO);
	vm_config_done(&c);
}

Test(groups, balloon__has_its_defaults)
{
	struct vm_config c = run("-k|bz|--balloon|--rng");

	cr_assert(c.balloon && c.rng);
	cr_expect(c.balloon->deflate_on_oom && c.balloon->reporting);
	cr_expect_eq(c.balloon->size + c.balloon->stats_ns + c.rng->bw, 0);
	vm_config_done(&c);
}

Test(groups, object__needs_no_value_and_can_be_taken_back)
{
	expect_same("-k|bz|--rng", "-k|bz|--rng|on");
	expect_same("--rng|-k|bz", "--rng=on|-k|bz");
	expect_same("-k|bz|--rng|--rng|off", "-k|bz");
	expect_same("-k|bz|--balloon|size=64M|--balloon=stats=1s",
		    "-k|bz|--balloon|stats=1s,size=64");
	expect_same("-k|bz|--balloon|size=64M|--balloon", "-k|bz|--balloon|size=64M");
	expect_same("-k|bz|--balloon|size=64M|--balloon|off|--balloon", "-k|bz|--balloon");
	expect_same("-k|bz|--vsock|3,uds=v|--vsock|off", "-k|bz");
}

Test(groups, bool__may_stand_alone)
{
	expect_same("-k|bz|-d|a,ro", "-k|bz|-d|a,ro=on");
	expect_same("-k|bz|-d|path=a,overlay,packed=off", "-k|bz|-d|a,packed=off,overlay=on");
	expect_same("-k|bz|-n|user", "-k|bz|-n|user=on");
	expect_same("-k|bz|-m|1G,prefault", "-k|bz|-m|1G,prefault=on");
	expect_same("-k|bz|-m|prefault=on", "-k|bz|--mem=prefault=on");
	expect_same("-k|bz|-d|ro", "-k|bz|-d|path=ro");
}

static void expect_path(const char *line, const char *path)
{
	struct vm_config c = run(line);

	cr_assert_eq(c.n_disks, 1);
	cr_expect_str_eq(c.disks[0].path, path, "%s", line);
	vm_config_done(&c);
}

Test(groups, comma__of_a_value_is_written_twice)
{
	expect_path("-k|bz|-d|a,,b", "a,b");
	expect_path("-k|bz|-d|a,,,ro", "a,");
	expect_path("-k|bz|-d|,,", ",");
	expect_path("-k|bz|-d|,,,,a,,,,", ",,a,,");
	expect_path("-k|bz|-d|path=x,,ro=on,ro", "x,ro=on");
	expect_path("-k|bz|-d|a,,b=c", "a,b=c");
	expect_path("-k|bz|-d|/a=b", "/a=b");
	expect_path("-k|bz|-d|path=a=b", "a=b");
	expect_path("-k|bz|--set|disks.0.path=a,b", "a,b");
	expect_path("-k|bz|--set|disks.0.path=a,,b", "a,,b");
	expect_same("-k|bz|-n|stream=unix:/a,,b,listen",
		    "-k|bz|--set|nets.0.stream=unix:/a,b|--set|"
		    "nets.0.listen=on");
	expect_same("-k|bz|--port|p,stream=file=a,,b", "-k|bz|--set|ports.0.name=p|--set|"
						       "ports.0.stream=file=a,b");
}

Test(groups, order__is_that_of_the_command_line)
{
	struct vm_config c =
		run("-k|bz|-d|a|-n|user|-db|--set|disks.2.path=c|--disk=d|--publish|1:1|"
		    "--publish|2:2");

	cr_assert_eq(c.n_disks, 4);
	for (unsigned i = 0; i < c.n_disks; i++)
		cr_expect(c.disks[i].path[0] == (char)('a' + i) && !c.disks[i].path[1], "%u", i);
	cr_assert_eq(c.n_publish, 2);
	cr_expect_str_eq(c.publish[0].text, "1:1");
	cr_expect_str_eq(c.publish[1].text, "2:2");
	vm_config_done(&c);
}

Test(groups, set__changes_and_appends)
{
	expect_same("-k|bz|-d|a|-d|b|--set|disks.1.path=c|--set|disks.0.ro=on",
		    "-k|bz|-d|a,ro|-d|c");
	expect_same("-k|bz|--set|disks.0.path=a|--set|disks.1.path=b|--set|disks.0.bw=1M",
		    "-k|bz|-d|a,bw=1M|-d|b");
	expect_same("-k|bz|--set|vsock.cid=5|--set|vsock.uds=v", "-k|bz|--vsock|5,uds=v");
	expect_same("-k|bz|--set|balloon=on|--set|rng=on|--set|rng=off", "-k|bz|--balloon");
	expect_same("-k|bz|--set|balloon.size=64M", "-k|bz|--balloon|size=64M");
	expect_same("-k|bz|-n|user|--set|publish.0=1:1|--set|publish.0=1:2|--set|publish.1=2:2",
		    "-k|bz|--set|nets.0.user=on|--publish|1:2|--publish|2:2");
	expect_same("-k|bz|--set|iothreads.count=2|--set|memory.max=384M",
		    "-k|bz|--iothreads|2|-m|max=384M");
	expect_same("-k|bz|-n|tap=a|--set|nets.0.queues=0x2", "-k|bz|-n|tap=a,queues=2");
}

Test(groups, file__equals_the_flags)
{
	expect_same(
		"-k|bz|-d|a,ro|-d|b,cache=none,queues=2,iothread=1,bw=1M|-n|tap=t|-n|user|"
		"--publish|80:80|--publish|[::1]:53:53/udp|--vsock|3,uds=v|--rng|--balloon|"
		"size=64M|--pmem|p,size=2M|--port|x,stream=pty|--hvc|console|--watchdog|none|"
		"--iothreads|2,poll=20us,pin=0:1|--io-engine|uring|--transport|mmio|-m|"
		"512,max=1G",
		"{\"kernel\": {\"path\": \"bz\"}, \"disks\": [{\"path\": \"a\", \"ro\": true}, "
		"{\"path\": \"b\", \"cache\": \"none\", \"queues\": 2, \"iothread\": 1, \"bw\": "
		"1048576}], \"nets\": [{\"tap\": \"t\"}, {\"user\": true}], \"publish\": "
		"[\"80:80\", \"[::1]:53:53/udp\"], \"vsock\": {\"cid\": 3, \"uds\": \"v\"}, "
		"\"rng\": {}, \"balloon\": {\"size\": 64}, \"pmem\": [{\"path\": \"p\", "
		"\"size\": 2}], \"ports\": [{\"name\": \"x\", \"stream\": \"pty\"}], \"hvc\": "
		"\"console\", \"watchdog\": \"none\", \"iothreads\": {\"count\": 2, \"poll\": "
		"\"20us\", \"pin\": \"0:1\"}, \"io_engine\": \"uring\", \"transport\": \"mmio\", "
		"\"memory\": {\"size\": 512, \"max\": 1024}}");
	expect_same(
		"-k|bz|--rng|--balloon",
		"{\"kernel\": {\"path\": \"bz\"}, \"rng\": true, \"balloon\": {}, \"disks\": []}");
	expect_same("-k|bz", "{\"kernel\": {\"path\": \"bz\"}, \"rng\": false, \"nets\": []}");
}

Test(groups, file__replaces_lists_and_flags_come_on_top)
{
	char one[32], two[32], line[160];
	struct vm_config c;

	test_write_file(
		"{\"kernel\": {\"path\": \"bz\"}, \"disks\": [{\"path\": \"a\"}, {\"path\": "
		"\"b\"}], \"balloon\": {\"size\": \"64M\"}, \"rng\": {}}",
		one);
	test_write_file(
		"{\"disks\": [{\"path\": \"c\"}], \"balloon\": {\"stats\": \"1s\"}, \"rng\": "
		"false}",
		two);
	(void)snprintf(line, sizeof(line), "-d|d|--set|disks.0.ro=on|--config|%s", one);
	c = run(line);
	cr_assert_eq(c.n_disks, 3);
	cr_expect_str_eq(c.disks[0].path, "a");
	cr_expect(c.disks[0].ro);
	cr_expect_str_eq(c.disks[2].path, "d");
	vm_config_done(&c);
	(void)snprintf(line, sizeof(line), "--config|%s|--config|%s", one, two);
	c = run(line);
	cr_assert_eq(c.n_disks, 1);
	cr_expect_str_eq(c.disks[0].path, "c");
	cr_expect_eq(c.balloon->size, MIB(64), "objects are put over each other");
	cr_expect_eq(c.balloon->stats_ns, NS_PER_S);
	cr_expect_null(c.rng);
	vm_config_done(&c);
	(void)unlink(one);
	(void)unlink(two);
}

Test(groups, failure__frees_and_keeps_what_was_understood)
{
	struct run_request request;
	struct vm_config c;
	struct err err;

	cr_assert_lt(test_run("-k|bz|-d|a,serial=x,queues=0|-d|b|--vsock|1,uds=v|--result|r", &c,
			      &request, &err),
		     0);
	cr_expect(strstr(err.msg, "-d: queues: 0"), "%s", err.msg);
	cr_expect_str_eq(c.result, "r");
	vm_config_done(&c);
	cr_expect(!c.disks && !c.n_disks && !c.vsock);
}

Test(groups, list__has_an_end)
{
	struct str json = {0};
	struct vm_config c;
	struct err err;
	char *text;

	for (int i = 0; i <= CONFIG_MAX_ELEMENTS; i++)
		str_addf(&json, "%s{\"name\": \"p%d\"}", i ? "," : "{\"ports\": [", i);
	str_add(&json, "]}");
	text = str_steal(&json);
	cr_assert_not_null(text);
	cr_expect_eq(test_load(text, strlen(text), &c, &err), -E2BIG);
	cr_expect(strstr(err.msg, "/ports/128: there are too many: at most 128"), "%s", err.msg);
	cr_expect_eq(c.n_ports, CONFIG_MAX_ELEMENTS);
	vm_config_done(&c);
	free(text);
}

Test(groups, id__is_given_or_made_of_the_position)
{
	struct vm_config c = run("-k|bz|-d|a|-d|b,id=data|-d|c|-n|user,id=wan|-n|tap=t|--pmem|p");
	char buf[CONFIG_ID_LEN];

	cr_expect_str_eq(config_disk_id(&c, 0, buf), "disk0");
	cr_expect_str_eq(config_disk_id(&c, 1, buf), "data");
	cr_expect_str_eq(config_disk_id(&c, 2, buf), "disk2");
	cr_expect_str_eq(config_net_id(&c, 0, buf), "wan");
	cr_expect_str_eq(config_net_id(&c, 1, buf), "net1");
	cr_expect_str_eq(config_pmem_id(&c, 0, buf), "pmem0");
	vm_config_done(&c);
}

Test(groups, wrong_flag__names_flag_key_and_the_nearest)
{
	static const struct {
		const char *line, *first, *second;
	} bad[] = {
		{"-d", "-d needs a value", "PATH"},
		{"-d|-q", "-d needs a value", "'-q'"},
		{"-d|", "-d: nothing stands", NULL},
		{"--disk|a,queue=2", "--disk: unknown key 'queue'", "'queues'"},
		{"--disk|a,queues", "--disk: queues needs a value", "queues=N"},
		{"--disk|a,queues=0", "--disk: queues: 0", "at least 1"},
		{"--disk|a,queues=65", "--disk: queues: 65", "at most 64"},
		{"--disk|a,qsize=2", "--disk: qsize: 2", "at least 4"},
		{"--disk|a,qsize=65536", "--disk: qsize: 65536", "at most 32768"},
		{"--disk|a,qsize=1000", "qsize: 1000 is not a power of two", "512 or 1024"},
		{"--disk|a,qsize=6", "use 4 or 8", NULL},
		{"--disk|a,cache=writethrough", "cache: 'writethrough'", "none, writeback, unsafe"},
		{"--disk|a,ro=yes", "ro: 'yes'", "on nor off"},
		{"--disk|a,serial=123456789012345678901", "serial: 21 bytes", "20"},
		{"--disk|a,bw=1", "bw: 1 is too small", "1K"},
		{"--disk|a,bw=fast", "bw: 'fast'", NULL},
		{"--disk|a,iops=0", "iops: 0", "at least 1"},
		{"--disk|a,iothread=-1", "iothread: '-1'", "whole number"},
		{"--disk|a,iothread=64", "iothread: 64", "at most 63"},
		{"--disk|a,id=a/b", "id: 'a/b'", "letters"},
		{"--disk|a,id=abcdefghijklmnopqrstuvwxyzabcdef", "id: 32 bytes", "31"},
		{"--disk|a,readonly", "'readonly' is not KEY=VALUE", "keys: path, ro"},
		{"--disk|file=a", "unknown key 'file'", "keys: path"},
		{"--disk|a,ro,", "comma", ",,"},
		{"--net|tap0", "'tap0'", "'tap'"},
		{"--net|usr", "'usr'", "'user'"},
		{"--net|e1000", "'e1000' is not KEY=VALUE", "keys: tap"},
		{"--net|tap=a/b", "tap: 'a/b'", NULL},
		{"--net|fd=2", "fd: 2", "at least 3"},
		{"--net|stream=/x", "stream: '/x'", "unix:PATH"},
		{"--net|user,mac=1", "mac: '1'", "52:54"},
		{"--net|user,mtu=67", "mtu: 67", "68"},
		{"--net|user,mtu=65536", "mtu: 65536", "65535"},
		{"--publish|80", "--publish: '80'", "8080:80"},
		{"--vsock", "--vsock needs a value", "CID"},
		{"--vsock|2,uds=x", "--vsock: 2", "at least 3"},
		{"--vsock|4294967295,uds=x", "--vsock: 4294967295", "4294967294"},
		{"--vsock|on,uds=x", "--vsock: 'on'", "whole number"},
		{"--rng|onn", "--rng: 'onn' is not on, off or KEY=VALUE", "bw"},
		{"--rng|bw=0", "--rng: bw: 0", "1K"},
		{"--balloon|stats=1500ms", "stats: 1500ms", "multiple of 1s"},
		{"--balloon|deflate=on", "unknown key 'deflate'", "'deflate_on_oom'"},
		{"--pmem|p,size=1M", "size: 1M", "2M"},
		{"--pmem|p,size=3M", "size: 3M", "multiple of 2M"},
		{"--port|a b", "--port: 'a b'", "letters"},
		{"--port|a,stream=stdoi", "stream: 'stdoi'", "'stdio'"},
		{"--hvc|stdoi", "--hvc: 'stdoi'", "'stdio'"},
		{"--watchdog|on", "--watchdog: 'on'", "reset, poweroff"},
		{"--iothreads|0", "--iothreads: 0", "at least 1"},
		{"--iothreads|65", "--iothreads: 65", "at most 64"},
		{"--iothreads|1,pin=a", "pin: 'a'", "2:3"},
		{"--iothreads|1,poll=1s", "poll: 1s", "10ms"},
		{"--io-engine|aio", "--io-engine: 'aio'", "auto, uring, epoll"},
		{"--transport|ccw", "--transport: 'ccw'", "pci, mmio"},
		{"-m|1G,block=3M", "block: 3M is not a power of two", "2M or 4M"},
		{"-m|1G,block=1M", "block: 1M", "at least 2M"},
		{"--set|disks.0.pth=x", "'disks.0.pth'", "'disks.0.path'"},
		{"--set|disk.0.path=x", "'disk.0.path'", "'disks.0.path'"},
		{"--set|disks.1.path=x", "disks.1.path: index 1", "there are 0"},
		{"--set|disks=x", "'disks' is a list", "disks.0.path"},
		{"--set|disks.=x", "'disks.' is a list", NULL},
		{"--set|disks.0=x", "'disks.0' is a list", "disks.0.path"},
		{"--set|disks.0.=x", "unknown key 'disks.0.'", NULL},
		{"--set|disks.-1.path=x", "is a list", NULL},
		{"--set|disks.99999999999.path=x", "is a list", NULL},
		{"--set|disks.0.path.x=x", "unknown key", NULL},
		{"--set|disks.0.queues=99", "disks.0.queues: 99", "64"},
		{"--set|publish.0.ports=1:1", "is a list", "publish.0"},
		{"--set|publish=1:1", "is a list", "publish.0"},
		{"--set|publish.0=1", "publish.0: '1'", "8080:80"},
		{"--set|balloon=maybe", "balloon: 'maybe'", "on nor off"},
		{"--set|balloon.siz=1", "'balloon.siz'", "'balloon.size'"},
		{"--set|balloon.=1", "unknown key 'balloon.'", NULL},
		{"--set|qsize=2", "'qsize'", "'disks.0.qsize'"},
		{"--set|uds=x", "'uds'", "'vsock.uds'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char line[160];

		(void)snprintf(line, sizeof(line), "-k|bz|%s", bad[i].line);
		test_run_fails(line, bad[i].first, bad[i].second);
	}
}

Test(groups, wrong_file__names_the_element)
{
	static const struct {
		const char *json, *first, *second;
	} bad[] = {
		{"{\"disks\": {}}", "/disks: must be an array", "an object"},
		{"{\"disks\": \"a\"}", "/disks: must be an array", "a string"},
		{"{\"disks\": null}", "/disks: must be an array", "null"},
		{"{\"disks\": [\"a\"]}", "/disks/0: must be an object", "a string"},
		{"{\"disks\": [{}, []]}", "/disks/1: must be an object", "an array"},
		{"{\"disks\": [{}, {\"pth\": 1}]}", "/disks/1/pth: unknown key", "/disks/1/path?"},
		{"{\"disks\": [{\"mac\": 1}]}", "/disks/0/mac: unknown key", "/nets/0/mac?"},
		{"{\"disks\": [{\"path\": \"a\"}, {\"path\": 5}]}",
		 "/disks/1/path: must be a string", "whole number"},
		{"{\"disks\": [{\"path\": \"\"}]}", "/disks/0/path", "empty"},
		{"{\"disks\": [{\"ro\": \"on\"}]}", "/disks/0/ro: must be true or false", NULL},
		{"{\"disks\": [{\"queues\": 65}]}", "/disks/0/queues: 65", "at most 64"},
		{"{\"disks\": [{\"queues\": \"2\"}]}", "/disks/0/queues: must be a whole", NULL},
		{"{\"disks\": [{\"iothread\": -1}]}", "/disks/0/iothread: '-1'", NULL},
		{"{\"disks\": [{\"iothread\": \"0\"}]}", "/disks/0/iothread: must be", NULL},
		{"{\"disks\": [{\"bw\": true}]}", "/disks/0/bw: must be a size", "bytes"},
		{"{\"disk\": []}", "/disk: unknown key", "/disks?"},
		{"{\"net\": []}", "/net: unknown key", "/nets?"},
		{"{\"queues\": 1}", "/queues: unknown key", "/disks/0/queues?"},
		{"{\"uds\": 1}", "/uds: unknown key", "/vsock/uds?"},
		{"{\"nets\": [{\"fd\": 1}]}", "/nets/0/fd: 1", "at least 3"},
		{"{\"publish\": [80]}", "/publish/0: must be a string", "a whole number"},
		{"{\"publish\": [\"1:1\", \"80\"]}", "/publish/1: '80'", "8080:80"},
		{"{\"publish\": [{}]}", "/publish/0: must be a string", "an object"},
		{"{\"publish\": \"1:1\"}", "/publish: must be an array", "a string"},
		{"{\"vsock\": {\"cid\": 2}}", "/vsock/cid: 2", "at least 3"},
		{"{\"vsock\": []}", "/vsock: must be an object", "an array"},
		{"{\"vsock\": {\"sid\": 2}}", "/vsock/sid: unknown key", "/vsock/cid?"},
		{"{\"rng\": \"on\"}", "/rng: must be an object, true or false", "a string"},
		{"{\"balloon\": {\"size\": \"5k\"}}", "/balloon/size: 5K", "multiple of 4K"},
		{"{\"balloon\": 1}", "/balloon: must be", "a whole number"},
		{"{\"iothreads\": 2}", "/iothreads: must be an object", "whole number"},
		{"{\"ports\": [{\"name\": \"a\",\n\"name\": \"b\"}]}", "vm.json:2:", "\"name\""},
		{"{\"watchdog\": \"on\"}", "/watchdog: 'on'", "reset"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vm_config config;
		struct err err;

		cr_expect_lt(test_load(bad[i].json, strlen(bad[i].json), &config, &err), 0,
			     "accepted: %s", bad[i].json);
		cr_expect(strstr(err.msg, bad[i].first), "no '%s' in '%s'", bad[i].first, err.msg);
		cr_expect(!bad[i].second || strstr(err.msg, bad[i].second), "no '%s' in '%s'",
			  bad[i].second, err.msg);
		vm_config_done(&config);
	}
}
