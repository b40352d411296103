/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the groups: devices, and whatever else there can be several times or not at all. */
#include <assert.h>

#include "base/checked.h"
#include "base/clock.h"
#include "config/config.h"
#include "config/schema.h"
#include "config/syntax.h"

#define CHOICES(set) .choices = (set), .n_choices = ARRAY_SIZE(set)
#define TABLE(rows, T, is_plain)                                                                   \
	{                                                                                          \
		(rows), ARRAY_SIZE(rows), sizeof(T), (is_plain)                                    \
	}

/* Rows that several devices have. */
#define ROW_ID(T)                                                                                  \
	{                                                                                          \
		.name = "id", .type = VALUE_NAME, .offset = offsetof(T, id), .max = CONFIG_MAX_ID, \
		.arg = "NAME",                                                                     \
		.help = "its name in vmm device and vmm stats; made of kind and position when "    \
			"not given",                                                               \
	}
#define ROW_QSIZE(T)                                                                               \
	{                                                                                          \
		.name = "qsize", .type = VALUE_UINT, .offset = offsetof(T, qsize), .min = 4,       \
		.max = 32768, .power_of_two = true, .arg = "N", .fallback = "256",                 \
		.help = "length of a queue, a power of two",                                       \
	}
#define ROW_IOTHREAD(T)                                                                            \
	{                                                                                          \
		.name = "iothread", .type = VALUE_INDEX, .offset = offsetof(T, iothread),          \
		.max = CONFIG_MAX_IOTHREADS - 1, .arg = "N",                                       \
		.help = "the I/O thread that does its work, from 0; spread over all when not "     \
			"given",                                                                   \
	}
#define ROW_PACKED(T)                                                                              \
	{                                                                                          \
		.name = "packed", .type = VALUE_BOOL, .offset = offsetof(T, packed),               \
		.fallback = "on", .help = "offer packed rings beside split ones",                  \
	}
#define ROW_RATE(T, member, words)                                                                 \
	{                                                                                          \
		.name = #member, .type = VALUE_SIZE, .offset = offsetof(T, member), .min = KIB(1), \
		.max = TIB(1), .unit = 1, .arg = "SIZE", .help = (words),                          \
	}
#define ROW_COUNT(T, member, words)                                                                \
	{                                                                                          \
		.name = #member, .type = VALUE_UINT, .offset = offsetof(T, member), .min = 1,      \
		.max = UINT32_MAX, .arg = "N", .help = (words),                                    \
	}

enum {
	MAX_SERIAL = 20, /* virtio 1.2, 5.2.6.1: VIRTIO_BLK_T_GET_ID */
	MAX_UDS = 96,	 /* 107 without "_4294967295" */
	MAX_SOCKET = 107,
	MIN_MTU = 68, /* virtio 1.2, 5.1.4.1 */
	MAX_MTU = 65535,
	MIN_CID = 3, /* virtio 1.2, 5.10.4 */
	MIN_FD = 3,  /* not standard input, output and error */
	MAX_FD = 1048575,
	MAX_PORT_NAME = 63,
};
#define MAX_CID (UINT32_MAX - 1)

static const struct choice caches[] = {{"none", CONFIG_CACHE_NONE},
				       {"writeback", CONFIG_CACHE_WRITEBACK},
				       {"unsafe", CONFIG_CACHE_UNSAFE}};

