/* SPDX-License-Identifier: Apache-2.0 */
/* What belongs to a turn: deferred work at its end, how often there is one, polling between. */
#include "engine.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

static struct loop *loop;

static void set_up(void)
{
	loop = engine_loop(0, 0);
}

static void tear_down(void)
{
	loop = loop_free(loop);
}

TestSuite(turn, .init = set_up, .fini = tear_down, .timeout = 30);

static void run(void)
{
	cr_assert_eq(loop_run(loop), 0);
}

static void stop_on_timer(struct loop_timer *timer)
{
	(void)timer;
	loop_stop(loop);
}

static void stop_on_work(struct loop_work *work)
{
	(void)work;
	loop_stop(loop);
}

static void stop_on_fd(struct loop_fd *source, uint32_t events)
{
	(void)source;
	(void)events;
	loop_stop(loop);
}

struct counted_work {
	struct loop_work work;
	int runs, id;
};
static int order[8], n_order;
static struct counted_work *victim;

static void count_run(struct loop_work *work)
{
	struct counted_work *c = container_of(work, struct counted_work, work);

	c->runs++;
	if (n_order < 8)
		order[n_order++] = c->id;
}

/* ---- deferred work ---- */

struct deferring {
	struct loop_fd source;
	struct loop_work *work;
	int runs_seen; /* of the work, when the handler was called */
};

static struct counted_work batch_end;

static void defer_batch_end(struct loop_fd *source, uint32_t events)
{
	struct deferring *d = container_of(source, struct deferring, source);

	(void)events;
	d->runs_seen = batch_end.runs;
	loop_defer(loop, &batch_end.work);
}

static void fired_before_batch_end(struct loop_timer *timer)
{
	(void)timer;
	cr_assert_eq(batch_end.runs, 0);
	loop_defer(loop, &batch_end.work);
}

static void end_of_batch(struct loop_work *work)
{
	count_run(work);
	loop_stop(loop);
}

Test(turn, deferred_work_runs_once_after_all_handlers_of_the_turn)
{
	struct deferring d[3];
	struct loop_timer due = {.fired = fired_before_batch_end};

	batch_end.work.run = end_of_batch;
	for (int i = 0; i < 3; i++) {
		d[i] = (struct deferring){.source = {.fd = eventfd_new(), .ready = defer_batch_end},
					  .runs_seen = -1};
		cr_assert_eq(loop_add_fd(loop, &d[i].source, EPOLLIN | EPOLLET), 0);
		eventfd_kick(d[i].source.fd);
	}
	loop_timer_arm(loop, &due, 0);
	run();
	cr_assert_eq(batch_end.runs, 1);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(d[i].runs_seen, 0, "source %d came after the end: %d", i,
			     d[i].runs_seen);
	cr_assert_eq(due.deadline_ns, 0);
	for (int i = 0; i < 3; i++) {
		loop_del_fd(loop, &d[i].source);
		close(d[i].source.fd);
	}
}

static void defer_again(struct loop_work *work)
{
	struct counted_work *c = container_of(work, struct counted_work, work);

	if (++c->runs == 5)
		loop_stop(loop);
	else
		loop_defer(loop, work);
}

Test(turn, work_deferred_by_deferred_work_runs_in_the_next_turn_which_comes_at_once)
{
	struct counted_work w = {.work.run = defer_again};

	loop_defer(loop, &w.work);
	run();
	cr_assert_eq(w.runs, 5);
	cr_assert_eq(engine_turns(loop), 5);
}

static void cancel_deferred(struct loop_work *work)
{
	count_run(work);
	loop_work_cancel(loop, &victim->work);
	loop_stop(loop);
}

Test(turn, cancelled_deferred_work_does_not_run)
{
	struct counted_work gone = {.work.run = count_run}, late = {.work.run = count_run};
	struct counted_work first = {.work.run = cancel_deferred, .id = 1};
	struct counted_work last = {.work.run = count_run, .id = 2};

	victim = &late;
	loop_defer(loop, &first.work);
	loop_defer(loop, &late.work);
	loop_defer(loop, &gone.work);
	loop_work_cancel(loop, &gone.work);
	loop_defer(loop, &last.work);
	run();
	cr_assert_eq(gone.runs + late.runs, 0);
	cr_assert_not(late.work.queued || gone.work.queued);
	cr_assert_eq(n_order, 2);
	cr_assert(order[0] == 1 && order[1] == 2);
}

