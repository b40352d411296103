/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/blk_core.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"

struct blk_raw {
	struct blk blk;
	struct blk_image image;
};

static struct blk_raw *raw_of(struct blk *blk)
{
	return container_of(blk, struct blk_raw, blk);
}

/* ---- requests ---- */

static void flushed(struct loop_io *io, int result)
{
	struct blk_req *req = container_of(io, struct blk_req, io);

	if (!blk_io_again(req, result))
		blk_done(req, MIN(result, 0));
}

static void flush(struct blk_req *req)
{
	if (!req->queue->blk->info.flush) {
		blk_done(req, 0);
		return;
	}
	req->io.op = LOOP_IO_FDATASYNC;
	blk_io_submit(req, &raw_of(req->queue->blk)->image.file, flushed);
}

static void written(struct blk_req *req, int result)
{
	if (result == 0 && req->stable)
		flush(req);
	else
		blk_done(req, result);
}

static void raw_submit(struct blk_req *req)
{
	struct blk_file *file = &raw_of(req->queue->blk)->image.file;

	switch (req->op) {
	case BLK_READ:
		blk_io_move(req, file, req->offset, req->len, blk_done);
		break;
	case BLK_WRITE:
		blk_io_move(req, file, req->offset, req->len, written);
		break;
	case BLK_FLUSH:
		flush(req);
		break;
	case BLK_DISCARD:
		blk_zero(req, file, blk_done);
		break;
	case BLK_WRITE_ZEROES:
		blk_zero(req, file, written);
		break;
	}
}

/* ---- size ---- */

static int grow(struct blk *blk, uint64_t size, struct err *err)
{
	const struct blk_file *file = &raw_of(blk)->image.file;
	char now[32];

	(void)text_format_size(blk_size(blk), now, sizeof(now));
	if (file->device)
		return err_set(err, -EINVAL,
			       "%s is a block device: resize it by its own tools, then say resize "
			       "without a size",
			       blk->name);
	if (blk->info.ro)
		return err_set(err, -EROFS, "%s is read-only: it can't be resized", blk->name);
	if (!is_aligned(size, blk->info.logical_block))
		return err_set(err, -EINVAL, "%s: a size is a multiple of %u bytes", blk->name,
			       blk->info.logical_block);
	if (size < blk_size(blk))
		return err_set(err, -EINVAL,
			       "%s has %s and is never made smaller, since that would cut data off",
			       blk->name, now);
	if (ftruncate(file->fd, (off_t)size) < 0)
		return err_set(err, -errno, "%s: can't be made larger: %s", blk->name,
			       strerror(errno));
	return 0;
}

static int raw_resize(struct blk *blk, uint64_t size, struct err *err)
{
	const struct blk_file *file = &raw_of(blk)->image.file;
	uint64_t found;
	int r = size > INT64_MAX ? err_set(err, -EFBIG, "%s: no file can be that large", blk->name)
				 : 0;

	if (r == 0 && size)
		r = grow(blk, size, err);
	if (r < 0)
		return r;
	r = blk_image_measure(file, &found);
	if (r < 0)
		return err_set(err, r, "%s: %s", blk->name, strerror(-r));
	atomic_store_explicit(&blk->size, align_down(found, blk->info.logical_block),
			      memory_order_release);
	return 0;
}

/* ---- life ---- */

static void raw_free(struct blk *blk)
{
	struct blk_raw *raw = raw_of(blk);

	blk_zeroes_done(blk);
	blk_image_close(&raw->image);
	free(raw);
}

static const struct blk_ops raw_ops = {
	.submit = raw_submit, .resize = raw_resize, .free = raw_free};

DEFINE_CLEANUP(struct blk *, blk_free);

int blk_raw_new(const struct blk_opts *opts, struct blk **ret, struct err *err)
{
	struct blk_raw *raw = calloc(1, sizeof(*raw));
	_cleanup_(blk_free_cleanup) struct blk *blk = raw ? &raw->blk : NULL;
	int r;

	if (!raw)
		return err_set(err, -ENOMEM, "%s %s: out of memory", opts->what, opts->path);
	blk_init(blk, &raw_ops);
	raw->image.file.fd = -1;
	r = blk_image_open(opts, opts->ro, &raw->image, err);
	if (r < 0)
		return r;
	blk->name = raw->image.name;
	blk->info = raw->image.info;
	blk->info.flush = opts->cache != BLK_CACHE_UNSAFE;
	blk->size = raw->image.size;
	blk->files[0] = &raw->image.file;
	r = opts->ro ? 0 : blk_zeroes_init(blk);
	if (r < 0)
		return err_set(err, r, "%s: %s", blk->name, strerror(-r));
	*ret = TAKE_PTR(blk);
	return 0;
}
