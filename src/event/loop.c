/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The epoll engine. One turn: wait (one system call, its timeout taken from the first timer, in
 * nanoseconds), call the handlers of the fetched events, then the timers that are due. Posted work
 * comes in through an eventfd that is one of the sources. No timerfd: arming a timer costs no
 * system call.
 */
#include "event/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"

enum { BATCH = 16 };

struct loop {
	int epoll_fd;
	int wake_fd;
	bool running;
	/* The kernel (before 5.11) or a container's filter refuses epoll_pwait2. */
	bool coarse_wait;
	atomic_bool stop;

	/* The fetched events that wait for their turn; loop_del_fd() strikes out what must not be
	 * called. */
	struct epoll_event batch[BATCH];
	int batch_at, batch_n;

	struct loop_timer *timers; /* sorted by deadline, equal ones in the order they were armed */

	_Atomic(struct loop_work *) posted; /* newest first; any thread pushes */
	struct loop_work *work;		    /* taken off posted, oldest first, waiting to be run */
};

int loop_new(struct loop **ret)
{
	/*
	 * Edge-triggered and never read: every eventfd_kick() is an edge of its own, so that a
	 * wake-up costs no read(2). data.ptr NULL marks it.
	 */
	struct epoll_event wake = {.events = EPOLLIN | EPOLLET};
	struct loop *loop = calloc(1, sizeof(*loop));
	int r;

	if (!loop)
		return -ENOMEM;
	loop->wake_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		r = -errno;
		goto out_free;
	}
	r = loop->wake_fd = eventfd_new();
	if (r < 0)
		goto out_free;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &wake) < 0) {
		r = -errno;
		goto out_free;
	}
	*ret = loop;
	return 0;

out_free:
	loop_free(loop);
	return r;
}

struct loop *loop_free(struct loop *loop)
{
	if (!loop)
		return NULL;
	vmm_assert(!loop->running);
	fd_close(loop->wake_fd);
	fd_close(loop->epoll_fd);
	free(loop);
	return NULL;
}

void loop_stop(struct loop *loop)
{
	atomic_store_explicit(&loop->stop, true, memory_order_release);
	eventfd_kick(loop->wake_fd);
}

/* ---- file descriptors ---- */

static int control_fd(struct loop *loop, int op, struct loop_fd *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(loop->epoll_fd, op, source->fd, &event) < 0 ? -errno : 0;
}

int loop_add_fd(struct loop *loop, struct loop_fd *source, uint32_t events)
{
	int r = control_fd(loop, EPOLL_CTL_ADD, source, events);

	if (r == 0)
		source->added = true;
	return r;
}

int loop_mod_fd(struct loop *loop, struct loop_fd *source, uint32_t events)
{
	return control_fd(loop, EPOLL_CTL_MOD, source, events);
}

/*
 * The rest of the batch may name the source, whose memory is the caller's again when we return (and
 * may be given to another source at once). It is struck out here, by address, so that no event
 * reaches either.
 */
void loop_del_fd(struct loop *loop, struct loop_fd *source)
{
	if (!source->added)
		return;
	source->added = false;
	(void)control_fd(loop, EPOLL_CTL_DEL, source, 0);
	for (int i = loop->batch_at; i < loop->batch_n; i++)
		if (loop->batch[i].data.ptr == source)
			loop->batch[i].events = 0;
}

/* ---- timers ---- */

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	struct loop_timer **at = &loop->timers;

	if (timer->deadline_ns == 0)
		return;
	while (*at && *at != timer)
		at = &(*at)->next;
	if (*at)
		*at = timer->next;
	timer->next = NULL;
	timer->deadline_ns = 0;
}

void loop_timer_arm(struct loop *loop, struct loop_timer *timer, uint64_t in_ns)
{
	struct loop_timer **at = &loop->timers;
	uint64_t deadline;

	loop_timer_cancel(loop, timer);
	if (ckd_add(&deadline, clock_now_ns(), in_ns))
		deadline = UINT64_MAX;
	while (*at && (*at)->deadline_ns <= deadline)
		at = &(*at)->next;
	timer->deadline_ns = deadline;
	timer->next = *at;
	*at = timer;
}

/* Time is read once, so that a handler which arms its timer with 0 gives way to the file
 * descriptors. */
static void fire_timers(struct loop *loop)
{
	uint64_t now;

	if (!loop->timers)
		return;
	now = clock_now_ns();
	while (loop->timers && loop->timers->deadline_ns <= now) {
		struct loop_timer *timer = loop->timers;

		loop_timer_cancel(loop, timer);
		timer->fired(timer);
	}
}

