/* SPDX-License-Identifier: Apache-2.0 */
/* Block devices: loop devices over a file, where the test may make them. */
#include "blk_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"

static char device[32];
static const char *image;
static struct blk *blk;
static struct blk_queue *q;
static char *buf;

static void set_up(void)
{
	blk_world_init();
	buf = aligned_alloc(4096, MIB(1));
}

static void tear_down(void)
{
	char command[64];

	free(buf);
	blk_world_done();
	if (*device) {
		(void)snprintf(command, sizeof(command), "losetup -d %s", device);
		cr_assert_eq(system(command), 0);
	}
}

TestSuite(blk_device, .init = set_up, .fini = tear_down, .timeout = 60);

static struct blk_opts opts_for(enum blk_cache cache)
{
	return (struct blk_opts){.what = "--disk", .path = device, .cache = cache, .lock = true};
}

static void make_device(unsigned sector)
{
	char command[192];
	FILE *out;

	image = blk_make_file("image", MIB(2), true);
	(void)snprintf(command, sizeof(command), "losetup -f --show -b %u %s 2>&1", sector, image);
	out = popen(command, "re");
	if (!out || !fgets(device, sizeof(device), out))
		device[0] = '\0';
	if (out)
		(void)pclose(out);
	device[strcspn(device, "\n")] = '\0';
	if (strncmp(device, "/dev/loop", 9) != 0) {
		device[0] = '\0';
		cr_skip_test("no loop devices here: they need root");
	}
}

static void begin(unsigned sector, enum blk_cache cache)
{
	struct blk_opts opts;

	make_device(sector);
	opts = opts_for(cache);
	blk = blk_world_open(&opts, &q);
}

static void end(void)
{
	q = blk_queue_free(q);
	blk = blk_free(blk);
}

static void check_zeroes(uint64_t offset, size_t len)
{
	cr_assert_eq(blk_do_read(q, offset, buf, len), 0);
	for (size_t i = 0; i < len; i++)
		cr_assert_eq(buf[i], 0);
}

static void use(unsigned sector, enum blk_cache cache)
{
	begin(sector, cache);
	cr_assert_eq(blk_size(blk), MIB(2));
	cr_assert_eq(blk_info(blk)->logical_block, sector);
	cr_assert_geq(blk_info(blk)->physical_block, sector);
	cr_assert_eq(blk_do_read(q, 65536, buf, 65536), 0);
	cr_assert_eq((uint8_t)buf[0], blk_pattern(65536));
	memset(buf, 'b', 65536);
	cr_assert_eq(blk_do_write(q, 65536, buf, 65536), 0);
	cr_assert_eq(blk_do_range(q, BLK_FLUSH, false, 0, 0), 0);
	cr_assert_eq(blk_byte_of(image, 65536), 'b');
	cr_assert_eq(blk_do_range(q, BLK_WRITE_ZEROES, false, MIB(1), 65536), 0);
	check_zeroes(MIB(1), 65536);
	cr_assert_eq(blk_do_range(q, BLK_WRITE_ZEROES, true, MIB(1) + 65536, 65536), 0);
	check_zeroes(MIB(1) + 65536, 65536);
	cr_assert_eq(blk_do_range(q, BLK_DISCARD, false, MIB(1) + 131072, 65536), 0);
	cr_assert_eq(blk_do_read(q, MIB(1) + 196608, buf, 4096), 0);
	cr_assert_eq((uint8_t)buf[0], blk_pattern(MIB(1) + 196608));
	end();
}

Test(blk_device, it_is_used_as_a_file_is)
{
	use(512, BLK_CACHE_WRITEBACK);
}

Test(blk_device, it_is_used_as_a_file_is__past_the_page_cache)
{
	use(512, BLK_CACHE_NONE);
}

Test(blk_device, blocks_of_4096_bytes__are_told)
{
	use(4096, BLK_CACHE_NONE);
}

/* A guest that doesn't care for the block size. */
Test(blk_device, sectors_of_a_larger_block__can_be_read_and_zeroed)
{
	begin(4096, BLK_CACHE_WRITEBACK);
	cr_assert_eq(blk_do_read(q, 512 * 9, buf, 512), 0);
	cr_assert_eq((uint8_t)buf[0], blk_pattern(512 * 9));
	cr_assert_eq(blk_write_text(q, 512 * 9, "one sector"), 0);
	cr_assert_eq(blk_do_range(q, BLK_WRITE_ZEROES, true, 512 * 17, 512), 0);
	check_zeroes(512 * 17, 512);
	cr_assert_eq(blk_do_read(q, 512 * 16, buf, 512), 0);
	cr_assert_eq((uint8_t)buf[0], blk_pattern(512 * 16));
	cr_assert_eq(blk_do_range(q, BLK_DISCARD, false, 512 * 17, 512), 0, "a hint");
	end();
}

Test(blk_device, sectors_of_a_larger_block__can_be_read_past_the_page_cache)
{
	begin(4096, BLK_CACHE_NONE);
	for (unsigned i = 1; i < 20; i++) {
		cr_assert_eq(blk_do_read(q, 512 * i, buf + 512, 3072), 0);
		cr_assert_eq((uint8_t)buf[512], blk_pattern(512 * i));
		cr_assert_eq((uint8_t)buf[3583], blk_pattern(512 * i + 3071));
	}
	cr_assert_eq(blk_do_write(q, 512, buf, 512), -EINVAL);
	end();
}

Test(blk_device, one_that_is_claimed__is_told)
{
	struct blk_opts opts;

	begin(512, BLK_CACHE_WRITEBACK);
	opts = opts_for(BLK_CACHE_WRITEBACK);
	cr_assert_not_null(strstr(blk_world_refused(&opts, -EBUSY), "mounted or in use"));
	opts.lock = false;
	(void)blk_free(blk_world_open(&opts, NULL));
	end();
}

Test(blk_device, its_size_is_its_own)
{
	struct err err = {0};

	begin(512, BLK_CACHE_WRITEBACK);
	cr_assert_eq(blk_resize(blk, MIB(4), &err), -EINVAL);
	cr_assert_not_null(strstr(err.msg, "block device"));
	cr_assert_eq(truncate(image, MIB(3)), 0);
	{
		char command[64];

		(void)snprintf(command, sizeof(command), "losetup -c %s", device);
		cr_assert_eq(system(command), 0);
	}
	cr_assert_eq(blk_resize(blk, 0, &err), 0);
	cr_assert_eq(blk_size(blk), MIB(3));
	end();
}
