/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk as a good driver uses it. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/endian.h"
#include "devices/virtio_blk.h"
#include "tests/unit/devices/data_path.h"
#include "tests/unit/devices/vblk_world.h"

TestSuite(virtio_blk, .timeout = 60);

#define DISCARD VIRTIO_BIT(VIRTIO_BLK_F_DISCARD)
#define ZEROES	VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES)
#define WCE	VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE)
#define ALL	(VBLK_USUAL | DISCARD | ZEROES | WCE)

enum { WCE_AT = 32 };

static uint64_t memory(uint32_t len, int fill)
{
	uint64_t gpa = guest_alloc(&w.mem, len, 4096);

	memset(guest_ptr(&w.mem, gpa, len), fill, len);
	return gpa;
}

static void check_pattern(uint64_t gpa, uint64_t offset, uint32_t len)
{
	const uint8_t *at = guest_ptr(&w.mem, gpa, len);

	for (uint32_t i = 0; i < len; i++)
		cr_assert_eq(at[i], vblk_pattern(offset + i), "byte %u", i);
}

/* ---- each request ---- */

static void all_requests(unsigned combination)
{
	uint64_t data, id;

	vblk_up(combination, 1, ALL);
	data = memory(8192, VBLK_POISON);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, 3, data, 4096), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_used, 4097);
	check_pattern(data, 3 * 512, 4096);
	cr_assert_eq(vblk_byte(data + 4096), VBLK_POISON);

	memset(guest_ptr(&w.mem, data, 8192), 'w', 8192);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_OUT, 16, data, 8192), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_used, 1);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_file_byte(16 * 512 - 1), vblk_pattern(16 * 512 - 1));
	cr_assert_eq(vblk_file_byte(16 * 512), 'w');
	cr_assert_eq(vblk_file_byte(32 * 512 - 1), 'w');
	cr_assert_eq(vblk_file_byte(32 * 512), vblk_pattern(32 * 512));

	id = memory(24, VBLK_POISON);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_GET_ID, 0, id, 20), VIRTIO_BLK_S_OK);
	cr_assert_arr_eq((char *)guest_ptr(&w.mem, id, 20), "a serial of 20 bytes", 20);
	cr_assert_eq(vblk_used, 21);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_GET_ID, 0, id, 8), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_GET_ID, 0, id, 24), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_used, 20, "what lies between is not written");

	cr_assert_eq(vdev_stat(&w, "reads"), 1);
	cr_assert_eq(vdev_stat(&w, "read_bytes"), 4096);
	cr_assert_eq(vdev_stat(&w, "writes"), 1);
	cr_assert_eq(vdev_stat(&w, "written_bytes"), 8192);
	cr_assert_eq(vdev_stat(&w, "flushes"), 1);
	cr_assert_eq(vdev_stat(&w, "errors"), 0);
	vblk_end();
}

Test(virtio_blk, all_requests__in_all_formats_of_the_ring)
{
	for (unsigned i = 0; i < VBLK_COMBINATIONS; i++)
		all_requests(i);
}

Test(virtio_blk, discards_and_zeroes__of_several_ranges)
{
	uint64_t data;

	vblk_up(0, 1, ALL);
	data = memory(4096, VBLK_POISON);
	cr_assert_eq(vblk_ranges(VIRTIO_BLK_T_WRITE_ZEROES,
				 (struct vblk_range[]){{8, 8, 0}, {24, 0, 0}, {32, 1, 1}}, 3),
		     VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_file_byte(8 * 512 - 1), vblk_pattern(8 * 512 - 1));
	cr_assert_eq(vblk_file_byte(8 * 512), 0);
	cr_assert_eq(vblk_file_byte(16 * 512 - 1), 0);
	cr_assert_eq(vblk_file_byte(16 * 512), vblk_pattern(16 * 512));
	cr_assert_eq(vblk_file_byte(24 * 512), vblk_pattern(24 * 512));
	cr_assert_eq(vblk_file_byte(32 * 512), 0);
	cr_assert_eq(vblk_file_byte(33 * 512), vblk_pattern(33 * 512));
	cr_assert_eq(vdev_stat(&w, "write_zeroes"), 1);

	cr_assert_eq(vblk_ranges(VIRTIO_BLK_T_DISCARD,
				 (struct vblk_range[]){{128, 64, 0}, {512, 64, 0}}, 2),
		     VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, 512, data, 4096), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_byte(data), 0);
	cr_assert_eq(vdev_stat(&w, "discards"), 1);
	vblk_end();
}

