/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: file descriptors, timers, and work posted from other threads. One thread runs a
 * loop; all functions are for that thread (or for its creator before it runs), except loop_post and
 * loop_stop, which any thread may call. Handlers may add, change and remove any handler, their own
 * included: an fd or timer removed while its event is already fetched will not be called any more.
 *
 * main uses epoll; the io_uring engine comes with the I/O threads and keeps this interface.
 */
#ifndef VMM_EVENT_LOOP_H
#define VMM_EVENT_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/compiler.h"

struct loop;

/* Embedded in the object that owns the fd; the fd is borrowed. All zero is "not added". */
struct loop_fd {
	int fd;
	void (*ready)(struct loop_fd *source,
		      uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP, ... */
	bool added;
};

/* One shot. All zero but `fired` is "not armed". */
struct loop_timer {
	void (*fired)(struct loop_timer *timer);
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0 when not armed */
	struct loop_timer *next;
};

/* Posted at most once until it has run. */
struct loop_work {
	void (*run)(struct loop_work *work);
	struct loop_work *next;
	bool queued;
};

/* All fds that a loop needs for itself are opened here. 0 or -errno. */
int loop_new(struct loop **ret) must_check;
struct loop *loop_free(struct loop *loop);

/* Runs until loop_stop(); a stop that came before ends it at once. May be run again. 0 or -errno.
 */
int loop_run(struct loop *loop) must_check;
/* Any thread, and async-signal-safe. Events already fetched are still handled. */
void loop_stop(struct loop *loop);

/* events is an epoll mask, level-triggered. 0 or -errno. A regular file is -EPERM, as in
 * epoll_ctl(2). */
int loop_add_fd(struct loop *loop, struct loop_fd *source, uint32_t events) must_check;
int loop_mod_fd(struct loop *loop, struct loop_fd *source, uint32_t events) must_check;
void loop_del_fd(struct loop *loop, struct loop_fd *source);

/* Fires once, `in_ns` from now; arming again moves it. */
void loop_timer_arm(struct loop *loop, struct loop_timer *timer, uint64_t in_ns);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

/* Has work->run called on the loop's thread, soon. Any thread, never blocks, allocates nothing. */
void loop_post(struct loop *loop, struct loop_work *work);
/* Forgets posted work that has not run yet, so that its owner can be freed. Nobody may be posting
 * it. */
void loop_work_cancel(struct loop *loop, struct loop_work *work);

#endif
