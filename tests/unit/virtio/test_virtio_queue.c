/* SPDX-License-Identifier: Apache-2.0 */
/* The life of queues: started, stopped, reset one by one, held, broken; on threads of their own. */
#include "dev_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"

static struct dev_world w;
static const struct driver_setup split = {.size = 16, .event_idx = true};
static const struct driver_setup packed = {.size = 16, .packed = true, .event_idx = true};

static void set_up(void)
{
	dev_world_init(&w, &split, 1);
	dev_world_start(&w);
}

static void tear_down(void)
{
	dev_world_done(&w);
}

TestSuite(virtio_queue, .init = set_up, .fini = tear_down, .timeout = 60);

static struct virtio_queue_regs regs_of(unsigned i)
{
	struct virtio_queue_regs regs;

	(void)virtio_dev_queue_regs(w.dev, i, &regs);
	return regs;
}

/* One request in flight on each of queues 0 and 1, of four that run. */
static void keep_two(void)
{
	unsigned before = atomic_load(&w.echo->kept);

	echo_await(w.echo, &w.echo->starts, atomic_load(&w.echo->stops) + ECHO_QUEUES);
	atomic_store(&w.echo->mode, ECHO_HOLD);
	cr_assert(dev_request(&w, 0) && dev_request(&w, 1));
	echo_await(w.echo, &w.echo->kept, before + 2);
}

static void let_go(void)
{
	echo_let_go(w.echo, 0);
	echo_let_go(w.echo, 1);
	atomic_store(&w.echo->mode, ECHO_NOW);
}

/* ---- reset of the device ---- */

static bool is_untouched(const struct driver_queue *dq, size_t desc_bytes)
{
	const uint8_t *desc = dq->desc;

	for (size_t i = 0; i < desc_bytes; i++)
		if (desc[i] != 0xcc)
			return false;
	return *(const uint8_t *)dq->device == 0xcc && *(const uint8_t *)dq->driver == 0xcc;
}

static void poison_rings(struct driver_queue *dq)
{
	memset(dq->desc, 0xcc, 16 * (size_t)dq->setup.size);
	memset(dq->driver, 0xcc, 4);
	memset(dq->device, 0xcc, 4);
}

static void check_reset_in_flight(const struct driver_setup *setup)
{
	w.setup = *setup;
	dev_up(&w);
	keep_two();
	dev_status(&w, 0);
	echo_await(w.echo, &w.echo->stops, ECHO_QUEUES);
	dev_settle(&w);
	cr_assert_eq(virtio_dev_status(w.dev), DEV_UP, "two requests are in flight");
	echo_let_go(w.echo, 0);
	dev_settle(&w);
	cr_assert_eq(virtio_dev_status(w.dev), DEV_UP, "one request is in flight");
	cr_assert_eq(atomic_load(&w.echo->resets), 0);
	let_go();
	dev_await_status(&w, 0);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		poison_rings(&w.dq[i]);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		eventfd_kick(w.kick[i]);
	dev_settle(&w);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		cr_assert(is_untouched(&w.dq[i], 16 * (size_t)setup->size));
	cr_assert_eq(atomic_load(&w.echo->resets), 1);
	cr_assert_eq(atomic_load(&w.driver_resets), 1);
	dev_up(&w);
	dev_works(&w);
}

Test(virtio_queue, reset__is_acknowledged_when_all_requests_are_home)
{
	check_reset_in_flight(&split);
}

Test(virtio_queue, reset__of_packed_queues_likewise)
{
	check_reset_in_flight(&packed);
}

