/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a chain to the back end and back. The layout of a chain is the driver's choice: header and
 * data may be split over segments in any way, and the status is the last writable byte of all.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/iov.h"
#include "base/log.h"
#include "devices/virtio_blk_internal.h"

enum {
	HEADER = sizeof(struct virtio_blk_outhdr),
	RANGE = sizeof(struct virtio_blk_discard_write_zeroes),
	/* Header and status may lie in several segments each. */
	MAX_SEGS = VBLK_MAX_DATA_SEGS + 18,
};
static_assert(HEADER == 16 && RANGE == 16, "virtio 1.2, 5.2.6");

struct range {
	uint64_t sector;
	uint32_t sectors;
	bool unmap;
};

struct vblk_request {
	struct blk_req io;
	struct vblk_queue *queue;
	struct vblk_request *next; /* free */
	uint8_t *status;
	uint32_t type;
	unsigned range, n_ranges; /* discard, write zeroes: the next one */
	uint64_t given;		  /* bytes of data for the guest, when all is well */
	struct virtq_chain chain;
	union {
		struct iovec iov[MAX_SEGS];
		struct range ranges[VBLK_MAX_RANGES];
	};
};

/* ---- the pool ---- */

static struct vblk_request *get_request(struct vblk_queue *vq)
{
	struct vblk_request *r = vq->free;

	if (r) {
		vq->free = r->next;
		return r;
	}
	/* A virtq gives out no more chains at once than it has entries. */
	vmm_assert(vq->n_fresh > 0);
	r = &vq->pool[--vq->n_fresh];
	r->queue = vq;
	return r;
}

static void put_request(struct vblk_request *r)
{
	r->next = r->queue->free;
	r->queue->free = r;
}

/* ---- the end of a request ---- */

static void count(struct vblk *d, const struct vblk_request *r, uint8_t status)
{
	if (status == VIRTIO_BLK_S_UNSUPP) {
		device_count(&d->unsupported, 1);
	} else if (status != VIRTIO_BLK_S_OK) {
		device_count(&d->errors, 1);
	} else if (r->type == VIRTIO_BLK_T_IN) {
		device_count(&d->reads, 1);
		device_count(&d->read_bytes, r->given);
	} else if (r->type == VIRTIO_BLK_T_OUT) {
		device_count(&d->writes, 1);
		device_count(&d->written_bytes, r->chain.out_bytes - HEADER);
	} else if (r->type == VIRTIO_BLK_T_FLUSH) {
		device_count(&d->flushes, 1);
	} else if (r->type == VIRTIO_BLK_T_DISCARD) {
		device_count(&d->discards, 1);
	} else if (r->type == VIRTIO_BLK_T_WRITE_ZEROES) {
		device_count(&d->write_zeroes, 1);
	}
}

/* From the chain's start on; the status byte, at its end, counts only where all before it is
 * written (2.7.8). */
static uint32_t bytes_written(const struct vblk_request *r, uint8_t status)
{
	uint64_t given = status == VIRTIO_BLK_S_OK ? r->given : 0;

	if (given == r->chain.in_bytes - 1)
		given++;
	return (uint32_t)MIN(given, (uint64_t)UINT32_MAX);
}

static void give_back(struct vblk_request *r, uint32_t written)
{
	struct vblk_queue *vq = r->queue;

	virtio_queue_done(vq->q, &r->chain, written);
	put_request(r);
	vq->in_flight--;
	if (vq->stopping && vq->in_flight == 0) {
		vq->stopping = false;
		virtio_queue_stopped(vq->q);
	}
}

static void finish(struct vblk_request *r, uint8_t status)
{
	*r->status = status;
	count(r->queue->disk, r, status);
	give_back(r, bytes_written(r, status));
}

/* ---- reads, writes, flushes ---- */

static void submit(struct vblk_request *r)
{
	if (blk_submit(r->queue->back, &r->io))
		device_count(&r->queue->disk->throttled, 1);
}

static void finished(struct blk_req *io, int result)
{
	struct vblk_request *r = container_of(io, struct vblk_request, io);

	if (result < 0)
		finish(r, VIRTIO_BLK_S_IOERR);
	else
		finish(r, VIRTIO_BLK_S_OK);
}

/* Whether a write is done only when it is stable (5.2.6.2): where the driver has said so, or has no
 * way to flush. */
