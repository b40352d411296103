/* SPDX-License-Identifier: Apache-2.0 */
#include "config/schema.h"

#include <assert.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "config/syntax.h"

static const struct choice protocols[] = {{"auto", CONFIG_PROTOCOL_AUTO},
					  {"linux64", CONFIG_PROTOCOL_LINUX64},
					  {"pvh", CONFIG_PROTOCOL_PVH}};
static const struct choice page_sizes[] = {{"off", 0}, {"2M", MIB(2)}, {"1G", GIB(1)}};
static const struct choice shared_modes[] = {
	{"auto", CONFIG_SHARED_AUTO}, {"on", CONFIG_SHARED_ON}, {"off", CONFIG_SHARED_OFF}};
const struct choice schema_streams[SCHEMA_N_STREAMS] = {{.name = "stdio"},
							{.name = "pty"},
							{.name = "file=PATH"},
							{.name = "unix=PATH"},
							{.name = "none"}};
static const struct choice carrier_streams[] = {{.name = "console"},   {.name = "stdio"},
						{.name = "pty"},       {.name = "file=PATH"},
						{.name = "unix=PATH"}, {.name = "none"}};
static const struct choice reboot_actions[] = {{"exit", CONFIG_REBOOT_EXIT},
					       {"restart", CONFIG_REBOOT_RESTART}};
static const struct choice panic_actions[] = {{"exit", CONFIG_PANIC_EXIT},
					      {"wait", CONFIG_PANIC_WAIT}};
static const struct choice log_levels[] = {
	{"error", LOG_ERROR}, {"warn", LOG_WARN}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}};
static const struct choice control_modes[] = {
	{"auto", CONFIG_CONTROL_AUTO}, {"on", CONFIG_CONTROL_ON}, {"off", CONFIG_CONTROL_OFF}};
static const struct choice sandbox_modes[] = {{"strict", CONFIG_SANDBOX_STRICT},
					      {"log", CONFIG_SANDBOX_LOG},
					      {"off", CONFIG_SANDBOX_OFF}};

static const struct choice watchdog_actions[] = {{"off", CONFIG_WATCHDOG_OFF},
						 {"reset", CONFIG_WATCHDOG_RESET},
						 {"poweroff", CONFIG_WATCHDOG_POWEROFF},
						 {"pause", CONFIG_WATCHDOG_PAUSE},
						 {"none", CONFIG_WATCHDOG_NONE}};
static const struct choice engines[] = {{"auto", CONFIG_ENGINE_AUTO},
					{"uring", CONFIG_ENGINE_URING},
					{"epoll", CONFIG_ENGINE_EPOLL}};
static const struct choice transports[] = {{"pci", CONFIG_TRANSPORT_PCI},
					   {"mmio", CONFIG_TRANSPORT_MMIO}};

#define AT(member)	.offset = offsetof(struct vm_config, member)
#define CHOICES(set)	.choices = (set), .n_choices = ARRAY_SIZE(set)
#define PATH_AT(member) .type = VALUE_PATH, AT(member), .max = MAX_PATH_LEN, .arg = "FILE"
#define STREAM_AT(member, set)                                                                     \
	.type = VALUE_STREAM, CHOICES(set), AT(member), .max = MAX_PATH_LEN, .arg = "STREAM"
#define ENUM_AT(member, set)   .type = VALUE_ENUM, CHOICES(set), AT(member)
#define COUNT_AT(member, most) .type = VALUE_UINT, AT(member), .min = 1, .max = (most), .arg = "N"
#define LIST_AT(member, count, elements)                                                           \
	.type = VALUE_LIST, AT(member), .count_offset = offsetof(struct vm_config, count),         \
	.table = &(elements), .max = CONFIG_MAX_ELEMENTS

#define MAX_PATH_LEN   SCHEMA_MAX_PATH
#define MAX_APPEND_LEN 65535 /* more than any kernel takes; boot/ knows the kernel's own limit */
#define YEAR_NS	       (365 * 24 * 3600 * NS_PER_S)

