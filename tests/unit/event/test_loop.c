/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "event/loop.h"

static struct loop *loop;

static void set_up(void)
{
	loop = engine_loop(0, 0);
}

static void tear_down(void)
{
	loop = loop_free(loop);
}

TestSuite(loop, .init = set_up, .fini = tear_down, .timeout = 30);

static void run(void)
{
	cr_assert_eq(loop_run(loop), 0);
}

/* ---- timers ---- */

struct noted_timer {
	struct loop_timer timer;
	int id;
};
static int noted[8], n_noted;

static void note(struct loop_timer *timer)
{
	noted[n_noted++] = container_of(timer, struct noted_timer, timer)->id;
	cr_assert_eq(timer->deadline_ns, 0, "a fired timer is not armed");
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

static void assert_noted(const int *ids, int n)
{
	cr_assert_eq(n_noted, n);
	for (int i = 0; i < n; i++)
		cr_assert_eq(noted[i], ids[i], "place %d: %d", i, noted[i]);
}

Test(loop, timers_fire_in_order_of_deadline)
{
	struct noted_timer t[] = {{{.fired = note}, 0}, {{.fired = note}, 1}, {{.fired = note}, 2}};
	struct loop_timer end = {.fired = stop_on_timer};

	/* Far apart, so that a busy machine between the calls does not change the order. */
	loop_timer_arm(loop, &end, 400 * NS_PER_MS);
	loop_timer_arm(loop, &t[0].timer, 300 * NS_PER_MS);
	loop_timer_arm(loop, &t[1].timer, 100 * NS_PER_MS);
	loop_timer_arm(loop, &t[2].timer, 200 * NS_PER_MS);
	run();
	assert_noted((int[]){1, 2, 0}, 3);
}

Test(loop, cancelled_timer_does_not_fire_and_arming_again_moves_it)
{
	struct noted_timer t[] = {{{.fired = note}, 0}, {{.fired = note}, 1}, {{.fired = note}, 2}};
	struct loop_timer end = {.fired = stop_on_timer};

	for (int i = 0; i < 3; i++)
		loop_timer_arm(loop, &t[i].timer, (uint64_t)(i + 1) * 50 * NS_PER_MS);
	loop_timer_arm(loop, &end, 500 * NS_PER_MS);
	loop_timer_cancel(loop, &t[1].timer);
	loop_timer_cancel(loop, &t[1].timer);
	loop_timer_arm(loop, &t[0].timer, 300 * NS_PER_MS);
	run();
	assert_noted((int[]){2, 0}, 2);
}

Test(loop, timer_is_never_early_and_is_finer_than_a_millisecond)
{
	struct loop_timer end = {.fired = stop_on_timer};
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 20; i++) {
		uint64_t start = clock_now_ns(), took;

		loop_timer_arm(loop, &end, 200 * NS_PER_US);
		run();
		took = clock_now_ns() - start;
		cr_assert_geq(took, 200 * NS_PER_US);
		best = took < best ? took : best;
	}
	cr_assert_lt(best, 900 * NS_PER_US, "best of 20: %llu ns", (unsigned long long)best);
}

/* Old kernels have no epoll_pwait2 and old containers' filters say EPERM to what they don't know.
 */
static void refuse_epoll_pwait2(unsigned error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = 4, .filter = filter};

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void keeps_time_without_epoll_pwait2(unsigned error)
{
	struct loop_timer end = {.fired = stop_on_timer};
	struct loop_work stop = {.run = stop_on_work};
	uint64_t start = clock_now_ns();

	if (engine_is_uring())
		cr_skip_test("io_uring needs no epoll_pwait2");
	refuse_epoll_pwait2(error);
	loop_timer_arm(loop, &end, 1500 * NS_PER_US);
	run();
	cr_assert_geq(clock_now_ns() - start, 1500 * NS_PER_US);
	loop_post(loop, &stop);
	run();
}

Test(loop, kernel_without_epoll_pwait2_will_do)
{
	keeps_time_without_epoll_pwait2(ENOSYS);
}

Test(loop, filter_that_refuses_epoll_pwait2_will_do)
{
	keeps_time_without_epoll_pwait2(EPERM);
}

Test(loop, far_deadline_does_not_wrap)
{
	struct noted_timer far = {{.fired = note}, 0}, as_far = {{.fired = note}, 1};
	struct loop_timer end = {.fired = stop_on_timer};

	loop_timer_arm(loop, &far.timer, UINT64_MAX);
	loop_timer_arm(loop, &as_far.timer, UINT64_MAX);
	cr_assert_eq(far.timer.next, &as_far.timer, "equal deadlines keep the order of arming");
	loop_timer_arm(loop, &end, NS_PER_MS);
	run();
	assert_noted(NULL, 0);
	cr_assert_eq(far.timer.deadline_ns, UINT64_MAX);
	loop_timer_cancel(loop, &far.timer);
	loop_timer_cancel(loop, &as_far.timer);
}

static int rearmed;

static void rearm_at_once(struct loop_timer *timer)
{
	rearmed++;
	loop_timer_arm(loop, timer, 0);
}

