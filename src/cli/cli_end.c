/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm stop`, `kill`, `wait` and `rm`: the end of a VM, and what is left after it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/vm_set.h"
#include "machine/outcome.h"

enum { EXIT_KILLED = 128 + 9 };

/* How long a VM gets to be gone after it was ended, and one that stops beyond its own deadline. */
#define PATIENCE_NS (5 * NS_PER_S)
/* What a stop takes when the VM does not say. */
#define USUAL_GRACE_NS (10 * NS_PER_S)

/* For --json, once it has ended. */
static void note_end(struct vm_ref *vm)
{
	json_t *result = vm_ref_result(vm);
	json_t *reason = json_object_get(result, "reason");
	json_t *code = json_object_get(result, "exit_code");

	(void)json_object_del(vm->answer, "state"); /* what it was asked for */
	(void)json_object_set_new(vm->answer, "reason", reason ? json_incref(reason) : json_null());
	(void)json_object_set_new(vm->answer, "exit_code", code ? json_incref(code) : json_null());
	json_decref(result);
}

/* As vm_ref_ask(), but one that is busy (-EAGAIN) is asked again for a while: it is alive. */
static int ask_patiently(struct vm_ref *vm, const char *method, const char *target,
			 const char *body, json_t **ret, struct err *err)
{
	uint64_t end_ns = clock_now_ns() + PATIENCE_NS;
	struct err said;
	int r, ended;

	do {
		said = (struct err){0};
		r = vm_ref_ask(vm, method, target, body, ret, &said);
		if (r != -EAGAIN || clock_now_ns() >= end_ns)
			break;
		/* Of one that has ended the next try says so. */
		ended = rundir_wait_dead(vm->dir_fd, 50 * NS_PER_MS, NULL);
	} while (ended == 0 || ended == -ETIMEDOUT);
	return r < 0 ? err_set(err, r, "%s", said.msg) : 0;
}

/* ---- kill ---- */

/* It has been told to end, or does not listen. */
static void end_by_force(struct vm_ref *vm, bool listens)
{
	if (listens && rundir_wait_dead(vm->dir_fd, PATIENCE_NS, NULL) == 0)
		return;
	if (vm_ref_sigkill(vm, &vm->err) == 0 &&
	    rundir_wait_dead(vm->dir_fd, PATIENCE_NS, NULL) < 0)
		(void)err_set(&vm->err, -ETIMEDOUT, "the VM \"%s\" does not end, even by SIGKILL",
			      vm->entry.name);
}

static void kill_vm(struct vm_ref *vm)
{
	json_t *answer = NULL;
	int r;

	if (!vm_ref_is_alive(vm))
		return;
	/* Of one that ends at once the answer may be lost; what counts is the end. */
	r = ask_patiently(vm, "POST", "/v1/kill", NULL, &answer, NULL);
	json_decref(answer);
	end_by_force(vm, r == 0 || r == -ECONNRESET || r == -ESRCH);
}

static void kill_step(const struct cli_options *options, struct vm_ref *vm)
{
	(void)options;
	kill_vm(vm);
	note_end(vm);
}

int cli_kill(const struct cli_options *options)
{
	struct err err = {0};
	struct vm_set set;

	if (vm_set_open(options, &set, &err) < 0)
		return vm_tell_error(options, err.msg);
	vm_set_each(options, &set, kill_step);
	return vm_set_finish(options, &set);
}

/* ---- stop ---- */

static uint64_t grace_of(const struct cli_options *options, struct vm_ref *vm)
{
	json_t *config = NULL, *value;
	uint64_t ns = USUAL_GRACE_NS;

	if (option_given(options, OPTION_TIMEOUT))
		return options->timeout_ns;
	if (ask_patiently(vm, "GET", "/v1/config", NULL, &config, NULL) < 0)
		return ns;
	value = json_object_get(config, "stop_timeout");
	if (json_is_integer(value) && json_integer_value(value) >= 0)
		ns = (uint64_t)json_integer_value(value) * NS_PER_S;
	else if (!json_is_string(value) || text_parse_duration(json_string_value(value), &ns) < 0)
		ns = USUAL_GRACE_NS;
	json_decref(config);
	return ns;
}

static int post_stop(const struct cli_options *options, struct vm_ref *vm, struct err *err)
{
	char text[32], body[64];
	json_t *answer;
	int r;

	(void)snprintf(body, sizeof(body), "{\"timeout\": \"%s\"}",
		       text_format_duration(options->timeout_ns, text, sizeof(text)));
	r = ask_patiently(vm, "POST", "/v1/stop",
			  option_given(options, OPTION_TIMEOUT) ? body : NULL, &answer, err);
	if (r < 0)
		return r;
	(void)json_object_update(vm->answer, answer);
	json_decref(answer);
	return 0;
}

/* All are asked before any is waited for. */
static void stop_step(const struct cli_options *options, struct vm_ref *vm)
{
	struct err err = {0};
	uint64_t grace_ns;
	int r;

	if (!vm_ref_is_alive(vm))
		return;
	r = post_stop(options, vm, &err);
	/* One that does not listen is ended by force when its time is up, as one that does not
	 * shut down; not one that says that it is busy. */
	if (r == -EAGAIN || (r == -ETIMEDOUT && option_given(options, OPTION_NO_WAIT)))
		(void)err_set(&vm->err, r, "%s; `vmm kill` ends it", err.msg);
	else if (r < 0 && r != -ETIMEDOUT && r != -ECONNRESET && r != -ESRCH)
		(void)err_set(&vm->err, r, "%s", err.msg);
	if (option_given(options, OPTION_NO_WAIT) || vm->err.code)
		return;
	grace_ns = r == -ETIMEDOUT ? USUAL_GRACE_NS : grace_of(options, vm);
	vm->deadline_ns = clock_now_ns() + MIN(grace_ns, 365 * 86400 * NS_PER_S) + PATIENCE_NS;
}

static void await_stop_step(const struct cli_options *options, struct vm_ref *vm)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t left_ns = vm->deadline_ns > now_ns ? vm->deadline_ns - now_ns : 1;
	struct err err = {0};
	int r = rundir_wait_dead(vm->dir_fd, left_ns, &err);

	(void)options;
	if (r == -ETIMEDOUT)
		kill_vm(vm);
	else if (r < 0)
		(void)err_set(&vm->err, r, "the VM \"%s\": %s", vm->entry.name, err.msg);
	note_end(vm);
}

int cli_stop(const struct cli_options *options)
{
	struct err err = {0};
	struct vm_set set;

	if (vm_set_open(options, &set, &err) < 0)
		return vm_tell_error(options, err.msg);
	vm_set_each(options, &set, stop_step);
	if (!option_given(options, OPTION_NO_WAIT))
		vm_set_each(options, &set, await_stop_step);
	return vm_set_finish(options, &set);
}

/* ---- wait ---- */

static void wait_step(const struct cli_options *options, struct vm_ref *vm)
{
	(void)options;
	if (rundir_wait_dead(vm->dir_fd, 0, &vm->err) == 0)
		note_end(vm);
}

/* The exit status of `vmm run`, had it been waited for; -1: there is none. */
static int exit_status(const struct vm_ref *vm)
{
	const char *reason = json_string_value(json_object_get(vm->answer, "reason"));
	const json_t *code = json_object_get(vm->answer, "exit_code");

	if (!reason || strcmp(reason, "lost") == 0 || !json_is_integer(code))
		return -1;
	return (int)json_integer_value(code);
}

static int last_status(const struct cli_options *options, const struct vm_set *set)
{
	int status = 0;

	for (unsigned i = 0; i < set->n; i++) {
		const struct vm_ref *vm = &set->vms[i];

		status = vm->err.code ? EXIT_VMM_ERROR : exit_status(vm);
		if (status >= 0)
			continue;
		status = EXIT_KILLED;
		(void)fprintf(stderr, "vmm: %s: the VM \"%s\" was killed and left no result\n",
			      options->command->name, vm->entry.name);
	}
	return status;
}

int cli_wait(const struct cli_options *options)
{
	struct err err = {0};
	struct vm_set set;
	int status, r;

	if (vm_set_open(options, &set, &err) < 0)
		return vm_tell_error(options, err.msg);
	vm_set_each(options, &set, wait_step);
	status = last_status(options, &set);
	r = vm_set_finish(options, &set);
	return r ? r : status;
}

/* ---- rm ---- */

static void remove_step(const struct cli_options *options, struct vm_ref *vm)
{
	bool force = option_given(options, OPTION_FORCE);
	struct err err = {0};
	int r;

	if (force)
		kill_vm(vm);
	if (vm->err.code)
		return;
	r = rundir_remove_dead(vm->entry.name, &err);
	if (r == -EBUSY)
		(void)err_set(&vm->err, r, "%s; stop it first, or use --force", err.msg);
	else if (r == -ENOENT && (force || option_given(options, OPTION_DEAD)))
		r = 0; /* It took its directory along. */
	else if (r < 0)
		(void)err_set(&vm->err, r, "%s", err.msg);
	if (r == 0)
		(void)json_object_set_new(vm->answer, "removed", json_true());
}

int cli_rm(const struct cli_options *options)
{
	struct err err = {0};
	struct vm_set set;

	if (vm_set_open(options, &set, &err) < 0)
		return vm_tell_error(options, err.msg);
	vm_set_each(options, &set, remove_step);
	return vm_set_finish(options, &set);
}
