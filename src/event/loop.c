/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both engines have in common. One turn: the engine submits, waits (its timeout taken from the
 * first timer, in nanoseconds) and calls the handlers of the fetched events; then the timers that
 * are due, then what was deferred. Posted work comes in through an eventfd that is one of the
 * sources. No timerfd: arming a timer costs no system call.
 */
#include "event/loop.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "event/loop_internal.h"

#define LEAST_WINDOW_NS ((uint64_t)1000)

int loop_init(struct loop *loop, const struct loop_ops *ops, const struct loop_opts *opts)
{
	int r;

	loop->ops = ops;
	loop->poll_ns = loop->window_ns = opts->poll_ns;
	loop->deferred.end = &loop->deferred.first;
	loop->deferred_next.end = &loop->deferred_next.first;
	loop->requests.end = &loop->requests.first;
	r = eventfd_new();
	loop->wake_fd = r < 0 ? -1 : r;
	return r < 0 ? r : 0;
}

void loop_done(struct loop *loop)
{
	vmm_assert(!loop->running);
	(void)fd_close(loop->wake_fd);
}

int loop_new(struct loop **ret)
{
	static const struct loop_opts plain = {.engine = LOOP_EPOLL};

	return loop_epoll_new(&plain, ret);
}

int loop_new_with(const struct loop_opts *opts, struct loop **ret, struct err *err)
{
	int r;

	if (opts->engine == LOOP_URING)
		return loop_uring_new(opts, ret, err);
	r = loop_epoll_new(opts, ret);
	return r < 0 ? err_set(err, r, "can't make an event loop: %s", strerror(-r)) : 0;
}

struct loop *loop_free(struct loop *loop)
{
	if (loop)
		loop->ops->free(loop);
	return NULL;
}

void loop_stop(struct loop *loop)
{
	atomic_store_explicit(&loop->stop, true, memory_order_release);
	eventfd_kick(loop->wake_fd);
}

/* ---- file descriptors and files ---- */

int loop_add_fd(struct loop *loop, struct loop_fd *source, uint32_t events)
{
	int r = loop->ops->add_fd(loop, source, events);

	if (r == 0)
		source->added = true;
	return r;
}

int loop_mod_fd(struct loop *loop, struct loop_fd *source, uint32_t events)
{
	return loop->ops->mod_fd(loop, source, events);
}

void loop_del_fd(struct loop *loop, struct loop_fd *source)
{
	if (!source->added)
		return;
	source->added = false;
	loop->ops->del_fd(loop, source);
}

int loop_add_file(struct loop *loop, int fd)
{
	return loop->ops->add_file(loop, fd);
}

void loop_io_submit(struct loop *loop, struct loop_io *io)
{
	io->next = NULL;
	*loop->requests.end = io;
	loop->requests.end = &io->next;
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
static int fire_timers(struct loop *loop)
{
	uint64_t now;
	int n = 0;

	if (!loop->timers)
		return 0;
	now = clock_now_ns();
	for (; loop->timers && loop->timers->deadline_ns <= now; n++) {
		struct loop_timer *timer = loop->timers;

		loop_timer_cancel(loop, timer);
		timer->fired(timer);
	}
	return n;
}

/* ---- posted work ---- */

void loop_post(struct loop *loop, struct loop_work *work)
{
	struct loop_work *head;

	/*
	 * Whoever turns queued on owns next until run_work() turns it off. Relaxed would lose data
	 * that the poster wrote before: acq_rel makes it visible to a run() that is yet to start.
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

static void run_work(struct loop_work **list)
{
	while (*list) {
		struct loop_work *work = *list;

		*list = work->next;
		/*
		 * From here it may be posted again. An exchange, not a store: it pairs with a
		 * poster who found the flag still set and relies on this run() to see what he
		 * wrote.
		 */
		(void)__atomic_exchange_n(&work->queued, false, __ATOMIC_ACQ_REL);
		work->run(work);
	}
}

void loop_run_posted(struct loop *loop)
{
	take_posted(loop);
	run_work(&loop->work);
}

/* ---- deferred work ---- */

static struct loop_work *take_list(struct work_list *list)
{
	struct loop_work *first = list->first;

	list->first = NULL;
	list->end = &list->first;
	return first;
}

static void append(struct work_list *list, struct loop_work *work)
{
	if (work->queued)
		return;
	work->queued = true;
	work->next = NULL;
	*list->end = work;
	list->end = &work->next;
}

void loop_defer(struct loop *loop, struct loop_work *work)
{
	append(&loop->deferred, work);
}

void loop_defer_next(struct loop *loop, struct loop_work *work)
{
	append(&loop->deferred_next, work);
}

/* What is deferred by deferred work waits for the next turn, which then comes at once. */
static void run_deferred(struct loop *loop)
{
	loop->closing = take_list(&loop->deferred);
	if (loop->deferred_next.first) {
		loop->deferred.first = loop->deferred_next.first;
		loop->deferred.end = loop->deferred_next.end;
		(void)take_list(&loop->deferred_next);
	}
	run_work(&loop->closing);
}

static bool take_out(struct loop_work **at, const struct loop_work *work)
{
	while (*at && *at != work)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = work->next;
	return true;
}

static bool take_out_deferred(struct work_list *list, const struct loop_work *work)
{
	if (!take_out(&list->first, work))
		return false;
	list->end = &list->first;
	while (*list->end)
		list->end = &(*list->end)->next;
	return true;
}

/* What is taken along keeps its wake-up: that of its post is not dispatched yet, or
 * loop_run_posted() is at work. */
