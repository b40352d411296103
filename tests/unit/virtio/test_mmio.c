/* SPDX-License-Identifier: Apache-2.0 */
#include "mmio_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "base/clock.h"
#include "tests/unit/saved.h"

enum { QUEUE_RESET = 0xc0, RUNNING = 15 };

static struct mmio_world w;
static const struct driver_setup split = {.size = 16, .event_idx = true};
static const struct driver_setup packed = {.size = 16, .packed = true, .event_idx = true};

static void set_up(void)
{
	mmio_world_init(&w);
	cr_assert_eq(mmio_world_make(&w), 0);
	mmio_world_start(&w);
}

static void tear_down(void)
{
	mmio_world_done(&w);
}

TestSuite(virtio_mmio, .init = set_up, .fini = tear_down, .timeout = 60);

static uint32_t features_at(uint32_t word)
{
	mmio_set(&w, VIRTIO_MMIO_DEVICE_FEATURES_SEL, word);
	return mmio_get(&w, VIRTIO_MMIO_DEVICE_FEATURES);
}

static uint32_t of_queue(uint32_t queue, unsigned offset)
{
	mmio_set(&w, VIRTIO_MMIO_QUEUE_SEL, queue);
	return mmio_get(&w, offset);
}

Test(virtio_mmio, it_says_what_it_is)
{
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_VERSION), 2);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_RNG);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_VENDOR_ID), 0x1af4);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_STATUS), 0);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	cr_assert_eq(w.wires.n_edges, 1);
	cr_assert_eq(w.wires.edge[0].gsi, MMIO_GSI);
}

Test(virtio_mmio, features__come_in_two_words)
{
	uint64_t offered = VIRTIO_FEATURES_COMMON | 5;

	cr_assert_eq(features_at(0), (uint32_t)offered);
	cr_assert_eq(features_at(1), (uint32_t)(offered >> 32));
	cr_assert_eq(features_at(2), 0);
	cr_assert_eq(features_at(UINT32_MAX), 0);
}

Test(virtio_mmio, queues__say_how_large_they_can_be)
{
	for (uint32_t i = 0; i < MMIO_QUEUES; i++)
		cr_assert_eq(of_queue(i, VIRTIO_MMIO_QUEUE_NUM_MAX), MMIO_QUEUE_SIZE);
	cr_assert_eq(of_queue(MMIO_QUEUES, VIRTIO_MMIO_QUEUE_NUM_MAX), 0, "there is no such queue");
	cr_assert_eq(of_queue(UINT32_MAX, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_NUM, 8);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_DESC_LOW, 4096);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_READY, 1);
	mmio_set(&w, QUEUE_RESET, 1);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_QUEUE_READY), 0);
}

Test(virtio_mmio, queue_registers__take_both_halves_until_it_is_ready)
{
	struct virtio_queue_regs regs;

	mmio_set(&w, VIRTIO_MMIO_QUEUE_SEL, 1);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_NUM, 0x10020);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_NUM, MMIO_QUEUE_SIZE * 2);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_NUM, 0);
	cr_assert(virtio_dev_queue_regs(w.dev, 1, &regs));
	cr_assert_eq(regs.size, MMIO_QUEUE_SIZE, "none of these is a size");
	mmio_set(&w, VIRTIO_MMIO_QUEUE_NUM, 32);
	for (unsigned i = 0; i < 6; i++)
		mmio_set(&w, VIRTIO_MMIO_QUEUE_DESC_LOW + i / 2 * 16 + i % 2 * 4, 0x1000 * (i + 1));
	mmio_set(&w, VIRTIO_MMIO_QUEUE_READY, 2);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_QUEUE_READY), 0);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_READY, 1);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_NUM, 16);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_DESC_LOW, 0xbad000);
	cr_assert(virtio_dev_queue_regs(w.dev, 1, &regs));
	cr_assert_eq(regs.size, 32);
	cr_assert_eq(regs.desc, UINT64_C(0x200000001000));
	cr_assert_eq(regs.driver, UINT64_C(0x400000003000));
	cr_assert_eq(regs.device, UINT64_C(0x600000005000));
	cr_assert_eq(of_queue(0, VIRTIO_MMIO_QUEUE_READY), 0, "nor has another one changed");
	mmio_set(&w, VIRTIO_MMIO_QUEUE_SEL, 1);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_QUEUE_READY), 0, "before DRIVER_OK");
}

Test(virtio_mmio, registers__count_only_as_whole_aligned_words)
{
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_MAGIC_VALUE, 1), 0);
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_MAGIC_VALUE, 2), 0);
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_MAGIC_VALUE + 2, 4), 0);
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_MAGIC_VALUE, 8), UINT64_C(0x274726976),
		     "which are two words");
	mmio_write(&w, VIRTIO_MMIO_STATUS, 1, 1);
	mmio_write(&w, VIRTIO_MMIO_STATUS, 2, 1);
	mmio_write(&w, VIRTIO_MMIO_STATUS - 2, 4, 0x10000);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_STATUS), 0);
}

