/* SPDX-License-Identifier: Apache-2.0 */
#include "blk_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "tests/unit/event/engine.h"

TestSuite(blk_overlay, .init = blk_world_init, .fini = blk_world_done, .timeout = 60);

#define SIZE MIB(1)

static struct blk *blk;
static struct blk_queue *q;
static const char *path;
static char *buf; /* SIZE, aligned */

static void begin_with(enum blk_cache cache, bool lock)
{
	blk = blk_world_open(&(struct blk_opts){.what = "--disk",
						.path = path,
						.cache = cache,
						.lock = lock,
						.overlay = true},
			     &q);
}

static void begin(enum blk_cache cache)
{
	path = blk_make_file("base", SIZE, true);
	buf = aligned_alloc(4096, SIZE);
	begin_with(cache, true);
}

static void end(void)
{
	q = blk_queue_free(q);
	blk = blk_free(blk);
	free(buf);
}

static void check_base_is_untouched(void)
{
	for (uint64_t at = 0; at < SIZE; at += 512)
		cr_assert_eq(blk_byte_of(path, at), blk_pattern(at));
}

/* Against a copy in memory: writes of any number of sectors anywhere, zeroes, and reads that span
 * what the base and the layer have. */
static void behaves_as_memory(enum blk_cache cache)
{
	uint8_t *model = malloc(SIZE);
	unsigned seed = 7;

	begin(cache);
	for (uint64_t i = 0; i < SIZE; i++)
		model[i] = blk_pattern(i);
	for (unsigned round = 0; round < 300; round++) {
		uint64_t at = (seed = seed * 1103515245 + 12345) / 11 % (SIZE / 512) * 512;
		uint64_t len = (1 + (seed = seed * 1103515245 + 12345) / 11 % 60) * 512;

		len = MIN(len, SIZE - at);
		if (round % 3 == 0) {
			memset(buf, (int)round, len);
			memset(model + at, (int)round, len);
			cr_assert_eq(blk_do_write(q, at, buf, len), 0);
		} else if (round % 7 == 0) {
			memset(model + at, 0, len);
			cr_assert_eq(blk_do_range(q, BLK_WRITE_ZEROES, round & 8, at, len), 0);
		} else {
			cr_assert_eq(blk_do_read(q, at, buf, len), 0);
			cr_assert_eq(memcmp(buf, model + at, len), 0, "round %u", round);
		}
	}
	cr_assert_eq(blk_do_read(q, 0, buf, SIZE), 0);
	cr_assert_eq(memcmp(buf, model, SIZE), 0);
	check_base_is_untouched();
	end();
	free(model);
}

Test(blk_overlay, it_behaves_as_a_disk_of_its_own)
{
	behaves_as_memory(BLK_CACHE_WRITEBACK);
}

Test(blk_overlay, it_behaves_as_a_disk_of_its_own__over_direct_io)
{
	behaves_as_memory(BLK_CACHE_NONE);
}

Test(blk_overlay, what_was_written__is_gone_with_it)
{
	begin(BLK_CACHE_WRITEBACK);
	cr_assert_not(blk_info(blk)->ro);
	cr_assert_not(blk_info(blk)->flush);
	cr_assert_eq(blk_write_text(q, 4096, "gone"), 0);
	cr_assert_eq(blk_do_range(q, BLK_FLUSH, false, 0, 0), 0);
	cr_assert_eq(blk_do_read(q, 4096, buf, 512), 0);
	cr_assert_str_eq(buf, "gone");
	end();
	blk_loop = loop_free(blk_loop);
	blk_loop = engine_loop(8, 0);
	buf = aligned_alloc(4096, SIZE);
	begin_with(BLK_CACHE_WRITEBACK, true);
	cr_assert_eq(blk_do_read(q, 4096, buf, 512), 0);
	cr_assert_eq((uint8_t)buf[0], blk_pattern(4096));
	end();
}

Test(blk_overlay, a_discard__touches_the_layer_only)
{
	begin(BLK_CACHE_WRITEBACK);
	cr_assert_eq(blk_write_text(q, 65536, "written"), 0);
	cr_assert_eq(blk_do_range(q, BLK_DISCARD, false, 0, SIZE), 0);
	cr_assert_eq(blk_do_read(q, 65536, buf, 512), 0);
	cr_assert_eq(buf[0], 0);
	check_base_is_untouched();
	end();
}

Test(blk_overlay, a_base_cut_under_us__is_an_error_where_it_is_read)
{
	begin(BLK_CACHE_WRITEBACK);
	cr_assert_eq(blk_write_text(q, SIZE / 2, "mine"), 0);
	cr_assert_eq(truncate(path, 4096), 0);
	cr_assert_eq(blk_do_read(q, SIZE / 2, buf, 512), 0);
	cr_assert_str_eq(buf, "mine");
	cr_assert_eq(blk_do_read(q, SIZE / 2, buf, 1024), -EIO);
	end();
}

Test(blk_overlay, its_size_is_fixed)
{
	struct err err = {0};

	begin(BLK_CACHE_WRITEBACK);
	cr_assert_eq(blk_resize(blk, 2 * SIZE, &err), -EOPNOTSUPP);
	cr_assert_not_null(strstr(err.msg, path));
	end();
}

Test(blk_overlay, without_a_directory_to_write_to__it_is_memory)
{
	cr_assert_eq(setenv("TMPDIR", "/nonexistent", 1), 0);
	begin(BLK_CACHE_WRITEBACK);
	cr_assert_eq(blk_write_text(q, 0, "x"), 0);
	end();
}
