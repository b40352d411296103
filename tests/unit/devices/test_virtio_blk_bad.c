/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk as a bad driver uses it, and over a disk that fails. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/log.h"
#include "devices/virtio_blk.h"
#include "tests/unit/devices/vblk_world.h"

TestSuite(virtio_blk_bad, .timeout = 60);

#define ALL                                                                                        \
	(VBLK_USUAL | VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES) |   \
	 VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE))

enum { CAPACITY = VBLK_SIZE / 512 };

static uint64_t memory(uint32_t len)
{
	return guest_alloc(&w.mem, len, 4096);
}

static void begin(unsigned combination)
{
	log_set_level(LOG_ERROR); /* what guests do is a warning */
	vblk_up(combination, 1, ALL);
}

/* After whatever the test has done, the disk works and is what it was but for its counters. */
static void end_well(void)
{
	uint64_t data = memory(512);

	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, 7, data, 512), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_byte(data), vblk_pattern(7 * 512));
	cr_assert_eq(virtio_dev_status(w.dev) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
	cr_assert_eq(vdev_stat(&w, "written_bytes"), 0);
	for (uint64_t i = 0; i < VBLK_SIZE; i += 4096)
		cr_assert_eq(vblk_file_byte(i), vblk_pattern(i));
	vblk_end();
}

static void check_error(uint32_t type, uint64_t sector, uint32_t len)
{
	uint64_t before = vdev_stat(&w, "errors");

	cr_assert_eq(vblk_do(0, type, sector, memory(8192), len), VIRTIO_BLK_S_IOERR,
		     "type %u, sector %lu, %u bytes", type, sector, len);
	cr_assert_eq(vdev_stat(&w, "errors"), before + 1);
}

static void ranges_of_transfers(unsigned combination)
{
	static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};

	begin(combination);
	for (unsigned i = 0; i < 2; i++) {
		check_error(types[i], CAPACITY, 512);
		check_error(types[i], CAPACITY - 1, 1024);
		check_error(types[i], UINT64_MAX, 512);
		check_error(types[i], UINT64_MAX / 512, 512);
		check_error(types[i], UINT64_MAX / 512 + 1, 512); /* sector * 512 is 0 */
		check_error(types[i], UINT64_MAX - 7, 4096);
		check_error(types[i], 0, 511);
		check_error(types[i], 0, 513);
		check_error(types[i], 0, 1);
		check_error(types[i], CAPACITY + 1, 0);
	}
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, CAPACITY, 0, 0), VIRTIO_BLK_S_OK, "nothing");
	end_well();
}

Test(virtio_blk_bad, transfers_out_of_range__are_errors)
{
	for (unsigned i = 0; i < VBLK_COMBINATIONS; i++)
		ranges_of_transfers(i);
}

Test(virtio_blk_bad, a_failed_read__says_that_nothing_was_written)
{
	begin(0);
	check_error(VIRTIO_BLK_T_IN, CAPACITY, 512);
	cr_assert_eq(vblk_used, 0);
	end_well();
}

Test(virtio_blk_bad, unknown_kinds__are_unsupported)
{
	static const uint32_t types[] = {2,
					 3,
					 5,
					 VIRTIO_BLK_T_SECURE_ERASE,
					 15,
					 VIRTIO_BLK_T_BARRIER,
					 VIRTIO_BLK_T_BARRIER | VIRTIO_BLK_T_OUT,
					 UINT32_MAX};

	begin(0);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		cr_assert_eq(vblk_do(0, types[i], 0, memory(512), 512), VIRTIO_BLK_S_UNSUPP);
		cr_assert_eq(vblk_do(0, types[i], 0, 0, 0), VIRTIO_BLK_S_UNSUPP);
	}
	cr_assert_eq(vdev_stat(&w, "unsupported"), 2 * ARRAY_SIZE(types));
	cr_assert_eq(vdev_stat(&w, "errors"), 0);
	end_well();
}

/* ---- headers and statuses ---- */

Test(virtio_blk_bad, a_short_header__is_an_error)
{
	struct driver_seg segs[2];

	begin(0);
	for (uint32_t len = 1; len < 16; len++) {
		segs[0] = (struct driver_seg){vblk_header(VIRTIO_BLK_T_IN, 0), len};
		segs[1] = (struct driver_seg){vblk_status(), 1};
		(void)vdev_request(&w, 0, segs, 1, 1);
		cr_assert_eq(vblk_byte(segs[1].gpa), VIRTIO_BLK_S_IOERR);
	}
	segs[0] = (struct driver_seg){vblk_status(), 1};
	cr_assert_eq(vdev_request(&w, 0, segs, 0, 1), 1);
	cr_assert_eq(vblk_byte(segs[0].gpa), VIRTIO_BLK_S_IOERR);
	end_well();
}

