/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of a device, and the status machine behind them (virtio 1.2, 2.1 to 2.5, 3.1.1). */
#include "dev_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct dev_world w;
static const struct driver_setup split = {.size = 16, .event_idx = true};

static void set_up(void)
{
	dev_world_init(&w, &split, 1);
	dev_world_start(&w);
}

static void tear_down(void)
{
	dev_world_done(&w);
}

TestSuite(virtio_dev, .init = set_up, .fini = tear_down, .timeout = 60);

static uint8_t status(void)
{
	return virtio_dev_status(w.dev);
}

static uint64_t acked(void)
{
	return virtio_dev_acked(w.dev, 0) | (uint64_t)virtio_dev_acked(w.dev, 1) << 32;
}

static void ack(uint64_t features)
{
	virtio_dev_ack(w.dev, 0, (uint32_t)features);
	virtio_dev_ack(w.dev, 1, (uint32_t)(features >> 32));
}

/* ---- status ---- */

Test(virtio_dev, status__bits_are_added_and_only_a_reset_takes_them_back)
{
	cr_assert_eq(status(), 0);
	dev_status(&w, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	dev_status(&w, VIRTIO_CONFIG_S_DRIVER);
	cr_assert_eq(status(), DEV_FOUND);
	dev_status(&w, VIRTIO_CONFIG_S_FAILED);
	cr_assert_eq(status(), DEV_FOUND | VIRTIO_CONFIG_S_FAILED);
	dev_reset(&w);
	cr_assert_eq(status(), 0);
}

Test(virtio_dev, status__needs_reset_and_unknown_bits_are_not_the_drivers)
{
	dev_status(&w, VIRTIO_CONFIG_S_NEEDS_RESET | 0x30 | VIRTIO_CONFIG_S_DRIVER);
	cr_assert_eq(status(), VIRTIO_CONFIG_S_DRIVER);
}

Test(virtio_dev, features_ok__is_refused_without_version_1)
{
	dev_status(&w, DEV_FOUND);
	ack(5);
	dev_status(&w, DEV_AGREED);
	cr_assert_eq(status(), DEV_FOUND);
	ack(VIRTIO_BIT(VIRTIO_F_VERSION_1));
	dev_status(&w, DEV_AGREED);
	cr_assert_eq(status(), DEV_AGREED, "the driver may try again with others");
}

Test(virtio_dev, features_ok__is_refused_where_the_device_does)
{
	atomic_store(&w.echo->refuse, true);
	dev_status(&w, DEV_FOUND);
	ack(VIRTIO_BIT(VIRTIO_F_VERSION_1));
	dev_status(&w, DEV_AGREED);
	cr_assert_eq(status(), DEV_FOUND);
	atomic_store(&w.echo->refuse, false);
	dev_status(&w, DEV_AGREED);
	cr_assert_eq(status(), DEV_AGREED);
}

Test(virtio_dev, driver_ok__does_not_count_before_features_ok)
{
	dev_status(&w, DEV_FOUND);
	dev_status(&w, DEV_FOUND | VIRTIO_CONFIG_S_DRIVER_OK);
	cr_assert_eq(status(), DEV_FOUND);
	dev_status(&w, DEV_UP);
	cr_assert_eq(status(), DEV_FOUND, "nor with one that is refused");
	cr_assert_not(virtio_dev_is_up(w.dev));
	ack(VIRTIO_BIT(VIRTIO_F_VERSION_1));
	dev_status(&w, DEV_UP);
	cr_assert_eq(status(), DEV_UP);
	cr_assert(virtio_dev_is_up(w.dev));
}

Test(virtio_dev, reset__of_a_device_that_nobody_uses_is_done_at_once)
{
	dev_status(&w, 0);
	cr_assert_eq(status(), 0);
	cr_assert_eq(atomic_load(&w.echo->resets), 1);
	cr_assert_eq(atomic_load(&w.driver_resets), 1);
	cr_assert_eq(dev_stat(&w, "resets"), 1);
}

/* ---- features ---- */

Test(virtio_dev, features__no_more_than_are_offered)
{
	ack(UINT64_MAX);
	cr_assert_eq(acked(), VIRTIO_FEATURES_COMMON | 5);
	virtio_dev_ack(w.dev, 2, UINT32_MAX);
	virtio_dev_ack(w.dev, UINT32_MAX, UINT32_MAX);
	cr_assert_eq(virtio_dev_acked(w.dev, 2), 0);
	cr_assert_eq(virtio_dev_offered(w.dev, UINT32_MAX), 0);
	cr_assert_eq(acked(), VIRTIO_FEATURES_COMMON | 5);
}

Test(virtio_dev, features__one_word_does_not_touch_the_other)
{
	ack(UINT64_MAX);
	virtio_dev_ack(w.dev, 0, 1);
	cr_assert_eq(virtio_dev_acked(w.dev, 0), 1);
	cr_assert_eq(virtio_dev_acked(w.dev, 1), (uint32_t)(VIRTIO_FEATURES_COMMON >> 32));
}

Test(virtio_dev, features__are_frozen_from_features_ok_to_reset)
{
	dev_status(&w, DEV_FOUND);
	ack(VIRTIO_BIT(VIRTIO_F_VERSION_1) | 1);
	dev_status(&w, DEV_AGREED);
	ack(VIRTIO_BIT(VIRTIO_F_VERSION_1) | 4);
	cr_assert_eq(acked(), VIRTIO_BIT(VIRTIO_F_VERSION_1) | 1);
	dev_status(&w, DEV_UP);
	ack(0);
	cr_assert_eq(acked(), VIRTIO_BIT(VIRTIO_F_VERSION_1) | 1);
	dev_reset(&w);
	cr_assert_eq(acked(), 0);
}

/* ---- configuration space ---- */

static uint64_t config(unsigned offset, unsigned len)
{
	uint64_t value = 0;

	virtio_dev_read_config(w.dev, offset, len, &value);
	return value;
}

static void set_config(unsigned offset, unsigned len, uint64_t value)
{
	virtio_dev_write_config(w.dev, offset, len, &value);
}

Test(virtio_dev, config__reads_zero_past_its_end)
{
	cr_assert_eq(config(0, 4), 0x04030201);
	cr_assert_eq(config(ECHO_CONFIG_LEN - 2, 4), 0x0c0b);
	cr_assert_eq(config(ECHO_CONFIG_LEN, 8), 0);
	cr_assert_eq(config(UINT32_MAX, 8), 0);
}

Test(virtio_dev, config__takes_what_is_writable_and_no_more)
{
	set_config(8, 4, 0xaabbccdd);
	cr_assert_eq(config(8, 4), 0x0abbccdd);
	cr_assert_eq(atomic_load(&w.echo->written), 1);
	set_config(0, 8, UINT64_MAX);
	cr_assert_eq(config(0, 8), UINT64_C(0x0807060504030201));
	set_config(10, 4, 0);
	set_config(UINT32_MAX - 1, 4, 0);
	cr_assert_eq(config(8, 4), 0x0abbccdd, "no write across the end");
}

Test(virtio_dev, config__a_change_counts_and_is_told_once_the_driver_is_up)
{
	uint32_t before = virtio_dev_generation(w.dev);

	virtio_dev_set_config(w.dev, 0, "x", 1);
	cr_assert_neq(virtio_dev_generation(w.dev), before);
	cr_assert_eq(dev_take(w.config_fd), 0, "nobody would listen");
	dev_up(&w);
	before = virtio_dev_generation(w.dev);
	virtio_dev_set_config(w.dev, 0, "y", 1);
	cr_assert_eq(dev_take(w.config_fd), 1);
	cr_assert_neq(virtio_dev_generation(w.dev), before);
	cr_assert_eq(config(0, 2), 'y' | 2 << 8);
	set_config(8, 1, 1);
	cr_assert_eq(dev_take(w.config_fd), 0, "what the driver writes it need not be told");
}

/* ---- queue registers ---- */

static struct virtio_queue_regs regs_of(unsigned i)
{
	struct virtio_queue_regs regs;

	(void)virtio_dev_queue_regs(w.dev, i, &regs);
	return regs;
}

static void poison(unsigned i)
{
	virtio_dev_set_queue_size(w.dev, i, 8);
	for (unsigned field = VIRTIO_QUEUE_DESC; field <= VIRTIO_QUEUE_DEVICE; field++)
		for (unsigned shift = 0; shift <= 32; shift += 32)
			virtio_dev_set_queue_half(w.dev, i, field, shift, 0xdeadbee0);
}

static void assert_poison_changes(unsigned i, bool changes)
{
	struct virtio_queue_regs before = regs_of(i), now;

	poison(i);
	now = regs_of(i);
	cr_assert_eq(now.size != before.size, changes);
	cr_assert_eq(now.desc != before.desc, changes);
	cr_assert_eq(now.driver != before.driver, changes);
	cr_assert_eq(now.device != before.device, changes);
	cr_assert_eq(now.enabled, before.enabled);
}

Test(virtio_dev, queue__sizes_that_can_not_be_are_dropped)
{
	cr_assert_eq(regs_of(0).size, ECHO_QUEUE_SIZE);
	virtio_dev_set_queue_size(w.dev, 0, 0);
	virtio_dev_set_queue_size(w.dev, 0, ECHO_QUEUE_SIZE + 1);
	cr_assert_eq(regs_of(0).size, ECHO_QUEUE_SIZE);
	virtio_dev_set_queue_size(w.dev, 0, 1);
	cr_assert_eq(regs_of(0).size, 1);
	cr_assert_eq(regs_of(1).size, ECHO_QUEUE_SIZE);
}

Test(virtio_dev, queue__that_is_not_there)
{
	struct virtio_queue_regs regs = {.enabled = true};

	for (unsigned i = ECHO_QUEUES; i != 0; i *= 2) {
		poison(i);
		virtio_dev_enable_queue(w.dev, i);
		virtio_dev_disable_queue(w.dev, i);
		virtio_dev_reset_queue(w.dev, i);
		cr_assert_not(virtio_dev_queue_regs(w.dev, i, &regs));
		cr_assert_eq(regs.size, 0);
		cr_assert_not(regs.enabled);
	}
}

Test(virtio_dev, queue__is_frozen_once_it_is_enabled)
{
	dev_agree(&w, 0);
	assert_poison_changes(0, true);
	dev_set_up_queue(&w, 1);
	assert_poison_changes(1, false);
	assert_poison_changes(2, true);
}

Test(virtio_dev, queue__is_frozen_after_driver_ok_where_it_can_not_be_reset)
{
	dev_agree(&w, 0);
	dev_set_up_queue(&w, 0);
	dev_status(&w, DEV_UP);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		assert_poison_changes(i, false);
	virtio_dev_enable_queue(w.dev, 1);
	cr_assert_not(regs_of(1).enabled);
	virtio_dev_reset_queue(w.dev, 0);
	cr_assert(regs_of(0).enabled && !regs_of(0).resetting, "not negotiated");
	virtio_dev_disable_queue(w.dev, 0);
	cr_assert_not(regs_of(0).enabled, "4.2.2.2: it has stopped");
}

Test(virtio_dev, queue__that_was_not_enabled_can_be_later_with_ring_reset)
{
	dev_agree(&w, VIRTIO_BIT(40));
	dev_set_up_queue(&w, 0);
	dev_status(&w, DEV_UP);
	assert_poison_changes(0, false);
	assert_poison_changes(1, true);
	dev_set_up_queue(&w, 1);
	assert_poison_changes(1, false);
	cr_assert(dev_request(&w, 1));
	dev_await_all(&w, 1);
}

Test(virtio_dev, queue__has_its_defaults_after_a_reset)
{
	dev_up(&w);
	dev_reset(&w);
	for (unsigned i = 0; i < ECHO_QUEUES; i++) {
		struct virtio_queue_regs regs = regs_of(i);

		cr_assert_eq(regs.size, ECHO_QUEUE_SIZE);
		cr_assert_eq(regs.desc | regs.driver | regs.device, 0);
		cr_assert_not(regs.enabled || regs.resetting);
	}
}

/* ---- counters ---- */

Test(virtio_dev, counters__are_those_of_all_queues)
{
	dev_up(&w);
	for (unsigned i = 0; i < 10; i++)
		dev_works(&w);
	cr_assert_eq(dev_stat(&w, "chains"), 10 * ECHO_QUEUES);
	cr_assert_geq(dev_stat(&w, "kicks"), 10 * ECHO_QUEUES - ECHO_QUEUES);
	cr_assert_geq(dev_stat(&w, "interrupts"), ECHO_QUEUES);
	cr_assert_eq(dev_stat(&w, "guest_errors"), 0);
	cr_assert_eq(dev_stat(&w, "resets"), 0);
	dev_reset(&w);
	cr_assert_eq(dev_stat(&w, "resets"), 1);
	cr_assert_eq(dev_stat(&w, "chains"), 10 * ECHO_QUEUES, "they go on");
}
