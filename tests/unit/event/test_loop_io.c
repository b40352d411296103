/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"

enum { DEPTH = 32, BLOCK = 4096 };

static struct loop *loop;
static int disk = -1, file = -1;

static int scratch_file(void)
{
	char path[] = "/tmp/vmm-test-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	cr_assert_geq(fd, 0);
	(void)unlink(path);
	return fd;
}

static void set_up(void)
{
	loop = engine_loop(DEPTH, 0);
	disk = scratch_file();
	file = loop_add_file(loop, disk);
	cr_assert_geq(file, 0);
}

static void tear_down(void)
{
	loop = loop_free(loop);
	disk = fd_close(disk);
}

TestSuite(loop_io, .init = set_up, .fini = tear_down, .timeout = 60);

static void run(void)
{
	cr_assert_eq(loop_run(loop), 0);
}

static int left;       /* requests that the test waits for */
static bool in_submit; /* done() must not be called there */

struct request {
	struct loop_io io;
	struct iovec iov;
	int result, calls;
	char data[BLOCK];
};

static void note_done(struct loop_io *io, int result)
{
	struct request *r = container_of(io, struct request, io);

	cr_assert_not(in_submit);
	r->result = result;
	r->calls++;
	if (--left == 0)
		loop_stop(loop);
}

static void submit(struct loop_io *io)
{
	in_submit = true;
	loop_io_submit(loop, io);
	in_submit = false;
}

static void fill(struct request *r, enum loop_io_op op, uint64_t offset)
{
	r->iov = (struct iovec){r->data, BLOCK};
	r->io = (struct loop_io){.done = note_done,
				 .op = op,
				 .file = file,
				 .iov = &r->iov,
				 .n_iov = 1,
				 .offset = offset};
	r->calls = 0;
	left++;
}

/* The result of this one alone. */
static int do_one(struct request *r)
{
	left = 1;
	submit(&r->io);
	run();
	cr_assert_eq(r->calls, 1);
	return r->result;
}

Test(loop_io, requests_beyond_the_depth_are_all_done_once)
{
	enum { N = 10 * DEPTH };
	struct request *r = calloc(N, sizeof(*r));

	cr_assert_not_null(r);
	for (int i = 0; i < N; i++) {
		fill(&r[i], LOOP_IO_WRITEV, (uint64_t)i * BLOCK);
		memset(r[i].data, i + 1, BLOCK);
		submit(&r[i].io);
	}
	run();
	for (int i = 0; i < N; i++) {
		cr_assert_eq(r[i].result, BLOCK, "%d: %d", i, r[i].result);
		cr_assert_eq(r[i].calls, 1);
		fill(&r[i], LOOP_IO_READV, (uint64_t)(N - 1 - i) * BLOCK);
		submit(&r[i].io);
	}
	run();
	for (int i = 0; i < N; i++) {
		cr_assert_eq(r[i].result, BLOCK);
		cr_assert_eq(r[i].calls, 1);
		cr_assert_eq(r[i].data[0], (char)(N - i));
		cr_assert_eq(r[i].data[BLOCK - 1], (char)(N - i));
	}
	free(r);
}

Test(loop_io, many_small_pieces_are_gathered_and_scattered)
{
	struct request w, r;
	struct iovec iov[16];

	fill(&w, LOOP_IO_WRITEV, 0);
	for (int i = 0; i < BLOCK; i++)
		w.data[i] = (char)(i >> 8);
	for (int i = 0; i < 16; i++)
		iov[i] = (struct iovec){&w.data[(15 - i) * 256], 256};
	w.io.iov = iov;
	w.io.n_iov = 16;
	cr_assert_eq(do_one(&w), BLOCK);
	fill(&r, LOOP_IO_READV, 256);
	cr_assert_eq(do_one(&r), BLOCK - 256);
	for (int i = 0; i < BLOCK - 256; i++)
		cr_assert_eq(r.data[i], (char)(14 - (i >> 8)));
}

Test(loop_io, read_at_the_end_of_the_file_is_short)
{
	struct request r;

	cr_assert_eq(ftruncate(disk, 1000), 0);
	fill(&r, LOOP_IO_READV, 600);
	cr_assert_eq(do_one(&r), 400);
	fill(&r, LOOP_IO_READV, 1000);
	cr_assert_eq(do_one(&r), 0);
	fill(&r, LOOP_IO_READV, GIB(1));
	cr_assert_eq(do_one(&r), 0);
}

