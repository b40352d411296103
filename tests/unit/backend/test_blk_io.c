/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The back end over a loop that isn't there: the test answers each request to the file
 * as it likes, which real files hardly do: half-done transfers, passing failures, buffers that run
 * out.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/blk_core.h"
#include "base/checked.h"
#include "base/clock.h"

enum { MOST = 64, NUMBER = 7 };

static struct loop_io *asked[MOST];
static unsigned n_asked;

void loop_io_submit(struct loop *loop, struct loop_io *io)
{
	(void)loop;
	cr_assert_lt(n_asked, MOST);
	asked[n_asked++] = io;
}

/* What else the queues ask of a loop. */
int loop_add_file(struct loop *loop, int fd)
{
	(void)loop;
	return fd >= 0 ? NUMBER : fd;
}

void loop_timer_arm(struct loop *loop, struct loop_timer *timer, uint64_t in_ns)
{
	(void)loop;
	(void)timer;
	cr_assert_fail("%lu", in_ns);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	(void)loop;
	(void)timer;
}

void loop_post(struct loop *loop, struct loop_work *work)
{
	(void)loop;
	(void)work;
}

void loop_work_cancel(struct loop *loop, struct loop_work *work)
{
	(void)loop;
	(void)work;
}

static struct blk_file file;
static struct blk blk;
static struct blk_queue queue;
static char *memory; /* 1 MiB, page-aligned */

static void set_up(void)
{
	file = (struct blk_file){.fd = -1, .align = 1, .mem_align = 1};
	blk = (struct blk){.files = {&file}};
	queue = (struct blk_queue){.blk = &blk, .numbers = {NUMBER}};
	n_asked = 0;
	memory = aligned_alloc(4096, MIB(1));
	memset(memory, 0, MIB(1));
}

static void tear_down(void)
{
	blk_io_done(&queue);
	blk_zeroes_done(&blk);
	free(memory);
}

TestSuite(blk_io, .init = set_up, .fini = tear_down, .timeout = 30);

/* A file opened for direct I/O. */
static void use_direct(uint32_t align, uint32_t mem_align)
{
	file.align = align;
	file.mem_align = mem_align;
	cr_assert_eq(blk_io_init(&queue), 0);
}

/* The request to the file that waits for its answer. */
static struct loop_io *the_one(void)
{
	cr_assert_eq(n_asked, 1, "%u requests are under way", n_asked);
	return asked[0];
}

static void answer(int result)
{
	struct loop_io *io = the_one();

	n_asked = 0;
	io->done(io, result);
}

struct test_req {
	struct blk_req req;
	struct iovec iov[3];
	unsigned ended;
	int result;
};

static void ended(struct blk_req *req, int result)
{
	struct test_req *t = container_of(req, struct test_req, req);

	t->ended++;
	t->result = result;
}

static void move(struct test_req *t, enum blk_op op, char *at, uint64_t offset, uint64_t len)
{
	*t = (struct test_req){.req = {.op = op, .queue = &queue, .offset = offset, .len = len},
			       .iov = {{at, len / 2}, {at + len / 2, len - len / 2}}};
	t->req.data = (struct iov){t->iov, 2};
	blk_io_move(&t->req, &file, offset, len, ended);
}

static uint64_t io_bytes(const struct loop_io *io)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < io->n_iov; i++)
		n += io->iov[i].iov_len;
	return n;
}

Test(blk_io, a_whole_transfer__is_one_request_on_the_guests_memory)
{
	struct test_req t;

	move(&t, BLK_READ, memory, 4096, 1024);
	cr_assert_eq(the_one()->op, LOOP_IO_READV);
	cr_assert_eq(the_one()->file, NUMBER);
	cr_assert_eq(the_one()->offset, 4096);
	cr_assert_eq(the_one()->iov[0].iov_base, memory);
	cr_assert_eq(io_bytes(the_one()), 1024);
	answer(1024);
	cr_assert_eq(t.ended, 1);
	cr_assert_eq(t.result, 0);
}

