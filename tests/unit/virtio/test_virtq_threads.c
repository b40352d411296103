/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver and device on two threads that sleep whenever the rings allow it: a barrier that is
 * missing shows as a wake-up that never comes, or as a buffer read too early.
 */
#include "queue_world.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

enum { TOTAL = 200000, GUARD_SECONDS = 60 };

struct two_threads {
	struct queue_world w;
	sem_t kick, interrupt;
	uint64_t kicks, interrupts; /* each its own thread's */
};

/* What a request carries: a number to read and a place for its double. */
struct request {
	uint64_t number, answer;
};

static void sleep_on(sem_t *sem)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += GUARD_SECONDS;
	cr_assert_eq(sem_timedwait(sem, &until), 0, "a wake-up was lost");
}

static void answer(struct two_threads *t, const struct virtq_chain *chain)
{
	uint64_t number, doubled;

	memcpy(&number, chain->iov[0].iov_base, sizeof(number));
	doubled = 2 * number;
	memcpy(chain->iov[1].iov_base, &doubled, sizeof(doubled));
	virtq_push(&t->w.vq, chain, sizeof(doubled));
}

static void show(struct two_threads *t)
{
	if (!virtq_flush(&t->w.vq))
		return;
	t->interrupts++;
	(void)sem_post(&t->interrupt);
}

static unsigned serve(struct two_threads *t)
{
	struct virtq_chain chain;
	struct iovec iov[2];
	unsigned n = 0;
	int r;

	virtq_kicks_off(&t->w.vq);
	do {
		while ((r = virtq_pop(&t->w.vq, &chain, iov, 2)) == 1) {
			answer(t, &chain);
			if (++n % 3 == 0)
				show(t);
		}
		cr_assert_eq(r, 0);
		show(t);
	} while (virtq_kicks_on(&t->w.vq));
	return n;
}

static void *device(void *arg)
{
	struct two_threads *t = arg;

	for (unsigned n = 0; n < TOTAL; n += serve(t))
		sleep_on(&t->kick);
	return NULL;
}

static struct request *request_at(struct two_threads *t, uint64_t number)
{
	return (struct request *)guest_ptr(&t->w.mem, t->w.buf, 4096) + number % 128;
}

static bool add_one(struct two_threads *t, uint64_t number)
{
	uint64_t gpa = t->w.buf + number % 128 * sizeof(struct request);
	struct driver_seg segs[2] = {{gpa, 8}, {gpa + 8, 8}};

	if (t->w.dq.n_chains >= 128)
		return false;
	if (driver_add(&t->w.dq, segs, 1, 1, (void *)(uintptr_t)number))
		return false;
	*request_at(t, number) = (struct request){.number = number, .answer = ~number};
	return true;
}

static uint64_t collect_all(struct two_threads *t)
{
	struct driver_used used;
	uint64_t n = 0;

	for (; driver_collect(&t->w.dq, &used); n++) {
		uint64_t number = (uint64_t)(uintptr_t)used.cookie;

		cr_assert_eq(used.len, 8);
		cr_assert_eq(request_at(t, number)->answer, 2 * number, "read too early");
	}
	return n;
}

static void drive(struct two_threads *t)
{
	uint64_t added = 0, done = 0;

	while (done < TOTAL) {
		unsigned burst = (unsigned)(1 + added % 7);

		while (burst-- && added < TOTAL && add_one(t, added))
			added++;
		if (driver_publish(&t->w.dq)) {
			t->kicks++;
			(void)sem_post(&t->kick);
		}
		driver_interrupts_off(&t->w.dq);
		done += collect_all(t);
		if (added < TOTAL && added % 5)
			continue;
		if (done < added && !driver_interrupts_on(&t->w.dq))
			sleep_on(&t->interrupt);
	}
}

static void run(struct driver_setup setup)
{
	static struct two_threads t;
	pthread_t thread;

	world_init(&t.w, &setup);
	t.kicks = t.interrupts = 0;
	cr_assert_eq(sem_init(&t.kick, 0, 0), 0);
	cr_assert_eq(sem_init(&t.interrupt, 0, 0), 0);
	driver_interrupts_off(&t.w.dq);
	cr_assert_eq(pthread_create(&thread, NULL, device, &t), 0);
	drive(&t);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_gt(t.kicks, 0);
	cr_assert_gt(t.interrupts, 0);
	(void)sem_destroy(&t.kick);
	(void)sem_destroy(&t.interrupt);
	world_done(&t.w);
}

Test(virtq_threads, split__loses_no_wake_up)
{
	run((struct driver_setup){.size = 2});
	run((struct driver_setup){.size = 64});
	run((struct driver_setup){.size = 64, .event_idx = true});
}

Test(virtq_threads, packed__loses_no_wake_up)
{
	run((struct driver_setup){.size = 3, .packed = true});
	run((struct driver_setup){.size = 61, .packed = true});
	run((struct driver_setup){.size = 61, .packed = true, .event_idx = true});
}