/* ---- posted work ---- */

void loop_post(struct loop *loop, struct loop_work *work)
{
	struct loop_work *head;

	/*
	 * Whoever turns queued on owns next until run_posted() turns it off. Relaxed would lose
	 * data that the poster wrote before: acq_rel makes it visible to a run() that is yet to
	 * start.
	 */
	if (__atomic_exchange_n(&work->queued, true, __ATOMIC_ACQ_REL))
		return;
	head = atomic_load_explicit(&loop->posted, memory_order_relaxed);
	do
		work->next = head;
	while (!atomic_compare_exchange_weak_explicit(&loop->posted, &head, work,
						      memory_order_release, memory_order_relaxed));
	/* Only the first of a list kicks: the others are taken by the same wake-up. */
	if (!head)
		eventfd_kick(loop->wake_fd);
}

/* Moves what was posted behind what is still waiting, turning it round: oldest first. */
static void take_posted(struct loop *loop)
{
	struct loop_work *list =
		atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
	struct loop_work *oldest_first = NULL, **end = &loop->work;

	while (list) {
		struct loop_work *next = list->next;

		list->next = oldest_first;
		oldest_first = list;
		list = next;
	}
	while (*end)
		end = &(*end)->next;
	*end = oldest_first;
}

static void run_posted(struct loop *loop)
{
	take_posted(loop);
	while (loop->work) {
		struct loop_work *work = loop->work;

		loop->work = work->next;
		/*
		 * From here it may be posted again. An exchange, not a store: it pairs with a
		 * poster who found the flag still set and relies on this run() to see what he
		 * wrote.
		 */
		(void)__atomic_exchange_n(&work->queued, false, __ATOMIC_ACQ_REL);
		work->run(work);
	}
}

/* What is taken along keeps its wake-up: that of its post is not dispatched yet, or run_posted() is
 * at work. */
void loop_work_cancel(struct loop *loop, struct loop_work *work)
{
	struct loop_work **at = &loop->work;

	take_posted(loop);
	while (*at && *at != work)
		at = &(*at)->next;
	if (*at) {
		*at = work->next;
		(void)__atomic_exchange_n(&work->queued, false, __ATOMIC_ACQ_REL);
	}
}

/* ---- the turn ---- */

/* Until the first deadline; rounded up where the kernel counts in milliseconds only. */
static int wait_coarse(struct loop *loop, const struct timespec *timeout)
{
	uint64_t ms;

	if (!timeout)
		return epoll_wait(loop->epoll_fd, loop->batch, BATCH, -1);
	ms = (uint64_t)timeout->tv_sec * 1000 +
	     ((uint64_t)timeout->tv_nsec + NS_PER_MS - 1) / NS_PER_MS;
	return epoll_wait(loop->epoll_fd, loop->batch, BATCH, (int)MIN(ms, (uint64_t)INT32_MAX));
}

static int wait_events(struct loop *loop)
{
	struct timespec until_first = {0}, *timeout = NULL;
	int n;

	if (loop->timers) {
		uint64_t now = clock_now_ns(), deadline = loop->timers->deadline_ns;
		uint64_t ns = deadline > now ? deadline - now : 0;

		until_first.tv_sec = (time_t)(ns / NS_PER_S);
		until_first.tv_nsec = (long)(ns % NS_PER_S);
		timeout = &until_first;
	}
	if (!loop->coarse_wait) {
		n = epoll_pwait2(loop->epoll_fd, loop->batch, BATCH, timeout, NULL);
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n < 0 ? -errno : n;
		loop->coarse_wait = true;
	}
	n = wait_coarse(loop, timeout);
	return n < 0 ? -errno : n;
}

static void dispatch(struct loop *loop)
{
	while (loop->batch_at < loop->batch_n) {
		struct epoll_event event = loop->batch[loop->batch_at++];
		struct loop_fd *source = event.data.ptr;

		if (!source)
			run_posted(loop);
		else if (event.events)
			source->ready(source, event.events);
	}
}

int loop_run(struct loop *loop)
{
	int r = 0;

	vmm_assert(!loop->running);
	loop->running = true;
	/* A stop ends one run: the flag is taken, not read. */
	while (!atomic_exchange_explicit(&loop->stop, false, memory_order_acquire)) {
		r = wait_events(loop);
		if (r < 0 && r != -EINTR)
			break;
		loop->batch_at = 0;
		loop->batch_n = r > 0 ? r : 0;
		r = 0;
		dispatch(loop);
		fire_timers(loop);
	}
	loop->running = false;
	return r;
}
