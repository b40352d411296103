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

	if (vm_set_only_alive(options, &vm) < 0)
		return EXIT_VMM_ERROR;
	(void)snprintf(target, sizeof(target), "/v1/events?since=%llu%s",
		       (unsigned long long)options->since,
		       option_given(options, OPTION_NO_FOLLOW) ? "&follow=0" : "");
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

/*
 * A log file on its way to the user. When console.log is full, vmm (console_log.c) copies it over
 * console.log.1 and then cuts it to nothing, in place. So a copy that is finished is longer than
 * the file, until that is full again; one that is not finished is not, and says nothing new.
 */
struct tail {
	const struct vm_ref *vm;
	const char *name;
	struct log_out *out;
	int fd, old_fd;	 /* old_fd: the copy, -1: none */
	off_t at;	 /* what of fd has been shown */
	struct stat old; /* the copy when the file began that fd has now */
	char bytes[8192];
};

static bool is_unchanged(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Both files at one moment. No copy is an empty one. */
static int look(const struct tail *tail, struct stat *ret_file, struct stat *ret_old)
{
	struct stat before = {0};

	*ret_old = before;
	do {
		if (tail->old_fd >= 0 && fstat(tail->old_fd, &before) < 0)
			return -errno;
		if (fstat(tail->fd, ret_file) < 0)
			return -errno;
		if (tail->old_fd >= 0 && fstat(tail->old_fd, ret_old) < 0)
			return -errno;
	} while (!is_unchanged(&before, ret_old));
	return 0;
}

/* 1 when what was shown is no longer the beginning of the file, 0, or -errno. */
static int was_cut(const struct tail *tail, struct stat *ret_old)
{
	struct stat file;
	int r = look(tail, &file, ret_old);

	if (r < 0)
		return r;
	return file.st_size < tail->at ||
	       (!is_unchanged(ret_old, &tail->old) && file.st_size < ret_old->st_size);
}

static ssize_t read_piece(struct tail *tail, int fd)
{
	ssize_t n;

	do
		n = pread(fd, tail->bytes, sizeof(tail->bytes), tail->at);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int show_piece(struct tail *tail, ssize_t n)
{
	if (!take_log(tail->out, tail->bytes, (size_t)n))
		return -EPIPE;
	tail->at += n;
	return 0;
}

/* What was not shown before the cut, as far as it is not overwritten meanwhile; then the new file
 * from its beginning. */
static int pass_cut(struct tail *tail, const struct stat *old)
{
	bool same = !is_unchanged(old, &tail->old);
	ssize_t n = 0;
	int r = 0;

	while (r == 0 && same && (n = read_piece(tail, tail->old_fd)) > 0) {
		struct stat now;

		same = fstat(tail->old_fd, &now) == 0 && is_unchanged(old, &now);
		if (same)
			r = show_piece(tail, n);
	}
	tail->at = 0;
	tail->old = *old;
	return n < 0 ? (int)n : r;
}

/* 1, or 0 when there is no more for now. */
static int show_more(struct tail *tail)
{
	struct stat old;
	int r = was_cut(tail, &old);
	ssize_t n;

	if (r < 0)
		return r;
	if (r > 0)
		return (r = pass_cut(tail, &old)) < 0 ? r : 1;
	n = read_piece(tail, tail->fd);
	if (n <= 0)
		return (int)n;
	/* Cut since then: these bytes may be the new file's. */
	r = was_cut(tail, &old);
	if (r == 0)
		r = show_piece(tail, n);
	return r < 0 ? r : 1;
}

static int show_all(struct tail *tail)
{
	int r;

	while ((r = show_more(tail)) > 0)
		;
	return r;
}

static bool is_same_file(int a, int b)
{
	struct stat one, other;

	return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_ino == other.st_ino &&
	       one.st_dev == other.st_dev;
}

/* A new file of that name, as a tool that rotates logs makes it: the old one is read out first. */
static int switch_file(struct tail *tail)
{
	int next = rundir_open(tail->vm->dir_fd, tail->name);
	int r;

	if (next < 0 || is_same_file(tail->fd, next)) {
		(void)fd_close(next);
		return 0;
	}
	r = show_all(tail);
	(void)fd_close(tail->fd);
	tail->fd = next;
	tail->at = 0;
	return r < 0 ? r : show_all(tail);
}

/* Looks at the file ten times a second, and once more after the end. */
static int follow(struct tail *tail)
{
	bool ended = false;
	int r = 0;

	while (r == 0 && !ended) {
		ended = rundir_wait_dead(tail->vm->dir_fd, 100 * NS_PER_MS, NULL) == 0;
		r = show_all(tail);
		if (r == 0)
			r = switch_file(tail);
	}
	return r;
}

/* `old_name` NULL: the file is never cut. */
static int open_tail(struct tail *tail, const char *old_name)
{
	tail->fd = rundir_open(tail->vm->dir_fd, tail->name);
	tail->old_fd = -1;
	if (tail->fd < 0)
		return tail->fd;
	if (old_name)
		tail->old_fd = rundir_open(tail->vm->dir_fd, old_name);
	return 0;
}

static int show_files(const struct cli_options *options, const struct vm_ref *vm,
		      struct log_out *out)
{
	bool console = !option_given(options, OPTION_VMM_LOG);
	_cleanup_free_ struct tail *tail = calloc(1, sizeof(*tail));
	int r;

	if (!tail)
		return -ENOMEM;
	tail->vm = vm;
	tail->name = console ? RUNDIR_CONSOLE : RUNDIR_LOG;
	tail->out = out;
	r = open_tail(tail, console ? RUNDIR_CONSOLE_OLD : NULL);
	if (r < 0)
		return r;
	r = show_all(tail);
	if (r == 0 && option_given(options, OPTION_FOLLOW))
		r = follow(tail);
	(void)fd_close(tail->old_fd);
	(void)fd_close(tail->fd);
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