static void stop_on_fd(struct loop_fd *source, uint32_t events)
{
	(void)source;
	(void)events;
	loop_stop(loop);
}

Test(loop, timer_that_rearms_with_zero_lets_fds_through)
{
	struct loop_timer t = {.fired = rearm_at_once};
	struct loop_fd source = {.fd = eventfd_new(), .ready = stop_on_fd};

	loop_timer_arm(loop, &t, 0);
	cr_assert_eq(loop_add_fd(loop, &source, EPOLLIN), 0);
	eventfd_kick(source.fd);
	run();
	loop_del_fd(loop, &source);
	close(source.fd);
	loop_timer_cancel(loop, &t);
}

/* ---- posted work and stopping ---- */

struct counted_work {
	struct loop_work work;
	int runs, id;
};
static int order[8], n_order;

static void count_run(struct loop_work *work)
{
	struct counted_work *c = container_of(work, struct counted_work, work);

	c->runs++;
	if (n_order < 8)
		order[n_order++] = c->id;
}

Test(loop, work_runs_once_per_post_in_the_order_posted)
{
	struct counted_work w[] = {
		{{.run = count_run}, 0, 0}, {{.run = count_run}, 0, 1}, {{.run = count_run}, 0, 2}};
	struct loop_work stop = {.run = stop_on_work};

	for (int i = 0; i < 3; i++) {
		loop_post(loop, &w[i].work);
		loop_post(loop, &w[i].work);
	}
	loop_post(loop, &stop);
	run();
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(w[i].runs, 1);
		cr_assert_eq(order[i], i);
	}
	loop_post(loop, &w[1].work);
	loop_post(loop, &stop);
	run();
	cr_assert_eq(w[1].runs, 2);
}

static void post_again(struct loop_work *work)
{
	struct counted_work *c = container_of(work, struct counted_work, work);

	if (++c->runs == 3)
		loop_stop(loop);
	else
		loop_post(loop, work);
}

Test(loop, work_may_post_itself_again)
{
	struct counted_work w = {.work.run = post_again};

	loop_post(loop, &w.work);
	run();
	cr_assert_eq(w.runs, 3);
}

static struct counted_work *victim;

static void cancel_victim(struct loop_work *work)
{
	(void)work;
	loop_work_cancel(loop, &victim->work);
}

Test(loop, cancelled_work_does_not_run_and_the_rest_does)
{
	struct counted_work before = {.work.run = count_run}, after = {.work.run = count_run};
	struct counted_work gone = {.work.run = count_run}, late = {.work.run = count_run};
	struct loop_work cancel = {.run = cancel_victim}, stop = {.run = stop_on_work};

	loop_post(loop, &before.work);
	loop_post(loop, &gone.work);
	loop_post(loop, &after.work);
	loop_work_cancel(loop, &gone.work);
	/* And one that was fetched in the same batch as its canceller. */
	victim = &late;
	loop_post(loop, &cancel);
	loop_post(loop, &late.work);
	loop_post(loop, &stop);
	run();
	cr_assert_eq(before.runs, 1);
	cr_assert_eq(after.runs, 1);
	cr_assert_eq(gone.runs, 0);
	cr_assert_eq(late.runs, 0);
	cr_assert_not(late.work.queued);
	loop_work_cancel(loop, &late.work);
}

enum { POSTERS = 4, POSTS = 20000 };
static atomic_uint posts_made;
static unsigned seen_posts;
static struct counted_work shared[POSTERS + 1];

static void see_posts(struct loop_work *work)
{
	(void)work;
	seen_posts = atomic_load_explicit(&posts_made, memory_order_relaxed);
	if (seen_posts == POSTERS * POSTS)
		loop_stop(loop);
}

/* Own and common work alike; after the last post of all, some run() must see every one. */
static void *poster(void *arg)
{
	for (int i = 0; i < POSTS; i++) {
		atomic_fetch_add_explicit(&posts_made, 1, memory_order_relaxed);
		loop_post(loop, arg);
		loop_post(loop, &shared[POSTERS].work);
	}
	return NULL;
}

Test(loop, posts_of_many_threads_are_all_seen)
{
	pthread_t threads[POSTERS];

	for (int i = 0; i <= POSTERS; i++)
		shared[i].work.run = see_posts;
	for (int i = 0; i < POSTERS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, poster, &shared[i].work), 0);
	run();
	for (int i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(seen_posts, POSTERS * POSTS);
}

static void *stopper(void *arg)
{
	(void)arg;
	loop_stop(loop);
	return NULL;
}

Test(loop, stop_from_another_thread_ends_a_waiting_loop)
{
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, stopper, NULL), 0);
	run();
	pthread_join(thread, NULL);
}

Test(loop, stop_before_run_ends_that_run_only)
{
	struct counted_work w = {.work.run = count_run};
	struct loop_work stop = {.run = stop_on_work};

	loop_stop(loop);
	run();
	loop_post(loop, &w.work);
	loop_post(loop, &stop);
	run();
	cr_assert_eq(w.runs, 1);
}