void loop_work_cancel(struct loop *loop, struct loop_work *work)
{
	take_posted(loop);
	if (take_out(&loop->work, work) || take_out(&loop->closing, work) ||
	    take_out_deferred(&loop->deferred, work) ||
	    take_out_deferred(&loop->deferred_next, work))
		(void)__atomic_exchange_n(&work->queued, false, __ATOMIC_ACQ_REL);
}

/* ---- busy polling ---- */

void loop_add_poller(struct loop *loop, struct loop_poller *poller)
{
	poller->next = loop->pollers;
	loop->pollers = poller;
}

void loop_del_poller(struct loop *loop, struct loop_poller *poller)
{
	struct loop_poller **at = &loop->pollers;

	while (*at && *at != poller)
		at = &(*at)->next;
	if (*at)
		*at = poller->next;
	if (loop->next_poller == poller)
		loop->next_poller = poller->next;
}

static bool is_polling(const struct loop *loop)
{
	if (loop->poll_ns == 0 || !loop->pollers)
		return false;
	return loop->busy || clock_now_ns() - loop->active_ns < loop->window_ns;
}

/* Asking pays where it would have found in time what ended the sleep. Some long sleeps are not yet
 * the rule: the scheduler may have kept the driver waiting. */
static void adapt_window(struct loop *loop, uint64_t slept_ns)
{
	if (slept_ns < loop->poll_ns)
		loop->window_ns = loop->poll_ns;
	else
		loop->window_ns -=
			loop->window_ns > LEAST_WINDOW_NS ? loop->window_ns / 8 : loop->window_ns;
}

/* Looks at the clock only when a turn had nothing to do after one that had. */
static void note_activity(struct loop *loop, bool any)
{
	if (loop->busy && !any)
		loop->active_ns = clock_now_ns();
	loop->busy = any;
}

bool loop_will_ask(struct loop *loop)
{
	if (loop->poll_ns == 0)
		return false;
	loop->must_rest = true;
	return true;
}

/* A poller may remove any, itself included. */
static int ask_pollers(struct loop *loop, bool for_the_last_time)
{
	struct loop_poller *poller = loop->pollers;
	int n = 0;

	while (poller) {
		loop->next_poller = poller->next;
		n += for_the_last_time ? poller->rest(poller) : poller->poll(poller);
		poller = loop->next_poller;
	}
	return n;
}

/* Whether to go on without sleeping. */
static bool goes_on_polling(struct loop *loop)
{
	if (is_polling(loop)) {
		loop->must_rest = true;
		return true;
	}
	if (!loop->must_rest)
		return false;
	loop->must_rest = false;
	loop->busy = ask_pollers(loop, true) > 0;
	return loop->busy;
}

/* ---- the turn ---- */

/* Not at all while there is something to do, else until the first deadline; NULL: without end. */
static const struct timespec *how_long(const struct loop *loop, bool polling,
				       struct timespec *storage)
{
	uint64_t now, deadline, ns;

	*storage = (struct timespec){0};
	if (polling || loop->deferred.first || loop->deferred_next.first)
		return storage;
	if (!loop->timers)
		return NULL;
	now = clock_now_ns();
	deadline = loop->timers->deadline_ns;
	ns = deadline > now ? deadline - now : 0;
	storage->tv_sec = (time_t)(ns / NS_PER_S);
	storage->tv_nsec = (long)(ns % NS_PER_S);
	return storage;
}

static int sleep_in_turn(struct loop *loop, const struct timespec *timeout)
{
	uint64_t start = clock_now_ns();
	int n = loop->ops->turn(loop, timeout);

	adapt_window(loop, clock_now_ns() - start);
	return n;
}

/*
 * Somebody who posted may not have come to his kick yet, and no one after him has kicked. A loop
 * that sleeps waits for it; one that has other work to do must not be ahead of it for long.
 */
static int run_unkicked(struct loop *loop)
{
	if (!atomic_load_explicit(&loop->posted, memory_order_relaxed))
		return 0;
	loop_run_posted(loop);
	return 1;
}

/* 0 or -errno. */
static int one_turn(struct loop *loop)
{
	bool polling = goes_on_polling(loop);
	struct timespec storage;
	const struct timespec *timeout = how_long(loop, polling, &storage);
	bool sleeps = loop->poll_ns != 0 && !loop_is_poll_only(timeout);
	int n = sleeps ? sleep_in_turn(loop, timeout) : loop->ops->turn(loop, timeout);

	if (n < 0)
		return n;
	loop->turns++;
	if (loop_is_poll_only(timeout))
		n += run_unkicked(loop);
	n += fire_timers(loop);
	if (polling)
		n += ask_pollers(loop, false);
	run_deferred(loop);
	if (loop->ops->finish(loop))
		run_deferred(loop);
	if (loop->poll_ns != 0)
		note_activity(loop, n > 0);
	return 0;
}

void loop_claim(struct loop *loop)
{
	atomic_store(&loop->runner, (uintptr_t)pthread_self());
}

void loop_release(struct loop *loop)
{
	atomic_store(&loop->runner, 0);
}

int loop_run(struct loop *loop)
{
	bool claimed = atomic_load(&loop->runner) != 0;
	int r;

	vmm_assert(!loop->running);
	loop->running = true;
	loop_claim(loop);
	r = loop->ops->begin(loop);
	/* A stop ends one run: the flag is taken, not read. */
	while (r == 0 && !atomic_exchange_explicit(&loop->stop, false, memory_order_acquire))
		r = one_turn(loop);
	if (!claimed)
		loop_release(loop);
	loop->running = false;
	return r;
}

bool loop_is_elsewhere(const struct loop *loop)
{
	uintptr_t runner = atomic_load(&loop->runner);

	return runner && runner != (uintptr_t)pthread_self();
}
