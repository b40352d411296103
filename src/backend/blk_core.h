/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is inside of blk.h, for the kinds of disk (and for a test's fake one).
 *
 *   blk_core.c     queues, limits: a request is held back, then given to the kind
 *   blk_raw.c      the kind that is a file
 *   blk_overlay.c  the kind that is a file under a private layer
 *   blk_io.c       moves bytes between a request and a file: rests of short transfers, alignment
 *   blk_zero.c     zeroes and discards in a file
 *   blk_open.c     paths, locks, alignment; main only
 */
#ifndef VMM_BACKEND_BLK_CORE_H
#define VMM_BACKEND_BLK_CORE_H

#include <stdatomic.h>

#include "backend/blk.h"
#include "backend/blk_bitmap.h"
#include "backend/limit.h"

struct blk_ops {
	/* Gets requests that have passed the limits, and calls blk_done(). Queue's thread. */
	void (*submit)(struct blk_req *req);
	/* Main; see blk_resize(). Sets blk->size. NULL: the size is fixed. */
	int (*resize)(struct blk *blk, uint64_t size, struct err *err);
	/* What the kind has besides struct blk, which is its own to free. */
	void (*free)(struct blk *blk);
};

enum { BLK_MAX_FILES = 2 };

/* An open file of a disk. Which number it has on a loop, the queue knows. */
struct blk_file {
	int fd; /* -1: none */
	unsigned index;
	bool device; /* a block device */
	/* O_DIRECT: powers of two; else both are 1. */
	uint32_t align;	    /* of offset and length */
	uint32_t mem_align; /* of addresses */
	/* The file system or device said that it can't; then others ways are gone. */
	atomic_bool no_punch, no_zero_range;
};

struct blk {
	const struct blk_ops *ops;
	char *name; /* "--disk PATH", for messages */
	struct blk_info info;
	_Atomic uint64_t size;
	struct blk_file *files[BLK_MAX_FILES]; /* NULL behind the last */
	struct blk_limits limits;	       /* main; what these two are set to: */
	struct limit bw, iops;
	struct blk_queue *queues;
	void *zeroes; /* BLK_ZEROES bytes to write from; NULL on a disk that can't be written */
};

struct blk_list {
	struct blk_req *first, *last;
};

static inline void blk_list_add(struct blk_list *list, struct blk_req *req)
{
	req->next = NULL;
	if (list->first)
		list->last->next = req;
	else
		list->first = req;
	list->last = req;
}

/* NULL when there is none. */
static inline struct blk_req *blk_list_take(struct blk_list *list)
{
	struct blk_req *req = list->first;

	if (req)
		list->first = req->next;
	return req;
}

struct blk_queue {
	struct blk *blk;
	struct loop *loop;
	struct blk_queue *next;	    /* of the disk's */
	int numbers[BLK_MAX_FILES]; /* of the files, on the loop */
	struct blk_list held;	    /* back by the limits */
	bool hurry;
	struct loop_timer refill;
	struct loop_work limits_changed;
	/* Buffers for what is not aligned: BLK_BOUNCES of BLK_BOUNCE bytes; NULL when every file
	 * takes any address. */
	void *bounces;
	unsigned bounces_free; /* mask */
	struct blk_list want_bounce;
};

enum { BLK_BOUNCE = 64 * 1024, BLK_BOUNCES = 4, BLK_ZEROES = 1024 * 1024 };

/* ---- blk_core.c ---- */

void blk_init(struct blk *blk, const struct blk_ops *ops);
static inline void blk_done(struct blk_req *req, int result)
{
	req->done(req, result);
}

/* ---- blk_io.c: the queue's thread ---- */

/*
 * Reads or writes (as req->op isn't BLK_READ) the first len bytes of req->data, at offset of the
 * file, and drops them from the row. then() gets 0 or -errno: also for a read past the file's end
 * (-EIO), and -EINVAL for a write that the file's alignment doesn't allow.
 */
void blk_io_move(struct blk_req *req, struct blk_file *file, uint64_t offset, uint64_t len,
		 void (*then)(struct blk_req *req, int result));
/* Other requests to the file; req->io has op, offset, len and mode. */
void blk_io_submit(struct blk_req *req, struct blk_file *file,
		   void (*done)(struct loop_io *io, int result));
/* First thing in a done(): true when it was a passing failure and the request is under way again.
 */
bool blk_io_again(struct blk_req *req, int result);
int blk_io_init(struct blk_queue *q) must_check;
void blk_io_done(struct blk_queue *q);

/* ---- blk_zero.c ---- */

/* Makes zeroes of the request's range, or gives it back (req->op BLK_DISCARD), by the best way that
 * the file has. Queue's thread. */
void blk_zero(struct blk_req *req, struct blk_file *file,
	      void (*then)(struct blk_req *req, int result));
/* The disk's zeroes. 0 or -errno. */
int blk_zeroes_init(struct blk *blk) must_check;
void blk_zeroes_done(struct blk *blk);

/* ---- blk_raw.c ---- */

int blk_raw_new(const struct blk_opts *opts, struct blk **ret, struct err *err) must_check;

/* ---- blk_overlay.c ---- */

int blk_overlay_new(const struct blk_opts *opts, struct blk **ret, struct err *err) must_check;

/* ---- blk_open.c: main, before the lock-down ---- */

/* What is known of an image when it is open. */
struct blk_image {
	struct blk_file file;
	struct blk_info info; /* flush is not set */
	uint64_t size;	      /* bytes, whole sectors */
	char *name;
};
/* 0 or -errno with a message; fills file and info in. ro: opened to read only, whatever opts says.
 */
int blk_image_open(const struct blk_opts *opts, bool ro, struct blk_image *ret,
		   struct err *err) must_check;
void blk_image_close(struct blk_image *image);
/* Its size now, in bytes, or -errno. */
int blk_image_measure(const struct blk_file *file, uint64_t *ret) must_check;

#endif
