/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: kinds of files, locks between programs, geometry, and what people are told. */
#include "blk_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/checked.h"

TestSuite(blk_open, .init = blk_world_init, .fini = blk_world_done, .timeout = 60);

static struct blk_opts opts_for(const char *path)
{
	return (struct blk_opts){
		.what = "--disk", .path = path, .cache = BLK_CACHE_WRITEBACK, .lock = true};
}

static void check_refused(const struct blk_opts *opts, int code, const char *expect)
{
	const char *msg = blk_world_refused(opts, code);

	cr_assert_eq(strncmp(msg, "--disk ", 7), 0, "%s", msg);
	cr_assert_not_null(strstr(msg, opts->path), "%s", msg);
	cr_assert_not_null(strstr(msg, expect), "%s", msg);
}

/* ---- what is no disk ---- */

Test(blk_open, what_is_no_disk__is_told)
{
	struct blk_opts opts = opts_for("/nonexistent/disk.img");
	char fifo[128];

	check_refused(&opts, -ENOENT, "truncate -s 10G");
	opts.path = blk_dir;
	check_refused(&opts, -EISDIR, "is a directory");
	opts.path = "/dev/null";
	check_refused(&opts, -EINVAL, "neither a file nor a block device");
	(void)snprintf(fifo, sizeof(fifo), "%s/fifo", blk_dir);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	opts.path = fifo;
	check_refused(&opts, -EINVAL, "neither a file nor a block device");
	opts.path = blk_make_file("empty", 0, false);
	check_refused(&opts, -EINVAL, "is empty");
	opts.path = blk_make_file("small", 511, false);
	check_refused(&opts, -EINVAL, "511 bytes");
}

Test(blk_open, a_file_that_must_not_be_written__is_told_with_what_to_do)
{
	struct blk_opts opts = opts_for(blk_make_file("disk", 4096, false));

	if (geteuid() == 0)
		opts.path = "/sys/kernel/notes"; /* root may write nearly anything */
	else
		cr_assert_eq(chmod(opts.path, 0400), 0);
	check_refused(&opts, -EACCES, "add ,ro");
	opts.ro = true;
	if (geteuid() != 0)
		(void)blk_free(blk_world_open(&opts, NULL));
}

/* ---- locks ---- */

Test(blk_open, one_writer_alone)
{
	struct blk_opts opts = opts_for(blk_make_file("disk", 4096, false));
	struct blk *blk = blk_world_open(&opts, NULL);

	check_refused(&opts, -EBUSY, "has this image open for writing");
	check_refused(&opts, -EBUSY, ",lock=off");
	opts.ro = true;
	check_refused(&opts, -EBUSY, "has this image open for writing");
	opts.ro = false;
	opts.overlay = true;
	check_refused(&opts, -EBUSY, "has this image open for writing");
	(void)blk_free(blk);
	(void)blk_free(blk_world_open(&opts, NULL));
}

Test(blk_open, readers_together_and_no_writer)
{
	struct blk_opts opts = opts_for(blk_make_file("disk", 4096, false));
	struct blk *a, *b;

	opts.ro = true;
	a = blk_world_open(&opts, NULL);
	opts.overlay = true;
	opts.ro = false;
	b = blk_world_open(&opts, NULL);
	opts.overlay = false;
	check_refused(&opts, -EBUSY, "reads this image");
	check_refused(&opts, -EBUSY, ",overlay=on");
	(void)blk_free(a);
	(void)blk_free(b);
	(void)blk_free(blk_world_open(&opts, NULL));
}

Test(blk_open, lock_off__opens_all_the_same)
{
	struct blk_opts opts = opts_for(blk_make_file("disk", 4096, false));
	struct blk *first = blk_world_open(&opts, NULL), *second;

	opts.lock = false;
	second = blk_world_open(&opts, NULL);
	(void)blk_free(second);
	(void)blk_free(first);
}

/* As QEMU does: shared locks on bytes that tell what it is doing. */
Test(blk_open, the_locks_of_other_programs__are_met)
{
	struct blk_opts opts = opts_for(blk_make_file("disk", 4096, false));
	struct flock byte = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
	int fd = open(opts.path, O_RDWR | O_CLOEXEC);

	cr_assert_eq(fcntl(fd, F_OFD_SETLK, &byte), 0);
	check_refused(&opts, -EBUSY, "another program");
	cr_assert_eq(close(fd), 0);
	(void)blk_free(blk_world_open(&opts, NULL));
}

/* ---- geometry ---- */

Test(blk_open, a_file__is_told_as_sectors_of_512_bytes)
{
	struct blk_opts opts = opts_for(blk_make_file("disk", MIB(1) + 700, false));
	struct blk *blk = blk_world_open(&opts, NULL);

	cr_assert_eq(blk_size(blk), MIB(1) + 512);
	cr_assert_eq(blk_info(blk)->logical_block, 512);
	cr_assert_geq(blk_info(blk)->physical_block, 512);
	cr_assert_not(blk_info(blk)->ro);
	cr_assert(blk_info(blk)->flush);
	(void)blk_free(blk);
	opts.ro = true;
	opts.cache = BLK_CACHE_UNSAFE;
	blk = blk_world_open(&opts, NULL);
	cr_assert(blk_info(blk)->ro);
	cr_assert_not(blk_info(blk)->flush);
	cr_assert_eq(blk_info(blk)->discard_granularity, 0);
	(void)blk_free(blk);
}

Test(blk_open, direct_io__needs_a_whole_number_of_its_blocks)
{
	struct blk_opts opts = opts_for(blk_make_file("disk", MIB(1), false));
	struct blk *blk;
	uint32_t block;

	opts.cache = BLK_CACHE_NONE;
	blk = blk_world_open(&opts, NULL);
	block = blk_info(blk)->logical_block;
	cr_assert(block >= 512 && block <= 4096 && (block & (block - 1)) == 0, "%u", block);
	cr_assert_geq(blk_info(blk)->physical_block, block);
	(void)blk_free(blk);
	cr_assert_eq(truncate(opts.path, MIB(1) + block + 511), 0);
	blk = blk_world_open(&opts, NULL);
	cr_assert_eq(blk_size(blk), MIB(1) + block);
	(void)blk_free(blk);
}
