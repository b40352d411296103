/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm pause`, `resume`, `reset`, `power-button`, `nmi` and `log-level`: one request each. */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/vm_set.h"
#include "machine/outcome.h"

/* The endpoints have the commands' names. */
static void steer(const struct cli_options *options, struct vm_ref *vm)
{
	char target[48];
	json_t *answer;

	(void)snprintf(target, sizeof(target), "/v1/%s", options->command->name);
	if (vm_ref_need_alive(vm, &vm->err) < 0 ||
	    vm_ref_ask(vm, "POST", target, NULL, &answer, &vm->err) < 0)
		return;
	(void)json_object_update(vm->answer, answer);
	json_decref(answer);
}

int cli_steer(const struct cli_options *options)
{
	struct err err = {0};
	struct vm_set set;

	if (vm_set_open(options, &set, &err) < 0)
		return vm_tell_error(options, err.msg);
	vm_set_each(options, &set, steer);
	return vm_set_finish(options, &set);
}

static const char *const levels[] = {"error", "warn", "info", "debug"};

static int check_level(const char *level, struct err *err)
{
	const char *near = text_nearest(level, levels, ARRAY_SIZE(levels));

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (strcmp(level, levels[i]) == 0)
			return 0;
	return err_set(err, -EINVAL, "\"%s\" is none of error, warn, info and debug%s%s%s", level,
		       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static int ask_level(const struct cli_options *options, const struct vm_ref *vm, json_t **ret,
		     struct err *err)
{
	const char *level = options->n_words > 1 ? options->words[1] : NULL;
	char body[48];

	if (!level)
		return vm_ref_ask(vm, "GET", "/v1/log", NULL, ret, err);
	(void)snprintf(body, sizeof(body), "{\"level\": \"%s\"}", level);
	return vm_ref_ask(vm, "PUT", "/v1/log", body, ret, err);
}

static void print_level(const json_t *answer)
{
	const char *level = json_string_value(json_object_get(answer, "level"));

	(void)printf("%s\n", level ? level : "unknown");
}

int cli_log_level(const struct cli_options *options)
{
	json_t *answer = NULL;
	struct err err = {0};
	struct vm_ref vm;
	int r;

	if (options->n_words > 1 && check_level(options->words[1], &err) < 0)
		return vm_tell_error(options, err.msg);
	if (vm_set_only_alive(options, &vm) < 0)
		return EXIT_VMM_ERROR;
	r = ask_level(options, &vm, &answer, &err);
	vm_ref_done(&vm);
	if (r < 0)
		return vm_tell_error(options, err.msg);
	if (option_given(options, OPTION_JSON))
		return vm_print_json(options, answer);
	/* What was set needs no telling. */
	if (options->n_words == 1)
		print_level(answer);
	json_decref(answer);
	return vm_finish_output(options, 0);
}