Test(virtio_blk, the_largest_request__takes_its_126_segments)
{
	enum { N = 30 }; /* as many as this queue has room for */
	struct driver_seg segs[N + 2];
	uint64_t status;

	vblk_up(0, 1, ALL);
	cr_assert_eq(vdev_config(&w, 12, 4), VDEV_QUEUE_SIZE - 2);
	segs[0] = (struct driver_seg){vblk_header(VIRTIO_BLK_T_IN, 0), 16};
	for (unsigned i = 0; i < N; i++)
		segs[i + 1] =
			(struct driver_seg){memory(512 * (i + 1), VBLK_POISON), 512 * (i + 1)};
	segs[N + 1] = (struct driver_seg){status = vblk_status(), 1};
	cr_assert_eq(vdev_request(&w, 0, segs, 1, N + 1), 512 * N * (N + 1) / 2 + 1);
	cr_assert_eq(vblk_byte(status), VIRTIO_BLK_S_OK);
	for (uint64_t i = 0, at = 0; i < N; at += segs[++i].len)
		check_pattern(segs[i + 1].gpa, at, segs[i + 1].len);
	vblk_end();
}

/* ---- layouts (virtio 1.2, 2.7.4.1): none may be assumed ---- */

static void odd_layouts(unsigned combination)
{
	uint64_t header, data, tail;
	struct driver_seg segs[24];

	vblk_up(combination, 1, ALL);
	data = memory(8192, VBLK_POISON);

	/* A header in single bytes; data in odd pieces; the status behind the last of it. */
	header = vblk_header(VIRTIO_BLK_T_IN, 5);
	for (unsigned i = 0; i < 16; i++)
		segs[i] = (struct driver_seg){header + i, 1};
	segs[16] = (struct driver_seg){data, 100};
	segs[17] = (struct driver_seg){data + 100, 411};
	segs[18] = (struct driver_seg){data + 511, 514};
	cr_assert_eq(vdev_request(&w, 0, segs, 16, 3), 1025);
	check_pattern(data, 5 * 512, 1024);
	cr_assert_eq(vblk_byte(data + 1024), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_byte(data + 1025), VBLK_POISON);

	/* A header and its data in one segment. */
	header = guest_alloc(&w.mem, 16 + 512, 16);
	memcpy(guest_ptr(&w.mem, header, 16),
	       guest_ptr(&w.mem, vblk_header(VIRTIO_BLK_T_OUT, 9), 16), 16);
	memset(guest_ptr(&w.mem, header + 16, 512), 'd', 512);
	tail = vblk_status();
	segs[0] = (struct driver_seg){header, 16 + 512};
	segs[1] = (struct driver_seg){tail, 1};
	cr_assert_eq(vdev_request(&w, 0, segs, 1, 1), 1);
	cr_assert_eq(vblk_byte(tail), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_file_byte(9 * 512), 'd');
	cr_assert_eq(vblk_file_byte(10 * 512 - 1), 'd');
	cr_assert_eq(vblk_file_byte(10 * 512), vblk_pattern(10 * 512));

	/* A write's status is the last of more writable bytes than it needs. */
	tail = memory(16, VBLK_POISON);
	segs[0] = (struct driver_seg){vblk_header(VIRTIO_BLK_T_FLUSH, 0), 16};
	segs[1] = (struct driver_seg){tail, 4};
	segs[2] = (struct driver_seg){tail + 4, 4};
	cr_assert_eq(vdev_request(&w, 0, segs, 1, 2), 0, "nothing from the start on");
	cr_assert_eq(vblk_byte(tail + 6), VBLK_POISON);
	cr_assert_eq(vblk_byte(tail + 7), VIRTIO_BLK_S_OK);
	vblk_end();
}