const struct schema_row schema_rows[] = {
	{
		.name = "version",
		.type = VALUE_FIXED,
		.min = 1,
		.max = 1,
		.fallback = "1",
		.help = "version of this file format",
	},
	{
		.name = "name",
		.flag = "name",
		.type = VALUE_NAME,
		AT(name),
		.max = 63,
		.arg = "NAME",
		.help = "name of the VM: letters, digits and ._-, not beginning with . or -; "
			"\"vm-\" "
			"and the process id when not given",
		.heading = "Guest",
	},
	{
		.object = "kernel",
		.name = "path",
		.flag = "kernel",
		.letters = "k",
		PATH_AT(kernel.path),
		.help = "kernel to boot: a bzImage or an ELF file, told apart by content",
	},
	{
		.object = "kernel",
		.name = "initrd",
		.flag = "initrd",
		.letters = "i",
		PATH_AT(kernel.initrd),
		.help = "initial RAM disk",
	},
	{
		.object = "kernel",
		.name = "append",
		.flag = "append",
		.letters = "ap",
		.type = VALUE_STRING,
		AT(kernel.append),
		.max = MAX_APPEND_LEN,
		.arg = "TEXT",
		.help = "words for the kernel's command line; what follows -- goes to the guest's "
			"init",
	},
	{
		.object = "kernel",
		.name = "defaults",
		.flag = "kernel-defaults",
		.type = VALUE_BOOL,
		AT(kernel.defaults),
		.fallback = "on",
		.help = "put console=ttyS0 or hvc0 and panic=-1 before the words of --append, each "
			"unless "
			"it is "
			"set there",
	},
	{
		.object = "kernel",
		.name = "protocol",
		.flag = "protocol",
		ENUM_AT(kernel.protocol, protocols),
		.fallback = "auto",
		.help = "how the kernel is entered; auto: PVH for an ELF file with a PVH note, "
			"else the "
			"64-bit entry",
	},
	{
		.object = "kernel",
		.name = "cmdline",
		.type = VALUE_CMDLINE,
		.help = "the whole command line that the guest gets; made from defaults and "
			"append, "
			"printed for reading and not to be set",
	},
	{
		.object = "memory",
		.name = "size",
		.flag = "mem",
		.key = "size",
		.letters = "m",
		.type = VALUE_SIZE,
		AT(memory.size),
		.min = MIB(32),
		.max = TIB(64),
		.multiple = KIB(4),
		.unit = MIB(1),
		.arg = "SIZE",
		.fallback = "256M",
		.help = "guest memory, with K, M, G or T; a bare number counts MiB",
		.heading = "Memory and processors",
	},
	{
		.object = "memory",
		.name = "hugepages",
		.flag = "mem",
		.key = "hugepages",
		.type = VALUE_PAGE,
		CHOICES(page_sizes),
		AT(memory.hugepages),
		.fallback = "off",
		.help = "back it with reserved huge pages of this size, which are always shared",
	},
	{
		.object = "memory",
		.name = "shared",
		.flag = "mem",
		.key = "shared",
		ENUM_AT(memory.shared, shared_modes),
		.fallback = "auto",
		.help = "memory that other processes can map; auto: when something needs it",
	},
	{
		.object = "memory",
		.name = "thp",
		.flag = "mem",
		.key = "thp",
		.type = VALUE_BOOL,
		AT(memory.thp),
		.fallback = "on",
		.help = "ask for transparent huge pages; off by itself with hugepages",
	},
	{
		.object = "memory",
		.name = "prefault",
		.flag = "mem",
		.key = "prefault",
		.type = VALUE_BOOL,
		AT(memory.prefault),
		.fallback = "off",
		.help = "touch every page before the guest starts",
	},
	{
		.object = "memory",
		.name = "max",
		.flag = "mem",
		.key = "max",
		.type = VALUE_SIZE,
		AT(memory.max),
		.min = MIB(32),
		.max = TIB(64),
		.multiple = MIB(2),
		.unit = MIB(1),
		.arg = "SIZE",
		.help = "what is above the size can be plugged while the guest runs, by virtio-mem",
	},
	{
		.object = "memory",
		.name = "plugged",
		.flag = "mem",
		.key = "plugged",
		.type = VALUE_SIZE,
		AT(memory.plugged),
		.max = TIB(64),
		.multiple = MIB(2),
		.unit = MIB(1),
		.arg = "SIZE",
		.fallback = "0",
		.help = "how much of that the guest is asked to plug at its start",
	},
	{
		.object = "memory",
		.name = "block",
		.flag = "mem",
		.key = "block",
		.type = VALUE_SIZE,
		AT(memory.block),
		.min = MIB(2),
		.max = GIB(1),
		.power_of_two = true,
		.unit = MIB(1),
		.arg = "SIZE",
		.fallback = "2M",
		.help = "the least that is plugged at once, a power of two",
	},
	{
		.object = "cpus",
		.name = "boot",
		.flag = "cpus",
		.key = "boot",
		.letters = "c",
		COUNT_AT(cpus.boot, CONFIG_MAX_CPUS),
		.fallback = "1",
		.help = "processors that the guest starts with",
	},
	{
		.object = "cpus",
		.name = "sockets",
		.flag = "cpus",
		.key = "sockets",
		COUNT_AT(cpus.sockets, CONFIG_MAX_CPUS),
		.help = "sockets (1 when not given)",
	},
	{
		.object = "cpus",
		.name = "cores",
		.flag = "cpus",
		.key = "cores",
		COUNT_AT(cpus.cores, CONFIG_MAX_CPUS),
		.help = "cores in each socket (the rest when not given)",
	},
	{
		.object = "cpus",
		.name = "threads",
		.flag = "cpus",
		.key = "threads",
		COUNT_AT(cpus.threads, CONFIG_MAX_CPUS),
		.help = "threads in each core (1 when not given)",
	},
	{
		.name = "console",
		.flag = "console",
		STREAM_AT(console, schema_streams),
		.fallback = "stdio",
		.help = "the guest's console; on a terminal Ctrl-A x quits and Ctrl-A h helps",
		.heading = "Console",
	},
	{
		.name = "serial",
		.flag = "serial",
		STREAM_AT(serial, carrier_streams),
		.fallback = "console",
		.help = "what the serial port ttyS0 carries: the console, or a stream of its own",
	},
	{
		.name = "hvc",
		.flag = "hvc",
		STREAM_AT(hvc, carrier_streams),
		.fallback = "none",
		.help = "what the virtio console hvc0 carries: the console, or a stream of its own",
	},
	{
		.name = "ports",
		.flag = "port",
		LIST_AT(ports, n_ports, schema_port),
		.arg = "NAME",
		.help = "add a named port of the virtio console; /dev/virtio-ports/NAME",
	},
	{
		.name = "debugcon",
		.flag = "debugcon",
		STREAM_AT(debugcon, schema_streams),
		.fallback = "none",
		.help = "the debug console, I/O port 0xe9",
	},
	{
		.name = "disks",
		.flag = "disk",
		.letters = "d",
		LIST_AT(disks, n_disks, schema_disk),
		.arg = "PATH",
		.help = "add a disk, a raw image or a block device; the first is vda",
		.heading = "Devices",
	},
	{
		.name = "nets",
		.flag = "net",
		.letters = "n",
		LIST_AT(nets, n_nets, schema_net),
		.arg = "KIND",
		.help = "add a network card: tap=NAME, fd=N, user, stream=unix:PATH; or none",
	},
	{
		.name = "publish",
		.flag = "publish",
		LIST_AT(publish, n_publish, schema_publish),
		.arg = "PORTS",
		.help = "open a port of the host for one of the guest behind --net user: "
			"[ADDR:]HOST:GUEST[/tcp|udp]",
	},
	{
		.name = "vsock",
		.flag = "vsock",
		.type = VALUE_OBJECT,
		AT(vsock),
		.table = &schema_vsock,
		.arg = "CID",
		.help = "sockets between host and guest, which is CID 3 or more",
	},
	{
		.name = "rng",
		.flag = "rng",
		.type = VALUE_OBJECT,
		AT(rng),
		.table = &schema_rng,
		.arg = "on|off",
		.help = "source of random numbers",
	},
	{
		.name = "balloon",
		.flag = "balloon",
		.type = VALUE_OBJECT,
		AT(balloon),
		.table = &schema_balloon,
		.arg = "on|off",
		.help = "balloon, by which the guest gives memory back",
	},
	{
		.name = "vhost_user",
		.flag = "vhost-user",
		LIST_AT(vhost_users, n_vhost_users, schema_vhost_user),
		.arg = "SOCK",
		.help = "add a device that a vhost-user back end on this socket works for",
	},
	{
		.name = "pmem",
		.flag = "pmem",
		LIST_AT(pmem, n_pmem, schema_pmem),
		.arg = "PATH",
		.help = "add a file as persistent memory; the first is pmem0",
	},
	{
		.name = "watchdog",
		.flag = "watchdog",
		ENUM_AT(watchdog, watchdog_actions),
		.fallback = "off",
		.help = "a watchdog (i6300esb) and what it does when the guest stops feeding it; "
			"none: an event only",
	},
	{
		.name = "transport",
		.flag = "transport",
		ENUM_AT(transport, transports),
		.fallback = "pci",
		.help = "how the guest reaches its virtio devices",
	},
	{
		.object = "iothreads",
		.name = "count",
		.flag = "iothreads",
		.key = "count",
		COUNT_AT(iothreads.count, CONFIG_MAX_IOTHREADS),
		.fallback = "1",
		.help = "threads that do the devices' work",
	},
	{
		.object = "iothreads",
		.name = "poll",
		.flag = "iothreads",
		.key = "poll",
		.type = VALUE_DURATION,
		AT(iothreads.poll_ns),
		.max = 10 * NS_PER_MS,
		.arg = "TIME",
		.fallback = "0",
		.help = "how long a thread looks for work at most before it sleeps, such as 50us",
	},
	{
		.object = "iothreads",
		.name = "pin",
		.flag = "iothreads",
		.key = "pin",
		.type = VALUE_STRING,
		AT(iothreads.pin),
		.max = 1024,
		.check = syntax_check_pin,
		.pattern = "^[0-9]+(:[0-9]+)*$",
		.arg = "CPU[:CPU...]",
		.help = "the host's processor for each thread; a short list starts over",
	},
	{
		.name = "io_engine",
		.flag = "io-engine",
		ENUM_AT(io_engine, engines),
		.fallback = "auto",
		.help = "what they wait and work with; auto: io_uring where the host has it",
	},
	{
		.name = "on_reboot",
		.flag = "on-reboot",
		ENUM_AT(on_reboot, reboot_actions),
		.fallback = "exit",
		.help = "what a reboot by the guest does",
		.heading = "Running and ending",
	},
	{
		.name = "on_panic",
		.flag = "on-panic",
		ENUM_AT(on_panic, panic_actions),
		.fallback = "exit",
		.help = "what a panic of the guest does; wait: keep it for a look, and add no "
			"panic=-1",
	},
	{
		.name = "timeout",
		.flag = "timeout",
		.type = VALUE_DURATION,
		AT(timeout_ns),
		.min = NS_PER_MS,
		.max = YEAR_NS,
		.arg = "TIME",
		.help = "end the guest after this time, exit code 124; 90, 30s, 500ms, 2m, 1h",
	},
	{
		.name = "stop_timeout",
		.flag = "stop-timeout",
		.type = VALUE_DURATION,
		AT(stop_timeout_ns),
		.min = NS_PER_MS,
		.max = YEAR_NS,
		.arg = "TIME",
		.fallback = "10s",
		.help = "how long a guest may take to shut down after SIGTERM",
	},
	{
		.name = "sandbox",
		.flag = "sandbox",
		ENUM_AT(sandbox, sandbox_modes),
		.fallback = "strict",
		.help = "lock-down of vmm itself; log: report what it would stop; off: for "
			"debugging",
	},
	{
		.name = "control",
		.flag = "control",
		ENUM_AT(control, control_modes),
		.fallback = "auto",
		.help = "state directory and control socket, for vmm ps and the like; auto: where "
			"one can be made",
		.heading = "Control",
	},
	{
		.flag = "detach",
		.letters = "D",
		.action = FLAG_DETACH,
		.help = "go to the background once the guest runs, and print the VM's name; "
			"console and log go to files of its state directory (vmm logs)",
	},
	{
		.flag = "rm",
		.action = FLAG_REMOVE,
		.help = "remove the state directory at the end of a detached VM; without --detach "
			"it always is",
	},
	{
		.name = "pidfile",
		.flag = "pidfile",
		PATH_AT(pidfile),
		.help = "write the process id there once the guest runs; removed at the end",
	},
	{
		.name = "events",
		.flag = "events",
		PATH_AT(events),
		.help = "write events there, one JSON object in each line; fd:N is a descriptor "
			"that the caller opened",
	},
	{
		.name = "result",
		.flag = "result",
		PATH_AT(result),
		.help = "write one JSON object about the run, on every way out",
		.heading = "Result and log",
	},
	{
		.object = "log",
		.name = "path",
		.flag = "log",
		PATH_AT(log.path),
		.help = "log to this file, not to standard error",
	},
	{
		.object = "log",
		.name = "level",
		.flag = "log-level",
		ENUM_AT(log.level, log_levels),
		.fallback = "warn",
		.help = "the least important lines that are still written",
	},
	{
		.flag = "quiet",
		.letters = "q",
		.action = FLAG_PRESET,
		.preset = "error",
		.help = "errors only, like --log-level error",
	},
	{
		.flag = "config",
		.type = VALUE_PATH,
		.action = FLAG_CONFIG_FILE,
		.arg = "FILE",
		.help = "read a JSON file first, wherever this stands; - is standard input",
		.heading = "Configuration",
	},
	{
		.flag = "set",
		.type = VALUE_STRING,
		.action = FLAG_SET,
		.arg = "KEY=VALUE",
		.help = "set one key of the JSON file, such as memory.size=1G",
	},
	{
		.flag = "print-config",
		.action = FLAG_PRINT_CONFIG,
		.help = "print the effective configuration as JSON and start nothing",
	},
	{
		.flag = "dry-run",
		.action = FLAG_DRY_RUN,
		.help = "check everything and start nothing",
	},
	{
		.flag = "help",
		.letters = "h",
		.action = FLAG_HELP,
		.help = "this text",
	},
};
const size_t schema_n_rows = ARRAY_SIZE(schema_rows);
static_assert(ARRAY_SIZE(schema_rows) <= SCHEMA_MAX_ROWS, "sets and lists of rows have room");
const struct schema_table schema_main = {schema_rows, ARRAY_SIZE(schema_rows),
					 sizeof(struct vm_config), false};

const struct schema_object schema_objects[] = {
	{"kernel", "what is booted"},
	{"memory", "guest memory"},
	{"cpus", "processors; boot is sockets times cores times threads"},
	{"iothreads", "threads that do the devices' work"},
	{"log", "vmm's own log"},
};
const size_t schema_n_objects = ARRAY_SIZE(schema_objects);