Test(virtio_mmio, every_place__can_be_read_and_written)
{
	for (unsigned size = 1; size <= 8; size *= 2)
		for (unsigned at = 0; at + size <= VIRTIO_MMIO_SIZE; at++) {
			mmio_write(&w, at, size, UINT64_MAX);
			(void)mmio_read(&w, at, size);
		}
	mmio_set(&w, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_STATUS), 0);
}

Test(virtio_mmio, shared_memory__there_is_none)
{
	mmio_set(&w, VIRTIO_MMIO_SHM_SEL, 0);
	for (unsigned at = VIRTIO_MMIO_SHM_LEN_LOW; at <= VIRTIO_MMIO_SHM_BASE_HIGH; at += 4)
		cr_assert_eq(mmio_get(&w, at), 0xffffffff);
}

/* ---- configuration space ---- */

Test(virtio_mmio, config__of_any_width_and_place)
{
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_CONFIG, 4), 0x04030201);
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_CONFIG, 8), UINT64_C(0x0807060504030201));
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_CONFIG + 3, 1), 4);
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_CONFIG + 3, 2), 0x0504);
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_CONFIG + 10, 4), 0x0c0b, "and 0 behind its end");
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_SIZE - 8, 8), 0);
	mmio_write(&w, VIRTIO_MMIO_CONFIG, 4, 0xffffffff);
	mmio_write(&w, VIRTIO_MMIO_CONFIG + 8, 2, 0xbbaa);
	mmio_write(&w, VIRTIO_MMIO_CONFIG + 11, 1, 0xff);
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_CONFIG, 4), 0x04030201, "that is read-only");
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_CONFIG + 8, 4), 0x0f0bbbaa);
}

Test(virtio_mmio, config__that_changes_is_told_with_a_generation)
{
	uint32_t generation = mmio_get(&w, VIRTIO_MMIO_CONFIG_GENERATION);
	uint8_t byte = 0x77;

	mmio_world_up(&w, &split);
	virtio_dev_set_config(w.dev, 1, &byte, 1);
	cr_assert(fake_edge_await(&w.wires.edge[0]));
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	mmio_set(&w, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	cr_assert_neq(mmio_get(&w, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	cr_assert_eq(mmio_read(&w, VIRTIO_MMIO_CONFIG, 2), 0x7701);
}

/* ---- requests and interrupts ---- */

static void do_requests(const struct driver_setup *setup)
{
	mmio_world_up(&w, setup);
	for (unsigned i = 0; i < 100; i++) {
		mmio_world_request(&w, i % MMIO_QUEUES);
		mmio_world_await_used(&w, i % MMIO_QUEUES);
	}
}

Test(virtio_mmio, requests__go_by_doorbells_and_come_back_by_edges)
{
	do_requests(&split);
	for (unsigned i = 0; i < MMIO_QUEUES; i++) {
		const struct fake_doorbell *b = &w.wires.bell[i];

		cr_assert(b->attached && b->match);
		cr_assert_eq(b->address, MMIO_BASE + VIRTIO_MMIO_QUEUE_NOTIFY);
		cr_assert_eq(b->size, 4);
		cr_assert_eq(b->value, i);
	}
}

Test(virtio_mmio, requests__of_packed_queues)
{
	do_requests(&packed);
}

Test(virtio_mmio, interrupt__stays_in_the_status_until_it_is_acknowledged)
{
	mmio_world_up(&w, &split);
	mmio_world_request(&w, 0);
	cr_assert(fake_edge_await(&w.wires.edge[0]));
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	mmio_set(&w, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	mmio_set(&w, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

/* ---- reset ---- */

static void *reset_and_look(void *arg)
{
	uint32_t *status = arg;

	mmio_set(&w, VIRTIO_MMIO_STATUS, 0);
	*status = mmio_get(&w, VIRTIO_MMIO_STATUS);
	return NULL;
}

Test(virtio_mmio, reset__is_done_when_the_write_is)
{
	uint32_t status = UINT32_MAX;
	pthread_t vcpu;

	mmio_world_up(&w, &split);
	atomic_store(&w.hold, true);
	mmio_world_request(&w, 1);
	mmio_world_await(w.held, "the request");
	cr_assert_eq(pthread_create(&vcpu, NULL, reset_and_look, &status), 0);
	mmio_world_await(w.stopping, "the end of the queue");
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_STATUS), RUNNING, "a request is in flight");
	mmio_world_let_go(&w);
	cr_assert_eq(pthread_join(vcpu, NULL), 0);
	cr_assert_eq(status, 0);
	cr_assert_eq(w.device.resets, 1);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	cr_assert_eq(of_queue(1, VIRTIO_MMIO_QUEUE_READY), 0);
	atomic_store(&w.hold, false);
	do_requests(&packed);
}

Test(virtio_mmio, reset__takes_the_selectors_back)
{
	mmio_set(&w, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_SEL, 77);
	mmio_set(&w, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_DEVICE_FEATURES),
		     (uint32_t)(VIRTIO_FEATURES_COMMON | 5));
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_QUEUE_NUM_MAX), MMIO_QUEUE_SIZE);
}

Test(virtio_mmio, reset_of_the_machine__too)
{
	mmio_world_up(&w, &split);
	mmio_world_request(&w, 0);
	cr_assert(fake_edge_await(&w.wires.edge[0]));
	w.dev->dev.ops->reset(&w.dev->dev);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_STATUS), 0);
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	do_requests(&split);
}