Test(blk_io, half_done_transfers__are_continued)
{
	struct test_req t;

	move(&t, BLK_WRITE, memory, 512, 1024);
	cr_assert_eq(the_one()->op, LOOP_IO_WRITEV);
	answer(100);
	cr_assert_eq(the_one()->offset, 612);
	cr_assert_eq(the_one()->iov[0].iov_base, memory + 100);
	cr_assert_eq(io_bytes(the_one()), 924);
	answer(500);
	cr_assert_eq(the_one()->offset, 1112);
	cr_assert_eq(the_one()->iov[0].iov_base, memory + 600);
	answer(424);
	cr_assert_eq(t.ended, 1);
	cr_assert_eq(t.result, 0);
}

Test(blk_io, a_transfer_of_nothing__is_an_error)
{
	struct test_req t;

	move(&t, BLK_READ, memory, 0, 1024);
	answer(512);
	answer(0);
	cr_assert_eq(t.result, -EIO, "the file has been cut");
	move(&t, BLK_WRITE, memory, 0, 1024);
	answer(0);
	cr_assert_eq(t.result, -EIO);
}

Test(blk_io, failures__are_passed_on)
{
	struct test_req t;

	move(&t, BLK_WRITE, memory, 0, 1024);
	answer(512);
	answer(-ENOSPC);
	cr_assert_eq(t.ended, 1);
	cr_assert_eq(t.result, -ENOSPC);
}

Test(blk_io, passing_failures__are_tried_again_but_not_for_ever)
{
	struct test_req t;
	unsigned tries = 0;

	move(&t, BLK_READ, memory, 0, 512);
	answer(-EINTR);
	answer(-EAGAIN);
	answer(512);
	cr_assert_eq(t.result, 0);
	move(&t, BLK_READ, memory, 0, 512);
	for (; t.ended == 0 && tries < 100; tries++)
		answer(-EAGAIN);
	cr_assert_eq(t.result, -EAGAIN);
	cr_assert_lt(tries, 20);
}

Test(blk_io, a_part_of_the_data__leaves_the_rest)
{
	struct test_req t;

	move(&t, BLK_READ, memory, 0, 4096);
	answer(4096);
	t.iov[0] = (struct iovec){memory, 3000};
	t.iov[1] = (struct iovec){memory + 3000, 1096};
	t.req.data = (struct iov){t.iov, 2};
	blk_io_move(&t.req, &file, 0, 3584, ended);
	cr_assert_eq(io_bytes(the_one()), 3584);
	answer(3000);
	answer(584);
	cr_assert_eq(iov_bytes(&t.req.data), 512);
	cr_assert_eq(t.req.data.at->iov_base, memory + 3584);
}

/* ---- alignment ---- */

Test(blk_io, aligned_memory__goes_straight_to_a_direct_file)
{
	struct test_req t;

	use_direct(512, 512);
	move(&t, BLK_WRITE, memory + 512, 512, 1024);
	cr_assert_eq(the_one()->iov[0].iov_base, memory + 512);
	answer(512); /* and so does the rest */
	cr_assert_eq(the_one()->iov[0].iov_base, memory + 1024);
	answer(512);
	cr_assert_eq(t.result, 0);
}

/* What the file holds, for bounced requests: byte i is i / 512. */
static void answer_as_file(void)
{
	struct loop_io *io = the_one();
	uint64_t at = io->offset;

	cr_assert_eq(io->n_iov, 1);
	cr_assert(is_aligned(io->offset | (uintptr_t)io->iov->iov_base | io->iov->iov_len, 512));
	for (size_t i = 0; i < io->iov->iov_len; i++, at++)
		((char *)io->iov->iov_base)[i] = (char)(at / 512);
	answer((int)io->iov->iov_len);
}