Test(virtio_blk, a_layout__is_the_drivers_choice)
{
	for (unsigned i = 0; i < VBLK_COMBINATIONS; i++)
		odd_layouts(i);
}

/* ---- what is offered ---- */

static void check_offered(struct blk *blk, uint64_t must, uint64_t must_not)
{
	struct virtio_dev *dev = vblk_make(blk, 2);

	cr_assert_eq(dev->offered & must, must, "%#lx", dev->offered);
	cr_assert_eq(dev->offered & must_not, 0, "%#lx", dev->offered);
	device_free(&dev->dev);
}

Test(virtio_blk, features__are_what_the_disk_has)
{
	const uint64_t flush = VIRTIO_BIT(VIRTIO_BLK_F_FLUSH), ro = VIRTIO_BIT(VIRTIO_BLK_F_RO);
	const uint64_t in_order = VIRTIO_BIT(VIRTIO_F_IN_ORDER);
	struct blk *blk;

	vblk_begin(0);
	blk = vblk_open_fake();
	check_offered(blk, ALL, ro | in_order);
	blk->info.discard_granularity = 0;
	check_offered(blk, ALL & ~DISCARD, DISCARD);
	blk->info.flush = false;
	check_offered(blk, ZEROES, flush | WCE);
	blk->info.ro = blk->info.flush = true;
	check_offered(blk, ro | flush, DISCARD | ZEROES | WCE);
	vblk_end();
}

Test(virtio_blk, configuration__says_what_the_disk_is)
{
	struct blk *blk;

	vblk_begin(0);
	blk = vblk_open_fake();
	blk->info.logical_block = 1024;
	blk->info.physical_block = 8192;
	vdev_take(&w, vblk_make(blk, 3));
	cr_assert_eq(vdev_config(&w, 0, 8), VBLK_SIZE / 512);
	cr_assert_eq(vdev_config(&w, 12, 4), 30, "seg_max");
	cr_assert_eq(vdev_config(&w, 20, 4), 1024, "blk_size");
	cr_assert_eq(vdev_config(&w, 24, 1), 3, "physical_block_exp");
	cr_assert_eq(vdev_config(&w, 25, 1), 0, "alignment_offset");
	cr_assert_eq(vdev_config(&w, 26, 2), 8, "min_io_size");
	cr_assert_eq(vdev_config(&w, WCE_AT, 1), 1);
	cr_assert_eq(vdev_config(&w, 34, 2), 3, "num_queues");
	cr_assert_gt(vdev_config(&w, 36, 4), 0, "max_discard_sectors");
	cr_assert_eq(vdev_config(&w, 40, 4), 32, "max_discard_seg");
	cr_assert_eq(vdev_config(&w, 44, 4), 8, "discard_sector_alignment");
	cr_assert_gt(vdev_config(&w, 48, 4), 0, "max_write_zeroes_sectors");
	cr_assert_eq(vdev_config(&w, 52, 4), 32, "max_write_zeroes_seg");
	cr_assert_eq(vdev_config(&w, 56, 1), 1, "write_zeroes_may_unmap");
	vblk_end();
}

Test(virtio_blk, sizes_that_no_request_fits__are_refused)
{
	struct virtio_blk_setup setup = {.id = "disk0", .n_queues = 1};
	struct virtio_dev *dev;

	vblk_begin(0);
	setup.blk = vblk_open_fake();
	setup.map = &w.mem.map;
	setup.loops = &w.loop;
	setup.n_loops = 1;
	setup.queue_size = 2;
	cr_assert_lt(virtio_blk_new(&setup, &dev), 0);
	setup.queue_size = 4;
	setup.n_queues = 0;
	cr_assert_lt(virtio_blk_new(&setup, &dev), 0);
	setup.n_queues = VIRTIO_MAX_QUEUES + 1;
	cr_assert_lt(virtio_blk_new(&setup, &dev), 0);
	vblk_end();
}

/* ---- the write cache (5.2.6.2) ---- */