#define AT(member) .offset = offsetof(struct config_disk, member)
static const struct schema_row disk_rows[] = {
	{
		.name = "path",
		.type = VALUE_PATH,
		AT(path),
		.max = SCHEMA_MAX_PATH,
		.required = true,
		.arg = "PATH",
		.help = "raw image or block device",
	},
	{
		.name = "ro",
		.type = VALUE_BOOL,
		AT(ro),
		.fallback = "off",
		.help = "read only",
	},
	{
		.name = "cache",
		.type = VALUE_ENUM,
		CHOICES(caches),
		AT(cache),
		.fallback = "writeback",
		.help = "none: past the host's page cache; unsafe: flushes are ignored",
	},
	{
		.name = "queues",
		.type = VALUE_UINT,
		AT(queues),
		.min = 1,
		.max = CONFIG_MAX_QUEUES,
		.arg = "N",
		.help = "queues (as many as processors, at most 4, when not given)",
	},
	ROW_QSIZE(struct config_disk),
	{
		.name = "serial",
		.type = VALUE_STRING,
		AT(serial),
		.max = MAX_SERIAL,
		.arg = "TEXT",
		.help = "serial number, at most 20 bytes; /dev/disk/by-id/virtio-TEXT",
	},
	{
		.name = "lock",
		.type = VALUE_BOOL,
		AT(lock),
		.fallback = "on",
		.help = "lock the image, so that no two VMs write to it",
	},
	{
		.name = "overlay",
		.type = VALUE_BOOL,
		AT(overlay),
		.fallback = "off",
		.help = "keep writes in a layer of this run, dropped at its end",
	},
	ROW_RATE(struct config_disk, bw, "at most so many bytes in a second"),
	ROW_COUNT(struct config_disk, iops, "at most so many requests in a second"),
	ROW_RATE(struct config_disk, bw_burst, "bytes at once above bw, after a pause"),
	ROW_COUNT(struct config_disk, iops_burst, "requests at once above iops, after a pause"),
	ROW_IOTHREAD(struct config_disk),
	ROW_PACKED(struct config_disk),
	ROW_ID(struct config_disk),
};
const struct schema_table schema_disk = TABLE(disk_rows, struct config_disk, false);
static_assert(ARRAY_SIZE(disk_rows) <= SCHEMA_MAX_ROWS, "lists of rows have room");
#undef AT

#define AT(member) .offset = offsetof(struct config_net, member)
static const struct schema_row net_rows[] = {
	{
		.name = "tap",
		.type = VALUE_STRING,
		AT(tap),
		.one_of = true,
		.check = syntax_check_interface,
		.pattern = "^[^/:%\\s]{1,15}$",
		.arg = "NAME",
		.help = "a tap interface of the host",
	},
	{
		.name = "fd",
		.type = VALUE_UINT,
		AT(fd),
		.min = MIN_FD,
		.max = MAX_FD,
		.one_of = true,
		.arg = "N",
		.help = "a tap that the caller opened as this descriptor",
	},
	{
		.name = "user",
		.type = VALUE_BOOL,
		AT(user),
		.one_of = true,
		.help = "the host's network without privileges, by passt",
	},
	{
		.name = "stream",
		.type = VALUE_STRING,
		AT(stream),
		.one_of = true,
		.check = syntax_check_stream,
		.pattern = "^unix:.+$",
		.arg = "unix:PATH",
		.help = "frames over a unix socket, to another VM or QEMU",
	},
	{
		.name = "none",
		.type = VALUE_BOOL,
		AT(none),
		.one_of = true,
		.help = "no network at all; stands alone",
	},
	{
		.name = "mac",
		.type = VALUE_STRING,
		AT(mac),
		.check = syntax_check_mac,
		.pattern = "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$",
		.arg = "MAC",
		.help = "the guest's address, such as 52:54:00:12:34:56; made by vmm when not "
			"given",
	},
	{
		.name = "queues",
		.type = VALUE_UINT,
		AT(queues),
		.min = 1,
		.max = CONFIG_MAX_PAIRS,
		.arg = "N",
		.help = "pairs of queues (1 when not given), of a tap by name",
	},
	ROW_QSIZE(struct config_net),
	{
		.name = "mtu",
		.type = VALUE_UINT,
		AT(mtu),
		.min = MIN_MTU,
		.max = MAX_MTU,
		.arg = "N",
		.help = "the MTU that the guest is told",
	},
	{
		.name = "offload",
		.type = VALUE_BOOL,
		AT(offload),
		.fallback = "on",
		.help = "checksums and large segments that the host finishes",
	},
	{
		.name = "listen",
		.type = VALUE_BOOL,
		AT(listen),
		.fallback = "off",
		.help = "stream: wait for the other side, and don't connect to it",
	},
	ROW_RATE(struct config_net, bw, "at most so many bytes in a second, each way"),
	ROW_COUNT(struct config_net, pps, "at most so many packets in a second, each way"),
	ROW_IOTHREAD(struct config_net),
	ROW_PACKED(struct config_net),
	ROW_ID(struct config_net),
};
const struct schema_table schema_net = TABLE(net_rows, struct config_net, false);
static_assert(ARRAY_SIZE(net_rows) <= SCHEMA_MAX_ROWS, "lists of rows have room");
#undef AT

