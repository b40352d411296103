/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/helper.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "sandbox/broker_wire.h"
#include "sandbox/helper_exec.h"

enum { LINE_LEN = 400, LINES_PER_SECOND = 20 };

enum state {
	IDLE, /* not begun, or over */
	STARTING,
	RUNNING,
	WAITING, /* for the next start */
};

struct helper {
	const struct helper_row *row;
	struct helper_owner *owner;
	unsigned number;
	struct helper_args args;

	enum state state;
	bool was_ready;
	pid_t pid;
	int pidfd, socket_fd, err_fd, ready_fd; /* -1: not open; socket_fd while it starts */
	uint64_t deadline_ns;			/* of STARTING and WAITING */
	uint64_t ready_ns;
	unsigned backoff_ms; /* before the next start */

	char line[LINE_LEN]; /* that is not complete yet */
	size_t line_len;
	char said[BROKER_TEXT]; /* while it starts: lines, for the report of a failure */
	uint64_t window_ns;	/* lines are limited in each second */
	unsigned lines, dropped;
};

/* ---- life ---- */

int helper_new(const struct helper_row *row, const union helper_settings *settings,
	       struct helper_owner *owner, unsigned number, struct helper **ret)
{
	struct helper *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	h->row = row;
	h->owner = owner;
	h->number = number;
	h->pidfd = h->socket_fd = h->err_fd = h->ready_fd = -1;
	h->backoff_ms = row->backoff;
	helper_args_add(&h->args, "%s", row->name);
	r = row->arguments(settings, &h->args);
	if (r == 0 && h->args.full)
		r = -E2BIG;
	if (r < 0) {
		free(h);
		return r;
	}
	*ret = h;
	return 0;
}

static void close_all(struct helper *h)
{
	h->pidfd = fd_close(h->pidfd);
	h->socket_fd = fd_close(h->socket_fd);
	h->err_fd = fd_close(h->err_fd);
	h->ready_fd = fd_close(h->ready_fd);
}

struct helper *helper_free(struct helper *h)
{
	if (h)
		close_all(h);
	free(h);
	return NULL;
}

unsigned helper_number(const struct helper *h)
{
	return h->number;
}

bool helper_was_ready(const struct helper *h)
{
	return h->was_ready;
}

bool helper_is_over(const struct helper *h)
{
	return h->state == IDLE;
}

/* ---- what it says ---- */

static void tell_dropped(struct helper *h)
{
	char text[48];

	(void)snprintf(text, sizeof(text), "(%u more lines)", h->dropped);
	if (h->dropped)
		h->owner->ops->line(h->owner, h, text);
	h->lines = h->dropped = 0;
}

/* Someone outside, the guest maybe, may be able to make it say much. */
static bool may_say(struct helper *h)
{
	uint64_t now = clock_now_ns();

	if (now - h->window_ns > NS_PER_S) {
		tell_dropped(h);
		h->window_ns = now;
	}
	if (h->lines++ < LINES_PER_SECOND)
		return true;
	h->dropped++;
	return false;
}

static void remember(struct helper *h, const char *text)
{
	size_t len = strlen(h->said);

	(void)snprintf(h->said + len, sizeof(h->said) - len, "%s%s", len ? "; " : "", text);
}

static void end_line(struct helper *h)
{
	const char *noise = h->row->noise;

	h->line[h->line_len] = '\0';
	h->line_len = 0;
	if (!*h->line || (noise && strncmp(h->line, noise, strlen(noise)) == 0))
		return;
	if (h->state == STARTING)
		remember(h, h->line);
	else if (may_say(h))
		h->owner->ops->line(h->owner, h, h->line);
}

static void take_byte(struct helper *h, char c)
{
	if (c == '\n' || h->line_len == sizeof(h->line) - 1)
		end_line(h);
	if (c != '\n')
		h->line[h->line_len++] = (char)(isprint((unsigned char)c) ? c : ' ');
}