static void up_on_fake(uint64_t features)
{
	vblk_begin(0);
	vdev_take(&w, vblk_make(vblk_open_fake(), 1));
	vdev_up(&w, features);
}

/* How many of a write, zeroes, a discard and a read had to be stable. */
static unsigned stable_of_four(void)
{
	const struct vblk_range range = {0, 8, 0};
	uint64_t data = memory(512, 0);

	vblk_fake.n_stable = 0;
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_ranges(VIRTIO_BLK_T_WRITE_ZEROES, &range, 1), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_ranges(VIRTIO_BLK_T_DISCARD, &range, 1), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, 0, data, 512), VIRTIO_BLK_S_OK);
	return vblk_fake.n_stable;
}

Test(virtio_blk, write_back__is_what_a_flush_is_for)
{
	up_on_fake(ALL & ~WCE);
	cr_assert_eq(stable_of_four(), 0);
	vblk_end();
}

Test(virtio_blk, without_flushes__writes_are_stable_when_done)
{
	up_on_fake(ALL & ~WCE & ~VIRTIO_BIT(VIRTIO_BLK_F_FLUSH));
	cr_assert_eq(stable_of_four(), 2);
	vblk_end();
}

Test(virtio_blk, the_write_cache__is_switched_by_the_driver)
{
	up_on_fake(ALL);
	cr_assert_eq(stable_of_four(), 0);
	vdev_write_config(&w, WCE_AT, 1, 0);
	cr_assert_eq(vdev_config(&w, WCE_AT, 1), 0);
	cr_assert_eq(stable_of_four(), 2);
	vdev_write_config(&w, WCE_AT, 1, 1);
	cr_assert_eq(stable_of_four(), 0);
	/* Nothing else can be written. */
	vdev_write_config(&w, 0, 4, 1);
	cr_assert_eq(vdev_config(&w, 0, 8), VBLK_SIZE / 512);
	vdev_write_config(&w, WCE_AT, 1, 0);
	vdev_reset(&w);
	cr_assert_eq(vdev_config(&w, WCE_AT, 1), 1);
	vdev_up(&w, ALL);
	cr_assert_eq(stable_of_four(), 0);
	vblk_end();
}

Test(virtio_blk, write_through__is_on_the_file_when_it_is_done)
{
	uint64_t data;

	vblk_up(0, 1, ALL);
	vdev_write_config(&w, WCE_AT, 1, 0);
	data = memory(512, 's');
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_file_byte(0), 's');
	cr_assert_eq(vdev_stat(&w, "flushes"), 0, "the driver's own are counted");
	vblk_end();
}

/* ---- cost ---- */

static void count_costs(unsigned combination)
{
	uint64_t data;

	vblk_up(combination, 1, ALL);
	data = memory(65536, 0);
	(void)vblk_do(0, VIRTIO_BLK_T_IN, 0, data, 4096);
	data_path_watch(&w);
	for (unsigned i = 0; i < 100; i++) {
		for (unsigned j = 0; j < 8; j++)
			(void)vblk_add(0, j % 2, i * 8 + j, data + (size_t)j * 4096, 4096);
		vdev_publish(&w, 0);
		for (unsigned j = 0; j < 8; j++)
			(void)vdev_await_used(&w, 0);
	}
	cr_assert_eq(vblk_ranges(VIRTIO_BLK_T_WRITE_ZEROES, &(struct vblk_range){0, 8, 0}, 1),
		     VIRTIO_BLK_S_OK);
	data_path_look_away();
	cr_assert_eq(vdev_stat(&w, "errors"), 0);
	cr_assert_eq(data_path_allocations(), 0);
	cr_assert_eq(data_path_locks(), 0);
	data_path_watch(&w);
	vdev_reset(&w);
	cr_assert_gt(data_path_locks(), 0, "they are counted at all");
	vblk_end();
}

Test(virtio_blk, nothing_is_allocated_or_locked__between_a_kick_and_its_interrupt)
{
	for (unsigned i = 0; i < VBLK_COMBINATIONS; i++)
		count_costs(i);
}
