/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zeroes and discards. A hole where the space may be given back, else a range that the file system
 * marks as zero, else plain writing. What it doesn't have is found out by trying, once.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <sys/mman.h>

#include "backend/blk_core.h"
#include "base/checked.h"
#include "base/clock.h"

enum way { PUNCH, ZERO_RANGE, WRITE };

static void zero_by_next_way(struct blk_req *req);

static void fallocated(struct loop_io *io, int result)
{
	struct blk_req *req = container_of(io, struct blk_req, io);
	bool never = result == -EOPNOTSUPP || result == -ENOSYS;

	if (blk_io_again(req, result))
		return;
	/* EINVAL: not with this range, which is not aligned to the blocks of a device. */
	if (!never && result != -EINVAL) {
		req->zeroed(req, MIN(result, 0));
		return;
	}
	if (never)
		atomic_store_explicit(req->way == PUNCH ? &req->file->no_punch
							: &req->file->no_zero_range,
				      true, memory_order_relaxed);
	req->way++;
	zero_by_next_way(req);
}

static void fallocate_range(struct blk_req *req, int mode)
{
	req->io.op = LOOP_IO_FALLOCATE;
	req->io.mode = mode;
	req->io.offset = req->offset;
	req->io.len = req->len;
	blk_io_submit(req, req->file, fallocated);
}

static void write_piece(struct blk_req *req, int result)
{
	struct blk *blk = req->queue->blk;
	uint64_t n = MIN(req->zero_left, (uint64_t)BLK_ZEROES);

	if (result < 0 || n == 0) {
		req->zeroed(req, result);
		return;
	}
	req->zeroes = (struct iovec){.iov_base = blk->zeroes, .iov_len = n};
	req->data = (struct iov){.at = &req->zeroes, .n = 1};
	req->zero_left -= n;
	/* Only here it is known that they are bytes like others; who comes next waits for them. */
	limit_charge(&blk->bw, clock_now_ns(), n);
	blk_io_move(req, req->file, req->offset + req->len - req->zero_left - n, n, write_piece);
}

/* What may be skipped is passed over: a hole only where it is wanted, and a discard is a hint that
 * is worth no writing. KEEP_SIZE goes with holes alone: zeroes behind the end of a file that was
 * cut must make it longer, or they could not be read back. */
static void zero_by_next_way(struct blk_req *req)
{
	bool hole = req->op == BLK_DISCARD || req->unmap;

	if (req->way == PUNCH &&
	    (!hole || atomic_load_explicit(&req->file->no_punch, memory_order_relaxed)))
		req->way = ZERO_RANGE;
	if (req->way == ZERO_RANGE &&
	    atomic_load_explicit(&req->file->no_zero_range, memory_order_relaxed))
		req->way = WRITE;
	if (req->way == PUNCH)
		fallocate_range(req, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	else if (req->op == BLK_DISCARD)
		req->zeroed(req, 0);
	else if (req->way == ZERO_RANGE)
		fallocate_range(req, FALLOC_FL_ZERO_RANGE);
	else
		write_piece(req, 0);
}

void blk_zero(struct blk_req *req, struct blk_file *file,
	      void (*then)(struct blk_req *req, int result))
{
	req->file = file;
	req->zeroed = then;
	req->zero_left = req->len;
	req->way = PUNCH;
	zero_by_next_way(req);
}

int blk_zeroes_init(struct blk *blk)
{
	void *at = mmap(NULL, BLK_ZEROES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	blk->zeroes = at;
	return 0;
}

void blk_zeroes_done(struct blk *blk)
{
	if (blk->zeroes)
		(void)munmap(blk->zeroes, BLK_ZEROES);
	blk->zeroes = NULL;
}