static void defer_to_next(struct loop_work *work)
{
	struct counted_work *c = container_of(work, struct counted_work, work);

	if (++c->runs == 5)
		loop_stop(loop);
	else
		loop_defer_next(loop, work);
}

/* From outside, the first time comes at the end of the second turn; from deferred work likewise. */
Test(turn, work_deferred_to_the_next_turn_runs_there_and_the_loop_does_not_sleep)
{
	struct counted_work w = {.work.run = defer_to_next};

	loop_defer_next(loop, &w.work);
	run();
	cr_assert_eq(w.runs, 5);
	cr_assert_eq(engine_turns(loop), 10);
}

Test(turn, work_deferred_to_the_next_turn_comes_after_what_this_turn_defers)
{
	struct counted_work late = {.work.run = defer_to_next, .runs = 4, .id = 1};
	struct counted_work gone = {.work.run = count_run, .id = 2};
	struct counted_work now = {.work.run = count_run, .id = 3};

	loop_defer_next(loop, &late.work);
	loop_defer_next(loop, &gone.work);
	loop_work_cancel(loop, &gone.work);
	loop_defer(loop, &now.work);
	run();
	cr_assert_eq(n_order, 1);
	cr_assert_eq(order[0], 3);
	cr_assert_eq(late.runs, 5);
	cr_assert_not(gone.work.queued);
}

/* The second one relies on the kick of the first. */
Test(turn, busy_loop_does_not_wait_for_a_kick_that_is_late)
{
	struct counted_work busy = {.work.run = defer_to_next};
	struct counted_work late = {.work.run = count_run}, own = {.work.run = count_run};

	engine_post_without_kick(loop, &late.work);
	loop_post(loop, &own.work);
	loop_defer_next(loop, &busy.work);
	run();
	cr_assert_eq(late.runs, 1);
	cr_assert_eq(own.runs, 1);
}

/* ---- waking up ---- */

static uint64_t turns_before;
enum { PINGS = 100 };
static sem_t pong;

static void answer(struct loop_work *work)
{
	struct counted_work *c = container_of(work, struct counted_work, work);

	if (c->runs++ == 0)
		turns_before = engine_turns(loop);
	(void)sem_post(&pong);
	if (c->runs == PINGS)
		loop_stop(loop);
}

/* Each ping is one the loop sleeps for: the last one is answered. */
static void *pinger(void *arg)
{
	for (int i = 0; i < PINGS; i++) {
		loop_post(loop, arg);
		(void)sem_wait(&pong);
	}
	return NULL;
}

static void never_ready(struct loop_fd *source, uint32_t events)
{
	(void)source;
	cr_assert_fail("%#x", events);
}

Test(turn, idle_loop_wakes_up_once_for_each_post_and_for_nothing_else)
{
	struct counted_work w = {.work.run = answer};
	struct loop_fd quiet[] = {{.fd = eventfd_new(), .ready = never_ready},
				  {.fd = eventfd_new(), .ready = never_ready}};
	pthread_t thread;

	(void)sem_init(&pong, 0, 0);
	cr_assert_eq(loop_add_fd(loop, &quiet[0], EPOLLIN), 0);
	cr_assert_eq(loop_add_fd(loop, &quiet[1], EPOLLIN | EPOLLET), 0);
	cr_assert_eq(pthread_create(&thread, NULL, pinger, &w.work), 0);
	run();
	pthread_join(thread, NULL);
	/* The first turn is counted when it is over. */
	cr_assert_leq(engine_turns(loop) - turns_before, PINGS);
}

/* ---- busy polling ---- */

static atomic_bool window_is_open;

struct asked {
	struct loop_poller poller;
	int times, has_work_at;
	int rests, work_at_rest;
};

static bool ask(struct loop_poller *poller)
{
	struct asked *a = container_of(poller, struct asked, poller);

	if (++a->times != a->has_work_at)
		return false;
	loop_stop(loop);
	return true;
}

static bool find_nothing_at_rest(struct loop_poller *poller)
{
	(void)poller;
	return false;
}

