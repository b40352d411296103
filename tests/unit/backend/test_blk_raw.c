/* SPDX-License-Identifier: Apache-2.0 */
#include "blk_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"

TestSuite(blk_raw, .init = blk_world_init, .fini = blk_world_done, .timeout = 60);

static struct blk *blk;
static struct blk_queue *q;
static const char *path;
static char *buf; /* 1 MiB, aligned */

static void begin(uint64_t size, enum blk_cache cache, bool ro)
{
	path = blk_make_file("disk", size, true);
	blk = blk_world_open(
		&(struct blk_opts){
			.what = "--disk", .path = path, .cache = cache, .ro = ro, .lock = true},
		&q);
	buf = aligned_alloc(4096, MIB(1));
	memset(buf, 0xee, MIB(1));
}

static void end(void)
{
	q = blk_queue_free(q);
	blk = blk_free(blk);
	free(buf);
}

static void check_pattern(const char *at, uint64_t offset, size_t len)
{
	for (size_t i = 0; i < len; i++)
		cr_assert_eq((uint8_t)at[i], blk_pattern(offset + i), "byte %zu", i);
}

static void reads_and_writes(enum blk_cache cache)
{
	begin(MIB(2), cache, false);
	cr_assert_eq(blk_size(blk), MIB(2));
	cr_assert_eq(blk_do_read(q, 4096, buf, 64 * 1024), 0);
	check_pattern(buf, 4096, 64 * 1024);
	cr_assert_eq((uint8_t)buf[64 * 1024], 0xee);
	memset(buf, 'x', MIB(1));
	cr_assert_eq(blk_do_write(q, MIB(1), buf, MIB(1)), 0);
	cr_assert_eq(blk_do_range(q, BLK_FLUSH, false, 0, 0), 0);
	cr_assert_eq(blk_byte_of(path, MIB(1) - 1), blk_pattern(MIB(1) - 1));
	cr_assert_eq(blk_byte_of(path, MIB(1)), 'x');
	cr_assert_eq(blk_byte_of(path, MIB(2) - 1), 'x');
	end();
}

Test(blk_raw, reads_and_writes__through_the_page_cache)
{
	reads_and_writes(BLK_CACHE_WRITEBACK);
}

Test(blk_raw, reads_and_writes__past_the_page_cache)
{
	reads_and_writes(BLK_CACHE_NONE);
}

Test(blk_raw, reads_and_writes__without_flushes)
{
	reads_and_writes(BLK_CACHE_UNSAFE);
}

Test(blk_raw, memory_at_any_address__works_with_direct_io)
{
	begin(MIB(2), BLK_CACHE_NONE, false);
	for (unsigned odd = 1; odd < 600; odd += 97) {
		cr_assert_eq(blk_do_read(q, 512 * odd, buf + odd, 200 * 1024), 0);
		check_pattern(buf + odd, 512 * odd, 200 * 1024);
	}
	cr_assert_eq(blk_do_read(q, 0, buf + 4096, 512), 0);
	memset(buf + 5, 'y', 12345);
	{
		struct iovec iov[2] = {{buf + 5, 1001}, {buf + 1006, 7191}};
		struct blk_req req = {
			.op = BLK_WRITE, .offset = 8192, .len = 8192, .data = {iov, 2}};

		cr_assert_eq(blk_do(q, &req), 0);
	}
	cr_assert_eq(blk_byte_of(path, 8191), blk_pattern(8191));
	cr_assert_eq(blk_byte_of(path, 8192), 'y');
	cr_assert_eq(blk_byte_of(path, 16383), 'y');
	cr_assert_eq(blk_byte_of(path, 16384), blk_pattern(16384));
	end();
}

Test(blk_raw, many_requests_at_once__all_end)
{
	enum { N = 100 };
	struct blk_req reqs[N];
	struct iovec iov[N];

	begin(MIB(2), BLK_CACHE_NONE, false);
	for (unsigned i = 0; i < N; i++) {
		/* every third one needs a buffer */
		iov[i] = (struct iovec){buf + (size_t)i * 8192 + (i % 3 == 0), 4096};
		reqs[i] = (struct blk_req){
			.op = BLK_READ, .offset = i * 4096, .len = 4096, .data = {&iov[i], 1}};
	}
	/* The loop has not run yet: its creator may submit. */
	for (unsigned i = 0; i < N; i++)
		cr_assert_not(blk_begin(q, &reqs[i]));
	blk_await(N);
	for (unsigned i = 0; i < N; i++) {
		cr_assert_eq(blk_result(&reqs[i]), 0);
		check_pattern(buf + (size_t)i * 8192 + (i % 3 == 0), i * 4096, 4096);
	}
	end();
}

/* ---- zeroes ---- */

Test(blk_raw, a_discard__gives_the_space_back)
{
	uint64_t before;

	begin(MIB(2), BLK_CACHE_WRITEBACK, false);
	if (!blk_info(blk)->discard_granularity)
		cr_skip_test("the file system of %s has no holes", blk_dir);
	cr_assert_eq(blk_do_range(q, BLK_FLUSH, false, 0, 0), 0);
	before = blk_allocated(path);
	cr_assert_eq(blk_do_range(q, BLK_DISCARD, false, MIB(1), MIB(1)), 0);
	cr_assert_lt(blk_allocated(path), before);
	cr_assert_eq(blk_size(blk), MIB(2));
	cr_assert_eq(blk_do_read(q, MIB(1), buf, 4096), 0);
	cr_assert_eq(buf[0], 0);
	cr_assert_eq(blk_do_read(q, 0, buf, 4096), 0);
	check_pattern(buf, 0, 4096);
	end();
}

