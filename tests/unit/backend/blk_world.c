/* SPDX-License-Identifier: Apache-2.0 */
#include "blk_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "tests/unit/event/engine.h"

struct loop *blk_loop;
char blk_dir[64];

static unsigned awaited;

/* On the file system of the build, which has extents, holes and O_DIRECT; VMM_TEST_DIR for another
 * one. */
void blk_world_init(void)
{
	const char *dir = getenv("VMM_TEST_DIR");

	(void)snprintf(blk_dir, sizeof(blk_dir), "%s/vmm-blk-XXXXXX", dir ? dir : "/var/tmp");
	cr_assert_not_null(mkdtemp(blk_dir));
	blk_loop = engine_loop(8, 0);
}

void blk_world_done(void)
{
	char command[128];

	blk_loop = loop_free(blk_loop);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", blk_dir);
	cr_assert_eq(system(command), 0);
}

/* ---- files ---- */

uint8_t blk_pattern(uint64_t offset)
{
	return (uint8_t)(offset / BLK_SECTOR + 1);
}

static void fill(int fd, uint64_t size)
{
	static uint8_t sector[BLK_SECTOR];

	for (uint64_t at = 0; at < size; at += BLK_SECTOR) {
		size_t n = MIN(size - at, (uint64_t)BLK_SECTOR);

		memset(sector, blk_pattern(at), sizeof(sector));
		cr_assert_eq(pwrite(fd, sector, n, (off_t)at), (ssize_t)n);
	}
}

const char *blk_make_file(const char *name, uint64_t size, bool pattern)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];
	int fd;

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", blk_dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	if (pattern)
		fill(fd, size);
	cr_assert_eq(close(fd), 0);
	return path;
}

uint8_t blk_byte_of(const char *path, uint64_t offset)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t byte = 0;

	cr_assert_eq(pread(fd, &byte, 1, (off_t)offset), 1);
	cr_assert_eq(close(fd), 0);
	return byte;
}

uint64_t blk_allocated(const char *path)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* ---- disks ---- */

struct blk *blk_world_open(const struct blk_opts *opts, struct blk_queue **ret_queue)
{
	struct err err = {0};
	struct blk *blk = NULL;
	int r = blk_open(opts, &blk, &err);

	if (r < 0 && strstr(err.msg, "no direct I/O"))
		cr_skip_test("%s", err.msg);
	cr_assert_eq(r, 0, "%s", err.msg);
	if (ret_queue)
		cr_assert_eq(blk_queue_new(blk, blk_loop, ret_queue), 0);
	return blk;
}

const char *blk_world_refused(const struct blk_opts *opts, int code)
{
	static struct err err;
	struct blk *blk = NULL;

	err = (struct err){0};
	cr_assert_eq(blk_open(opts, &blk, &err), code, "%s", err.msg);
	cr_assert_null(blk);
	cr_assert_eq(err.code, code);
	return err.msg;
}

/* ---- requests ---- */

enum { UNDER_WAY = 12345 };

/* The result is kept where the request doesn't need it any more. */
static void ended(struct blk_req *req, int result)
{
	req->at = (uint64_t)(int64_t)result;
	cr_assert_neq(awaited, 0);
	if (--awaited == 0)
		loop_stop(blk_loop);
}

bool blk_begin(struct blk_queue *q, struct blk_req *req)
{
	req->done = ended;
	req->at = UNDER_WAY;
	return blk_submit(q, req);
}

void blk_await(unsigned n)
{
	awaited += n;
	cr_assert_eq(loop_run(blk_loop), 0);
}

int blk_result(const struct blk_req *req)
{
	return (int)req->at;
}

struct begin {
	struct loop_work work;
	struct blk_queue *q;
	struct blk_req *req;
};

static void begin_on_loop(struct loop_work *work)
{
	struct begin *begin = container_of(work, struct begin, work);

	(void)blk_begin(begin->q, begin->req);
}

int blk_do(struct blk_queue *q, struct blk_req *req)
{
	struct begin begin = {.work.run = begin_on_loop, .q = q, .req = req};

	loop_post(blk_loop, &begin.work);
	blk_await(1);
	return blk_result(req);
}

/* In three uneven pieces where there is room for them. */
static int transfer(struct blk_queue *q, enum blk_op op, uint64_t offset, char *buf, size_t len)
{
	size_t first = len / 3, second = len / 2 - first;
	struct iovec iov[3] = {
		{buf, first}, {buf + first, second}, {buf + first + second, len - first - second}};
	struct blk_req req = {.op = op, .offset = offset, .len = len, .data = {iov, 3}};

	if (len % (6 * BLK_SECTOR)) {
		iov[0].iov_len = len;
		req.data.n = 1;
	}
	return blk_do(q, &req);
}

int blk_do_read(struct blk_queue *q, uint64_t offset, void *to, size_t len)
{
	return transfer(q, BLK_READ, offset, to, len);
}

int blk_do_write(struct blk_queue *q, uint64_t offset, const void *from, size_t len)
{
	char *copy = aligned_alloc(4096, align_up(len, 4096));
	int r;

	memcpy(copy, from, len);
	r = transfer(q, BLK_WRITE, offset, copy, len);
	free(copy);
	return r;
}

int blk_write_text(struct blk_queue *q, uint64_t offset, const char *text)
{
	char sector[BLK_SECTOR] = {0};

	(void)snprintf(sector, sizeof(sector), "%s", text);
	return blk_do_write(q, offset, sector, sizeof(sector));
}

int blk_do_range(struct blk_queue *q, enum blk_op op, bool unmap, uint64_t offset, uint64_t len)
{
	struct blk_req req = {.op = op, .unmap = unmap, .offset = offset, .len = len};

	return blk_do(q, &req);
}
