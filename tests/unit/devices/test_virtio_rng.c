/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "devices/virtio_rng.h"
#include "tests/unit/devices/data_path.h"
#include "tests/unit/devices/vdev_world.h"

static struct vdev_world w;
static uint64_t bw;

static struct virtio_dev *make(void)
{
	const struct virtio_rng_setup setup = {
		.id = "rng0",
		.map = &w.mem.map,
		.loops = &w.loop,
		.n_loops = 1,
		.packed = true,
		.queue_size = VDEV_QUEUE_SIZE,
		.bw = bw,
	};
	struct virtio_dev *dev = NULL;

	cr_assert_eq(virtio_rng_new(&setup, &dev), 0);
	return dev;
}

static void begin(unsigned combination)
{
	log_init(-1, LOG_ERROR);
	vdev_world_init(&w, combination);
	vdev_take(&w, make());
	vdev_up(&w, 0);
}

static void end(void)
{
	vdev_world_done(&w);
}

TestSuite(rng, .fini = end, .timeout = 60);

/* Bytes of a buffer that are not 0; random ones are not, but for one in 256. */
static uint32_t filled(uint64_t gpa, uint32_t len)
{
	const uint8_t *bytes = guest_ptr(&w.mem, gpa, len);
	uint32_t n = 0;

	for (uint32_t i = 0; i < len; i++)
		n += bytes[i] != 0;
	return n;
}

Test(rng, buffers_are_filled_in_all_kinds_of_queues)
{
	for (unsigned combination = 0; combination < VDEV_COMBINATIONS; combination++) {
		struct driver_seg segs[2];

		begin(combination);
		segs[0] = (struct driver_seg){guest_alloc(&w.mem, 4096, 8), 1000};
		segs[1] = (struct driver_seg){guest_alloc(&w.mem, 4096, 8), 3000};
		cr_assert_eq(vdev_request(&w, 0, segs, 0, 2), 4000);
		cr_assert_gt(filled(segs[0].gpa, 1000), 900);
		cr_assert_gt(filled(segs[1].gpa, 3000), 2800);
		cr_assert_eq(filled(segs[0].gpa + 1000, 3096), 0);
		cr_assert_eq(filled(segs[1].gpa + 3000, 1096), 0);
		cr_assert_eq(vdev_stat(&w, "bytes"), 4000);
		cr_assert_eq(vdev_stat(&w, "requests"), 1);
		if (combination + 1 < VDEV_COMBINATIONS)
			end();
	}
}

Test(rng, two_buffers_differ)
{
	struct driver_seg a, b;

	begin(0);
	a = (struct driver_seg){guest_alloc(&w.mem, 32, 8), 32};
	b = (struct driver_seg){guest_alloc(&w.mem, 32, 8), 32};
	(void)vdev_request(&w, 0, &a, 0, 1);
	(void)vdev_request(&w, 0, &b, 0, 1);
	cr_assert_neq(memcmp(guest_ptr(&w.mem, a.gpa, 32), guest_ptr(&w.mem, b.gpa, 32), 32), 0);
}

Test(rng, one_request_gets_64_kib_at_most)
{
	struct driver_seg seg;

	begin(0);
	seg = (struct driver_seg){guest_alloc(&w.mem, MIB(64), 8), MIB(64)};
	cr_assert_eq(vdev_request(&w, 0, &seg, 0, 1), VIRTIO_RNG_MOST);
	cr_assert_eq(filled(seg.gpa + VIRTIO_RNG_MOST, VIRTIO_RNG_MOST), 0);
}

Test(rng, request_for_nothing_gets_nothing)
{
	struct driver_seg seg = {4096, 16};

	begin(0);
	cr_assert_eq(vdev_request(&w, 0, &seg, 1, 0), 0, "it has no room");
	cr_assert_eq(vdev_request(&w, 0, &seg, 0, 1), 16);
}

Test(rng, more_than_one_turns_worth)
{
	struct driver_seg seg;

	begin(2);
	seg = (struct driver_seg){guest_alloc(&w.mem, VIRTIO_RNG_MOST, 8), VIRTIO_RNG_MOST};
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < VDEV_QUEUE_SIZE; i++)
			cr_assert_eq(driver_add(&w.q[0].dq, &seg, 0, 1, NULL), 0);
		vdev_publish(&w, 0);
		for (int i = 0; i < VDEV_QUEUE_SIZE; i++)
			cr_assert_eq(vdev_await_used(&w, 0), VIRTIO_RNG_MOST);
	}
}

Test(rng, rate_is_kept_and_nobody_spins)
{
	struct driver_seg seg;
	uint64_t start, cpu, ns;

	bw = 1000000; /* and 100000 at once */
	begin(2);
	seg = (struct driver_seg){guest_alloc(&w.mem, 50000, 8), 50000};
	start = clock_now_ns();
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (int i = 0; i < 12; i++)
		cr_assert_eq(vdev_request(&w, 0, &seg, 0, 1), 50000);
	ns = clock_now_ns() - start;
	/* 600000 bytes, of which the burst and the last request need not wait. */
	cr_assert_geq(ns, 440 * NS_PER_MS);
	cr_assert_leq(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu, ns / 2);
	cr_assert_gt(vdev_stat(&w, "throttled"), 0);
}

Test(rng, pause_and_restore_in_the_middle_of_a_wait)
{
	struct driver_seg seg;
	struct err err = {0};

	bw = 1000000;
	begin(3);
	seg = (struct driver_seg){guest_alloc(&w.mem, 60000, 8), 60000};
	for (int i = 0; i < 8; i++)
		cr_assert_eq(driver_add(&w.q[0].dq, &seg, 0, 1, NULL), 0);
	vdev_publish(&w, 0);
	cr_assert_eq(vdev_await_used(&w, 0), 60000);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0, "%s", err.msg);
	w.dev->dev.ops->resume(&w.dev->dev);
	cr_assert_eq(vdev_await_used(&w, 0), 60000);
	vdev_replace(&w, make);
	for (int i = 0; i < 6; i++)
		cr_assert_eq(vdev_await_used(&w, 0), 60000);
}

Test(rng, buffer_outside_of_memory_breaks_it_until_the_next_reset)
{
	struct driver_seg seg = {4096, 16};

	begin(0);
	vdev_break(&w, 0, &(struct driver_desc){.addr = GUEST_LOW_END - 8, .len = 16, .flags = 2},
		   1);
	vdev_reset(&w);
	vdev_up(&w, 0);
	cr_assert_eq(vdev_request(&w, 0, &seg, 0, 1), 16);
}

Test(rng, nothing_is_allocated_or_locked)
{
	struct driver_seg seg;

	begin(2);
	seg = (struct driver_seg){guest_alloc(&w.mem, VIRTIO_RNG_MOST, 8), VIRTIO_RNG_MOST};
	vdev_settle(&w);
	data_path_watch(&w);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < VDEV_QUEUE_SIZE; i++)
			cr_assert_eq(driver_add(&w.q[0].dq, &seg, 0, 1, NULL), 0);
		vdev_publish(&w, 0);
		for (unsigned i = 0; i < VDEV_QUEUE_SIZE; i++)
			cr_assert_eq(vdev_await_used(&w, 0), VIRTIO_RNG_MOST);
	}
	data_path_look_away();
	cr_assert_eq(data_path_allocations(), 0);
	cr_assert_eq(data_path_locks(), 0);
}