Test(virtio_mmio, queue_reset__stops_one_queue_and_lets_it_be_set_up_anew)
{
	mmio_world_up(&w, &split);
	mmio_world_request(&w, 2);
	mmio_world_await_used(&w, 2);
	mmio_set(&w, VIRTIO_MMIO_QUEUE_SEL, 2);
	cr_assert_eq(mmio_get(&w, QUEUE_RESET), 0);
	mmio_set(&w, QUEUE_RESET, 1);
	while (mmio_get(&w, QUEUE_RESET) != 0)
		;
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_QUEUE_READY), 0);
	mmio_world_request(&w, 1);
	mmio_world_await_used(&w, 1);
	driver_reset(&w.dq[2]);
	mmio_world_set_up_queue(&w, 2);
	mmio_world_request(&w, 2);
	mmio_world_await_used(&w, 2);
}

Test(virtio_mmio, queue_reset__shows_that_it_is_under_way)
{
	mmio_world_up(&w, &split);
	atomic_store(&w.hold, true);
	mmio_world_request(&w, 1);
	mmio_world_await(w.held, "the request");
	mmio_set(&w, VIRTIO_MMIO_QUEUE_SEL, 1);
	mmio_set(&w, QUEUE_RESET, 1);
	mmio_world_await(w.stopping, "the end of the queue");
	cr_assert_eq(mmio_get(&w, QUEUE_RESET), 1);
	mmio_world_let_go(&w);
	while (mmio_get(&w, QUEUE_RESET) != 0)
		;
	cr_assert_eq(mmio_get(&w, VIRTIO_MMIO_QUEUE_READY), 0);
}

/* ---- state ---- */

Test(virtio_mmio, state__goes_on_in_another_device)
{
	static struct mmio_world other;
	static struct saved saved;
	struct err err = {0};

	mmio_world_init(&other);
	cr_assert_eq(mmio_world_make(&other), 0);
	mmio_world_up(&w, &split);
	mmio_world_request(&w, 0);
	cr_assert(fake_edge_await(&w.wires.edge[0]));
	mmio_set(&w, VIRTIO_MMIO_QUEUE_SEL, 2);
	mmio_set(&w, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0);
	saved_take(&saved, &w.dev->dev);
	cr_assert_eq(saved_load(&saved, &other.dev->dev, &err), 0, "%s", err.msg);
	cr_assert_eq(mmio_get(&other, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	cr_assert_eq(fake_edge_take(&other.wires.edge[0]), 1, "it may have been on its way");
	cr_assert_eq(mmio_get(&other, VIRTIO_MMIO_STATUS), RUNNING);
	cr_assert_eq(mmio_get(&other, VIRTIO_MMIO_DEVICE_FEATURES),
		     (uint32_t)(VIRTIO_FEATURES_COMMON >> 32));
	cr_assert_eq(mmio_get(&other, VIRTIO_MMIO_QUEUE_READY), 1);
	mmio_world_done(&other);
}

/* ---- hosts and machines that can't ---- */

TestSuite(virtio_mmio_poor, .init = NULL, .timeout = 60);

Test(virtio_mmio_poor, kicks__leave_the_kernel_where_it_has_no_doorbells)
{
	mmio_world_init(&w);
	w.wires.refuse_attach = true;
	cr_assert_eq(mmio_world_make(&w), 0);
	mmio_world_start(&w);
	do_requests(&split);
	mmio_world_done(&w);
}

static void assert_fails(int error)
{
	cr_assert_eq(mmio_world_make(&w), error);
	cr_assert_null(w.dev->transport);
	mmio_world_done(&w);
}

Test(virtio_mmio_poor, too_few_wires__are_an_error)
{
	mmio_world_init(&w);
	w.wires.most_bells = 1;
	assert_fails(-ENOSPC);
	mmio_world_init(&w);
	w.wires.most_edges = 0;
	assert_fails(-ENOSPC);
}

Test(virtio_mmio_poor, a_place_that_is_taken__is_an_error)
{
	static const struct io_ops ops = {0};
	struct io_region taken = {.ops = &ops, .name = "taken", .base = MMIO_BASE, .size = 1};

	mmio_world_init(&w);
	cr_assert_eq(io_bus_add(&w.memory, &taken), 0);
	assert_fails(-EEXIST);
	for (unsigned i = 0; i < MMIO_QUEUES; i++)
		cr_assert_not(w.wires.bell[i].attached, "nothing is left behind");
}