Test(virtio_queue, reset__everything_else_is_dropped_until_it_is_acknowledged)
{
	dev_up(&w);
	keep_two();
	dev_status(&w, 0);
	echo_await(w.echo, &w.echo->stops, ECHO_QUEUES);
	dev_settle(&w);
	dev_status(&w, VIRTIO_CONFIG_S_FAILED);
	dev_status(&w, 0);
	virtio_dev_ack(w.dev, 0, 0);
	virtio_dev_enable_queue(w.dev, 0);
	virtio_dev_reset_queue(w.dev, 0);
	virtio_dev_set_queue_size(w.dev, 2, 2);
	cr_assert_eq(virtio_dev_status(w.dev), DEV_UP);
	cr_assert_eq(dev_stat(&w, "resets"), 1);
	cr_assert_eq(regs_of(2).size, 16);
	let_go();
	dev_await_status(&w, 0);
	cr_assert_eq(atomic_load(&w.echo->resets), 1);
	cr_assert_eq(regs_of(2).size, ECHO_QUEUE_SIZE);
	dev_up(&w);
	dev_works(&w);
}

Test(virtio_queue, reset__right_after_driver_ok)
{
	for (unsigned i = 0; i < 300; i++) {
		dev_up(&w);
		if (i % 3)
			(void)dev_request(&w, i % ECHO_QUEUES);
		if (i % 2)
			virtio_dev_await_reset(w.dev);
		dev_reset(&w);
	}
	dev_up(&w);
	dev_works(&w);
}

Test(virtio_queue, reset__with_the_machine_is_one_of_the_transport_too)
{
	dev_up(&w);
	dev_works(&w);
	virtio_dev_set_config(w.dev, 0, "x", 1);
	w.dev->dev.ops->reset(&w.dev->dev);
	cr_assert_eq(virtio_dev_status(w.dev), 0);
	cr_assert_eq(virtio_dev_generation(w.dev), 0);
	cr_assert_eq(atomic_load(&w.machine_resets), 1);
	dev_up(&w);
	dev_works(&w);
}

static void *reset_machine(void *arg)
{
	(void)arg;
	w.dev->dev.ops->reset(&w.dev->dev);
	return NULL;
}

Test(virtio_queue, reset__with_the_machine_waits_for_requests)
{
	pthread_t main_thread;

	dev_up(&w);
	keep_two();
	cr_assert_eq(pthread_create(&main_thread, NULL, reset_machine, NULL), 0);
	echo_await(w.echo, &w.echo->stops, ECHO_QUEUES);
	dev_settle(&w);
	cr_assert_eq(atomic_load(&w.machine_resets), 0);
	let_go();
	cr_assert_eq(pthread_join(main_thread, NULL), 0);
	cr_assert_eq(virtio_dev_status(w.dev), 0);
	cr_assert_eq(atomic_load(&w.machine_resets), 1);
}

Test(virtio_queue, reset__of_the_machine_while_the_driver_resets)
{
	pthread_t main_thread;

	dev_up(&w);
	keep_two();
	dev_status(&w, 0);
	cr_assert_eq(pthread_create(&main_thread, NULL, reset_machine, NULL), 0);
	let_go();
	cr_assert_eq(pthread_join(main_thread, NULL), 0);
	cr_assert_eq(atomic_load(&w.echo->resets), atomic_load(&w.driver_resets));
	dev_up(&w);
	dev_works(&w);
}

/* ---- reset of one queue (2.6.1) ---- */

Test(virtio_queue, queue_reset__leaves_the_others_at_work)
{
	dev_up(&w);
	keep_two();
	virtio_dev_reset_queue(w.dev, 0);
	echo_await(w.echo, &w.echo->stops, 1);
	dev_settle(&w);
	cr_assert(regs_of(0).resetting);
	atomic_store(&w.echo->mode, ECHO_NOW);
	cr_assert(dev_request(&w, 2));
	dev_await_all(&w, 2);
	echo_let_go(w.echo, 0);
	while (regs_of(0).resetting)
		;
	cr_assert_not(regs_of(0).enabled);
	cr_assert_eq(regs_of(0).size, ECHO_QUEUE_SIZE);
	cr_assert_eq(regs_of(0).desc, 0);
	cr_assert_eq(virtio_dev_status(w.dev), DEV_UP);
	echo_let_go(w.echo, 1);
	dev_await_all(&w, 1);
	cr_assert_eq(atomic_load(&w.echo->resets), 0);
}