static const struct schema_row publish_rows[] = {
	{
		.name = "ports",
		.type = VALUE_STRING,
		.offset = offsetof(struct config_publish, text),
		.required = true,
		.check = syntax_check_publish,
		.pattern = "^(([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):)?[0-9]+:[0-9]+(/(tcp|udp))?$",
		.arg = "PORTS",
		.help = "[ADDR:]HOST:GUEST[/tcp|udp]",
	},
};
const struct schema_table schema_publish = TABLE(publish_rows, struct config_publish, true);

#define AT(member) .offset = offsetof(struct config_vsock, member)
static const struct schema_row vsock_rows[] = {
	{
		.name = "cid",
		.type = VALUE_UINT,
		AT(cid),
		.min = MIN_CID,
		.max = MAX_CID,
		.required = true,
		.arg = "CID",
		.help = "the guest's context id; 0 to 2 are reserved",
	},
	{
		.name = "uds",
		.type = VALUE_PATH,
		AT(uds),
		.max = MAX_UDS,
		.required = true,
		.arg = "PATH",
		.help = "the unix socket by which the host connects; the guest reaches PATH_PORT",
	},
	ROW_IOTHREAD(struct config_vsock),
	ROW_PACKED(struct config_vsock),
};
const struct schema_table schema_vsock = TABLE(vsock_rows, struct config_vsock, false);
#undef AT

static const struct schema_row rng_rows[] = {
	ROW_RATE(struct config_rng, bw, "at most so many bytes in a second"),
};
const struct schema_table schema_rng = TABLE(rng_rows, struct config_rng, false);

#define AT(member) .offset = offsetof(struct config_balloon, member)
static const struct schema_row balloon_rows[] = {
	{
		.name = "size",
		.type = VALUE_SIZE,
		AT(size),
		.max = TIB(64),
		.multiple = KIB(4),
		.unit = MIB(1),
		.arg = "SIZE",
		.fallback = "0",
		.help = "what the guest is asked to give back at its start",
	},
	{
		.name = "deflate_on_oom",
		.type = VALUE_BOOL,
		AT(deflate_on_oom),
		.fallback = "on",
		.help = "the guest takes pages back before it kills for memory",
	},
	{
		.name = "reporting",
		.type = VALUE_BOOL,
		AT(reporting),
		.fallback = "on",
		.help = "the guest reports free pages, which go back to the host",
	},
	{
		.name = "stats",
		.type = VALUE_DURATION,
		AT(stats_ns),
		.max = 3600 * NS_PER_S,
		.multiple = NS_PER_S,
		.arg = "TIME",
		.fallback = "0",
		.help = "how often the guest is asked for statistics; 0: never",
	},
};
const struct schema_table schema_balloon = TABLE(balloon_rows, struct config_balloon, false);
#undef AT

static const struct choice on_losts[] = {{"fail", CONFIG_ON_LOST_FAIL},
					 {"replay", CONFIG_ON_LOST_REPLAY}};

