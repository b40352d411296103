/* SPDX-License-Identifier: Apache-2.0 */
#include "config/schema.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "config/config.h"

static const struct choice protocols[] = {{"auto", CONFIG_PROTOCOL_AUTO},
					  {"linux64", CONFIG_PROTOCOL_LINUX64},
					  {"pvh", CONFIG_PROTOCOL_PVH}};
static const struct choice page_sizes[] = {{"off", 0}, {"2M", MIB(2)}, {"1G", GIB(1)}};
static const struct choice shared_modes[] = {
	{"auto", CONFIG_SHARED_AUTO}, {"on", CONFIG_SHARED_ON}, {"off", CONFIG_SHARED_OFF}};
static const struct choice streams[] = {{.name = "stdio"},
					{.name = "pty"},
					{.name = "file=PATH"},
					{.name = "unix=PATH"},
					{.name = "none"}};
static const struct choice serial_streams[] = {{.name = "console"},   {.name = "stdio"},
					       {.name = "pty"},	      {.name = "file=PATH"},
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

#define AT(member)   .offset = offsetof(struct vm_config, member)
#define CHOICES(set) .choices = (set), .n_choices = ARRAY_SIZE(set)

#define MAX_PATH_LEN   4095
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
		.type = VALUE_PATH,
		AT(kernel.path),
		.max = MAX_PATH_LEN,
		.arg = "FILE",
		.help = "kernel to boot: a bzImage or an ELF file, told apart by content",
	},
	{
		.object = "kernel",
		.name = "initrd",
		.flag = "initrd",
		.letters = "i",
		.type = VALUE_PATH,
		AT(kernel.initrd),
		.max = MAX_PATH_LEN,
		.arg = "FILE",
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
		.help = "put console=ttyS0 and panic=-1 before the words of --append, each unless "
			"it is "
			"set there",
	},
	{
		.object = "kernel",
		.name = "protocol",
		.flag = "protocol",
		.type = VALUE_ENUM,
		CHOICES(protocols),
		AT(kernel.protocol),
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
		.type = VALUE_ENUM,
		CHOICES(shared_modes),
		AT(memory.shared),
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
		.object = "cpus",
		.name = "boot",
		.flag = "cpus",
		.key = "boot",
		.letters = "c",
		.type = VALUE_UINT,
		AT(cpus.boot),
		.min = 1,
		.max = CONFIG_MAX_CPUS,
		.arg = "N",
		.fallback = "1",
		.help = "processors that the guest starts with",
	},
	{
		.object = "cpus",
		.name = "sockets",
		.flag = "cpus",
		.key = "sockets",
		.type = VALUE_UINT,
		AT(cpus.sockets),
		.min = 1,
		.max = CONFIG_MAX_CPUS,
		.arg = "N",
		.help = "sockets (1 when not given)",
	},
	{
		.object = "cpus",
		.name = "cores",
		.flag = "cpus",
		.key = "cores",
		.type = VALUE_UINT,
		AT(cpus.cores),
		.min = 1,
		.max = CONFIG_MAX_CPUS,
		.arg = "N",
		.help = "cores in each socket (the rest when not given)",
	},
	{
		.object = "cpus",
		.name = "threads",
		.flag = "cpus",
		.key = "threads",
		.type = VALUE_UINT,
		AT(cpus.threads),
		.min = 1,
		.max = CONFIG_MAX_CPUS,
		.arg = "N",
		.help = "threads in each core (1 when not given)",
	},
	{
		.name = "console",
		.flag = "console",
		.type = VALUE_STREAM,
		CHOICES(streams),
		AT(console),
		.max = MAX_PATH_LEN,
		.arg = "STREAM",
		.fallback = "stdio",
		.help = "the guest's console; on a terminal Ctrl-A x quits and Ctrl-A h helps",
		.heading = "Console",
	},
	{
		.name = "serial",
		.flag = "serial",
		.type = VALUE_STREAM,
		CHOICES(serial_streams),
		AT(serial),
		.max = MAX_PATH_LEN,
		.arg = "STREAM",
		.fallback = "console",
		.help = "what the serial port ttyS0 carries: the console, or a stream of its own",
	},
	{
		.name = "debugcon",
		.flag = "debugcon",
		.type = VALUE_STREAM,
		CHOICES(streams),
		AT(debugcon),
		.max = MAX_PATH_LEN,
		.arg = "STREAM",
		.fallback = "none",
		.help = "the debug console, I/O port 0xe9",
	},
	{
		.name = "on_reboot",
		.flag = "on-reboot",
		.type = VALUE_ENUM,
		CHOICES(reboot_actions),
		AT(on_reboot),
		.fallback = "exit",
		.help = "what a reboot by the guest does",
		.heading = "Running and ending",
	},
	{
		.name = "on_panic",
		.flag = "on-panic",
		.type = VALUE_ENUM,
		CHOICES(panic_actions),
		AT(on_panic),
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
		.type = VALUE_ENUM,
		CHOICES(sandbox_modes),
		AT(sandbox),
		.fallback = "strict",
		.help = "lock-down of vmm itself; log: report what it would stop; off: for "
			"debugging",
	},
	{
		.name = "control",
		.flag = "control",
		.type = VALUE_ENUM,
		CHOICES(control_modes),
		AT(control),
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
		.type = VALUE_PATH,
		AT(pidfile),
		.max = MAX_PATH_LEN,
		.arg = "FILE",
		.help = "write the process id there once the guest runs; removed at the end",
	},
	{
		.name = "events",
		.flag = "events",
		.type = VALUE_PATH,
		AT(events),
		.max = MAX_PATH_LEN,
		.arg = "FILE",
		.help = "write events there, one JSON object in each line; fd:N is a descriptor "
			"that the caller opened",
	},
	{
		.name = "result",
		.flag = "result",
		.type = VALUE_PATH,
		AT(result),
		.max = MAX_PATH_LEN,
		.arg = "FILE",
		.help = "write one JSON object about the run, on every way out",
		.heading = "Result and log",
	},
	{
		.object = "log",
		.name = "path",
		.flag = "log",
		.type = VALUE_PATH,
		AT(log.path),
		.max = MAX_PATH_LEN,
		.arg = "FILE",
		.help = "log to this file, not to standard error",
	},
	{
		.object = "log",
		.name = "level",
		.flag = "log-level",
		.type = VALUE_ENUM,
		CHOICES(log_levels),
		AT(log.level),
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
static_assert(ARRAY_SIZE(schema_rows) <= SCHEMA_MAX_ROWS, "a set of rows is one uint64_t");

const struct schema_object schema_objects[] = {
	{"kernel", "what is booted"},
	{"memory", "guest memory"},
	{"cpus", "processors; boot is sockets times cores times threads"},
	{"log", "vmm's own log"},
};
const size_t schema_n_objects = ARRAY_SIZE(schema_objects);

/* strcmp() == 0 where NULL equals NULL only. */
static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

const struct schema_row *schema_find_name(const char *object, const char *name)
{
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_rows[i].name && same(schema_rows[i].object, object) &&
		    same(schema_rows[i].name, name))
			return &schema_rows[i];
	return NULL;
}

