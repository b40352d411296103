/* SPDX-License-Identifier: Apache-2.0 */
/* A device saved at each stage of its life, and another one of its kind that goes on from there. */
#include "dev_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "tests/unit/saved.h"

/* Of what virtio_device_save() writes: */
enum {
	ACKED_AT = 1,
	CONFIG_LEN_AT = 13,
	N_QUEUES_AT = 17 + ECHO_CONFIG_LEN,
	QUEUE_AT = N_QUEUES_AT + 2,
};

static struct dev_world w;
static struct saved saved;
static const struct driver_setup split = {.size = 16, .event_idx = true};
static const struct driver_setup packed = {.size = 12, .packed = true};

static void set_up(void)
{
	dev_world_init(&w, &split, 2);
	dev_world_start(&w);
}

static void tear_down(void)
{
	dev_world_done(&w);
}

TestSuite(virtio_save, .init = set_up, .fini = tear_down, .timeout = 60);

static void quiesce_and_save(void)
{
	struct err err = {0};

	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0, "%s", err.msg);
	saved_take(&saved, &w.dev->dev);
}

/* Into a new device, whose loops run then; it is held still. */
static void replace(void)
{
	struct err err = {0};

	quiesce_and_save();
	dev_world_renew(&w);
	cr_assert_eq(saved_load(&saved, &w.dev->dev, &err), 0, "%s", err.msg);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		virtio_queue_set_call(&w.dev->queues[i], w.call[i]);
	dev_world_start(&w);
}

static void resume(void)
{
	w.dev->dev.ops->resume(&w.dev->dev);
}

static int load_error(void)
{
	return saved_load(&saved, &w.dev->dev, NULL);
}

/* ---- each stage ---- */

Test(virtio_save, before_the_driver_came)
{
	replace();
	resume();
	cr_assert_eq(virtio_dev_status(w.dev), 0);
	dev_up(&w);
	dev_works(&w);
}

Test(virtio_save, half_way_through_the_negotiation)
{
	dev_status(&w, DEV_FOUND);
	virtio_dev_ack(w.dev, 0, 1);
	replace();
	resume();
	cr_assert_eq(virtio_dev_status(w.dev), DEV_FOUND);
	cr_assert_eq(virtio_dev_acked(w.dev, 0), 1);
	dev_agree(&w, 0);
}

Test(virtio_save, with_queues_set_up_and_no_driver_ok)
{
	dev_agree(&w, 0);
	dev_set_up_queue(&w, 0);
	dev_set_up_queue(&w, 2);
	virtio_dev_set_queue_size(w.dev, 1, 8);
	replace();
	resume();
	for (unsigned i = 0; i < ECHO_QUEUES; i++) {
		struct virtio_queue_regs regs;

		cr_assert(virtio_dev_queue_regs(w.dev, i, &regs));
		cr_assert_eq(regs.enabled, i % 2 == 0);
		cr_assert_eq(regs.size, i == 1 ? 8 : i == 3 ? ECHO_QUEUE_SIZE : 16);
		cr_assert_eq(regs.desc, i % 2 == 0 ? w.dq[i].desc_gpa : 0);
	}
	dev_set_up_queue(&w, 3);
	virtio_dev_enable_queue(w.dev, 1);
	dev_settle(&w);
	cr_assert_eq(atomic_load(&w.echo->starts), 0);
}

static void check_traffic(const struct driver_setup *setup)
{
	w.setup = *setup;
	dev_up(&w);
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i <= round; i++)
			dev_works(&w);
		for (unsigned i = 0; i < ECHO_QUEUES; i++)
			cr_assert(dev_request(&w, i));
		replace();
		cr_assert(dev_request(&w, 0));
		dev_settle(&w);
		cr_assert_eq(atomic_load(&w.echo->starts), 0, "it is held until it is resumed");
		resume();
		for (unsigned i = 0; i < ECHO_QUEUES; i++)
			dev_await_all(&w, i);
	}
	cr_assert_eq(dev_stat(&w, "guest_errors"), 0);
}

Test(virtio_save, under_traffic)
{
	check_traffic(&split);
}

Test(virtio_save, under_traffic_of_packed_queues)
{
	check_traffic(&packed);
}

Test(virtio_save, never_resumed_and_saved_again)
{
	dev_up(&w);
	dev_works(&w);
	replace();
	replace();
	resume();
	dev_works(&w);
	cr_assert_eq(dev_stat(&w, "chains"), ECHO_QUEUES, "no old one again");
}

Test(virtio_save, before_it_ever_ran_and_twice)
{
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, true);
	dev_up(&w);
	cr_assert(dev_request(&w, 0));
	replace();
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, true);
	replace();
	resume();
	dev_await_all(&w, 0);
	dev_works(&w);
}

Test(virtio_save, held_by_the_bus)
{
	dev_up(&w);
	dev_works(&w);
	virtio_dev_hold(w.dev, VIRTIO_HOLD_BUS, true);
	echo_await(w.echo, &w.echo->stops, ECHO_QUEUES);
	cr_assert(dev_request(&w, 3));
	replace();
	resume();
	dev_await_all(&w, 3);
	dev_works(&w);
}

