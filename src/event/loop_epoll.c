/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The epoll engine. Waiting is one system call. Requests to files are done one after the other at
 * the end of the turn, a batch at most, so that file descriptors and timers get their share.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "event/loop_internal.h"

enum { BATCH = 16, IO_BATCH = 32 };

struct loop_epoll {
	struct loop loop;
	int epoll_fd;
	/* The kernel (before 5.11) or a container's filter refuses epoll_pwait2. */
	bool coarse_wait;

	/* The fetched events that wait for their turn; del_fd() strikes out what must not be
	 * called. */
	struct epoll_event batch[BATCH];
	int batch_at, batch_n;
};

static struct loop_epoll *epoll_of(struct loop *loop)
{
	return container_of(loop, struct loop_epoll, loop);
}

static int begin(struct loop *loop)
{
	(void)loop;
	return 0;
}

static void free_loop(struct loop *loop)
{
	struct loop_epoll *e = epoll_of(loop);

	loop_done(loop);
	(void)fd_close(e->epoll_fd);
	free(e);
}

/* ---- file descriptors ---- */

static int control_fd(struct loop *loop, int op, struct loop_fd *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(epoll_of(loop)->epoll_fd, op, source->fd, &event) < 0 ? -errno : 0;
}

static int add_fd(struct loop *loop, struct loop_fd *source, uint32_t events)
{
	return control_fd(loop, EPOLL_CTL_ADD, source, events);
}

static int mod_fd(struct loop *loop, struct loop_fd *source, uint32_t events)
{
	return control_fd(loop, EPOLL_CTL_MOD, source, events);
}

/*
 * The rest of the batch may name the source, whose memory is the caller's again when we return (and
 * may be given to another source at once). It is struck out here, by address, so that no event
 * reaches either.
 */
static void del_fd(struct loop *loop, struct loop_fd *source)
{
	struct loop_epoll *e = epoll_of(loop);

	(void)control_fd(loop, EPOLL_CTL_DEL, source, 0);
	for (int i = e->batch_at; i < e->batch_n; i++)
		if (e->batch[i].data.ptr == source)
			e->batch[i].events = 0;
}

/* ---- the turn ---- */

/* Until the first deadline; rounded up where the kernel counts in milliseconds only. */
static int wait_coarse(struct loop_epoll *e, const struct timespec *timeout)
{
	uint64_t ms;

	if (!timeout)
		return epoll_wait(e->epoll_fd, e->batch, BATCH, -1);
	ms = (uint64_t)timeout->tv_sec * 1000 +
	     ((uint64_t)timeout->tv_nsec + NS_PER_MS - 1) / NS_PER_MS;
	return epoll_wait(e->epoll_fd, e->batch, BATCH, (int)MIN(ms, (uint64_t)INT32_MAX));
}

static int wait_events(struct loop_epoll *e, const struct timespec *timeout)
{
	int n;

	if (!e->coarse_wait) {
		n = epoll_pwait2(e->epoll_fd, e->batch, BATCH, timeout, NULL);
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n < 0 ? -errno : n;
		e->coarse_wait = true;
	}
	n = wait_coarse(e, timeout);
	return n < 0 ? -errno : n;
}

static void dispatch(struct loop_epoll *e)
{
	while (e->batch_at < e->batch_n) {
		struct epoll_event event = e->batch[e->batch_at++];
		struct loop_fd *source = event.data.ptr;

		if (!source)
			loop_run_posted(&e->loop);
		else if (event.events)
			source->ready(source, event.events);
	}
}

static int turn(struct loop *loop, const struct timespec *timeout)
{
	static const struct timespec now = {0};
	struct loop_epoll *e = epoll_of(loop);
	int n = wait_events(e, loop->requests.first ? &now : timeout);

	if (n < 0)
		return n == -EINTR ? 0 : n;
	e->batch_at = 0;
	e->batch_n = n;
	dispatch(e);
	return n;
}

/* ---- requests to files: their numbers are the descriptors themselves ---- */

static int add_file(struct loop *loop, int fd)
{
	(void)loop;
	return fd < 0 ? -EBADF : fd;
}

/* Those that done() queues come behind the others; the next turn does them, without sleeping. */
static bool finish(struct loop *loop)
{
	struct loop_io *io;
	int n;

	for (n = 0; n < IO_BATCH && (io = loop_next_request(loop)); n++)
		io->done(io, loop_file_do(io, io->file));
	return n > 0;
}

static const struct loop_ops epoll_ops = {
	.begin = begin,
	.add_fd = add_fd,
	.mod_fd = mod_fd,
	.del_fd = del_fd,
	.add_file = add_file,
	.turn = turn,
	.finish = finish,
	.free = free_loop,
};

static int set_up(struct loop_epoll *e, const struct loop_opts *opts)
{
	/*
	 * Edge-triggered and never read: every eventfd_kick() is an edge of its own, so that a
	 * wake-up costs no read(2). data.ptr NULL marks it.
	 */
	struct epoll_event wake = {.events = EPOLLIN | EPOLLET};
	int r = loop_init(&e->loop, &epoll_ops, opts);

	if (r < 0)
		return r;
	e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll_fd < 0)
		return -errno;
	return epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->loop.wake_fd, &wake) < 0 ? -errno : 0;
}

int loop_epoll_new(const struct loop_opts *opts, struct loop **ret)
{
	struct loop_epoll *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->epoll_fd = -1;
	r = set_up(e, opts);
	if (r < 0) {
		free_loop(&e->loop);
		return r;
	}
	*ret = &e->loop;
	return 0;
}
