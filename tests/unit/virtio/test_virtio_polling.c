/* SPDX-License-Identifier: Apache-2.0 */
/* Queues whose loop looks for work before it sleeps, and how much of it a turn takes. */
#include "dev_world.h"

#include <criterion/criterion.h>

#include "base/clock.h"

static struct dev_world w;

static void tear_down(void)
{
	dev_world_done(&w);
}

TestSuite(virtio_polling, .fini = tear_down, .timeout = 60);

static void begin(const struct driver_setup *setup, uint64_t poll_ns)
{
	dev_world_init_polling(&w, setup, 1, poll_ns);
	dev_world_start(&w);
	dev_up(&w);
	dev_settle(&w);
}

static void make_rounds(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		cr_assert(dev_request(&w, 0));
		dev_await_all(&w, 0);
	}
}

/* With EVENT_IDX the driver passes the index that the device had asked for at the start once. */
static void check_no_kicks(const struct driver_setup *setup)
{
	begin(setup, 3600 * NS_PER_S);
	make_rounds(100);
	cr_assert_leq(dev_stat(&w, "kicks"), setup->event_idx ? 1 : 0);
}

Test(virtio_polling, driver_need_not_kick_a_loop_that_looks__split)
{
	check_no_kicks(&(struct driver_setup){.size = 16});
}

Test(virtio_polling, driver_need_not_kick_a_loop_that_looks__split_event_idx)
{
	check_no_kicks(&(struct driver_setup){.size = 16, .event_idx = true});
}

Test(virtio_polling, driver_need_not_kick_a_loop_that_looks__packed)
{
	check_no_kicks(&(struct driver_setup){.size = 16, .packed = true, .event_idx = true});
}

/* It goes to sleep between any two: nothing may fall between its last look and the kick. */
static void check_sleepy(const struct driver_setup *setup, uint64_t poll_ns)
{
	begin(setup, poll_ns);
	make_rounds(20000);
	cr_assert_gt(dev_stat(&w, "kicks"), 0);
}

Test(virtio_polling, loop_that_goes_to_sleep_is_kicked__split)
{
	check_sleepy(&(struct driver_setup){.size = 16, .event_idx = true}, 1);
}

Test(virtio_polling, loop_that_goes_to_sleep_is_kicked__packed)
{
	check_sleepy(&(struct driver_setup){.size = 16, .packed = true, .event_idx = true}, 3000);
}

/* Interrupts are sent at the end of a turn: their number is that of the turns with answers. */
Test(virtio_polling, turn_takes_sixteen_chains_and_the_next_goes_on)
{
	const struct driver_setup setup = {.size = 64}; /* two descriptors for each request */

	dev_world_init(&w, &setup, 1);
	dev_up(&w);
	for (unsigned i = 0; i < 32; i++)
		cr_assert(dev_request(&w, 0));
	dev_world_start(&w);
	dev_await_all(&w, 0);
	dev_world_stop(&w);
	cr_assert_eq(dev_stat(&w, "interrupts"), 2);
}