static void poll_for(uint64_t poll_ns)
{
	loop = loop_free(loop);
	loop = engine_loop(0, poll_ns);
}

Test(turn, poller_is_asked_instead_of_sleeping_after_an_event)
{
	struct asked a = {.poller = {.poll = ask, .rest = find_nothing_at_rest},
			  .has_work_at = 1000};
	struct counted_work w = {.work.run = count_run};

	poll_for(NS_PER_S * 3600);
	loop_add_poller(loop, &a.poller);
	loop_post(loop, &w.work);
	run();
	cr_assert_eq(a.times, 1000);
	cr_assert_eq(w.runs, 1);
	loop_del_poller(loop, &a.poller);
}

static void *post_once(void *arg)
{
	loop_post(loop, arg);
	return NULL;
}

Test(turn, polling_loop_still_sees_posted_work_fds_and_timers)
{
	struct loop_work stop = {.run = stop_on_work};
	struct asked a = {.poller = {.poll = ask, .rest = find_nothing_at_rest}};
	struct counted_work start = {.work.run = count_run};
	struct loop_timer end = {.fired = stop_on_timer};
	struct loop_fd source = {.fd = eventfd_new(), .ready = stop_on_fd};
	pthread_t thread;

	poll_for(NS_PER_S * 3600);
	loop_add_poller(loop, &a.poller);
	loop_post(loop, &start.work);
	loop_timer_arm(loop, &end, NS_PER_MS);
	run();
	cr_assert_eq(pthread_create(&thread, NULL, post_once, &stop), 0);
	run();
	pthread_join(thread, NULL);
	cr_assert_eq(loop_add_fd(loop, &source, EPOLLIN), 0);
	eventfd_kick(source.fd);
	run();
	cr_assert_gt(a.times, 0);
	loop_del_fd(loop, &source);
	close(source.fd);
	loop_del_poller(loop, &a.poller);
}

/* No two looks at the clock are within a nanosecond, but the first comes after one turn of asking.
 */
Test(turn, poller_is_not_asked_when_the_time_is_over_or_none_was_given)
{
	struct loop_timer end = {.fired = stop_on_timer};

	for (uint64_t poll_ns = 0; poll_ns <= 1; poll_ns++) {
		struct asked a = {.poller = {.poll = ask, .rest = find_nothing_at_rest}};
		struct counted_work w = {.work.run = count_run};
		uint64_t turns;

		poll_for(poll_ns);
		loop_add_poller(loop, &a.poller);
		loop_post(loop, &w.work);
		loop_timer_arm(loop, &end, 5 * NS_PER_MS);
		turns = engine_turns(loop);
		run();
		cr_assert_leq(a.times, (int)poll_ns);
		cr_assert_eq(w.runs, 1);
		cr_assert_leq(engine_turns(loop) - turns, 2 + poll_ns, "it slept until the timer");
	}
}

struct seldom {
	struct loop_timer timer;
	struct asked *asked;
	int rounds, times_before_last;
};

enum { SELDOM_ROUNDS = 80 };

static void fire_seldom(struct loop_timer *timer)
{
	struct seldom *s = container_of(timer, struct seldom, timer);

	if (++s->rounds == SELDOM_ROUNDS) {
		loop_stop(loop);
		return;
	}
	s->times_before_last = s->asked->times;
	cr_assert(loop_will_ask(loop));
	loop_timer_arm(loop, timer, 2 * NS_PER_MS);
}

static void *post_until_open(void *arg)
{
	static const struct timespec pause = {.tv_nsec = 100000};
	struct counted_work *w = arg;

	while (!atomic_load(&window_is_open)) {
		loop_post(loop, &w->work);
		(void)nanosleep(&pause, NULL); /* so that it goes to sleep */
	}
	return NULL;
}

static void look_at_window(struct loop_work *work)
{
	count_run(work);
	cr_assert(loop_will_ask(loop));
	if (engine_poll_window(loop) == 0)
		return;
	atomic_store(&window_is_open, true);
	loop_stop(loop);
}