Test(loop_io, errors_come_as_results)
{
	int read_only = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), number;
	struct request r;

	cr_assert_geq(read_only, 0);
	number = loop_add_file(loop, read_only);
	cr_assert_geq(number, 0);
	cr_assert_lt(loop_add_file(loop, -1), 0);
	fill(&r, LOOP_IO_WRITEV, 0);
	r.io.file = number;
	cr_assert_eq(do_one(&r), -EBADF);
	fill(&r, LOOP_IO_READV, UINT64_MAX - BLOCK);
	cr_assert_eq(do_one(&r), -EINVAL);
	fill(&r, LOOP_IO_READV, 0);
	r.iov.iov_base = NULL;
	cr_assert_eq(ftruncate(disk, BLOCK), 0);
	cr_assert_eq(do_one(&r), -EFAULT);
	fill(&r, LOOP_IO_FALLOCATE, 0);
	r.io.file = number;
	r.io.len = BLOCK;
	cr_assert_eq(do_one(&r), -EBADF);
	close(read_only);
}

Test(loop_io, one_failure_does_not_touch_the_others)
{
	static struct request r[DEPTH];

	for (int i = 0; i < DEPTH; i++) {
		fill(&r[i], LOOP_IO_WRITEV, (uint64_t)i * BLOCK);
		if (i % 3 == 1)
			r[i].io.offset = UINT64_MAX - BLOCK;
		submit(&r[i].io);
	}
	run();
	for (int i = 0; i < DEPTH; i++) {
		cr_assert_eq(r[i].calls, 1);
		cr_assert_eq(r[i].result, i % 3 == 1 ? -EINVAL : BLOCK, "%d: %d", i, r[i].result);
	}
}

Test(loop_io, flush_and_hole_punching)
{
	struct request r;
	struct stat before, after;

	fill(&r, LOOP_IO_WRITEV, 0);
	memset(r.data, 7, BLOCK);
	cr_assert_eq(do_one(&r), BLOCK);
	fill(&r, LOOP_IO_FDATASYNC, 0);
	cr_assert_eq(do_one(&r), 0);
	cr_assert_eq(fstat(disk, &before), 0);
	fill(&r, LOOP_IO_FALLOCATE, 0);
	r.io.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	r.io.len = BLOCK;
	cr_assert_eq(do_one(&r), 0);
	cr_assert_eq(fstat(disk, &after), 0);
	cr_assert_eq(after.st_size, BLOCK);
	cr_assert_lt(after.st_blocks, before.st_blocks);
	fill(&r, LOOP_IO_READV, 0);
	cr_assert_eq(do_one(&r), BLOCK);
	cr_assert_eq(r.data[0], 0);
	fill(&r, LOOP_IO_FALLOCATE, 4 * BLOCK);
	r.io.len = BLOCK;
	cr_assert_eq(do_one(&r), 0);
	cr_assert_eq(fstat(disk, &after), 0);
	cr_assert_eq(after.st_size, 5 * BLOCK);
}

/* ---- the order of things ---- */

static int chain_length;

static void submit_again(struct loop_io *io, int result)
{
	cr_assert_not(in_submit);
	cr_assert_eq(result, BLOCK);
	if (--chain_length == 0)
		loop_stop(loop);
	else
		submit(io);
}

Test(loop_io, done_may_submit_again)
{
	struct request r;

	cr_assert_eq(ftruncate(disk, BLOCK), 0);
	fill(&r, LOOP_IO_READV, 0);
	r.io.done = submit_again;
	chain_length = 1000;
	submit(&r.io);
	run();
	cr_assert_eq(chain_length, 0);
}

static void submit_for_ever(struct loop_io *io, int result)
{
	cr_assert_eq(result, BLOCK);
	submit(io);
}

static void stop_on_fd(struct loop_fd *source, uint32_t events)
{
	(void)source;
	(void)events;
	loop_stop(loop);
}

static void stop_on_timer(struct loop_timer *timer)
{
	(void)timer;
	loop_stop(loop);
}

/* Twice the depth at all times; after that they are taken from it by stopping the loop for good. */
Test(loop_io, endless_requests_let_fds_and_timers_through)
{
	static struct request r[2 * DEPTH];
	struct loop_fd source = {.fd = eventfd_new(), .ready = stop_on_fd};
	struct loop_timer timer = {.fired = stop_on_timer};

	cr_assert_eq(ftruncate(disk, BLOCK), 0);
	for (int i = 0; i < 2 * DEPTH; i++) {
		fill(&r[i], LOOP_IO_READV, 0);
		r[i].io.done = submit_for_ever;
		submit(&r[i].io);
	}
	cr_assert_eq(loop_add_fd(loop, &source, EPOLLIN), 0);
	eventfd_kick(source.fd);
	run();
	loop_del_fd(loop, &source);
	close(source.fd);
	loop_timer_arm(loop, &timer, NS_PER_MS);
	run();
}

