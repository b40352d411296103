/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/vm_set.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cli/client.h"
#include "machine/outcome.h"

enum { RESULT_MAX = 1 << 20 };

int vm_tell_error(const struct cli_options *options, const char *text)
{
	(void)fprintf(stderr, "vmm: error: vmm %s: %s\n", options->command->name, text);
	return EXIT_VMM_ERROR;
}

int vm_finish_output(const struct cli_options *options, int status)
{
	if (fflush(stdout) != EOF && !ferror(stdout))
		return status;
	return vm_tell_error(options, "can't write to standard output");
}

int vm_print_json(const struct cli_options *options, json_t *json)
{
	int r = json ? json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : -1;

	json_decref(json);
	(void)putchar('\n');
	return r < 0 ? vm_tell_error(options, "can't print the answer")
		     : vm_finish_output(options, 0);
}

int vm_print_table(const struct cli_options *options, struct table *table)
{
	_cleanup_free_ char *text = table_text(table);

	table_done(table);
	if (!text)
		return vm_tell_error(options, "out of memory");
	(void)fputs(text, stdout);
	return vm_finish_output(options, 0);
}

/* ---- one VM ---- */

static int open_ref(const char *name, struct vm_ref *vm, struct err *err)
{
	int r;

	*vm = (struct vm_ref){.dir_fd = -1, .result_fd = -1};
	(void)snprintf(vm->entry.name, sizeof(vm->entry.name), "%s", name);
	vm->answer = json_pack("{s:s}", "name", vm->entry.name);
	r = rundir_find(name, &vm->entry, &vm->dir_fd, err);
	if (r < 0)
		return r;
	vm->result_fd = rundir_open(vm->dir_fd, RUNDIR_RESULT);
	if (vm->result_fd < 0)
		vm->result_fd = -1;
	return vm->answer ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int vm_ref_open(const char *name, struct vm_ref *ret, struct err *err)
{
	struct vm_ref vm;
	int r = open_ref(name, &vm, err);

	if (r < 0)
		vm_ref_done(&vm);
	else
		*ret = vm;
	return r;
}

void vm_ref_done(struct vm_ref *vm)
{
	vm->dir_fd = fd_close(vm->dir_fd);
	vm->result_fd = fd_close(vm->result_fd);
	json_decref(vm->answer);
	vm->answer = NULL;
}

/* One that can't be asked for is not dead. */
bool vm_ref_is_alive(const struct vm_ref *vm)
{
	return rundir_wait_dead(vm->dir_fd, 1, NULL) != 0;
}

json_t *vm_ref_result(const struct vm_ref *vm)
{
	_cleanup_free_ char *text = NULL;
	json_t *result;

	/* By name first: the file may have been replaced; or it is gone with its directory. */
	if (rundir_read(vm->dir_fd, RUNDIR_RESULT, RESULT_MAX, &text) < 0 &&
	    (vm->result_fd < 0 || rundir_read_fd(vm->result_fd, RESULT_MAX, &text) < 0))
		return NULL;
	result = json_loads(text, 0, NULL);
	if (json_is_object(result))
		return result;
	json_decref(result);
	return NULL;
}

char *vm_result_text(const json_t *result, char *buf, size_t len)
{
	const char *reason = json_string_value(json_object_get(result, "reason"));
	const json_t *code = json_object_get(result, "exit_code");

	if (!reason)
		(void)snprintf(buf, len, "none");
	else if (strcmp(reason, "lost") == 0 || !json_is_integer(code))
		(void)snprintf(buf, len, "%s", reason);
	else
		(void)snprintf(buf, len, "%s (%d)", reason, (int)json_integer_value(code));
	return buf;
}

int vm_ref_need_alive(const struct vm_ref *vm, struct err *err)
{
	char text[64];
	json_t *result;

	if (vm_ref_is_alive(vm))
		return 0;
	result = vm_ref_result(vm);
	(void)err_set(err, -ESRCH, "the VM \"%s\" is not running; its result is: %s",
		      vm->entry.name, vm_result_text(result, text, sizeof(text)));
	json_decref(result);
	return -ESRCH;
}

int vm_ref_ask(const struct vm_ref *vm, const char *method, const char *target, const char *body,
	       json_t **ret, struct err *err)
{
	struct err said = {0};
	int r = client_json(vm->dir_fd, method, target, body, ret, &said);

	return r < 0 ? err_set(err, r, "the VM \"%s\": %s", vm->entry.name, said.msg) : 0;
}

/* The number in the lock file may be of another PID namespace, so it is only compared: that this is
 * still the VM that was found. The process is the one that listens on its socket; it is held by a
 * descriptor before the lock is looked at, so that it can't be a later one with the same id. */
int vm_ref_sigkill(const struct vm_ref *vm, struct err *err)
{
	struct rundir_entry now;
	struct err why = {0};
	pid_t pid = 0;
	_cleanup_close_ int pidfd = rundir_open_process(vm->dir_fd, &pid, &why);
	int r = rundir_look(vm->dir_fd, vm->entry.name, &now, err);

	if (r < 0 || !now.alive)
		return r;
	if (pidfd < 0)
		return err_set(err, pidfd,
			       "the VM \"%s\" does not end, and its process can't be found: %s",
			       vm->entry.name, why.msg);
	if (now.pid != vm->entry.pid)
		return err_set(
			err, -ESRCH,
			"the VM \"%s\" is another one by now, so it is not killed; try again",
			vm->entry.name);
	if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return err_set(err, -errno, "the VM \"%s\": can't kill process %d: %s",
			       vm->entry.name, (int)pid, strerror(errno));
	return 0;
}

/* ---- several ---- */

static int add_vm(struct vm_set *set, const char *name)
{
	struct vm_ref *more = realloc(set->vms, (set->n + 1) * sizeof(*more));
	struct vm_ref *vm;

	if (!more)
		return -ENOMEM;
	set->vms = more;
	vm = &more[set->n++];
	(void)open_ref(name, vm, &vm->err);
	return 0;
}

static int add_listed(const struct cli_options *options, struct vm_set *set, struct err *err)
{
	_cleanup_free_ struct rundir_entry *list = NULL;
	unsigned n = 0;
	int r = rundir_list(&list, &n, err);

	for (unsigned i = 0; i < n && r == 0; i++)
		if (list[i].alive == option_given(options, OPTION_ALL) ||
		    (options->given & (OPTION_ALL | OPTION_DEAD)) == (OPTION_ALL | OPTION_DEAD))
			r = add_vm(set, list[i].name);
	return r;
}

static void free_set(struct vm_set *set)
{
	for (unsigned i = 0; i < set->n; i++)
		vm_ref_done(&set->vms[i]);
	free(set->vms);
	*set = (struct vm_set){0};
}

int vm_set_open(const struct cli_options *options, struct vm_set *ret, struct err *err)
{
	struct vm_set set = {0};
	int r = 0;

	if (options->given & (OPTION_ALL | OPTION_DEAD))
		r = add_listed(options, &set, err);
	for (unsigned i = 0; i < options->n_words && r == 0; i++)
		r = add_vm(&set, options->words[i]);
	if (r < 0) {
		free_set(&set);
		return err_set(err, r, "%s", strerror(-r));
	}
	*ret = set;
	return 0;
}

void vm_set_each(const struct cli_options *options, struct vm_set *set,
		 void (*step)(const struct cli_options *options, struct vm_ref *vm))
{
	for (unsigned i = 0; i < set->n; i++)
		if (!set->vms[i].err.code)
			step(options, &set->vms[i]);
}

int vm_set_finish(const struct cli_options *options, struct vm_set *set)
{
	json_t *answers = option_given(options, OPTION_JSON) ? json_array() : NULL;
	int status = 0;

	for (unsigned i = 0; i < set->n; i++) {
		struct vm_ref *vm = &set->vms[i];

		if (vm->err.code) {
			status = vm_tell_error(options, vm->err.msg);
			(void)json_object_set_new(vm->answer, "error", json_string(vm->err.msg));
		}
		if (answers)
			(void)json_array_append(answers, vm->answer);
	}
	if (answers && vm_print_json(options, answers) != 0)
		status = EXIT_VMM_ERROR;
	free_set(set);
	return status;
}

int vm_set_only(const struct cli_options *options, struct vm_ref *ret)
{
	struct err err = {0};
	int r = vm_ref_open(options->words[0], ret, &err);

	if (r < 0)
		(void)vm_tell_error(options, err.msg);
	return r;
}

int vm_set_only_alive(const struct cli_options *options, struct vm_ref *ret)
{
	struct err err = {0};
	int r = vm_set_only(options, ret);

	if (r < 0)
		return r;
	r = vm_ref_need_alive(ret, &err);
	if (r < 0) {
		vm_ref_done(ret);
		(void)vm_tell_error(options, err.msg);
	}
	return r;
}
