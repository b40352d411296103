/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What loop.c (timers, posted and deferred work, pollers, the turn) shares with its engines,
 * loop_epoll.c and loop_uring.c. An engine embeds struct loop. Nobody else includes this, but the
 * tests.
 */
#ifndef VMM_EVENT_LOOP_INTERNAL_H
#define VMM_EVENT_LOOP_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/compiler.h"
#include "event/loop.h"

/* The interface's functions of the same names: see there. */
struct loop_ops {
	/* Before the first turn of each loop_run(), on the thread that runs it. 0 or -errno. */
	int (*begin)(struct loop *loop);
	int (*add_fd)(struct loop *loop, struct loop_fd *source, uint32_t events);
	int (*mod_fd)(struct loop *loop, struct loop_fd *source, uint32_t events);
	void (*del_fd)(struct loop *loop, struct loop_fd *source);
	int (*add_file)(struct loop *loop, int fd);
	/*
	 * Submits what is queued, waits until there are events or `timeout` is over (NULL: without
	 * end), and calls their handlers. The number of events or -errno; 0 when a signal came in
	 * between.
	 */
	int (*turn)(struct loop *loop, const struct timespec *timeout);
	/* At the end of the turn, after deferred work: requests that are not done asynchronously.
	 * Whether there were any. */
	bool (*finish)(struct loop *loop);
	void (*free)(struct loop *loop);
};

/* First in, first out. */
struct work_list {
	struct loop_work *first, **end;
};
struct io_list {
	struct loop_io *first, **end;
};

struct loop {
	const struct loop_ops *ops;
	int wake_fd; /* posts and loop_stop() write to it */
	bool running;
	_Atomic(uintptr_t) runner; /* pthread_self() of the thread that is in loop_run(), or 0 */
	atomic_bool stop;

	struct loop_timer *timers; /* sorted by deadline, equal ones in the order they were armed */

	_Atomic(struct loop_work *) posted; /* newest first; any thread pushes */
	struct loop_work *work;		    /* taken off posted, oldest first, waiting to be run */
	struct work_list deferred, deferred_next;
	struct loop_work *closing; /* taken off deferred, waiting to be run */

	struct io_list requests; /* queued, not submitted yet */

	struct loop_poller *pollers, *next_poller; /* the one to be asked next */
	uint64_t poll_ns, window_ns;		   /* at most; at present */
	bool busy;				   /* the last turn had something to do */
	uint64_t active_ns;			   /* if not: when that began */
	bool must_rest;				   /* pollers are to be told before it sleeps */

	uint64_t turns; /* for tests: how often it woke */
};

/* The common part of a loop made by calloc(). 0 or -errno; loop_done() also after a failure. */
int loop_init(struct loop *loop, const struct loop_ops *ops,
	      const struct loop_opts *opts) must_check;
void loop_done(struct loop *loop);

/* For engines: their wake_fd was written to. */
void loop_run_posted(struct loop *loop);

/* The oldest request, taken off the list; NULL when there is none. */
static inline struct loop_io *loop_next_request(struct loop *loop)
{
	struct loop_io *io = loop->requests.first;

	if (!io)
		return NULL;
	loop->requests.first = io->next;
	if (!io->next)
		loop->requests.end = &loop->requests.first;
	return io;
}

static inline bool loop_is_poll_only(const struct timespec *timeout)
{
	return timeout && timeout->tv_sec == 0 && timeout->tv_nsec == 0;
}

/* loop_file.c: does the request with a blocking system call. The bytes done or -errno. */
int loop_file_do(const struct loop_io *io, int fd);

int loop_epoll_new(const struct loop_opts *opts, struct loop **ret) must_check;
int loop_uring_new(const struct loop_opts *opts, struct loop **ret, struct err *err) must_check;

/* For tests. */
struct io_uring;
struct io_uring *loop_uring_ring(struct loop *loop);

#endif
