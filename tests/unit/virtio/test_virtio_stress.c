/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything at once, in random order: a driver that makes requests, resets queues and device and
 * turns bus mastering on and off, a main thread that pauses, resumes and changes the configuration,
 * and loops on which requests take their time. VMM_TEST_SEED=N repeats one run.
 */
#include "dev_world.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/clock.h"

enum { STEPS = 10000, SEEDS = 4 };

static struct dev_world w;
static atomic_bool over;

static uint64_t roll(uint64_t *dice, uint64_t n)
{
	*dice ^= *dice << 13;
	*dice ^= *dice >> 7;
	*dice ^= *dice << 17;
	return *dice % n;
}

static void *run_main(void *arg)
{
	uint64_t dice = *(const uint64_t *)arg * 31 + 7;
	struct err err = {0};

	while (!atomic_load(&over)) {
		if (roll(&dice, 4) == 0)
			virtio_dev_set_config(w.dev, 0, "abc", 3);
		cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0, "%s",
			     err.msg);
		for (unsigned i = 0; i < ECHO_QUEUES; i++)
			cr_assert_not(w.dev->queues[i].live);
		w.dev->dev.ops->resume(&w.dev->dev);
		for (uint64_t n = roll(&dice, 20); n > 0; n--)
			(void)sched_yield();
	}
	return NULL;
}

static void look_after(unsigned i)
{
	(void)dev_collect(&w, i);
	(void)driver_interrupts_on(&w.dq[i]);
}

static void reset_device(uint64_t *dice)
{
	dev_status(&w, 0);
	if (roll(dice, 2))
		virtio_dev_await_reset(w.dev);
	dev_await_status(&w, 0);
}

static void one_step(uint64_t *dice)
{
	unsigned i = (unsigned)roll(dice, ECHO_QUEUES);
	uint64_t what = roll(dice, 100);

	if (what < 60)
		(void)dev_request(&w, i);
	else if (what < 80)
		look_after(i);
	else if (what < 90)
		virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, what % 2);
	else if (what < 94)
		atomic_store(&w.echo->mode, what % 2 ? ECHO_NOW : ECHO_LATER);
	else if (what < 99) {
		dev_reset_queue(&w, i);
		dev_set_up_queue(&w, i);
	} else {
		reset_device(dice);
		dev_up(&w);
	}
}

/* As the driver alone. */
static void drive(uint64_t seed)
{
	uint64_t dice = seed * 2654435761u + 1;

	dev_up(&w);
	for (unsigned step = 0; step < STEPS; step++)
		one_step(&dice);
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, false);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		dev_await_all(&w, i);
	dev_works(&w);
	cr_assert_eq(dev_stat(&w, "guest_errors"), 0);
}

static void check(uint64_t seed, const struct driver_setup *setup, bool pauses)
{
	pthread_t main_thread;

	dev_world_init(&w, setup, (unsigned)(1 + seed % DEV_MAX_LOOPS));
	atomic_store(&w.echo->mode, ECHO_LATER);
	dev_world_start(&w);
	atomic_store(&over, !pauses);
	cr_assert_eq(pthread_create(&main_thread, NULL, run_main, &seed), 0);
	drive(seed);
	atomic_store(&over, true);
	cr_assert_eq(pthread_join(main_thread, NULL), 0);
	dev_world_done(&w);
}

/* Small: often full; large: more waits after a stop than the device takes in one turn. */
enum { SMALL = 8, LARGE = ECHO_QUEUE_SIZE };

static void check_seeds(uint16_t size, bool packed, bool pauses)
{
	const struct driver_setup setup = {.size = size, .packed = packed, .event_idx = true};
	const char *seed = getenv("VMM_TEST_SEED");

	if (seed)
		check(strtoull(seed, NULL, 0), &setup, pauses);
	for (uint64_t i = 1; !seed && i <= SEEDS; i++)
		check(i, &setup, pauses);
}

TestSuite(virtio_stress, .timeout = 110);

Test(virtio_stress, driver_alone__split)
{
	check_seeds(SMALL, false, false);
}

Test(virtio_stress, driver_alone__packed)
{
	check_seeds(SMALL, true, false);
}

Test(virtio_stress, paused_and_resumed__split)
{
	check_seeds(SMALL, false, true);
}

Test(virtio_stress, paused_and_resumed__packed)
{
	check_seeds(SMALL, true, true);
}

Test(virtio_stress, paused_and_resumed__split_large)
{
	check_seeds(LARGE, false, true);
}

Test(virtio_stress, paused_and_resumed__packed_large)
{
	check_seeds(LARGE, true, true);
}
