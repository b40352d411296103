/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk image: a regular file or a block device, raw, or with a private layer over it that takes
 * the writes and is gone at exit. No virtio words here.
 *
 *   blk_open           main, before the lock-down: everything that needs a path
 *   blk_queue_new      main, while the machine is built: one for each queue of the disk, on a loop
 *   blk_submit ... done()    that loop's thread, without locks or allocation
 *
 * A disk outlives its queues; its size and limits are shared by them.
 */
#ifndef VMM_BACKEND_BLK_H
#define VMM_BACKEND_BLK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/iov.h"
#include "event/loop.h"

struct blk;
struct blk_queue;
struct blk_file;

enum { BLK_SECTOR = 512 };

/* ---- the disk: main ---- */

enum blk_cache {
	BLK_CACHE_NONE,	     /* O_DIRECT: past the host's page cache */
	BLK_CACHE_WRITEBACK, /* through it; a flush makes writes stable */
	BLK_CACHE_UNSAFE,    /* through it, and no flush: a crash of the host may cost the disk */
};

struct blk_opts {
	const char *what; /* the option, for messages: "--disk" */
	const char *path;
	enum blk_cache cache;
	bool ro;
	/* Against other processes: writers alone, readers together. Locks on the open file (OFD),
	 * that end with it. A block device for writing is also claimed, so that it can't be
	 * mounted. */
	bool lock;
	/* Writes go to a private layer (an unlinked file in $TMPDIR or /var/tmp, else memory); the
	 * image is only read. */
	bool overlay;
};

/* 0, or -errno with a message that names the option, the file and what to do. */
int blk_open(const struct blk_opts *opts, struct blk **ret, struct err *err) must_check;
struct blk *blk_free(struct blk *blk);

struct blk_info {
	uint32_t logical_block;	      /* bytes; writes that aren't aligned to it may fail */
	uint32_t physical_block;      /* bytes, no less */
	uint32_t discard_granularity; /* bytes; 0: no discard */
	bool ro;
	bool flush; /* writes need one to be stable; without it BLK_FLUSH does nothing */
};
const struct blk_info *blk_info(const struct blk *blk);

/* Bytes, a multiple of BLK_SECTOR. Any thread. */
uint64_t blk_size(const struct blk *blk);

/* Looks how large the image is now, or with size (not 0) makes a file that large first. It is never
 * made smaller. 0, or -errno with a message. */
int blk_resize(struct blk *blk, uint64_t size, struct err *err) must_check;

/* Per second and for all queues together; 0: no limit. A burst of 0 is a tenth of a second's. In
 * force at once. */
struct blk_limits {
	uint64_t bw, bw_burst;	   /* bytes */
	uint64_t iops, iops_burst; /* requests other than BLK_FLUSH */
};
void blk_set_limits(struct blk *blk, const struct blk_limits *limits);
const struct blk_limits *blk_limits(const struct blk *blk);

/* ---- its queues ---- */

/* Before the loop's first loop_run(). 0 or -errno. Freed before the loop is, when it runs no more
 * and nothing is under way. */
int blk_queue_new(struct blk *blk, struct loop *loop, struct blk_queue **ret) must_check;
struct blk_queue *blk_queue_free(struct blk_queue *q);

enum blk_op {
	BLK_READ,
	BLK_WRITE,
	BLK_FLUSH,   /* makes stable what was done before */
	BLK_DISCARD, /* a hint */
	BLK_WRITE_ZEROES,
};

struct blk_req {
	/* The owner's to fill. done() comes once, with 0 or -errno, on the queue's thread, maybe
	 * from inside blk_submit(). */
	void (*done)(struct blk_req *req, int result);
	enum blk_op op;
	bool unmap;  /* BLK_WRITE_ZEROES: space may be given back */
	bool stable; /* writes: done when they are stable, as with a flush after them */
	uint64_t offset,
		len;	 /* bytes, multiples of BLK_SECTOR inside of blk_size(); len is not 0 */
	struct iov data; /* reads and writes: len bytes; the back end changes the iovecs */

	/* The back end's, from blk_submit() to done(): */
	struct blk_queue *queue;
	struct blk_req *next; /* in one of the queue's lists */
	struct loop_io io;
	struct blk_file *file;
	void (*moved)(struct blk_req *req, int result);
	uint64_t at, left; /* of the move */
	struct iov_cut cut;
	struct iovec bounce; /* the aligned buffer, and what of it is under way */
	void (*zeroed)(struct blk_req *req, int result);
	struct iovec zeroes;
	uint64_t zero_left;
	unsigned way; /* of making zeroes */
	unsigned tries;
};

/* True: the request has to wait for the limits first. */
bool blk_submit(struct blk_queue *q, struct blk_req *req);

/* on: what waits for the limits goes at once, and what comes later too, so that the queue can come
 * to rest; it is still charged. off: back to normal. */
void blk_queue_hurry(struct blk_queue *q, bool on);

#endif