Test(virtio_save, after_the_reset_of_a_queue)
{
	dev_up(&w);
	dev_works(&w);
	dev_reset_queue(&w, 1);
	replace();
	resume();
	dev_set_up_queue(&w, 1);
	dev_works(&w);
}

Test(virtio_save, configuration_and_generation)
{
	uint64_t value = 0;
	uint32_t generation;

	dev_up(&w);
	virtio_dev_set_config(w.dev, 0, "ab", 2);
	virtio_dev_write_config(w.dev, 8, 2, "cd");
	generation = virtio_dev_generation(w.dev);
	replace();
	cr_assert_eq(virtio_dev_generation(w.dev), generation);
	virtio_dev_read_config(w.dev, 0, 2, &value);
	cr_assert_eq(memcmp(&value, "ab", 2), 0);
	virtio_dev_read_config(w.dev, 8, 2, &value);
	cr_assert_eq(memcmp(&value, "cd", 2), 0);
}

Test(virtio_save, a_broken_queue_stays_broken)
{
	static const struct driver_desc outside = {.addr = GUEST_LOW_END, .len = 8};
	struct driver_desc good = {.addr = 0, .len = 4, .flags = 2 /* writable */};

	dev_up(&w);
	dev_works(&w);
	if (driver_add_raw(&w.dq[0], &outside, 1, 0))
		eventfd_kick(w.kick[0]);
	dev_await(w.config_fd, "the need for a reset");
	replace();
	/* The driver can't mend it so. */
	good.addr = guest_alloc(&w.mem, 4, 4);
	memcpy(w.dq[0].desc, &good, sizeof(good));
	resume();
	eventfd_kick(w.kick[0]);
	dev_settle(&w);
	cr_assert_eq(dev_stat(&w, "chains"), 0);
	cr_assert_eq(dev_stat(&w, "guest_errors"), 0, "that was told before");
	cr_assert_eq(virtio_dev_status(w.dev), DEV_UP | VIRTIO_CONFIG_S_NEEDS_RESET);
	cr_assert(dev_request(&w, 1));
	dev_await_all(&w, 1);
	dev_reset(&w);
	dev_up(&w);
	dev_works(&w);
}

Test(virtio_save, rings_outside_of_memory_stay_there)
{
	dev_agree(&w, 0);
	virtio_dev_set_queue_half(w.dev, 0, VIRTIO_QUEUE_DESC, 0, (uint32_t)GUEST_LOW_END);
	virtio_dev_enable_queue(w.dev, 0);
	dev_status(&w, DEV_UP);
	dev_await(w.config_fd, "the need for a reset");
	replace();
	resume();
	dev_settle(&w);
	cr_assert_eq(virtio_dev_status(w.dev), DEV_UP | VIRTIO_CONFIG_S_NEEDS_RESET);
	dev_reset(&w);
	dev_up(&w);
	dev_works(&w);
}

/* ---- what a spoilt or foreign file would hold ---- */

static void up_and_saved(void)
{
	dev_up(&w);
	dev_works(&w);
	quiesce_and_save();
	dev_world_renew(&w);
}

Test(virtio_save, a_payload_of_another_length_is_refused)
{
	up_and_saved();
	saved_check_lengths(&saved, &w.dev->dev);
}

Test(virtio_save, features_that_are_not_offered_are_refused)
{
	up_and_saved();
	cr_assert_eq(load_error(), 0);
	saved.payload[ACKED_AT + 7] |= 0x80;
	cr_assert_lt(load_error(), 0);
}

Test(virtio_save, features_that_the_device_does_not_accept_are_refused)
{
	up_and_saved();
	atomic_store(&w.echo->refuse, true);
	cr_assert_lt(load_error(), 0);
	atomic_store(&w.echo->refuse, false);
	cr_assert_eq(load_error(), 0);
	saved.payload[ACKED_AT + 4] &= 0xfe;
	cr_assert_lt(load_error(), 0, "not even version 1");
}

Test(virtio_save, a_status_that_can_not_be_is_refused)
{
	up_and_saved();
	saved.payload[0] = DEV_UP & ~VIRTIO_CONFIG_S_FEATURES_OK;
	cr_assert_lt(load_error(), 0);
	saved.payload[0] = DEV_UP | 0x20;
	cr_assert_lt(load_error(), 0);
}

Test(virtio_save, another_shape_is_refused)
{
	struct saved good;

	up_and_saved();
	good = saved;
	saved.payload[CONFIG_LEN_AT]++;
	cr_assert_lt(load_error(), 0);
	saved = good;
	saved.payload[N_QUEUES_AT]--;
	cr_assert_lt(load_error(), 0);
	saved = good;
	saved.payload[QUEUE_AT] = ECHO_QUEUE_SIZE + 1;
	cr_assert_lt(load_error(), 0);
	saved.payload[QUEUE_AT] = 0;
	cr_assert_lt(load_error(), 0);
	cr_assert_eq(saved_load(&good, &w.dev->dev, NULL), 0);
}

static void use(struct device *dev)
{
	dev->ops->resume(dev);
	dev->ops->reset(dev);
	cr_assert_eq(virtio_dev_status(w.dev), 0);
}

Test(virtio_save, whatever_the_bytes_say_it_is_survived)
{
	up_and_saved();
	dev_world_start(&w);
	saved_check_bytes(&saved, &w.dev->dev, use);
}