static void check_memory(const char *at, uint64_t offset, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		cr_assert_eq(at[i], (char)((offset + i) / 512), "byte %lu", i);
}

Test(blk_io, a_read_into_odd_memory__goes_through_a_buffer_by_pieces)
{
	struct test_req t;
	uint64_t len = 3 * BLK_BOUNCE + 1024;

	use_direct(512, 512);
	move(&t, BLK_READ, memory + 3, 1024, len);
	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(t.ended, 0);
		cr_assert_leq(the_one()->iov->iov_len, BLK_BOUNCE);
		answer_as_file();
	}
	cr_assert_eq(t.ended, 1);
	cr_assert_eq(t.result, 0);
	check_memory(memory + 3, 1024, len);
	cr_assert_eq(memory[2], 0);
	cr_assert_eq(memory[3 + len], 0);
}

Test(blk_io, a_read_of_odd_sectors__reads_whole_blocks)
{
	struct test_req t;

	use_direct(4096, 512);
	move(&t, BLK_READ, memory, 4096 + 1536, 4096);
	cr_assert_eq(the_one()->offset, 4096);
	cr_assert_eq(the_one()->iov->iov_len, 8192);
	answer_as_file();
	cr_assert_eq(t.result, 0);
	check_memory(memory, 4096 + 1536, 4096);
	cr_assert_eq(memory[4096], 0);
}

Test(blk_io, a_bounced_read_at_the_end_of_a_cut_file__is_an_error)
{
	struct test_req t;

	use_direct(4096, 512);
	move(&t, BLK_READ, memory, 1024, 4096);
	answer(2048); /* two sectors of it */
	cr_assert_eq(the_one()->offset, 0, "the block that sector 4 is in");
	answer(2048);
	cr_assert_eq(t.ended, 1);
	cr_assert_eq(t.result, -EIO);
	cr_assert_eq(queue.bounces_free, (1U << BLK_BOUNCES) - 1);
}

Test(blk_io, a_write_from_odd_memory__is_gathered_first)
{
	struct test_req t;

	use_direct(512, 512);
	memcpy(memory + 1, "hello", 5);
	move(&t, BLK_WRITE, memory + 1, 512, 1024);
	cr_assert_eq(the_one()->offset, 512);
	cr_assert_eq(the_one()->iov->iov_len, 1024);
	cr_assert_arr_eq((char *)the_one()->iov->iov_base, "hello", 5);
	answer(512);
	cr_assert_eq(the_one()->offset, 1024);
	cr_assert_eq(the_one()->iov->iov_len, 512);
	answer(512);
	cr_assert_eq(t.result, 0);
}

Test(blk_io, a_write_of_odd_sectors__is_refused)
{
	struct test_req t;

	use_direct(4096, 512);
	move(&t, BLK_WRITE, memory, 512, 4096);
	cr_assert_eq(n_asked, 0);
	cr_assert_eq(t.result, -EINVAL);
	move(&t, BLK_WRITE, memory, 4096, 512);
	cr_assert_eq(t.result, -EINVAL);
}

Test(blk_io, when_the_buffers_are_taken__requests_wait_in_order)
{
	struct test_req t[BLK_BOUNCES + 3];

	use_direct(512, 512);
	for (unsigned i = 0; i < BLK_BOUNCES + 3; i++)
		move(&t[i], BLK_READ, memory + 1 + (size_t)i * 1024, i * 1024, 512);
	cr_assert_eq(n_asked, BLK_BOUNCES);
	for (unsigned i = 0; i < BLK_BOUNCES + 3; i++) {
		struct loop_io *io = asked[i];

		cr_assert_eq(io->offset, i * 1024);
		for (unsigned j = 0; j < i && i < BLK_BOUNCES; j++)
			cr_assert_neq(io->iov->iov_base, asked[j]->iov->iov_base);
		io->done(io, i == 1 ? -EIO : 512); /* a failure gives its buffer back too */
		cr_assert_eq(t[i].ended, 1);
	}
	cr_assert_eq(queue.bounces_free, (1U << BLK_BOUNCES) - 1);
}