Test(virtio_queue, queue_reset__and_enabled_again_with_other_rings)
{
	dev_up(&w);
	for (unsigned i = 0; i < 50; i++) {
		dev_works(&w);
		dev_reset_queue(&w, i % ECHO_QUEUES);
		dev_set_up_queue(&w, i % ECHO_QUEUES);
	}
	dev_works(&w);
	cr_assert_eq(dev_stat(&w, "guest_errors"), 0);
}

Test(virtio_queue, queue_reset__of_one_that_has_not_started_yet)
{
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, true);
	dev_up(&w);
	virtio_dev_reset_queue(w.dev, 0);
	cr_assert_not(regs_of(0).enabled);
	cr_assert_not(regs_of(0).resetting);
	dev_set_up_queue(&w, 0);
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, false);
	dev_works(&w);
}

Test(virtio_queue, queue_reset__while_it_is_held_forgets_its_position)
{
	dev_up(&w);
	dev_works(&w);
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, true);
	echo_await(w.echo, &w.echo->stops, ECHO_QUEUES);
	dev_reset_queue(&w, 1);
	dev_set_up_queue(&w, 1);
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, false);
	dev_works(&w);
}

Test(virtio_queue, queue_reset__then_of_the_device)
{
	dev_up(&w);
	keep_two();
	virtio_dev_reset_queue(w.dev, 0);
	dev_status(&w, 0);
	cr_assert_eq(virtio_dev_status(w.dev), DEV_UP);
	let_go();
	dev_await_status(&w, 0);
	cr_assert_not(regs_of(0).resetting || regs_of(0).enabled);
	dev_up(&w);
	dev_works(&w);
}

/* ---- holds ---- */

Test(virtio_queue, hold__keeps_the_place_and_lets_go_on_there)
{
	dev_up(&w);
	for (unsigned i = 0; i < 40; i++) {
		dev_works(&w);
		virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, true);
		for (unsigned q = 0; q < ECHO_QUEUES; q++)
			cr_assert(dev_request(&w, q));
		virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, false);
		for (unsigned q = 0; q < ECHO_QUEUES; q++)
			dev_await_all(&w, q);
	}
}

Test(virtio_queue, hold__nothing_is_taken_meanwhile)
{
	dev_up(&w);
	dev_works(&w);
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, true);
	echo_await(w.echo, &w.echo->stops, ECHO_QUEUES);
	cr_assert(dev_request(&w, 0));
	dev_settle(&w);
	cr_assert_eq(dev_stat(&w, "chains"), ECHO_QUEUES);
	cr_assert_not(driver_has_used(&w.dq[0]));
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, false);
	dev_await_all(&w, 0);
}

Test(virtio_queue, hold__of_two_kinds_ends_with_the_second)
{
	struct err err = {0};

	dev_up(&w);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0);
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, true);
	cr_assert(dev_request(&w, 0));
	w.dev->dev.ops->resume(&w.dev->dev);
	dev_settle(&w);
	cr_assert_not(driver_has_used(&w.dq[0]));
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, false);
	dev_await_all(&w, 0);
}

Test(virtio_queue, hold__that_ends_before_the_last_request_is_home)
{
	dev_up(&w);
	keep_two();
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, true);
	echo_await(w.echo, &w.echo->stops, ECHO_QUEUES);
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, false);
	dev_settle(&w);
	let_go();
	dev_await_all(&w, 0);
	dev_await_all(&w, 1);
	dev_works(&w);
}

Test(virtio_queue, hold__a_held_device_is_reset_at_once)
{
	dev_up(&w);
	dev_works(&w);
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, true);
	echo_await(w.echo, &w.echo->stops, ECHO_QUEUES);
	dev_settle(&w);
	dev_status(&w, 0);
	cr_assert_eq(virtio_dev_status(w.dev), 0);
	dev_up(&w);
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, false);
	dev_works(&w);
}

static void *quiesce(void *arg)
{
	struct err err = {0};

	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0, "%s", err.msg);
	return arg;
}

