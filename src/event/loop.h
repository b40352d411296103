/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: file descriptors, timers, and work posted from other threads. One thread runs a
 * loop; all functions are for that thread (or for its creator before it runs), except loop_post and
 * loop_stop, which any thread may call. Handlers may add, change and remove any handler, their own
 * included: an fd or timer removed while its event is already fetched will not be called any more.
 *
 * Two engines behind this interface, chosen when the loop is made: epoll, and io_uring, which also
 * carries requests to files without a system call for each. main and the control socket always use
 * epoll; I/O threads (io_thread.h) use io_uring where the host lets them.
 */
#ifndef VMM_EVENT_LOOP_H
#define VMM_EVENT_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "base/err.h"

struct loop;

/* Embedded in the object that owns the fd; the fd is borrowed. All zero is "not added". */
struct loop_fd {
	int fd;
	void (*ready)(struct loop_fd *source,
		      uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP, ... */
	bool added;
	uint32_t slot; /* the engine's */
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

enum loop_engine { LOOP_EPOLL, LOOP_URING };
struct loop_opts {
	enum loop_engine engine;
	/* Requests (loop_io) that may be under way at once; io_uring sizes its rings by it. 0: 128.
	 * More may be queued: they wait. */
	unsigned depth;
	/* Busy polling after the last event, see loop_poller, for so long at most: less while
	 * nothing comes of it. 0: none. */
	uint64_t poll_ns;
};
/*
 * An io_uring loop is made disabled and restricted to the operations below on registered files; the
 * first loop_run() enables it on its own thread, which alone may submit from then on. 0 or -errno
 * with a message that says what the host refused.
 */
int loop_new_with(const struct loop_opts *opts, struct loop **ret, struct err *err) must_check;
/* 0, or why this host's io_uring can't be used (container's filter, sysctl, old kernel). Asked
 * before the lock-down. */
int loop_probe_uring(struct err *err) must_check;
/* No request is under way: io_uring would go on with it. */
struct loop *loop_free(struct loop *loop);

/* Runs until loop_stop(); a stop that came before ends it at once. May be run again. 0 or -errno.
 */
int loop_run(struct loop *loop) must_check;
/* Any thread, and async-signal-safe. Events already fetched are still handled. */
void loop_stop(struct loop *loop);

/* The calling thread is about to run the loop: from here on it counts as running it, also after
 * loop_run() and after its own end, until loop_release(). Any thread, once nobody asks any more. */
void loop_claim(struct loop *loop);
void loop_release(struct loop *loop);
/* Whether another thread than the caller's runs the loop at this moment. Any thread. */
bool loop_is_elsewhere(const struct loop *loop);

/*
 * events is an epoll mask, level-triggered; with EPOLLET it is an eventfd that nobody reads: each
 * write to it calls ready() at least once. 0 or -errno. A regular file is -EPERM, as in
 * epoll_ctl(2); -ENOSPC when there are too many (2048 with io_uring, the loop's own included).
 */
int loop_add_fd(struct loop *loop, struct loop_fd *source, uint32_t events) must_check;
int loop_mod_fd(struct loop *loop, struct loop_fd *source, uint32_t events) must_check;
/* The fd may be closed at once. io_uring lets go of the file itself at the end of the turn: only
 * then does a peer see it closed. */
void loop_del_fd(struct loop *loop, struct loop_fd *source);

/* Fires once, `in_ns` from now; arming again moves it. */
void loop_timer_arm(struct loop *loop, struct loop_timer *timer, uint64_t in_ns);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

/*
 * Runs work at the end of the turn that is under way, after the handlers of all fetched events and
 * before the loop submits and waits: where a batch is closed. What deferred work defers itself runs
 * in the next turn, which then comes without sleeping. The loop's own thread only.
 */
void loop_defer(struct loop *loop, struct loop_work *work);
/* The same at the end of the next turn, which comes without sleeping: to go on with something when
 * all others have had their turn. */
void loop_defer_next(struct loop *loop, struct loop_work *work);

/* ---- requests to files ---- */

enum loop_io_op {
	LOOP_IO_READV,
	LOOP_IO_WRITEV,
	LOOP_IO_FDATASYNC,
	LOOP_IO_FALLOCATE, /* mode as in fallocate(2) */
};

/*
 * One request, embedded in its owner's. Everything but `next` is the owner's to fill; it and the
 * iovecs stay untouched until done(), which is called once, on the loop's thread, never from inside
 * loop_io_submit(), with the bytes done (may be short) or -errno. No allocation on the way.
 */
struct loop_io {
	void (*done)(struct loop_io *io, int result);
	enum loop_io_op op;
	int file; /* from loop_add_file() */
	int mode; /* LOOP_IO_FALLOCATE */
	const struct iovec *iov;
	unsigned n_iov;
	uint64_t offset, len; /* len: LOOP_IO_FALLOCATE only */
	struct loop_io *next;
};

/* Makes a file known (borrowed, open until the loop is freed). Before the first loop_run(). The
 * number for loop_io.file, or -errno. Not O_NONBLOCK: with that io_uring may have to block the
 * loop.
 */
int loop_add_file(struct loop *loop, int fd) must_check;
/* Queues the request; what was queued in a turn is submitted together at its end. Own thread. The
 * epoll engine does it with a blocking system call at the end of the turn. */
void loop_io_submit(struct loop *loop, struct loop_io *io);

/* ---- busy polling ---- */

/*
 * While the loop was active within poll_ns, it asks these instead of sleeping, and each once more
 * before it sleeps: from then on something else must wake it. Both do the work that they find, and
 * return whether there was any. Own thread.
 */
struct loop_poller {
	bool (*poll)(struct loop_poller *poller);
	bool (*rest)(struct loop_poller *poller);
	struct loop_poller *next;
};
void loop_add_poller(struct loop *loop, struct loop_poller *poller);
void loop_del_poller(struct loop *loop, struct loop_poller *poller);
/* True: rest() will be called before the loop sleeps, poll() until then. False: it asks nobody. */
bool loop_will_ask(struct loop *loop) must_check;

/* Has work->run called on the loop's thread, soon. Any thread, never blocks, allocates nothing. */
void loop_post(struct loop *loop, struct loop_work *work);
/* Forgets posted or deferred work that has not run yet, so that its owner can be freed. Nobody may
 * be posting it. */
void loop_work_cancel(struct loop *loop, struct loop_work *work);

#endif
