/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves bytes between requests and files. The kernel may do less than it was asked for, which is
 * continued; at the end of a file that was cut under us it does nothing, which is an error.
 *
 * O_DIRECT wants addresses, offsets and lengths aligned. A request whose memory isn't goes through
 * one of the queue's bounce buffers, a piece after another; when all are taken it waits for one. A
 * read at any sector does too. A write whose offset or length isn't aligned would have to read,
 * change and write a block that other queues may be writing at the same time: it fails, and the
 * guest has been told the block size.
 */
#include <errno.h>
#include <sys/mman.h>

#include "backend/blk_core.h"
#include "base/checked.h"

enum { MAX_TRIES = 8 };

bool blk_io_again(struct blk_req *req, int result)
{
	if ((result != -EAGAIN && result != -EINTR) || ++req->tries > MAX_TRIES)
		return false;
	loop_io_submit(req->queue->loop, &req->io);
	return true;
}

void blk_io_submit(struct blk_req *req, struct blk_file *file,
		   void (*done)(struct loop_io *io, int result))
{
	req->io.done = done;
	req->io.file = req->queue->numbers[file->index];
	req->tries = 0;
	loop_io_submit(req->queue->loop, &req->io);
}

static void submit_iov(struct blk_req *req, const struct iov *v, uint64_t offset,
		       void (*done)(struct loop_io *io, int result))
{
	req->io.op = req->op == BLK_READ ? LOOP_IO_READV : LOOP_IO_WRITEV;
	req->io.iov = v->at;
	req->io.n_iov = v->n;
	req->io.offset = offset;
	blk_io_submit(req, req->file, done);
}

static void end_move(struct blk_req *req, int result)
{
	if (result == 0)
		iov_uncut(&req->data, &req->cut);
	req->moved(req, result);
}

/* What of the file's kind of request was done: drops it from the row. */
static void advance(struct blk_req *req, uint64_t n)
{
	iov_skip(&req->data, n);
	req->at += n;
	req->left -= n;
}

static bool range_aligned(const struct blk_req *req)
{
	return is_aligned(req->at | req->left, req->file->align);
}

/* ---- straight from and to the guest's memory ---- */

static bool memory_aligned(const struct blk_req *req)
{
	uint64_t addresses = 0, lengths = 0;

	if (req->file->align == 1)
		return true;
	for (unsigned i = 0; i < req->data.n; i++) {
		addresses |= (uintptr_t)req->data.at[i].iov_base;
		lengths |= req->data.at[i].iov_len;
	}
	return is_aligned(addresses, req->file->mem_align) && is_aligned(lengths, req->file->align);
}

static void moved(struct loop_io *io, int result)
{
	struct blk_req *req = container_of(io, struct blk_req, io);

	if (blk_io_again(req, result))
		return;
	if (result <= 0) {
		end_move(req, result ? result : -EIO);
		return;
	}
	advance(req, MIN((uint64_t)result, req->left));
	if (req->left == 0)
		end_move(req, 0);
	else if (!range_aligned(req))
		end_move(req, -EIO);
	else
		submit_iov(req, &req->data, req->at, moved);
}

/* ---- through a buffer ---- */

static void bounced(struct loop_io *io, int result);

static void bounce_piece(struct blk_req *req)
{
	uint64_t align = req->file->align, head = req->at & (align - 1);
	uint64_t n = MIN(req->left, BLK_BOUNCE - head);

	if (req->op != BLK_READ)
		(void)iov_copy_out(&req->data, req->bounce.iov_base, n);
	req->bounce.iov_len = align_up(head + n, align);
	submit_iov(req, &(struct iov){.at = &req->bounce, .n = 1}, req->at - head, bounced);
}

static void want_bounce(struct blk_req *req)
{
	struct blk_queue *q = req->queue;
	unsigned i;

	if (!q->bounces_free) {
		blk_list_add(&q->want_bounce, req);
		return;
	}
	i = (unsigned)__builtin_ctz(q->bounces_free);
	q->bounces_free &= ~(1U << i);
	req->bounce.iov_base = (char *)q->bounces + (size_t)i * BLK_BOUNCE;
	bounce_piece(req);
}

static void end_bounce(struct blk_req *req, int result)
{
	struct blk_queue *q = req->queue;
	size_t i = (size_t)((char *)req->bounce.iov_base - (char *)q->bounces) / BLK_BOUNCE;
	struct blk_req *next = blk_list_take(&q->want_bounce);

	q->bounces_free |= 1U << i;
	if (next)
		want_bounce(next);
	end_move(req, result);
}

static void bounced(struct loop_io *io, int result)
{
	struct blk_req *req = container_of(io, struct blk_req, io);
	uint64_t head = req->at & (req->file->align - 1), n;

	if (blk_io_again(req, result))
		return;
	if (result <= 0 || (uint64_t)result <= head) {
		end_bounce(req, result < 0 ? result : -EIO);
		return;
	}
	n = MIN((uint64_t)result - head, req->left);
	if (req->op == BLK_READ)
		(void)iov_copy_in(&req->data, (char *)req->bounce.iov_base + head, n);
	advance(req, n);
	if (req->left == 0)
		end_bounce(req, 0);
	else if (req->op != BLK_READ && !range_aligned(req))
		end_bounce(req, -EIO);
	else
		bounce_piece(req);
}

void blk_io_move(struct blk_req *req, struct blk_file *file, uint64_t offset, uint64_t len,
		 void (*then)(struct blk_req *req, int result))
{
	req->file = file;
	req->moved = then;
	req->at = offset;
	req->left = len;
	req->cut = iov_cut(&req->data, len);
	if (range_aligned(req) && memory_aligned(req))
		submit_iov(req, &req->data, offset, moved);
	else if (range_aligned(req) || req->op == BLK_READ)
		want_bounce(req);
	else
		then(req, -EINVAL);
}

/* ---- the queue's buffers ---- */

int blk_io_init(struct blk_queue *q)
{
	bool needed = false;
	void *at;

	for (unsigned i = 0; i < BLK_MAX_FILES && q->blk->files[i]; i++)
		needed |= q->blk->files[i]->align > 1;
	if (!needed)
		return 0;
	at = mmap(NULL, (size_t)BLK_BOUNCE * BLK_BOUNCES, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return -errno;
	q->bounces = at;
	q->bounces_free = (1U << BLK_BOUNCES) - 1;
	return 0;
}

void blk_io_done(struct blk_queue *q)
{
	if (q->bounces)
		(void)munmap(q->bounces, (size_t)BLK_BOUNCE * BLK_BOUNCES);
}