const struct schema_row *schema_find_flag(const char *flag)
{
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_rows[i].flag && same(schema_rows[i].flag, flag))
			return &schema_rows[i];
	return NULL;
}

const struct schema_row *schema_find_letter(char letter)
{
	for (size_t i = 0; i < schema_n_rows; i++)
		if (letter && schema_rows[i].letters && strchr(schema_rows[i].letters, letter))
			return &schema_rows[i];
	return NULL;
}

const struct schema_row *schema_find_key(const char *flag, const char *key)
{
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_rows[i].key && same(schema_rows[i].flag, flag) &&
		    same(schema_rows[i].key, key))
			return &schema_rows[i];
	return NULL;
}

const struct schema_object *schema_find_object(const char *name)
{
	for (size_t i = 0; i < schema_n_objects; i++)
		if (same(schema_objects[i].name, name))
			return &schema_objects[i];
	return NULL;
}

bool schema_is_head(const struct schema_row *row)
{
	return row->flag && schema_find_flag(row->flag) == row;
}

bool schema_is_compound(const struct schema_row *row)
{
	return row->key != NULL;
}

char *schema_pointer(const struct schema_row *row, char *buf)
{
	(void)snprintf(buf, SCHEMA_POINTER_LEN, "%s%s/%s", row->object ? "/" : "",
		       row->object ? row->object : "", row->name);
	return buf;
}

char *schema_dotted(const struct schema_row *row, char *buf)
{
	(void)snprintf(buf, SCHEMA_POINTER_LEN, "%s%s%s", row->object ? row->object : "",
		       row->object ? "." : "", row->name);
	return buf;
}

void schema_list_choices(const struct schema_row *row, const char *separator, struct str *out)
{
	for (size_t i = 0; i < row->n_choices; i++)
		str_addf(out, "%s%s", i ? separator : "", row->choices[i].name);
}

const char *schema_nearest(const char *word, const char *const *names, size_t n)
{
	enum { SHORTENED = 2 }; /* letters that are enough to know a name by its beginning */
	size_t len = strlen(word);
	const char *near = text_nearest(word, names, n);

	for (size_t i = 0; !near && len >= SHORTENED && i < n; i++)
		if (strncmp(names[i], word, len) == 0)
			near = names[i];
	return near;
}
