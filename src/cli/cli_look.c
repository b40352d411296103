/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm ps`, `status`, `inspect` and `stats`: VMs as they are now. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/vm_set.h"
#include "machine/outcome.h"

/* LSB, "Init Script Actions". */
enum { STATUS_RUNS = 0, STATUS_DEAD = 3, STATUS_UNKNOWN = 4 };

/* `vmm ps` asks many, one after the other. */
enum { LOOK_MS = 1000, CONFIG_MAX = 1 << 20 };

/* A living VM's /v1/info; NULL and the reason when there is no answer. */
static json_t *ask_info(const struct vm_ref *vm, int *ret_code)
{
	struct client_request request = {
		.method = "GET", .target = "/v1/info", .timeout_ms = LOOK_MS};
	struct client_reply reply = {.body = NULL};
	json_t *info;

	*ret_code = client_do(vm->dir_fd, &request, &reply, NULL);
	info = reply.body ? json_loadb(reply.body, reply.len, 0, NULL) : NULL;
	free(reply.body);
	if (!info && *ret_code == 0)
		*ret_code = -EPROTO;
	return info;
}

static json_t *read_config(const struct vm_ref *vm)
{
	_cleanup_free_ char *text = NULL;

	if (rundir_read(vm->dir_fd, RUNDIR_CONFIG, CONFIG_MAX, &text) < 0)
		return NULL;
	return json_loads(text, 0, NULL);
}

static json_t *or_null(json_t *borrowed)
{
	return borrowed ? json_incref(borrowed) : json_null();
}

/* Of a living one; code is that of ask_info(). Who says that it is busy runs. */
static const char *state_of(const json_t *info, int code)
{
	const char *state = json_string_value(json_object_get(info, "state"));

	if (code == -EAGAIN)
		return "running";
	return state ? state : "unknown";
}

/* What ps and status say of a living one. */
static json_t *describe_living(const struct vm_ref *vm, json_t *info, int code)
{
	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:n}", "name", vm->entry.name,
			 "state", state_of(info, code), "alive", 1, "pid",
			 vm->entry.pid ? json_integer(vm->entry.pid) : json_null(), "uptime_ms",
			 or_null(json_object_get(info, "uptime_ms")), "cpus",
			 or_null(json_object_get(info, "cpus")), "memory",
			 or_null(json_object_get(info, "memory")), "result");
}

/* In bytes, as a living VM says it; the configuration has a text such as "256M". */
static json_t *memory_of(const json_t *config)
{
	json_t *size = json_object_get(json_object_get(config, "memory"), "size");
	uint64_t bytes;

	if (json_is_string(size) && text_parse_size(json_string_value(size), MIB(1), &bytes) == 0)
		return json_integer((json_int_t)bytes);
	return json_is_integer(size) ? json_incref(size) : json_null();
}

static json_t *describe_dead(const struct vm_ref *vm)
{
	json_t *config = read_config(vm), *result = vm_ref_result(vm), *o;

	o = json_pack("{s:s, s:s, s:b, s:n, s:n, s:o, s:o, s:o}", "name", vm->entry.name, "state",
		      "dead", "alive", 0, "pid", "uptime_ms", "cpus",
		      or_null(json_object_get(json_object_get(config, "cpus"), "boot")), "memory",
		      memory_of(config), "result", or_null(result));
	json_decref(config);
	json_decref(result);
	return o;
}

static json_t *describe(const struct vm_ref *vm)
{
	json_t *info, *o;
	int code;

	if (!vm->entry.alive)
		return describe_dead(vm);
	info = ask_info(vm, &code);
	/* It ended while we asked. */
	o = !info && !vm_ref_is_alive(vm) ? describe_dead(vm) : describe_living(vm, info, code);
	json_decref(info);
	return o;
}

/* ---- ps ---- */

static json_t *describe_all(const struct rundir_entry *list, unsigned n)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < n; i++) {
		struct vm_ref vm = {.entry = list[i], .dir_fd = -1, .result_fd = -1};
		int r = vm_ref_open(list[i].name, &vm, NULL);

		if (r == -ENOENT) /* Gone since: its directory went with it. */
			continue;
		(void)json_array_append_new(array,
					    r < 0 ? describe_living(&vm, NULL, r) : describe(&vm));
		vm_ref_done(&vm);
	}
	return array;
}

static void add_number(struct table *table, const json_t *value)
{
	if (json_is_integer(value))
		table_addf(table, "%lld", (long long)json_integer_value(value));
	else
		table_add(table, NULL);
}

static void add_size(struct table *table, const json_t *value)
{
	char text[32];

	if (json_is_integer(value))
		table_add(table, text_format_size((uint64_t)json_integer_value(value), text,
						  sizeof(text)));
	else
		table_add(table, NULL);
}

static void add_row(struct table *table, const json_t *vm)
{
	const json_t *uptime = json_object_get(vm, "uptime_ms");
	const json_t *result = json_object_get(vm, "result");
	bool alive = json_is_true(json_object_get(vm, "alive"));
	char text[64];

	table_add(table, json_string_value(json_object_get(vm, "name")));
	table_add(table, json_string_value(json_object_get(vm, "state")));
	add_number(table, json_object_get(vm, "pid"));
	table_add(table,
		  json_is_integer(uptime)
			  ? table_duration((uint64_t)json_integer_value(uptime), text, sizeof(text))
			  : NULL);
	add_number(table, json_object_get(vm, "cpus"));
	add_size(table, json_object_get(vm, "memory"));
	table_add(table, alive ? NULL : vm_result_text(result, text, sizeof(text)));
}

static int print_vms(const struct cli_options *options, json_t *vms)
{
	static const struct table_column columns[] = {
		{"NAME", false}, {"STATE", false}, {"PID", true},     {"UPTIME", true},
		{"CPUS", true},	 {"MEMORY", true}, {"RESULT", false},
	};
	struct table table = {.columns = columns, .n_columns = ARRAY_SIZE(columns)};

	for (size_t i = 0; i < json_array_size(vms); i++)
		add_row(&table, json_array_get(vms, i));
	json_decref(vms);
	return vm_print_table(options, &table);
}

static int print_names(const struct cli_options *options, const struct rundir_entry *list,
		       unsigned n)
{
	json_t *names;

	if (!option_given(options, OPTION_JSON)) {
		for (unsigned i = 0; i < n; i++)
			(void)printf("%s\n", list[i].name);
		return vm_finish_output(options, 0);
	}
	names = json_array();
	for (unsigned i = 0; i < n; i++)
		(void)json_array_append_new(names, json_string(list[i].name));
	return vm_print_json(options, names);
}

int cli_ps(const struct cli_options *options)
{
	_cleanup_free_ struct rundir_entry *list = NULL;
	struct err err = {0};
	unsigned n = 0;

	if (rundir_list(&list, &n, &err) < 0)
		return vm_tell_error(options, err.msg);
	if (option_given(options, OPTION_QUIET))
		return print_names(options, list, n);
	if (option_given(options, OPTION_JSON))
		return vm_print_json(options, describe_all(list, n));
	return print_vms(options, describe_all(list, n));
}

/* ---- status ---- */

static int status_code(const json_t *vm)
{
	const char *state = json_string_value(json_object_get(vm, "state"));

	if (!json_is_true(json_object_get(vm, "alive")))
		return STATUS_DEAD;
	return state && strcmp(state, "unknown") != 0 ? STATUS_RUNS : STATUS_UNKNOWN;
}

static void print_status(const char *name, const json_t *vm, int code)
{
	json_t *uptime = json_object_get(vm, "uptime_ms");
	int pid = (int)json_integer_value(json_object_get(vm, "pid"));
	char text[64];

	if (!vm)
		(void)printf("%s: there is no such VM\n", name);
	else if (code == STATUS_DEAD)
		(void)printf("%s: not running; result: %s\n", name,
			     vm_result_text(json_object_get(vm, "result"), text, sizeof(text)));
	else if (code == STATUS_UNKNOWN)
		(void)printf("%s: process %d lives but does not answer\n", name, pid);
	else if (!json_is_integer(uptime))
		(void)printf("%s: running, too busy to say more (process %d)\n", name, pid);
	else
		(void)printf(
			"%s: %s for %s (process %d)\n", name,
			json_string_value(json_object_get(vm, "state")),
			table_duration((uint64_t)json_integer_value(uptime), text, sizeof(text)),
			pid);
}

int cli_status(const struct cli_options *options)
{
	const char *name = options->words[0];
	int code = STATUS_DEAD, r;
	struct err err = {0};
	json_t *seen = NULL;
	struct vm_ref vm;

	r = vm_ref_open(name, &vm, &err);
	if (r < 0 && r != -ENOENT) {
		(void)vm_tell_error(options, err.msg);
		return STATUS_UNKNOWN;
	}
	if (r == 0) {
		seen = describe(&vm);
		code = status_code(seen);
		vm_ref_done(&vm);
	}
	if (option_given(options, OPTION_JSON))
		(void)vm_print_json(options,
				    json_pack("{s:s, s:i, s:o}", "name", name, "status", code,
					      "state", or_null(json_object_get(seen, "state"))));
	else
		print_status(name, seen, code);
	json_decref(seen);
	return vm_finish_output(options, code);
}

/* ---- inspect ---- */

int cli_inspect(const struct cli_options *options)
{
	_cleanup_free_ char *path = malloc(RUNDIR_PATH_LEN);
	json_t *info = NULL, *config = NULL, *result, *o;
	struct err err = {0};
	struct vm_ref vm;
	int r;

	if (!path || rundir_base(path, &err) < 0)
		return vm_tell_error(options, err.code ? err.msg : "out of memory");
	if (vm_set_only(options, &vm) < 0)
		return EXIT_VMM_ERROR;
	if (vm.entry.alive) {
		r = vm_ref_ask(&vm, "GET", "/v1/info", NULL, &info, &err);
		if (r == 0)
			r = vm_ref_ask(&vm, "GET", "/v1/config", NULL, &config, &err);
		/* What is left of one that has ended just now is shown all the same. */
		if (r < 0 && vm_ref_is_alive(&vm))
			(void)vm_tell_error(options, err.msg);
	}
	if (!config)
		config = read_config(&vm);
	result = vm_ref_is_alive(&vm) ? NULL : vm_ref_result(&vm);
	o = json_pack("{s:o, s:o, s:o, s:s++}", "info", info ? info : json_null(), "config",
		      config ? config : json_null(), "result", result ? result : json_null(),
		      "path", path, "/", vm.entry.name);
	r = err.code && vm_ref_is_alive(&vm) ? EXIT_VMM_ERROR : 0;
	vm_ref_done(&vm);
	return vm_print_json(options, o) ? EXIT_VMM_ERROR : r;
}

/* ---- stats ---- */

static void add_value(struct table *table, const char *path, const json_t *value)
{
	table_add(table, path);
	if (json_is_integer(value))
		table_addf(table, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		table_addf(table, "%.3f", json_real_value(value));
	else if (json_is_string(value))
		table_add(table, json_string_value(value));
	else
		table_add(table,
			  json_is_boolean(value) ? (json_is_true(value) ? "on" : "off") : NULL);
}

/* How deep it may go; an answer is nobody's reason to overflow our stack. */
enum { DEPTH = 8, PATH_LEN = 256 };

static void flatten(struct table *table, const char *path, json_t *value, unsigned depth);

static void flatten_under(struct table *table, const char *path, const char *key, json_t *value,
			  unsigned depth)
{
	char below[PATH_LEN];

	(void)snprintf(below, sizeof(below), "%s%s%s", path, *path ? "." : "", key);
	flatten(table, below, value, depth + 1);
}

static void flatten(struct table *table, const char *path, json_t *value, unsigned depth)
{
	const char *key;
	json_t *item;
	size_t i;

	if (depth < DEPTH && json_is_object(value)) {
		json_object_foreach(value, key, item) if (strcmp(key, "id") != 0)
			flatten_under(table, path, key, item, depth);
	} else if (depth < DEPTH && json_is_array(value)) {
		json_array_foreach(value, i, item)
		{
			char index[32];

			(void)snprintf(index, sizeof(index), "%zu", i);
			flatten_under(table, path, index, item, depth);
		}
	} else {
		add_value(table, path, value);
	}
}

int cli_stats(const struct cli_options *options)
{
	static const struct table_column columns[] = {{"COUNTER", false}, {"VALUE", true}};
	struct table table = {.columns = columns, .n_columns = ARRAY_SIZE(columns)};
	json_t *stats = NULL;
	struct err err = {0};
	struct vm_ref vm;
	int r;

	if (vm_set_only_alive(options, &vm) < 0)
		return EXIT_VMM_ERROR;
	r = vm_ref_ask(&vm, "GET", "/v1/stats", NULL, &stats, &err);
	vm_ref_done(&vm);
	if (r < 0)
		return vm_tell_error(options, err.msg);
	if (option_given(options, OPTION_JSON))
		return vm_print_json(options, stats);
	flatten(&table, "", stats, 0);
	json_decref(stats);
	return vm_print_table(options, &table);
}