/* What comes every 2 ms is not waited for by polling for 1 ms at most; what comes at once is. */
Test(turn, time_of_polling_goes_with_its_success)
{
	struct asked a = {.poller = {.poll = ask, .rest = find_nothing_at_rest}};
	struct seldom s = {.timer.fired = fire_seldom, .asked = &a};
	struct counted_work w = {.work.run = look_at_window};
	pthread_t thread;

	poll_for(NS_PER_MS);
	loop_add_poller(loop, &a.poller);
	loop_timer_arm(loop, &s.timer, 0);
	run();
	cr_assert_gt(a.times, SELDOM_ROUNDS);
	cr_assert_leq(a.times - s.times_before_last, 1, "one turn to see that nothing is there");
	cr_assert_eq(engine_poll_window(loop), 0);
	cr_assert_eq(pthread_create(&thread, NULL, post_until_open, &w), 0);
	run();
	cr_assert_eq(pthread_join(thread, NULL), 0);
	loop_work_cancel(loop, &w.work);
	loop_del_poller(loop, &a.poller);
}

static bool go_to_rest(struct loop_poller *poller)
{
	struct asked *a = container_of(poller, struct asked, poller);

	if (++a->rests == a->work_at_rest)
		cr_assert(loop_will_ask(loop));
	return a->rests == a->work_at_rest;
}

Test(turn, poller_is_told_before_the_loop_sleeps_and_may_keep_it_awake)
{
	struct asked a = {.poller = {.poll = ask, .rest = go_to_rest}, .work_at_rest = 1};
	struct loop_timer end = {.fired = stop_on_timer};

	poll_for(1);
	loop_add_poller(loop, &a.poller);
	cr_assert(loop_will_ask(loop));
	loop_timer_arm(loop, &end, 50 * NS_PER_MS);
	run();
	cr_assert_eq(a.rests, 2, "once with work, once without");
	cr_assert_gt(a.times, 0);
	loop_del_poller(loop, &a.poller);
}

Test(turn, loop_that_does_not_poll_promises_nothing)
{
	cr_assert_not(loop_will_ask(loop));
}

static struct asked *other_poller;

static bool remove_pollers(struct loop_poller *poller)
{
	struct asked *a = container_of(poller, struct asked, poller);

	a->times++;
	loop_del_poller(loop, poller);
	loop_del_poller(loop, &other_poller->poller);
	loop_stop(loop);
	return true;
}

Test(turn, poller_may_remove_itself_and_the_next)
{
	struct asked a = {.poller = {.poll = ask, .rest = find_nothing_at_rest}},
		     b = {.poller = {.poll = remove_pollers, .rest = find_nothing_at_rest}};
	struct counted_work w = {.work.run = count_run};

	poll_for(NS_PER_S * 3600);
	other_poller = &a;
	loop_add_poller(loop, &a.poller);
	loop_add_poller(loop, &b.poller);
	loop_post(loop, &w.work);
	run();
	cr_assert_eq(a.times, 0);
	cr_assert_eq(b.times, 1);
}

/* ---- many ---- */

enum { MANY = 400 };
static struct one_of_many {
	struct loop_fd source;
	int calls;
} many[MANY];
static int many_seen;

static void see_one_of_many(struct loop_fd *source, uint32_t events)
{
	struct one_of_many *c = container_of(source, struct one_of_many, source);
	eventfd_t count;

	(void)events;
	cr_assert_eq(eventfd_read(source->fd, &count), 0);
	if (c->calls++ == 0 && ++many_seen == MANY)
		loop_stop(loop);
}

static void kick_many(struct loop_work *work)
{
	(void)work;
	for (int i = 0; i < MANY; i++)
		eventfd_kick(many[i].source.fd);
}

Test(turn, hundreds_that_are_ready_at_once_are_all_called)
{
	struct loop_work kick = {.run = kick_many};

	for (int i = 0; i < MANY; i++) {
		many[i].source = (struct loop_fd){.fd = eventfd_new(), .ready = see_one_of_many};
		cr_assert_eq(loop_add_fd(loop, &many[i].source, EPOLLIN), 0);
	}
	for (int round = 0; round < 3; round++) {
		many_seen = 0;
		for (int i = 0; i < MANY; i++)
			many[i].calls = 0;
		loop_post(loop, &kick);
		run();
		for (int i = 0; i < MANY; i++)
			cr_assert_eq(many[i].calls, 1);
	}
	for (int i = 0; i < MANY; i++) {
		loop_del_fd(loop, &many[i].source);
		close(many[i].source.fd);
	}
}
