/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk whose image is only read. Writes go to the same offset of a sparse file that nobody else
 * can open, and a bitmap knows for each sector which of the two has it. With a bit for each sector
 * no write ever has to copy what lies around it, so queues don't meet and nothing is locked. The
 * bits of a write are set when it is done; what a read at the same time sees is undefined on any
 * disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/blk_core.h"
#include "base/cleanup.h"
#include "base/fd.h"

struct blk_overlay {
	struct blk blk;
	struct blk_image base;
	struct blk_file layer;
	struct blk_bitmap written; /* by sector: the layer has it */
};

static struct blk_overlay *overlay_of(const struct blk_req *req)
{
	return container_of(req->queue->blk, struct blk_overlay, blk);
}

/* ---- requests ---- */

/* Run by run, as sectors come from here or there. */
static void read_run(struct blk_req *req, int result)
{
	struct blk_overlay *o = overlay_of(req);
	uint64_t left = iov_bytes(&req->data), at = req->offset + req->len - left, n;
	bool written;

	if (result < 0 || left == 0) {
		blk_done(req, result);
		return;
	}
	written = blk_bitmap_run(&o->written, at / BLK_SECTOR, left / BLK_SECTOR, &n);
	blk_io_move(req, written ? &o->layer : &o->base.file, at, n * BLK_SECTOR, read_run);
}

static void written(struct blk_req *req, int result)
{
	if (result == 0)
		blk_bitmap_set(&overlay_of(req)->written, req->offset / BLK_SECTOR,
			       req->len / BLK_SECTOR);
	blk_done(req, result);
}

/* By a hole if that is possible, which in the layer always reads as zeroes. What only the image has
 * stays as it is when it is discarded. */
static void zero(struct blk_req *req)
{
	req->unmap = true;
	blk_zero(req, &overlay_of(req)->layer, req->op == BLK_DISCARD ? blk_done : written);
}

static void overlay_submit(struct blk_req *req)
{
	switch (req->op) {
	case BLK_READ:
		read_run(req, 0);
		break;
	case BLK_WRITE:
		blk_io_move(req, &overlay_of(req)->layer, req->offset, req->len, written);
		break;
	case BLK_FLUSH:
		blk_done(req, 0);
		break;
	case BLK_DISCARD:
	case BLK_WRITE_ZEROES:
		zero(req);
		break;
	}
}

/* ---- life ---- */

static int open_layer_in(const char *dir)
{
	return dir && *dir ? open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
}

/* 0 or -errno. The file is gone with its last descriptor. */
static int open_layer(struct blk_file *layer, unsigned index, uint64_t size)
{
	_cleanup_close_ int fd = open_layer_in(getenv("TMPDIR"));

	if (fd < 0)
		fd = open_layer_in("/var/tmp");
	if (fd < 0)
		fd = memfd_create("overlay", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return -errno;
	layer->fd = TAKE_FD(fd);
	layer->index = index;
	return 0;
}

static void overlay_free(struct blk *blk)
{
	struct blk_overlay *o = container_of(blk, struct blk_overlay, blk);

	blk_bitmap_done(&o->written);
	blk_zeroes_done(blk);
	fd_close(o->layer.fd);
	blk_image_close(&o->base);
	free(o);
}

static const struct blk_ops overlay_ops = {.submit = overlay_submit, .free = overlay_free};

static int open_both(struct blk_overlay *o, const struct blk_opts *opts, struct err *err)
{
	int r = blk_image_open(opts, true, &o->base, err);

	if (r < 0)
		return r;
	r = open_layer(&o->layer, 1, o->base.size);
	if (r == 0)
		r = blk_bitmap_init(&o->written, o->base.size / BLK_SECTOR);
	if (r == 0)
		r = blk_zeroes_init(&o->blk);
	return r < 0 ? err_set(err, r,
			       "%s: overlay=on: cannot make the file that takes the writes: %s; "
			       "let TMPDIR name a directory with room",
			       o->base.name, strerror(-r))
		     : 0;
}

DEFINE_CLEANUP(struct blk *, blk_free);

int blk_overlay_new(const struct blk_opts *opts, struct blk **ret, struct err *err)
{
	struct blk_overlay *o = calloc(1, sizeof(*o));
	_cleanup_(blk_free_cleanup) struct blk *blk = o ? &o->blk : NULL;
	int r;

	if (!o)
		return err_set(err, -ENOMEM, "%s %s: out of memory", opts->what, opts->path);
	blk_init(blk, &overlay_ops);
	o->base.file.fd = o->layer.fd = -1;
	o->layer.align = o->layer.mem_align = 1;
	r = open_both(o, opts, err);
	if (r < 0)
		return r;
	blk->name = o->base.name;
	blk->info = o->base.info;
	blk->info.ro = opts->ro;
	blk->info.discard_granularity = opts->ro ? 0 : blk->info.physical_block;
	blk->size = o->base.size;
	blk->files[0] = &o->base.file;
	blk->files[1] = &o->layer;
	*ret = TAKE_PTR(blk);
	return 0;
}