/* The pipe doesn't block. What fits into it at once: others want to be served, too. */
static void read_lines(struct helper *h)
{
	enum { PIECES = 128 };
	char piece[512];
	ssize_t n = 0;

	for (unsigned i = 0; i < PIECES && h->err_fd >= 0; i++) {
		n = read(h->err_fd, piece, sizeof(piece));
		for (ssize_t k = 0; k < n; k++)
			take_byte(h, piece[k]);
		if (n == 0)
			h->err_fd = fd_close(h->err_fd);
		if (n <= 0)
			break;
	}
}

/* ---- starting ---- */

static void wait_before_next(struct helper *h)
{
	h->state = WAITING;
	h->deadline_ns = clock_now_ns() + h->backoff_ms * NS_PER_MS;
	h->backoff_ms = MIN(2 * h->backoff_ms, h->row->backoff_max);
}

static void not_started(struct helper *h, int code, const char *text)
{
	close_all(h);
	if (h->was_ready)
		wait_before_next(h);
	else
		h->state = IDLE;
	h->owner->ops->failed(h->owner, h, code, text);
}

/* Both ends of what connects it with us; [0] is ours. */
struct ends {
	int socket[2], ready[2], err[2];
};

static void close_ends(struct ends *e, int side)
{
	e->socket[side] = fd_close(e->socket[side]);
	e->ready[side] = fd_close(e->ready[side]);
	e->err[side] = fd_close(e->err[side]);
}

/* The user nobody may have to open its end of `ready` by its name in /proc. */
static int make_ends(struct ends *e)
{
	int r;

	*e = (struct ends){{-1, -1}, {-1, -1}, {-1, -1}};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, e->socket) < 0 ||
	    pipe2(e->ready, O_CLOEXEC) < 0 || pipe2(e->err, O_CLOEXEC) < 0 ||
	    fchmod(e->ready[1], 0622) < 0)
		return -errno;
	r = fd_set_nonblock(e->err[0]);
	return r < 0 ? r : fd_set_nonblock(e->ready[0]);
}

static int fork_exec(struct helper *h, const char *path, const struct ends *e)
{
	const struct helper_exec what = {
		.path = path,
		.argv = h->args.argv,
		.socket = e->socket[1],
		.ready = e->ready[1],
		.err = e->err[1],
		.capabilities = h->row->capabilities,
		.as_nobody = h->row->as_nobody,
	};
	pid_t pid = helper_fork_exec(&what);

	if (pid < 0)
		return pid;
	/* Here, too, so that its group is there when it is first needed. */
	(void)setpgid(pid, pid);
	h->pid = pid;
	h->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (h->pidfd < 0) {
		int r = -errno;

		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return r;
	}
	return 0;
}

static int launch(struct helper *h)
{
	char path[HELPER_MAX_PATH];
	struct ends ends;
	int r = helper_find_program(h->row->name, path);

	if (r < 0)
		return r;
	r = make_ends(&ends);
	if (r == 0)
		r = fork_exec(h, path, &ends);
	close_ends(&ends, 1);
	if (r < 0) {
		close_ends(&ends, 0);
		return r;
	}
	h->socket_fd = ends.socket[0];
	h->ready_fd = ends.ready[0];
	h->err_fd = ends.err[0];
	return 0;
}

void helper_begin(struct helper *h)
{
	int r;

	h->state = STARTING;
	h->deadline_ns = clock_now_ns() + h->row->patience * NS_PER_MS;
	h->line_len = 0;
	*h->said = '\0';
	r = launch(h);
	if (r < 0)
		not_started(h, r, r == -ENOENT ? "there is no such program" : strerror(-r));
}

static void become_ready(struct helper *h)
{
	h->state = RUNNING;
	h->ready_ns = clock_now_ns();
	h->owner->ops->ready(h->owner, h, h->socket_fd);
	h->was_ready = true;
	if (*h->said)
		h->owner->ops->preface(h->owner, h, h->said);
	h->socket_fd = fd_close(h->socket_fd);
	h->ready_fd = fd_close(h->ready_fd);
}