Test(virtio_queue, quiesce__waits_until_nothing_is_in_flight)
{
	pthread_t main_thread;

	dev_up(&w);
	keep_two();
	cr_assert_eq(pthread_create(&main_thread, NULL, quiesce, NULL), 0);
	echo_await(w.echo, &w.echo->stops, ECHO_QUEUES);
	let_go();
	cr_assert_eq(pthread_join(main_thread, NULL), 0);
	cr_assert_not(w.dev->queues[0].live || w.dev->queues[1].live);
	cr_assert_eq(dev_collect(&w, 0), 1, "what was in flight is told");
	cr_assert_eq(dev_collect(&w, 1), 1);
	w.dev->dev.ops->resume(&w.dev->dev);
	dev_works(&w);
}

/* ---- rings and chains that can not be ---- */

static void break_queue(unsigned i)
{
	static const struct driver_desc outside = {.addr = GUEST_LOW_END, .len = 8};

	if (driver_add_raw(&w.dq[i], &outside, 1, 0))
		eventfd_kick(w.kick[i]);
	dev_await(w.config_fd, "the need for a reset");
	cr_assert_eq(virtio_dev_status(w.dev), DEV_UP | VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void put_ring_outside(unsigned i, enum virtio_queue_field field)
{
	virtio_dev_set_queue_half(w.dev, i, field, 0, (uint32_t)GUEST_LOW_END);
	virtio_dev_set_queue_half(w.dev, i, field, 32, 0);
	virtio_dev_enable_queue(w.dev, i);
}

Test(virtio_queue, rings_outside_of_memory__need_a_reset_and_get_it)
{
	for (unsigned field = VIRTIO_QUEUE_DESC; field <= VIRTIO_QUEUE_DEVICE; field++) {
		dev_agree(&w, 0);
		put_ring_outside(0, field);
		dev_set_up_queue(&w, 1);
		dev_status(&w, DEV_UP);
		dev_await(w.config_fd, "the need for a reset");
		cr_assert_eq(virtio_dev_status(w.dev), DEV_UP | VIRTIO_CONFIG_S_NEEDS_RESET);
		eventfd_kick(w.kick[0]);
		cr_assert(dev_request(&w, 1));
		dev_await_all(&w, 1);
		dev_reset(&w);
	}
	cr_assert_eq(dev_stat(&w, "guest_errors"), 3);
	dev_up(&w);
	dev_works(&w);
}

Test(virtio_queue, rings_outside_of_memory__survive_holds)
{
	struct err err = {0};

	dev_agree(&w, 0);
	put_ring_outside(0, VIRTIO_QUEUE_DESC);
	dev_status(&w, DEV_UP);
	dev_await(w.config_fd, "the need for a reset");
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0);
		w.dev->dev.ops->resume(&w.dev->dev);
		eventfd_kick(w.kick[0]);
		dev_settle(&w);
	}
	cr_assert_eq(atomic_load(&w.echo->starts), 0, "it never came to run");
	dev_reset(&w);
	dev_up(&w);
	dev_works(&w);
}

Test(virtio_queue, rings_of_an_impossible_size__need_a_reset)
{
	dev_agree(&w, 0);
	virtio_dev_set_queue_size(w.dev, 0, 12);
	virtio_dev_enable_queue(w.dev, 0);
	dev_status(&w, DEV_UP);
	dev_await(w.config_fd, "the need for a reset");
	dev_reset(&w);
}

Test(virtio_queue, broken_queue__one_error_and_the_others_go_on)
{
	dev_up(&w);
	break_queue(0);
	for (unsigned i = 0; i < 3; i++)
		eventfd_kick(w.kick[0]);
	dev_settle(&w);
	cr_assert_eq(dev_stat(&w, "guest_errors"), 1);
	cr_assert(dev_request(&w, 1));
	dev_await_all(&w, 1);
	dev_reset(&w);
	dev_up(&w);
	dev_works(&w);
}

