/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm events` and `vmm logs`: what happened, and what goes on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/vm_set.h"
#include "machine/outcome.h"

/* ---- events ---- */

static bool is_shown_apart(const char *key)
{
	return strcmp(key, "seq") == 0 || strcmp(key, "time") == 0 || strcmp(key, "event") == 0 ||
	       strcmp(key, "monotonic_ns") == 0;
}

/* "2026-11-22T10:00:00.123456Z  stopping  by=api grace_ms=10000" */
static void print_event(struct lines *lines, const char *text)
{
	json_t *event = json_loads(text, 0, NULL), *value;
	const char *time = json_string_value(json_object_get(event, "time"));
	const char *name = json_string_value(json_object_get(event, "event")), *key;

	(void)lines;
	(void)printf("%s  %s", time ? time : "-", name ? name : text);
	json_object_foreach(event, key, value)
	{
		if (is_shown_apart(key))
			continue;
		if (json_is_string(value))
			(void)printf("  %s=%s", key, json_string_value(value));
		else if (json_is_integer(value))
			(void)printf("  %s=%lld", key, (long long)json_integer_value(value));
	}
	(void)putchar('\n');
	json_decref(event);
}

static bool write_out(const char *bytes, size_t n)
{
	return fwrite(bytes, 1, n, stdout) == n && fflush(stdout) == 0;
}

static bool take_raw(void *arg, const char *bytes, size_t n)
{
	(void)arg;
	return write_out(bytes, n);
}

static bool take_lines(void *arg, const char *bytes, size_t n)
{
	lines_feed(arg, bytes, n);
	return fflush(stdout) == 0;
}

int cli_events(const struct cli_options *options)
{
	struct lines lines = {.line = print_event};
	bool json = option_given(options, OPTION_JSON);
	char target[96];
	struct client_request request = {.method = "GET",
					 .target = target,
					 .sink = json ? take_raw : take_lines,
					 .arg = &lines};
	struct client_reply reply = {.body = NULL};
	struct err err = {0};
	struct vm_ref vm;
	int r;

	if (vm_set_only(options, &vm) < 0)
		return EXIT_VMM_ERROR;
	(void)snprintf(target, sizeof(target), "/v1/events?since=%llu%s",
		       (unsigned long long)options->since,
		       option_given(options, OPTION_NO_FOLLOW) ? "&follow=0" : "");
	r = vm_ref_need_alive(&vm, &err);
	if (r == 0)
		r = client_do(vm.dir_fd, &request, &reply, &err);
	lines_done(&lines);
	free(reply.body);
	vm_ref_done(&vm);
	return r < 0 ? vm_tell_error(options, err.msg) : vm_finish_output(options, 0);
}

/* ---- logs ---- */

/* Where log text goes: as it is, or each line as {"line": "..."}. */
struct log_out {
	struct lines lines;
	bool json;
};

/* What a guest prints need not be UTF-8. */
static json_t *json_line(const char *text)
{
	json_t *json = json_string(text);
	_cleanup_free_ char *ascii = NULL;

	if (json)
		return json;
	ascii = strdup(text);
	for (char *c = ascii; c && *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return ascii ? json_string(ascii) : NULL;
}

static void print_json_line(struct lines *lines, const char *text)
{
	json_t *object = json_pack("{s:o}", "line", json_line(text));

	(void)lines;
	if (object && json_dumpf(object, stdout, JSON_COMPACT) == 0)
		(void)putchar('\n');
	json_decref(object);
}

static bool take_log(void *arg, const char *bytes, size_t n)
{
	struct log_out *out = arg;

	if (!out->json)
		return write_out(bytes, n);
	lines_feed(&out->lines, bytes, n);
	return fflush(stdout) == 0;
}

/* From where the descriptor is to the end of the file. */
static int copy_file(int fd, struct log_out *out)
{
	char bytes[2048];
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!take_log(out, bytes, (size_t)n))
			return -EPIPE;
	}
	return 0;
}

static bool is_same_file(int a, int b)
{
	struct stat one, other;

	return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_ino == other.st_ino &&
	       one.st_dev == other.st_dev;
}

/* A new file of that name: the log has been cut, and the old one is read out first. */
static int switch_file(const struct vm_ref *vm, const char *name, int fd, struct log_out *out)
{
	int next = rundir_open(vm->dir_fd, name);
	int r;

	if (next < 0 || is_same_file(fd, next)) {
		(void)fd_close(next);
		return fd;
	}
	r = copy_file(fd, out);
	(void)fd_close(fd);
	if (r < 0) {
		(void)fd_close(next);
		return r;
	}
	return next;
}

/* Looks at the file ten times a second, and once more after the end. Owns fd. */
static int follow_file(const struct vm_ref *vm, const char *name, int fd, struct log_out *out)
{
	bool ended = false;
	int r = 0;

	while (r == 0 && !ended) {
		ended = rundir_wait_dead(vm->dir_fd, 100 * NS_PER_MS, NULL) == 0;
		r = copy_file(fd, out);
		if (r == 0) {
			fd = switch_file(vm, name, fd, out);
			r = fd < 0 ? fd : copy_file(fd, out);
		}
	}
	(void)fd_close(fd);
	return r;
}

static int show_files(const struct cli_options *options, const struct vm_ref *vm,
		      struct log_out *out)
{
	bool console = !option_given(options, OPTION_VMM_LOG);
	const char *name = console ? RUNDIR_CONSOLE : RUNDIR_LOG;
	int old = console ? rundir_open(vm->dir_fd, RUNDIR_CONSOLE_OLD) : -ENOENT;
	int fd = rundir_open(vm->dir_fd, name), r = 0;

	if (old >= 0) {
		/* Cut between the two calls: what was opened as the new one is the old one. */
		r = is_same_file(old, fd) ? 0 : copy_file(old, out);
		(void)fd_close(old);
	}
	if (r == 0)
		r = fd < 0 ? fd : copy_file(fd, out);
	if (r == 0 && option_given(options, OPTION_FOLLOW))
		return follow_file(vm, name, fd, out);
	(void)fd_close(fd);
	return r;
}

/* Of a VM whose console goes elsewhere. */
static int show_console(const struct cli_options *options, const struct vm_ref *vm,
			struct log_out *out, struct err *err)
{
	struct client_request tail = {
		.method = "GET", .target = "/v1/console/tail", .sink = take_log, .arg = out};
	struct client_request rest = tail;
	struct client_reply reply;
	int r = client_do(vm->dir_fd, &tail, &reply, err);

	if (r < 0)
		return r;
	free(reply.body);
	if (!option_given(options, OPTION_FOLLOW))
		return 0;
	rest.target = "/v1/console";
	r = client_do(vm->dir_fd, &rest, &reply, err);
	if (r == 0)
		free(reply.body);
	return r;
}

static int show_log(const struct cli_options *options, const struct vm_ref *vm, struct log_out *out,
		    struct err *err)
{
	bool vmm_log = option_given(options, OPTION_VMM_LOG);
	int r = show_files(options, vm, out);

	if (r == -ENOENT && !vmm_log && vm_ref_is_alive(vm))
		return show_console(options, vm, out, err);
	if (r == -ENOENT)
		return err_set(err, r, "the VM \"%s\" keeps no %s; `vmm run --detach` does",
			       vm->entry.name, vmm_log ? "log of vmm" : "log of its console");
	return r < 0 ? err_set(err, r, "%s", strerror(-r)) : 0;
}

int cli_logs(const struct cli_options *options)
{
	struct log_out out = {.lines.line = print_json_line,
			      .json = option_given(options, OPTION_JSON)};
	struct err err = {0};
	struct vm_ref vm;
	int r;

	if (vm_set_only(options, &vm) < 0)
		return EXIT_VMM_ERROR;
	r = show_log(options, &vm, &out, &err);
	lines_done(&out.lines);
	vm_ref_done(&vm);
	return r < 0 ? vm_tell_error(options, err.msg) : vm_finish_output(options, 0);
}
