/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/broker.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "sandbox/broker_process.h"
#include "sandbox/broker_wire.h"

struct broker {
	int fd;	   /* -1: the broker has gone */
	pid_t pid; /* 0: there is none to be reaped */
	const struct helper_row *table;
	struct broker_listener *listener;
	const struct helper_row *rows[BROKER_MAX_HELPERS]; /* of helpers that run, by number */
};

/* ---- what it says ---- */

/* 0, -EAGAIN, or -EPIPE: it has gone, or makes no sense, which is the same. */
static int receive(struct broker *b, struct broker_reply *reply, int *ret_fd)
{
	ssize_t n = broker_wire_receive(b->fd, reply, sizeof(*reply), ret_fd);

	if (n == -EAGAIN)
		return -EAGAIN;
	if (n == sizeof(*reply) && reply->helper < BROKER_MAX_HELPERS) {
		reply->text[sizeof(reply->text) - 1] = '\0';
		return 0;
	}
	if (n > 0)
		(void)fd_close(*ret_fd);
	return -EPIPE;
}

static int wait_for_word(struct broker *b)
{
	struct pollfd fd = {.fd = b->fd, .events = POLLIN};

	while (poll(&fd, 1, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int receive_waiting(struct broker *b, struct broker_reply *reply, int *ret_fd)
{
	int r;

	while ((r = receive(b, reply, ret_fd)) == -EAGAIN) {
		r = wait_for_word(b);
		if (r < 0)
			return r;
	}
	return r;
}

/* What has nothing to do with a question. Closes fd when nobody takes it. */
static void dispatch(struct broker *b, const struct broker_reply *reply, int fd)
{
	const struct helper_row *row = b->rows[reply->helper];
	const struct broker_listener_ops *ops = b->listener->ops;

	if (!row) {
		(void)fd_close(fd);
		return;
	}
	if (reply->type == BROKER_LINE)
		log_warn("%s: %s", row->name, reply->text);
	else if (reply->type == BROKER_PREFACE)
		log_info("%s: %s", row->name, reply->text);
	else if (reply->type == BROKER_DIED)
		ops->died(b->listener, reply->helper, reply->text);
	else if (reply->type == BROKER_NOT_RESTARTED)
		ops->not_restarted(b->listener, reply->helper, reply->text);
	if (reply->type == BROKER_RESTARTED && fd >= 0)
		ops->restarted(b->listener, reply->helper, fd);
	else
		(void)fd_close(fd);
}

int broker_read(struct broker *b)
{
	enum { AT_ONCE = 64 };
	struct broker_reply reply;
	int fd, r = b->fd < 0 ? -EPIPE : 0;

	for (unsigned i = 0; i < AT_ONCE && r == 0; i++) {
		r = receive(b, &reply, &fd);
		if (r == 0)
			dispatch(b, &reply, fd);
	}
	if (r == -EAGAIN)
		return 0;
	if (r < 0 && b->fd >= 0) {
		b->fd = fd_close(b->fd);
		log_error("the broker has gone, and the helpers with it; they can't be started "
			  "again while this VM runs");
	}
	return r;
}

int broker_fd(const struct broker *b)
{
	return b->fd;
}

/* ---- starting ---- */

static int ask(struct broker *b, enum helper_kind kind, const union helper_settings *settings)
{
	struct broker_request *request = calloc(1, sizeof(*request)); /* much for a stack */
	int r;

	if (!request)
		return -ENOMEM;
	request->type = BROKER_START;
	request->kind = kind;
	request->settings = *settings;
	r = broker_wire_send(b->fd, request, sizeof(*request), -1);
	free(request);
	return r;
}

static int explain(const struct helper_row *row, const struct broker_reply *reply, struct err *err)
{
	int code = reply->code < 0 ? reply->code : -EIO;

	if (code == -ENOENT)
		return err_set(err, code,
			       "%s is not installed, or not in PATH: install Debian's package %s",
			       row->name, row->package);
	return err_set(err, code, "%s can't be started: %s", row->name, reply->text);
}

/* Other helpers may have something to say before the answer comes. */
static int wait_for_answer(struct broker *b, struct broker_reply *reply, int *ret_fd)
{
	int r;

	while ((r = receive_waiting(b, reply, ret_fd)) == 0) {
		if (reply->type == BROKER_STARTED || reply->type == BROKER_START_FAILED)
			return 0;
		dispatch(b, reply, *ret_fd);
	}
	return r;
}

int broker_start(struct broker *b, enum helper_kind kind, const union helper_settings *settings,
		 unsigned *ret_helper, int *ret_fd, struct err *err)
{
	const struct helper_row *row = &b->table[kind];
	struct broker_reply reply;
	int fd, r = ask(b, kind, settings);

	if (r == 0)
		r = wait_for_answer(b, &reply, &fd);
	if (r < 0)
		return err_set(err, r, "the broker, which starts %s, does not answer: %s",
			       row->name, strerror(-r));
	if (reply.type != BROKER_STARTED || fd < 0) {
		(void)fd_close(fd);
		return explain(row, &reply, err);
	}
	b->rows[reply.helper] = row;
	*ret_helper = reply.helper;
	*ret_fd = fd;
	return 0;
}

/* ---- life ---- */

static int shake_hands(struct broker *b, struct err *err)
{
	struct broker_reply reply;
	int fd = -1, r = receive_waiting(b, &reply, &fd);

	(void)fd_close(fd);
	if (r < 0)
		return err_set(err, r, "the broker did not come up: %s", strerror(-r));
	if (reply.code < 0)
		return err_set(err, reply.code, "the broker did not come up: %s", reply.text);
	return 0;
}

static int fork_it(struct broker *b, enum sandbox_mode mode, unsigned n_rows)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	b->pid = fork();
	if (b->pid == 0)
		broker_process(fds[1], mode, b->table, n_rows);
	b->fd = fds[0];
	(void)fd_close(fds[1]);
	return b->pid < 0 ? -errno : fd_set_nonblock(b->fd);
}

int broker_new(enum sandbox_mode mode, const struct helper_row *table, unsigned n_rows,
	       struct broker_listener *listener, struct broker **ret, struct err *err)
{
	struct broker *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_set(err, -ENOMEM, "out of memory");
	*b = (struct broker){.fd = -1, .table = table, .listener = listener};
	r = fork_it(b, mode, n_rows);
	r = r < 0 ? err_set(err, r, "the broker can't be forked: %s", strerror(-r))
		  : shake_hands(b, err);
	if (r < 0) {
		(void)broker_free(b);
		return r;
	}
	*ret = b;
	return 0;
}

/* The broker closes its end when all helpers have ended. What it says until then is old. */
static void wait_for_its_end(struct broker *b)
{
	struct broker_reply reply;
	int fd = -1;

	(void)shutdown(b->fd, SHUT_WR);
	while (receive_waiting(b, &reply, &fd) == 0)
		(void)fd_close(fd);
}

struct broker *broker_free(struct broker *b)
{
	if (!b)
		return NULL;
	if (b->fd >= 0)
		wait_for_its_end(b);
	(void)fd_close(b->fd);
	/* It has closed its end, so it is ending or has ended. */
	if (b->pid > 0)
		(void)waitpid(b->pid, NULL, 0);
	free(b);
	return NULL;
}