Test(virtio_queue, broken_queue__what_is_in_flight_comes_home_before_the_reset)
{
	dev_up(&w);
	keep_two();
	break_queue(0);
	dev_status(&w, 0);
	echo_await(w.echo, &w.echo->stops, ECHO_QUEUES);
	dev_settle(&w);
	cr_assert_neq(virtio_dev_status(w.dev), 0);
	let_go();
	dev_await_status(&w, 0);
	dev_up(&w);
	dev_works(&w);
}

Test(virtio_queue, broken_queue__stays_so_over_a_hold)
{
	struct err err = {0};

	dev_up(&w);
	break_queue(0);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0);
	w.dev->dev.ops->resume(&w.dev->dev);
	dev_settle(&w);
	cr_assert_eq(dev_stat(&w, "guest_errors"), 1);
	cr_assert_eq(dev_take(w.config_fd), 0);
	dev_reset(&w);
}

Test(virtio_queue, broken_queue__is_mended_by_its_own_reset)
{
	dev_up(&w);
	break_queue(2);
	dev_reset_queue(&w, 2);
	dev_set_up_queue(&w, 2);
	dev_works(&w);
}

/* ---- freed at work ---- */

Test(virtio_queue, freed__with_requests_in_flight_and_interrupts_due)
{
	dev_up(&w);
	keep_two();
	dev_world_stop(&w); /* and tear_down() */
}

/* ---- loops ---- */

TestSuite(virtio_queue_loops, .fini = tear_down, .timeout = 60);

Test(virtio_queue_loops, queues__are_spread_over_several)
{
	dev_world_init(&w, &packed, 3);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		cr_assert_eq(w.dev->queues[i].loop, w.loops[i % 3]);
	dev_world_start(&w);
	for (unsigned i = 0; i < 20; i++) {
		dev_up(&w);
		for (unsigned j = 0; j < 20; j++)
			dev_works(&w);
		keep_two();
		dev_status(&w, 0);
		echo_let_go(w.echo, 0);
		dev_settle(&w);
		cr_assert_neq(virtio_dev_status(w.dev), 0, "the other loop's is not home");
		let_go();
		dev_await_status(&w, 0);
	}
}

Test(virtio_queue_loops, queues_of_the_callers_own_loop__come_to_rest_and_start_anew)
{
	struct err err = {0};

	dev_world_init(&w, &split, 1);
	dev_up(&w);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0,
		     "no thread runs the loop");
	cr_assert_not(w.dev->queues[0].live);
	w.dev->dev.ops->resume(&w.dev->dev);
	w.dev->dev.ops->reset(&w.dev->dev);
	cr_assert_eq(virtio_dev_status(w.dev), 0);
	dev_up(&w);
	dev_status(&w, 0);
	virtio_dev_await_reset(w.dev);
	cr_assert_eq(virtio_dev_status(w.dev), 0);
	dev_up(&w);
	dev_world_start(&w);
	dev_works(&w);
	dev_world_stop(&w);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0,
		     "it runs no more");
	cr_assert_eq(atomic_load(&w.echo->stops), ECHO_QUEUES);
}

struct from_inside {
	struct loop_work work;
	int done;
};

static void quiesce_from_inside(struct loop_work *work)
{
	(void)quiesce(NULL);
	w.dev->dev.ops->resume(&w.dev->dev);
	w.dev->dev.ops->reset(&w.dev->dev);
	eventfd_kick(container_of(work, struct from_inside, work)->done);
}

Test(virtio_queue_loops, queues_of_the_loop_that_asks__come_to_rest)
{
	struct from_inside ask = {.work.run = quiesce_from_inside, .done = eventfd_new()};

	dev_world_init(&w, &split, 1);
	dev_world_start(&w);
	dev_up(&w);
	dev_works(&w);
	loop_post(w.loops[0], &ask.work);
	dev_await(ask.done, "the end");
	cr_assert_eq(virtio_dev_status(w.dev), 0);
	cr_assert_eq(atomic_load(&w.echo->stops), ECHO_QUEUES);
	(void)fd_close(ask.done);
}
