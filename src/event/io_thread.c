/* SPDX-License-Identifier: Apache-2.0 */
#include "event/io_thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/altstack.h"
#include "base/checked.h"
#include "base/log.h"

/* Enough for the deepest device; only what is touched costs memory. Sanitizers need more. */
#define STACK_BYTES (BUILT_WITH_ASAN ? MIB(8) : KIB(256))

struct io_thread {
	struct loop *loop;
	unsigned index;
	int cpu;
	bool started;
	pthread_t thread;

	/* While io_thread_start() waits: */
	const struct io_thread_entry *entry;
	struct err *err;
	int entered; /* what enter() returned */
	sem_t is_in;
};

int io_thread_new(const struct io_thread_opts *opts, struct io_thread **ret, struct err *err)
{
	struct io_thread *thread = calloc(1, sizeof(*thread));
	int r;

	if (!thread)
		return err_set(err, -ENOMEM, "out of memory");
	r = loop_new_with(&opts->loop, &thread->loop, err);
	if (r < 0) {
		free(thread);
		return r;
	}
	thread->index = opts->index;
	thread->cpu = opts->cpu;
	(void)sem_init(&thread->is_in, 0, 0);
	*ret = thread;
	return 0;
}

struct loop *io_thread_loop(struct io_thread *thread)
{
	return thread->loop;
}

static int pin(const struct io_thread *thread)
{
	cpu_set_t set;

	if (thread->cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET((unsigned)thread->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) == 0)
		return 0;
	return err_set(thread->err, -errno, "can't pin I/O thread %u to processor %d: %s",
		       thread->index, thread->cpu, strerror(errno));
}

/* What must be done before the filter, then the filter. 0 or -errno. */
static int enter(const struct io_thread *thread)
{
	char name[16];
	int r;

	(void)snprintf(name, sizeof(name), "io/%u", thread->index);
	(void)prctl(PR_SET_NAME, name);
	altstack_use();
	r = pin(thread);
	return r < 0 ? r : thread->entry->enter(thread->entry, thread->err);
}

static void *thread_main(void *arg)
{
	struct io_thread *thread = arg;
	int r = enter(thread);

	thread->entered = r;
	if (r == 0)
		loop_claim(thread->loop);
	(void)sem_post(&thread->is_in);
	if (r < 0)
		return NULL;
	r = loop_run(thread->loop);
	if (r < 0)
		log_error("I/O thread %u ends: %s; its devices stand still", thread->index,
			  strerror(-r));
	return NULL;
}

static int create(struct io_thread *thread)
{
	pthread_attr_t attr;
	int r;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, MAX(STACK_BYTES, (uint64_t)PTHREAD_STACK_MIN));
	r = pthread_create(&thread->thread, &attr, thread_main, thread);
	(void)pthread_attr_destroy(&attr);
	return -r;
}

int io_thread_start(struct io_thread *thread, const struct io_thread_entry *entry, struct err *err)
{
	int r;

	thread->entry = entry;
	thread->err = err;
	r = create(thread);
	if (r < 0)
		return err_set(err, r, "can't make I/O thread %u: %s", thread->index, strerror(-r));
	while (sem_wait(&thread->is_in) != 0)
		; /* a signal */
	thread->err = NULL;
	if (thread->entered < 0) {
		(void)pthread_join(thread->thread, NULL);
		return thread->entered;
	}
	thread->started = true;
	return 0;
}

void io_thread_stop(struct io_thread *thread)
{
	if (!thread->started)
		return;
	loop_stop(thread->loop);
	(void)pthread_join(thread->thread, NULL);
	loop_release(thread->loop);
	thread->started = false;
}

struct io_thread *io_thread_free(struct io_thread *thread)
{
	if (!thread)
		return NULL;
	io_thread_stop(thread);
	thread->loop = loop_free(thread->loop);
	(void)sem_destroy(&thread->is_in);
	free(thread);
	return NULL;
}