Test(virtio_blk_bad, no_room_for_a_status__gives_the_chain_back)
{
	struct driver_seg segs[2];

	begin(0);
	segs[0] = (struct driver_seg){vblk_header(VIRTIO_BLK_T_OUT, 0), 16};
	segs[1] = (struct driver_seg){memory(512), 512};
	cr_assert_eq(vdev_request(&w, 0, segs, 2, 0), 0);
	cr_assert_eq(vdev_stat(&w, "errors"), 1);
	end_well();
}

/* ---- discards and zeroes ---- */

static void check_ranges(uint32_t type, uint8_t status, const struct vblk_range *ranges, unsigned n)
{
	cr_assert_eq(vblk_ranges(type, ranges, n), status, "type %u, sector %lu, %u, flags %#x",
		     type, ranges->sector, ranges->sectors, ranges->flags);
}

#define ONE(...)                                                                                   \
	&(const struct vblk_range)                                                                 \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

static void bad_ranges(uint32_t type, uint32_t limit)
{
	struct vblk_range many[33];
	uint64_t data = memory(8192);

	check_ranges(type, VIRTIO_BLK_S_IOERR, ONE(CAPACITY, 1, 0), 1);
	check_ranges(type, VIRTIO_BLK_S_IOERR, ONE(CAPACITY - 8, 9, 0), 1);
	check_ranges(type, VIRTIO_BLK_S_IOERR, ONE(UINT64_MAX, 1, 0), 1);
	check_ranges(type, VIRTIO_BLK_S_IOERR, ONE(UINT64_MAX - 7, 8, 0), 1);
	check_ranges(type, VIRTIO_BLK_S_IOERR, ONE(0, UINT32_MAX, 0), 1);
	check_ranges(type, VIRTIO_BLK_S_IOERR, ONE(0, limit + 1, 0), 1);
	check_ranges(type, VIRTIO_BLK_S_UNSUPP, ONE(0, 8, 2), 1);
	check_ranges(type, VIRTIO_BLK_S_UNSUPP, ONE(0, 8, 0x80000001), 1);
	/* A good one before a bad one is not carried out. */
	check_ranges(type, VIRTIO_BLK_S_IOERR, (struct vblk_range[]){{0, 64, 0}, {CAPACITY, 8, 0}},
		     2);
	check_ranges(type, VIRTIO_BLK_S_UNSUPP, (struct vblk_range[]){{0, 64, 0}, {0, 8, 4}}, 2);
	for (unsigned i = 0; i < 33; i++)
		many[i] = (struct vblk_range){0, 0, 0};
	check_ranges(type, VIRTIO_BLK_S_IOERR, many, 33);
	cr_assert_eq(vblk_do(0, type, 0, data, 15), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(vblk_do(0, type, 0, data, 17), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(vblk_do(0, type, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	check_ranges(type, VIRTIO_BLK_S_OK, many, 32);
}

Test(virtio_blk_bad, bad_ranges__are_refused_before_anything_is_done)
{
	begin(0);
	bad_ranges(VIRTIO_BLK_T_DISCARD, (uint32_t)vdev_config(&w, 36, 4));
	check_ranges(VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_UNSUPP, ONE(0, 8, 1), 1);
	bad_ranges(VIRTIO_BLK_T_WRITE_ZEROES, (uint32_t)vdev_config(&w, 48, 4));
	end_well();
}

/* The limits of one range are below what a large disk has. */
Test(virtio_blk_bad, a_range_larger_than_offered__is_an_error)
{
	uint32_t discard, zeroes;

	vblk_begin(0);
	vblk_open_fake();
	vblk_fake.blk.size = TIB(1);
	vdev_take(&w, vblk_make(&vblk_fake.blk, 1));
	vdev_up(&w, ALL);
	discard = (uint32_t)vdev_config(&w, 36, 4);
	zeroes = (uint32_t)vdev_config(&w, 48, 4);
	check_ranges(VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_OK, ONE(0, discard, 0), 1);
	check_ranges(VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR, ONE(0, discard + 1, 0), 1);
	check_ranges(VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_OK, ONE(0, zeroes, 1), 1);
	check_ranges(VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR, ONE(0, zeroes + 1, 1), 1);
	cr_assert_eq(vblk_fake.n_seen, 2);
	check_ranges(VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_OK,
		     (struct vblk_range[]){{0, 8, 0}, {8, 0, 0}, {16, 8, 0}, {CAPACITY, 0, 0}}, 4);
	cr_assert_eq(vblk_fake.n_seen, 4, "an empty range is nothing to do");
	vblk_end();
}

Test(virtio_blk_bad, a_disk_without_discard__says_so)
{
	vblk_begin(0);
	vblk_open_fake()->info.discard_granularity = 0;
	vdev_take(&w, vblk_make(&vblk_fake.blk, 1));
	vdev_up(&w, VBLK_USUAL);
	check_ranges(VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_UNSUPP, ONE(0, 8, 0), 1);
	cr_assert_eq(vblk_fake.n_seen, 0);
	vblk_end();
}

/* ---- read-only ---- */

Test(virtio_blk_bad, a_read_only_disk__is_not_written)
{
	log_set_level(LOG_ERROR);
	vblk_begin(0);
	vdev_take(&w, vblk_make(vblk_open_file(true, BLK_CACHE_WRITEBACK), 1));
	vdev_up(&w, VBLK_USUAL | VIRTIO_BIT(VIRTIO_BLK_F_RO));
	check_error(VIRTIO_BLK_T_OUT, 0, 512);
	check_ranges(VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR, ONE(0, 8, 0), 1);
	check_ranges(VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR, ONE(0, 8, 0), 1);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	end_well();
}

/* ---- chains that break the queue, and what comes after ---- */

static void break_and_recover(unsigned combination, bool long_chain)
{
	struct driver_desc descs[2] = {{.addr = GUEST_LOW_END - 8, .len = 16},
				       {.len = 1, .flags = VRING_DESC_F_WRITE}};

	begin(combination);
	descs[0].flags = VRING_DESC_F_NEXT;
	descs[0].more = 1;
	descs[1].addr = vblk_status();
	if (long_chain) { /* a loop */
		descs[1].addr = vblk_status();
		descs[0].addr = vblk_header(VIRTIO_BLK_T_IN, 0);
		descs[1].flags |= VRING_DESC_F_NEXT;
		descs[1].more = 0;
	}
	vdev_break(&w, 0, descs, 2);
	cr_assert_eq(vblk_byte(descs[1].addr), VBLK_POISON);
	vdev_reset(&w);
	vdev_up(&w, ALL);
	end_well();
}

Test(virtio_blk_bad, a_broken_queue__works_again_after_a_reset)
{
	for (unsigned i = 0; i < VBLK_COMBINATIONS; i++)
		break_and_recover(i, false);
	break_and_recover(0, true);
}

/* ---- the host's faults ---- */

Test(virtio_blk_bad, failures_of_the_disk__are_io_errors)
{
	static const int errors[] = {-EIO, -ENOSPC, -EAGAIN, -EBADF, -EDQUOT};
	uint64_t data;

	vblk_begin(0);
	vdev_take(&w, vblk_make(vblk_open_fake(), 1));
	vdev_up(&w, ALL);
	data = memory(512);
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		for (unsigned op = 0; op <= BLK_WRITE_ZEROES; op++)
			vblk_fake.results[op] = errors[i];
		cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, 0, data, 512), VIRTIO_BLK_S_IOERR);
		cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_IOERR);
		cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
		check_ranges(VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR, ONE(0, 8, 0), 1);
		check_ranges(VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR,
			     (struct vblk_range[]){{0, 8, 0}, {8, 8, 0}}, 2);
	}
	cr_assert_eq(vblk_fake.n_seen, 5 * ARRAY_SIZE(errors), "no range after one that failed");
	cr_assert_eq(vdev_stat(&w, "errors"), 5 * ARRAY_SIZE(errors));
	cr_assert_eq(vdev_stat(&w, "writes") + vdev_stat(&w, "flushes") +
			     vdev_stat(&w, "write_zeroes"),
		     0);
	for (unsigned op = 0; op <= BLK_WRITE_ZEROES; op++)
		vblk_fake.results[op] = 0;
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_OK);
	vblk_end();
}

Test(virtio_blk_bad, an_image_cut_under_the_guest__is_io_errors)
{
	uint64_t data;

	begin(0);
	data = memory(4096);
	cr_assert_eq(truncate(vblk_path, VBLK_SIZE / 2), 0);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, CAPACITY - 8, data, 4096), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, CAPACITY / 2 - 4, data, 4096), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, CAPACITY / 2 - 8, data, 4096), VIRTIO_BLK_S_OK);
	cr_assert_eq(vdev_stat(&w, "errors"), 2);
	cr_assert_eq(truncate(vblk_path, VBLK_SIZE), 0);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, CAPACITY - 8, data, 4096), VIRTIO_BLK_S_OK);
	vblk_end();
}