/* ---- zeroes ---- */

static void zero(struct test_req *t, enum blk_op op, bool unmap, uint64_t offset, uint64_t len)
{
	if (!blk.zeroes)
		cr_assert_eq(blk_zeroes_init(&blk), 0);
	*t = (struct test_req){
		.req = {.op = op, .unmap = unmap, .queue = &queue, .offset = offset, .len = len}};
	blk_zero(&t->req, &file, ended);
}

Test(blk_io, a_discard__is_a_hole)
{
	struct test_req t;

	zero(&t, BLK_DISCARD, false, 512, 4096);
	cr_assert_eq(the_one()->op, LOOP_IO_FALLOCATE);
	cr_assert_eq(the_one()->mode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	cr_assert_eq(the_one()->offset, 512);
	cr_assert_eq(the_one()->len, 4096);
	answer(0);
	cr_assert_eq(t.result, 0);
}

Test(blk_io, a_discard_without_holes__does_nothing_and_asks_no_more)
{
	struct test_req t;

	zero(&t, BLK_DISCARD, false, 0, 4096);
	answer(-EOPNOTSUPP);
	cr_assert_eq(t.result, 0);
	zero(&t, BLK_DISCARD, false, 0, 4096);
	cr_assert_eq(n_asked, 0);
	cr_assert_eq(t.result, 0);
}

Test(blk_io, zeroes_that_may_be_unmapped__are_tried_as_hole_range_and_writes)
{
	struct test_req t;

	zero(&t, BLK_WRITE_ZEROES, true, 4096, BLK_ZEROES + 512);
	cr_assert_eq(the_one()->mode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	answer(-EOPNOTSUPP);
	cr_assert_eq(the_one()->mode, FALLOC_FL_ZERO_RANGE);
	answer(-EOPNOTSUPP);
	cr_assert_eq(the_one()->op, LOOP_IO_WRITEV);
	cr_assert_eq(the_one()->offset, 4096);
	cr_assert_eq(io_bytes(the_one()), BLK_ZEROES);
	answer(1000);
	cr_assert_eq(the_one()->offset, 5096);
	answer(BLK_ZEROES - 1000);
	cr_assert_eq(the_one()->offset, 4096 + BLK_ZEROES);
	cr_assert_eq(io_bytes(the_one()), 512);
	cr_assert_eq(*(const char *)the_one()->iov->iov_base, 0);
	answer(512);
	cr_assert_eq(t.ended, 1);
	cr_assert_eq(t.result, 0);

	zero(&t, BLK_WRITE_ZEROES, true, 0, 512);
	cr_assert_eq(the_one()->op, LOOP_IO_WRITEV, "it is known by now");
}

Test(blk_io, zeroes_that_are_written__count_for_the_limit)
{
	struct test_req t;

	limit_set(&blk.bw, 1000, 1);
	zero(&t, BLK_WRITE_ZEROES, false, 0, 4096);
	cr_assert_eq(the_one()->op, LOOP_IO_FALLOCATE);
	cr_assert_eq(limit_wait(&blk.bw, clock_now_ns()), 0,
		     "a range that is marked costs nothing");
	answer(-EOPNOTSUPP);
	cr_assert_eq(the_one()->op, LOOP_IO_WRITEV);
	cr_assert_gt(limit_wait(&blk.bw, clock_now_ns()), 0);
	answer(4096);
	cr_assert_eq(t.result, 0);
	limit_set(&blk.bw, 0, 0);
}

Test(blk_io, zeroes_that_must_stay_mapped__are_never_a_hole)
{
	struct test_req t;

	zero(&t, BLK_WRITE_ZEROES, false, 0, 512);
	cr_assert_eq(the_one()->mode, FALLOC_FL_ZERO_RANGE);
	answer(-EINVAL); /* not this range */
	cr_assert_eq(the_one()->op, LOOP_IO_WRITEV);
	answer(512);
	cr_assert_eq(t.result, 0);
	zero(&t, BLK_WRITE_ZEROES, false, 0, 4096);
	cr_assert_eq(the_one()->op, LOOP_IO_FALLOCATE, "another one is tried again");
}

Test(blk_io, zeroes_that_fail__fail_the_request)
{
	struct test_req t;

	zero(&t, BLK_WRITE_ZEROES, false, 0, 512);
	answer(-ENOSPC);
	cr_assert_eq(t.result, -ENOSPC);
	file.no_zero_range = true;
	zero(&t, BLK_WRITE_ZEROES, false, 0, 2 * (uint64_t)BLK_ZEROES);
	answer(-EIO);
	cr_assert_eq(t.ended, 1);
	cr_assert_eq(t.result, -EIO);
}

/* ---- what is stable, and when ---- */

static struct {
	struct blk *blk;
	struct blk_queue *q;
} raw;

static void open_raw(enum blk_cache cache)
{
	char path[] = "/var/tmp/vmm-blk-XXXXXX";
	const struct blk_opts opts = {.what = "--disk", .path = path, .cache = cache};
	int fd = mkstemp(path);
	struct err err = {0};

	cr_assert_eq(ftruncate(fd, MIB(1)), 0);
	cr_assert_eq(close(fd), 0);
	cr_assert_eq(blk_open(&opts, &raw.blk, &err), 0, "%s", err.msg);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(blk_queue_new(raw.blk, NULL, &raw.q), 0);
}

static void close_raw(void)
{
	(void)blk_queue_free(raw.q);
	(void)blk_free(raw.blk);
}

static void submit(struct test_req *t, enum blk_op op, bool stable)
{
	*t = (struct test_req){
		.req = {.done = ended, .op = op, .stable = stable, .offset = 4096, .len = 4096},
		.iov = {{memory, 4096}}};
	t->req.data = (struct iov){t->iov, 1};
	cr_assert_not(blk_submit(raw.q, &t->req));
}

static void check_stable(enum blk_op op, int first)
{
	struct test_req t;

	submit(&t, op, true);
	answer(first);
	cr_assert_eq(t.ended, 0);
	cr_assert_eq(the_one()->op, LOOP_IO_FDATASYNC);
	answer(0);
	cr_assert_eq(t.ended, 1);
	cr_assert_eq(t.result, 0);

	submit(&t, op, true);
	answer(first);
	answer(-EIO);
	cr_assert_eq(t.result, -EIO);

	submit(&t, op, true);
	answer(-ENOSPC);
	cr_assert_eq(t.ended, 1, "there is nothing to flush");
	cr_assert_eq(t.result, -ENOSPC);

	submit(&t, op, false);
	answer(first);
	cr_assert_eq(t.ended, 1);
}

Test(blk_io, stable_writes__end_with_a_flush)
{
	struct test_req t;

	open_raw(BLK_CACHE_WRITEBACK);
	check_stable(BLK_WRITE, 4096);
	check_stable(BLK_WRITE_ZEROES, 0);
	submit(&t, BLK_FLUSH, false);
	cr_assert_eq(the_one()->op, LOOP_IO_FDATASYNC);
	answer(-EIO);
	cr_assert_eq(t.result, -EIO);
	close_raw();
}

Test(blk_io, an_unsafe_disk__is_never_flushed)
{
	struct test_req t;

	open_raw(BLK_CACHE_UNSAFE);
	submit(&t, BLK_WRITE, true);
	answer(4096);
	cr_assert_eq(t.ended, 1);
	submit(&t, BLK_FLUSH, false);
	cr_assert_eq(t.ended, 1);
	cr_assert_eq(n_asked, 0);
	close_raw();
}
