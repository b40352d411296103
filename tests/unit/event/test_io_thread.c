/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/fd.h"
#include "event/io_thread.h"

static struct io_thread *thread;
static struct err err;

static struct io_thread_opts options(int cpu)
{
	if (engine_is_uring())
		need_uring();
	return (struct io_thread_opts){
		.index = 3,
		.loop = {.engine = engine_is_uring() ? LOOP_URING : LOOP_EPOLL, .depth = 8},
		.cpu = cpu};
}

static void make(int cpu)
{
	struct io_thread_opts opts = options(cpu);

	cr_assert_eq(io_thread_new(&opts, &thread, &err), 0, "%s", err.msg);
}

static void tear_down(void)
{
	thread = io_thread_free(thread);
}

TestSuite(io_thread, .fini = tear_down, .timeout = 30);

static int first_act_thread;

static int enter(const struct io_thread_entry *entry, struct err *error)
{
	(void)entry;
	(void)error;
	first_act_thread = gettid();
	return 0;
}

static int refuse(const struct io_thread_entry *entry, struct err *error)
{
	(void)entry;
	return err_set(error, -EACCES, "not today");
}

static const struct io_thread_entry welcome = {enter}, closed = {refuse};

/* What work on the thread finds. */
struct look {
	struct loop_work work;
	sem_t done;
	char name[16];
	cpu_set_t cpus;
	stack_t altstack;
	int tid;
};

static void look_around(struct loop_work *work)
{
	struct look *look = container_of(work, struct look, work);

	(void)pthread_getname_np(pthread_self(), look->name, sizeof(look->name));
	(void)sched_getaffinity(0, sizeof(look->cpus), &look->cpus);
	(void)sigaltstack(NULL, &look->altstack);
	look->tid = gettid();
	(void)sem_post(&look->done);
}

static struct look on_thread(void)
{
	struct look look = {.work.run = look_around};

	(void)sem_init(&look.done, 0, 0);
	loop_post(io_thread_loop(thread), &look.work);
	(void)sem_wait(&look.done);
	return look;
}

Test(io_thread, runs_its_loop_under_its_name_with_a_signal_stack)
{
	struct look look;

	make(-1);
	cr_assert_eq(io_thread_start(thread, &welcome, &err), 0, "%s", err.msg);
	look = on_thread();
	cr_assert_str_eq(look.name, "io/3");
	cr_assert_eq(look.tid, first_act_thread, "entered before start returned");
	cr_assert_neq(look.tid, gettid());
	cr_assert_not(look.altstack.ss_flags & SS_DISABLE);
}

Test(io_thread, is_pinned)
{
	cpu_set_t allowed;
	struct look look;
	int cpu = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	while (!CPU_ISSET((unsigned)cpu, &allowed))
		cpu++;
	make(cpu);
	cr_assert_eq(io_thread_start(thread, &welcome, &err), 0, "%s", err.msg);
	look = on_thread();
	cr_assert_eq(CPU_COUNT(&look.cpus), 1);
	cr_assert(CPU_ISSET((unsigned)cpu, &look.cpus));
}

Test(io_thread, processor_that_is_not_there_is_an_error_that_names_it)
{
	make(1023);
	cr_assert_eq(io_thread_start(thread, &welcome, &err), -EINVAL);
	cr_assert(strstr(err.msg, "I/O thread 3"), "%s", err.msg);
	cr_assert(strstr(err.msg, "processor 1023"), "%s", err.msg);
	cr_assert_eq(first_act_thread, 0);
}

Test(io_thread, failure_of_its_first_act_ends_it)
{
	make(-1);
	cr_assert_eq(io_thread_start(thread, &closed, &err), -EACCES);
	cr_assert_str_eq(err.msg, "not today");
}

Test(io_thread, may_be_freed_without_having_started)
{
	make(-1);
	thread = io_thread_free(thread);
	cr_assert_null(io_thread_free(NULL));
}

/* ---- its loop, from other threads ---- */

enum { POSTERS = 4, ROUNDS = 500 };

static void *post_and_wait(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		struct look look = on_thread();

		cr_assert_eq(look.tid, first_act_thread);
	}
	return NULL;
}

Test(io_thread, four_threads_post_and_wait)
{
	pthread_t threads[POSTERS];

	make(-1);
	cr_assert_eq(io_thread_start(thread, &welcome, &err), 0, "%s", err.msg);
	for (int i = 0; i < POSTERS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, post_and_wait, NULL), 0);
	for (int i = 0; i < POSTERS; i++)
		(void)pthread_join(threads[i], NULL);
}

struct ping {
	struct loop_fd source;
	struct loop_work begin;
	struct loop *loop;
	sem_t seen;
};

static void ping_ready(struct loop_fd *source, uint32_t events)
{
	struct ping *p = container_of(source, struct ping, source);

	(void)events;
	(void)sem_post(&p->seen);
}

static void begin_ping(struct loop_work *work)
{
	struct ping *p = container_of(work, struct ping, begin);

	cr_assert_eq(loop_add_fd(p->loop, &p->source, EPOLLIN | EPOLLET), 0);
	(void)sem_post(&p->seen);
}

/* Removal and closing come from here when the thread is gone. */
Test(io_thread, watches_what_is_added_by_posted_work_until_it_is_stopped)
{
	struct ping p = {.source = {.fd = eventfd_new(), .ready = ping_ready},
			 .begin.run = begin_ping};

	make(-1);
	p.loop = io_thread_loop(thread);
	(void)sem_init(&p.seen, 0, 0);
	cr_assert_eq(io_thread_start(thread, &welcome, &err), 0, "%s", err.msg);
	loop_post(p.loop, &p.begin);
	(void)sem_wait(&p.seen);
	for (int i = 0; i < 100; i++) {
		eventfd_kick(p.source.fd);
		(void)sem_wait(&p.seen);
	}
	io_thread_stop(thread);
	loop_del_fd(p.loop, &p.source);
	close(p.source.fd);
}

Test(io_thread, many_come_and_go)
{
	for (int i = 0; i < 50; i++) {
		make(-1);
		cr_assert_eq(io_thread_start(thread, &welcome, &err), 0, "%s", err.msg);
		if (i & 1)
			(void)on_thread();
		thread = io_thread_free(thread);
	}
}