static void zeroes(bool unmap, enum blk_cache cache)
{
	begin(MIB(2), cache, false);
	cr_assert_eq(blk_do_range(q, BLK_WRITE_ZEROES, unmap, 8192, MIB(1)), 0);
	cr_assert_eq(blk_do_read(q, 8192, buf, MIB(1)), 0);
	for (size_t i = 0; i < MIB(1); i++)
		cr_assert_eq(buf[i], 0);
	cr_assert_eq(blk_byte_of(path, 8191), blk_pattern(8191));
	cr_assert_eq(blk_byte_of(path, 8192 + MIB(1)), blk_pattern(8192 + MIB(1)));
	end();
}

Test(blk_raw, zeroes__by_all_ways)
{
	zeroes(false, BLK_CACHE_WRITEBACK);
}

Test(blk_raw, zeroes__that_may_be_unmapped)
{
	zeroes(true, BLK_CACHE_WRITEBACK);
}

Test(blk_raw, zeroes__past_the_page_cache)
{
	zeroes(false, BLK_CACHE_NONE);
}

/* ---- faults ---- */

Test(blk_raw, a_file_cut_under_us__is_an_error_and_not_zeroes)
{
	begin(MIB(1), BLK_CACHE_WRITEBACK, false);
	cr_assert_eq(truncate(path, 8192), 0);
	cr_assert_eq(blk_do_read(q, 16384, buf, 4096), -EIO);
	cr_assert_eq(blk_do_read(q, 4096, buf, 8192), -EIO, "half of it is there");
	cr_assert_eq(blk_do_read(q, 4096, buf, 4096), 0);
	check_pattern(buf, 4096, 4096);
	/* What is written makes it longer again. */
	cr_assert_eq(blk_write_text(q, 65536, "again"), 0);
	cr_assert_eq(blk_do_range(q, BLK_WRITE_ZEROES, false, 262144, 4096), 0);
	cr_assert_eq(blk_do_read(q, 262144, buf, 4096), 0);
	cr_assert_eq(blk_do_read(q, 65536, buf, 512), 0);
	cr_assert_str_eq(buf, "again");
	end();
}

/* A write that the host lets through in part only, and then no more. */
Test(blk_raw, a_file_that_may_not_grow__is_an_error)
{
	struct rlimit limit = {.rlim_cur = 65536, .rlim_max = RLIM_INFINITY};

	begin(MIB(1), BLK_CACHE_WRITEBACK, false);
	cr_assert_eq(truncate(path, 4096), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	memset(buf, 'z', 8192);
	cr_assert_eq(blk_do_write(q, 61440, buf, 8192), -EFBIG);
	cr_assert_eq(blk_do_write(q, 4096, buf, 8192), 0);
	end();
}

/* ---- size ---- */

static int resize(uint64_t size, const char *expect)
{
	struct err err = {0};
	int r = blk_resize(blk, size, &err);

	cr_assert_eq(r < 0, expect != NULL, "%s", err.msg);
	if (expect)
		cr_assert_not_null(strstr(err.msg, expect), "%s", err.msg);
	return r;
}

Test(blk_raw, resize__makes_the_file_larger_only)
{
	struct stat st;

	begin(MIB(1), BLK_CACHE_WRITEBACK, false);
	cr_assert_eq(resize(MIB(3), NULL), 0);
	cr_assert_eq(blk_size(blk), MIB(3));
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_size, MIB(3));
	cr_assert_eq(blk_do_read(q, MIB(3) - 512, buf, 512), 0);
	cr_assert_eq(resize(MIB(2), "never made smaller"), -EINVAL);
	cr_assert_eq(resize(MIB(4) + 100, "a multiple of 512"), -EINVAL);
	cr_assert_eq(resize(UINT64_MAX, "no file can be that large"), -EFBIG);
	cr_assert_eq(blk_size(blk), MIB(3));
	end();
}

Test(blk_raw, resize_without_a_size__takes_over_what_is_there)
{
	begin(MIB(1), BLK_CACHE_WRITEBACK, false);
	cr_assert_eq(truncate(path, MIB(5) + 100), 0);
	cr_assert_eq(blk_size(blk), MIB(1));
	cr_assert_eq(resize(0, NULL), 0);
	cr_assert_eq(blk_size(blk), MIB(5), "whole sectors");
	cr_assert_eq(truncate(path, 4096), 0);
	cr_assert_eq(resize(0, NULL), 0);
	cr_assert_eq(blk_size(blk), 4096);
	end();
}

Test(blk_raw, a_read_only_disk__is_not_resized)
{
	begin(MIB(1), BLK_CACHE_WRITEBACK, true);
	cr_assert_eq(resize(MIB(2), "read-only"), -EROFS);
	cr_assert_eq(resize(0, NULL), 0);
	end();
}

/* ---- several queues ---- */

Test(blk_raw, two_queues_of_one_loop__share_the_file)
{
	struct blk_queue *second;

	begin(MIB(1), BLK_CACHE_WRITEBACK, false);
	cr_assert_eq(blk_queue_new(blk, blk_loop, &second), 0);
	cr_assert_eq(blk_write_text(q, 0, "one"), 0);
	cr_assert_eq(blk_do_read(second, 0, buf, 512), 0);
	cr_assert_str_eq(buf, "one");
	(void)blk_queue_free(second);
	cr_assert_eq(blk_do_read(q, 0, buf, 512), 0);
	end();
}
