/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm device`: what a VM's devices are and what they can do, by the table that the VM gives. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/vm_set.h"
#include "machine/outcome.h"

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* The object of an array whose member `key` is name; else NULL and the nearest name. */
static json_t *find_named(const json_t *array, const char *key, const char *name,
			  const char **ret_near)
{
	_cleanup_free_ const char **names = calloc(json_array_size(array) + 1, sizeof(*names));

	for (size_t i = 0; names && i < json_array_size(array); i++) {
		names[i] = text_of(json_array_get(array, i), key);
		if (strcmp(names[i], name) == 0)
			return json_array_get(array, i);
	}
	*ret_near = names ? text_nearest(name, names, json_array_size(array)) : NULL;
	return NULL;
}

static json_t *need_named(const json_t *array, const char *key, const char *name, const char *what,
			  struct err *err)
{
	const char *near = NULL;
	json_t *found = find_named(array, key, name, &near);

	if (!found && near)
		(void)err_set(err, -ENOENT, "there is no %s \"%s\", did you mean \"%s\"?", what,
			      name, near);
	else if (!found)
		(void)err_set(err, -ENOENT, "there is no %s \"%s\"", what, name);
	return found;
}

/* ---- showing ---- */

static int list_devices(const struct cli_options *options, const json_t *devices)
{
	static const struct table_column columns[] = {
		{"DEVICE", false}, {"VERBS", false}, {"WHAT", false}};
	struct table table = {.columns = columns, .n_columns = ARRAY_SIZE(columns)};

	for (size_t i = 0; i < json_array_size(devices); i++) {
		const json_t *device = json_array_get(devices, i);
		const json_t *verbs = json_object_get(device, "verbs");
		_cleanup_free_ char *text = NULL;
		struct str names = {0};

		for (size_t v = 0; v < json_array_size(verbs); v++)
			str_addf(&names, "%s%s", v ? "," : "",
				 text_of(json_array_get(verbs, v), "name"));
		text = str_steal(&names);
		table_add(&table, text_of(device, "id"));
		table_add(&table, text && *text ? text : NULL);
		table_add(&table, text_of(device, "help"));
	}
	return vm_print_table(options, &table);
}

static void print_param(const json_t *param)
{
	const json_t *min = json_object_get(param, "min"), *max = json_object_get(param, "max");

	(void)printf("      %s=%s", text_of(param, "name"),
		     strcmp(text_of(param, "type"), "number") == 0 ? "NUMBER" : "TEXT");
	if (json_is_integer(min) && json_is_integer(max))
		(void)printf(" (%lld to %lld)", (long long)json_integer_value(min),
			     (long long)json_integer_value(max));
	(void)printf("%s  %s\n",
		     json_is_true(json_object_get(param, "required")) ? "" : " (optional)",
		     text_of(param, "help"));
}

static void print_verbs(const json_t *verbs)
{
	if (json_array_size(verbs))
		(void)printf("\nverbs:\n");
	for (size_t i = 0; i < json_array_size(verbs); i++) {
		const json_t *verb = json_array_get(verbs, i);
		const json_t *params = json_object_get(verb, "params");

		(void)printf("  %s  %s\n", text_of(verb, "name"), text_of(verb, "help"));
		for (size_t p = 0; p < json_array_size(params); p++)
			print_param(json_array_get(params, p));
	}
}

static void print_stats(const json_t *stats, const json_t *values)
{
	if (json_array_size(stats))
		(void)printf("\ncounters:\n");
	for (size_t i = 0; i < json_array_size(stats); i++) {
		const json_t *stat = json_array_get(stats, i);
		const json_t *value = json_object_get(values, text_of(stat, "name"));

		(void)printf("  %-24s %12lld  %s\n", text_of(stat, "name"),
			     (long long)json_integer_value(value), text_of(stat, "help"));
	}
}

static int show_device(const struct cli_options *options, const struct vm_ref *vm, json_t *device,
		       struct err *err)
{
	json_t *stats = NULL, *values;
	int r = vm_ref_ask(vm, "GET", "/v1/stats", NULL, &stats, err);

	if (r < 0)
		return r;
	values = json_object_get(json_object_get(stats, "devices"), text_of(device, "id"));
	if (option_given(options, OPTION_JSON)) {
		(void)json_object_set(device, "values", values ? values : json_null());
		r = vm_print_json(options, json_incref(device));
	} else {
		(void)printf("%s: %s\n", text_of(device, "id"), text_of(device, "help"));
		print_stats(json_object_get(device, "stats"), values);
		print_verbs(json_object_get(device, "verbs"));
		r = vm_finish_output(options, 0);
	}
	json_decref(stats);
	return r;
}

/* ---- verbs ---- */

static json_t *number_of(const char *text)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	return *text && !*end && !errno ? json_integer(n) : NULL;
}

/* KEY=VALUE into the body, as the verb's table says. */
static int add_param(json_t *body, const json_t *verb, const char *word, struct err *err)
{
	_cleanup_free_ char *key = strndup(word, strcspn(word, "="));
	const char *equals = strchr(word, '=');
	const json_t *param;
	json_t *value;
	bool number;

	if (!key)
		return err_set(err, -ENOMEM, "out of memory");
	if (!equals)
		return err_set(err, -EINVAL, "\"%s\" is not KEY=VALUE", word);
	param = need_named(json_object_get(verb, "params"), "name", key, "parameter", err);
	if (!param)
		return -ENOENT;
	if (json_object_get(body, key))
		return err_set(err, -EINVAL, "%s is given twice", key);
	number = strcmp(text_of(param, "type"), "number") == 0;
	value = number ? number_of(equals + 1) : json_string(equals + 1);
	if (!value)
		return err_set(err, -EINVAL, "%s: \"%s\" is %s", key, equals + 1,
			       number ? "no whole number" : "not UTF-8");
	return json_object_set_new(body, key, value) < 0 ? err_set(err, -ENOMEM, "out of memory")
							 : 0;
}

static int post_verb(const struct cli_options *options, const struct vm_ref *vm, json_t *body,
		     json_t **ret, struct err *err)
{
	_cleanup_free_ char *text = json_dumps(body, JSON_COMPACT), *target = NULL;

	if (!text ||
	    asprintf(&target, "/v1/devices/%s/%s", options->words[1], options->words[2]) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	return vm_ref_ask(vm, "POST", target, text, ret, err);
}

static int run_verb(const struct cli_options *options, const struct vm_ref *vm,
		    const json_t *device, struct err *err)
{
	const json_t *verb = need_named(json_object_get(device, "verbs"), "name", options->words[2],
					"verb of this device", err);
	json_t *body, *answer = NULL;
	int r = 0;

	if (!verb)
		return -ENOENT;
	body = json_object();
	for (unsigned i = 3; i < options->n_words && r == 0; i++)
		r = add_param(body, verb, options->words[i], err);
	if (r == 0)
		r = post_verb(options, vm, body, &answer, err);
	json_decref(body);
	if (r < 0)
		return r;
	if (option_given(options, OPTION_JSON))
		return vm_print_json(options, answer);
	json_decref(answer);
	return 0;
}

static int do_device(const struct cli_options *options, const struct vm_ref *vm, json_t *devices,
		     struct err *err)
{
	json_t *device;

	if (options->n_words == 1)
		return option_given(options, OPTION_JSON)
			       ? vm_print_json(options, json_incref(devices))
			       : list_devices(options, devices);
	device = need_named(devices, "id", options->words[1], "device", err);
	if (!device)
		return -ENOENT;
	return options->n_words == 2 ? show_device(options, vm, device, err)
				     : run_verb(options, vm, device, err);
}

int cli_device(const struct cli_options *options)
{
	json_t *devices = NULL;
	struct err err = {0};
	struct vm_ref vm;
	int r;

	if (vm_set_only_alive(options, &vm) < 0)
		return EXIT_VMM_ERROR;
	r = vm_ref_ask(&vm, "GET", "/v1/devices", NULL, &devices, &err);
	/* 0, or an exit status, or an error. */
	if (r == 0)
		r = do_device(options, &vm, devices, &err);
	json_decref(devices);
	vm_ref_done(&vm);
	return r < 0 ? vm_tell_error(options, err.msg) : r;
}