/* The pipe doesn't block. */
static void read_ready(struct helper *h)
{
	char byte;
	ssize_t n = read(h->ready_fd, &byte, 1);

	if (n == 1)
		become_ready(h);
	else if (n == 0)
		h->ready_fd = fd_close(h->ready_fd);
}

/* ---- its end ---- */

/* The group first, as long as its number can't be anybody else's. */
static void reap(struct helper *h, char *how, size_t len)
{
	siginfo_t info = {0};

	(void)kill(-h->pid, SIGKILL);
	while (waitid(P_PID, (id_t)h->pid, &info, WEXITED) < 0 && errno == EINTR)
		;
	h->pid = 0;
	if (info.si_code == CLD_EXITED)
		(void)snprintf(how, len, "it ended with exit code %d", info.si_status);
	else
		(void)snprintf(how, len, "it was ended by signal %d", info.si_status);
}

static void last_words(struct helper *h)
{
	read_lines(h);
	if (h->line_len > 0)
		end_line(h);
	tell_dropped(h);
}

static void on_exit_of(struct helper *h)
{
	char how[64];

	/* It may have been ready for a moment, after poll() had looked. */
	if (h->ready_fd >= 0)
		read_ready(h);
	reap(h, how, sizeof(how));
	last_words(h);
	if (h->state == STARTING) {
		not_started(h, -EIO, *h->said ? h->said : how);
		return;
	}
	close_all(h);
	if (clock_now_ns() - h->ready_ns >= h->row->steady * NS_PER_MS)
		h->backoff_ms = h->row->backoff;
	if (h->row->restarts)
		wait_before_next(h);
	else
		h->state = IDLE;
	h->owner->ops->died(h->owner, h, how);
}

static void ran_out_of_patience(struct helper *h)
{
	char text[96], how[64];

	reap(h, how, sizeof(how));
	last_words(h);
	(void)snprintf(text, sizeof(text), "it did not say within %u s that it is ready",
		       h->row->patience / 1000);
	remember(h, text);
	not_started(h, -ETIMEDOUT, h->said);
}

/* ---- events ---- */

void helper_polls(const struct helper *h, struct pollfd fds[HELPER_POLLS])
{
	fds[0] = (struct pollfd){.fd = h->err_fd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = h->ready_fd, .events = POLLIN};
	fds[2] = (struct pollfd){.fd = h->pidfd, .events = POLLIN};
}

/* What it said before it died counts. */
void helper_polled(struct helper *h, const struct pollfd fds[HELPER_POLLS])
{
	if (fds[0].revents)
		read_lines(h);
	if (fds[1].revents && h->ready_fd >= 0)
		read_ready(h);
	if (fds[2].revents && h->pidfd >= 0)
		on_exit_of(h);
}

uint64_t helper_deadline(const struct helper *h)
{
	return h->state == STARTING || h->state == WAITING ? h->deadline_ns : UINT64_MAX;
}

void helper_tick(struct helper *h, uint64_t now)
{
	if (now < helper_deadline(h))
		return;
	if (h->state == WAITING)
		helper_begin(h);
	else
		ran_out_of_patience(h);
}

void helper_ask_to_end(struct helper *h)
{
	h->state = IDLE;
	if (h->pid > 0)
		(void)kill(-h->pid, SIGTERM);
}

void helper_end(struct helper *h, uint64_t since_ns)
{
	uint64_t passed_ms = (clock_now_ns() - since_ns) / NS_PER_MS;
	struct pollfd fd = {.fd = h->pidfd, .events = POLLIN};
	char how[64];

	if (h->pid <= 0)
		return;
	if (passed_ms < h->row->grace)
		(void)poll(&fd, 1, (int)(h->row->grace - passed_ms));
	reap(h, how, sizeof(how));
}