static struct loop_work end_of_batch;
static int done_before_end, batch_ends;
static uint64_t done_in_turn;
static struct request follow_up;

static void done_defers(struct loop_io *io, int result)
{
	(void)io;
	cr_assert_eq(result, BLOCK);
	done_before_end++;
	done_in_turn = engine_turns(loop);
	loop_defer(loop, &end_of_batch);
}

/* Like a queue that shows its batch to the guest and finds another request. */
static void flush_batch(struct loop_work *work)
{
	(void)work;
	batch_ends++;
	/* In the same turn, which io_uring counts between the two. */
	cr_assert_eq(engine_turns(loop) - done_in_turn, engine_is_uring() ? 1 : 0);
	if (done_before_end < DEPTH)
		return;
	left = 1;
	submit(&follow_up.io);
}

Test(loop_io, work_deferred_by_done_runs_without_another_event_and_may_submit)
{
	static struct request r[DEPTH];

	cr_assert_eq(ftruncate(disk, BLOCK), 0);
	end_of_batch.run = flush_batch;
	for (int i = 0; i < DEPTH; i++) {
		fill(&r[i], LOOP_IO_READV, 0);
		r[i].io.done = done_defers;
		submit(&r[i].io);
	}
	fill(&follow_up, LOOP_IO_READV, 0);
	run();
	cr_assert_eq(done_before_end, DEPTH);
	cr_assert_eq(follow_up.result, BLOCK);
	cr_assert_leq(batch_ends, DEPTH, "batches, not one by one");
}

static void submit_on_kick(struct loop_fd *source, uint32_t events)
{
	(void)source;
	(void)events;
	submit(&follow_up.io);
}

/* A kick, its request, the answer: how many turns that takes. */
Test(loop_io, request_of_a_handler_is_under_way_when_the_loop_sleeps)
{
	struct loop_fd source = {.fd = eventfd_new(), .ready = submit_on_kick};
	uint64_t turns;

	cr_assert_eq(ftruncate(disk, BLOCK), 0);
	cr_assert_eq(loop_add_fd(loop, &source, EPOLLIN | EPOLLET), 0);
	for (int i = 0; i < 10; i++) {
		fill(&follow_up, LOOP_IO_READV, 0);
		eventfd_kick(source.fd);
		turns = engine_turns(loop);
		left = 1;
		run();
		cr_assert_eq(follow_up.result, BLOCK);
		cr_assert_leq(engine_turns(loop) - turns, 3);
	}
	loop_del_fd(loop, &source);
	close(source.fd);
}

Test(loop_io, loop_stopped_with_requests_queued_does_them_when_it_runs_again)
{
	static struct request r[2 * DEPTH];

	cr_assert_eq(ftruncate(disk, BLOCK), 0);
	for (int i = 0; i < 2 * DEPTH; i++) {
		fill(&r[i], LOOP_IO_READV, 0);
		submit(&r[i].io);
	}
	loop_stop(loop);
	run();
	cr_assert_eq(left, 2 * DEPTH);
	run();
	for (int i = 0; i < 2 * DEPTH; i++)
		cr_assert_eq(r[i].calls, 1);
}

/* Between requests and events of other kinds nothing is lost. */
static int kicks_left;

static void kick_and_submit(struct loop_fd *source, uint32_t events)
{
	(void)events;
	left++;
	submit(&follow_up.io);
	(void)source;
}

static void kick_again(struct loop_io *io, int result)
{
	const struct loop_fd *source = (const struct loop_fd *)(const void *)io->iov[1].iov_base;

	cr_assert_eq(result, BLOCK);
	if (--kicks_left == 0)
		loop_stop(loop);
	else
		eventfd_kick(source->fd);
}

Test(loop_io, kicks_and_requests_take_turns)
{
	struct loop_fd source = {.fd = eventfd_new(), .ready = kick_and_submit};
	struct iovec iov[2] = {{follow_up.data, BLOCK}, {&source, 0}};

	cr_assert_eq(ftruncate(disk, BLOCK), 0);
	fill(&follow_up, LOOP_IO_READV, 0);
	follow_up.io.done = kick_again;
	follow_up.io.iov = iov;
	kicks_left = 1000;
	cr_assert_eq(loop_add_fd(loop, &source, EPOLLIN | EPOLLET), 0);
	eventfd_kick(source.fd);
	run();
	cr_assert_eq(kicks_left, 0);
	loop_del_fd(loop, &source);
	close(source.fd);
}