static bool write_through(const struct vblk *d)
{
	if (virtio_dev_has(&d->virtio, VIRTIO_BLK_F_CONFIG_WCE))
		return !atomic_load_explicit(&d->writeback, memory_order_relaxed);
	return !virtio_dev_has(&d->virtio, VIRTIO_BLK_F_FLUSH);
}

static bool on_disk(const struct vblk *d, uint64_t sector, uint64_t sectors)
{
	return range_inside(sector, sectors, 0, blk_size(d->blk) / BLK_SECTOR);
}

static void transfer(struct vblk_request *r, enum blk_op op, uint64_t sector, struct iov data,
		     uint64_t len)
{
	struct vblk *d = r->queue->disk;

	if (len % BLK_SECTOR || !on_disk(d, sector, len / BLK_SECTOR)) {
		finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (op == BLK_READ)
		r->given = len;
	if (len == 0) {
		finish(r, VIRTIO_BLK_S_OK);
		return;
	}
	r->io.done = finished;
	r->io.op = op;
	r->io.stable = op == BLK_WRITE && write_through(d);
	r->io.offset = sector * BLK_SECTOR;
	r->io.len = len;
	r->io.data = data;
	submit(r);
}

static void flush(struct vblk_request *r)
{
	r->io.done = finished;
	r->io.op = BLK_FLUSH;
	submit(r);
}

static void get_id(struct vblk_request *r, const struct iov *data)
{
	r->given = iov_copy_in(data, r->queue->disk->serial, VIRTIO_BLK_SERIAL_LEN);
	finish(r, VIRTIO_BLK_S_OK);
}

/* ---- discard, write zeroes: several ranges, one after another ---- */

static void next_range(struct blk_req *io, int result)
{
	struct vblk_request *r = container_of(io, struct vblk_request, io);
	const struct range *range = &r->ranges[r->range];

	if (result < 0 || r->range == r->n_ranges) {
		finished(io, result);
		return;
	}
	r->range++;
	r->io.offset = range->sector * BLK_SECTOR;
	r->io.len = (uint64_t)range->sectors * BLK_SECTOR;
	r->io.unmap = range->unmap;
	if (r->io.len == 0)
		next_range(io, 0);
	else
		submit(r);
}

/* A status of 5.2.6.2; the flags' rules come before the limits'. */
static uint8_t check_range(const struct vblk_request *r, const struct range *range, uint32_t flags)
{
	uint32_t may = r->type == VIRTIO_BLK_T_DISCARD ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	uint32_t most =
		r->type == VIRTIO_BLK_T_DISCARD ? VBLK_MAX_DISCARD_SECTORS : VBLK_MAX_ZERO_SECTORS;

	if (flags & ~may)
		return VIRTIO_BLK_S_UNSUPP;
	if (range->sectors > most || !on_disk(r->queue->disk, range->sector, range->sectors))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

/* Takes the ranges over, each read once: they may lie where the iovecs are now, so by way of the
 * stack. All are fine before the first is carried out. */
static uint8_t read_ranges(struct vblk_request *r, struct iov data, uint64_t len)
{
	struct virtio_blk_discard_write_zeroes raw[VBLK_MAX_RANGES];
	uint8_t status = VIRTIO_BLK_S_OK;

	if (len == 0 || len % RANGE || len / RANGE > VBLK_MAX_RANGES)
		return VIRTIO_BLK_S_IOERR;
	(void)iov_copy_out(&data, raw, len);
	r->range = 0;
	r->n_ranges = (unsigned)(len / RANGE);
	for (unsigned i = 0; i < r->n_ranges && status == VIRTIO_BLK_S_OK; i++) {
		uint32_t flags = le32toh(raw[i].flags);

		r->ranges[i] = (struct range){.sector = le64toh(raw[i].sector),
					      .sectors = le32toh(raw[i].num_sectors),
					      .unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP};
		status = check_range(r, &r->ranges[i], flags);
	}
	return status;
}

static void ranges(struct vblk_request *r, enum blk_op op, struct iov data, uint64_t len)
{
	struct vblk *d = r->queue->disk;
	uint8_t status = VIRTIO_BLK_S_UNSUPP;

	if (op == BLK_WRITE_ZEROES || blk_info(d->blk)->discard_granularity)
		status = read_ranges(r, data, len);
	if (status != VIRTIO_BLK_S_OK) {
		finish(r, status);
		return;
	}
	r->io.done = next_range;
	r->io.op = op;
	r->io.stable = op == BLK_WRITE_ZEROES && write_through(d);
	next_range(&r->io, 0);
}

/* ---- the start of a request ---- */

/* `out` begins behind the header, `in` ends before the status. */
static void dispatch(struct vblk_request *r, uint64_t sector, struct iov out, struct iov in)
{
	uint64_t out_len = r->chain.out_bytes - HEADER, in_len = r->chain.in_bytes - 1;
	bool writes = r->type == VIRTIO_BLK_T_OUT || r->type == VIRTIO_BLK_T_DISCARD ||
		      r->type == VIRTIO_BLK_T_WRITE_ZEROES;

	if (writes && blk_info(r->queue->disk->blk)->ro)
		finish(r, VIRTIO_BLK_S_IOERR);
	else if (r->type == VIRTIO_BLK_T_IN)
		transfer(r, BLK_READ, sector, in, in_len);
	else if (r->type == VIRTIO_BLK_T_OUT)
		transfer(r, BLK_WRITE, sector, out, out_len);
	else if (r->type == VIRTIO_BLK_T_FLUSH)
		flush(r);
	else if (r->type == VIRTIO_BLK_T_GET_ID)
		get_id(r, &in);
	else if (r->type == VIRTIO_BLK_T_DISCARD)
		ranges(r, BLK_DISCARD, out, out_len);
	else if (r->type == VIRTIO_BLK_T_WRITE_ZEROES)
		ranges(r, BLK_WRITE_ZEROES, out, out_len);
	else
		finish(r, VIRTIO_BLK_S_UNSUPP);
}

/* Cuts the status byte, the last of the writable ones, off. */
static uint8_t *cut_status(struct iov *in)
{
	struct iovec *last = &in->at[in->n - 1];

	last->iov_len--;
	if (last->iov_len == 0)
		in->n--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

static void begin(struct vblk_request *r)
{
	struct iov out = {.at = r->iov, .n = r->chain.n_out};
	struct iov in = {.at = r->iov + r->chain.n_out, .n = r->chain.n_in};
	struct virtio_blk_outhdr header;

	if (in.n == 0) {
		device_count(&r->queue->disk->errors, 1);
		log_guest("%s: a request without room for its status",
			  r->queue->disk->virtio.dev.id);
		give_back(r, 0);
		return;
	}
	r->status = cut_status(&in);
	r->given = 0;
	if (r->chain.out_bytes < HEADER) {
		r->type = UINT32_MAX;
		finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	(void)iov_copy_out(&out, &header, HEADER);
	iov_skip(&out, HEADER);
	r->type = le32toh(header.type);
	dispatch(r, le64toh(header.sector), out, in);
}

static bool take(struct virtio_queue *q)
{
	struct vblk_queue *vq = q->priv;
	struct vblk_request *r = get_request(vq);

	if (!virtio_queue_pop(q, &r->chain, r->iov, MAX_SEGS)) {
		put_request(r);
		return false;
	}
	vq->in_flight++;
	begin(r);
	return true;
}

/* ---- the queue's life ---- */

void vblk_queue_start(struct virtio_queue *q)
{
	struct vblk_queue *vq = q->priv;

	blk_queue_hurry(vq->back, false);
}

void vblk_queue_kick(struct virtio_queue *q)
{
	virtio_queue_drain(q, take);
}

/* What waits for a limit goes now and is charged later, so that a low limit can't hold up a reset
 * or a pause. */
void vblk_queue_stop(struct virtio_queue *q)
{
	struct vblk_queue *vq = q->priv;

	blk_queue_hurry(vq->back, true);
	if (vq->in_flight)
		vq->stopping = true;
	else
		virtio_queue_stopped(q);
}

int vblk_queue_init(struct vblk *disk, struct virtio_queue *q)
{
	struct vblk_queue *vq = &disk->queues[q->index];

	vq->disk = disk;
	vq->q = q;
	q->priv = vq;
	vq->n_fresh = q->max_size;
	vq->pool = calloc(q->max_size, sizeof(*vq->pool));
	return vq->pool ? blk_queue_new(disk->blk, q->loop, &vq->back) : -ENOMEM;
}

void vblk_queue_free(struct vblk_queue *vq)
{
	(void)blk_queue_free(vq->back);
	free(vq->pool);
}