#define AT(member) .offset = offsetof(struct config_vhost_user, member)
static const struct schema_row vhost_user_rows[] = {
	{
		.name = "path",
		.type = VALUE_PATH,
		AT(path),
		.max = MAX_SOCKET,
		.required = true,
		.arg = "SOCK",
		.help = "the unix socket",
	},
	{
		.name = "type",
		.type = VALUE_STRING,
		AT(type),
		.check = syntax_check_virtio_type,
		.pattern = "^([a-z][a-z0-9]*|[0-9]{1,2})$",
		.arg = "TYPE",
		.help = "blk, rng and so on, or the number of a virtio device; found out when not "
			"given",
	},
	{
		.name = "queues",
		.type = VALUE_UINT,
		AT(queues),
		.min = 1,
		.max = CONFIG_MAX_QUEUES,
		.arg = "N",
		.help = "queues, of a network card pairs (of a disk as many as processors, at most "
			"4, when not given; else those of its type)",
	},
	ROW_QSIZE(struct config_vhost_user),
	{
		.name = "server",
		.type = VALUE_BOOL,
		AT(server),
		.fallback = "off",
		.help = "listen, and let the back end connect",
	},
	{
		.name = "wait",
		.type = VALUE_DURATION,
		AT(wait_ns),
		.min = NS_PER_MS,
		.max = 3600 * NS_PER_S,
		.arg = "TIME",
		.fallback = "5s",
		.help = "how long to wait for the back end at the start",
	},
	{
		.name = "reconnect",
		.type = VALUE_DURATION,
		AT(reconnect_ns),
		.max = 60 * NS_PER_S,
		.arg = "TIME",
		.fallback = "100ms",
		.help = "how often to look for a back end that was lost; 0: never",
	},
	{
		.name = "on_lost",
		.type = VALUE_ENUM,
		CHOICES(on_losts),
		AT(on_lost),
		.fallback = "fail",
		.help = "requests under way of a lost back end that kept no record of them: fail "
			"the device, or do them again",
	},
	{
		.name = "packed",
		.type = VALUE_BOOL,
		AT(packed),
		.fallback = "off",
		.help = "packed rings also from a back end that keeps no record, and so can't be "
			"replaced",
	},
	{
		.name = "mac",
		.type = VALUE_STRING,
		AT(mac),
		.check = syntax_check_mac,
		.pattern = "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$",
		.arg = "MAC",
		.help = "net: the guest's address; made by vmm when not given",
	},
	{
		.name = "mtu",
		.type = VALUE_UINT,
		AT(mtu),
		.min = MIN_MTU,
		.max = MAX_MTU,
		.arg = "N",
		.help = "net: the MTU that the guest is told",
	},
	ROW_IOTHREAD(struct config_vhost_user),
	ROW_ID(struct config_vhost_user),
};
const struct schema_table schema_vhost_user =
	TABLE(vhost_user_rows, struct config_vhost_user, false);
#undef AT

#define AT(member) .offset = offsetof(struct config_pmem, member)
static const struct schema_row pmem_rows[] = {
	{
		.name = "path",
		.type = VALUE_PATH,
		AT(path),
		.max = SCHEMA_MAX_PATH,
		.required = true,
		.arg = "PATH",
		.help = "the file",
	},
	{
		.name = "ro",
		.type = VALUE_BOOL,
		AT(ro),
		.fallback = "off",
		.help = "never write to the file",
	},
	{
		.name = "size",
		.type = VALUE_SIZE,
		AT(size),
		.min = MIB(2),
		.max = TIB(64),
		.multiple = MIB(2),
		.unit = MIB(1),
		.arg = "SIZE",
		.help = "its size (the file's when not given)",
	},
	ROW_ID(struct config_pmem),
};
const struct schema_table schema_pmem = TABLE(pmem_rows, struct config_pmem, false);
#undef AT

#define AT(member) .offset = offsetof(struct config_port, member)
static const struct schema_row port_rows[] = {
	{
		.name = "name",
		.type = VALUE_NAME,
		AT(name),
		.max = MAX_PORT_NAME,
		.required = true,
		.arg = "NAME",
		.help = "name of the port in the guest",
	},
	{
		.name = "stream",
		.type = VALUE_STREAM,
		CHOICES(schema_streams),
		AT(stream),
		.max = SCHEMA_MAX_PATH,
		.arg = "STREAM",
		.fallback = "none",
		.help = "where it leads",
	},
};
const struct schema_table schema_port = TABLE(port_rows, struct config_port, false);
#undef AT
