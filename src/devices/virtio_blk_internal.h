/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of virtio-blk share: virtio_blk.c, the device, and virtio_blk_path.c, its data
 * path. */
#ifndef VMM_DEVICES_VIRTIO_BLK_INTERNAL_H
#define VMM_DEVICES_VIRTIO_BLK_INTERNAL_H

#include <linux/virtio_blk.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "backend/blk.h"
#include "base/checked.h"
#include "base/compiler.h"
#include "devices/virtio_blk.h"
#include "virtio/virtio.h"

enum {
	VBLK_MAX_DATA_SEGS = 126,
	VBLK_MAX_RANGES = 32, /* of one discard */
	/* Linux gives larger ones in parts; an fstrim of a large disk shouldn't stall it. */
	VBLK_MAX_DISCARD_SECTORS = GIB(1) / BLK_SECTOR,
	/* Less, since the file system may have nothing better than writing them. */
	VBLK_MAX_ZERO_SECTORS = MIB(64) / BLK_SECTOR,
};

struct vblk_request;
struct vblk_queue;

struct vblk {
	struct virtio_dev virtio;
	struct blk *blk;
	struct vblk_queue *queues;
	char serial[VIRTIO_BLK_SERIAL_LEN];
	/* The write cache is on, as the driver has set it: with VIRTIO_BLK_F_CONFIG_WCE. */
	atomic_bool writeback;
	_Atomic uint64_t reads, writes, read_bytes, written_bytes, flushes, discards, write_zeroes,
		errors, throttled, unsupported;
};

/* Of its loop's thread. */
struct vblk_queue {
	struct vblk *disk;
	struct virtio_queue *q;
	struct blk_queue *back;
	struct vblk_request *pool; /* as many as the queue has entries */
	struct vblk_request *free; /* used before: others' memory isn't touched until needed */
	unsigned n_fresh;	   /* never used, at the pool's front */
	unsigned in_flight;
	bool stopping; /* and something is in flight */
};

/* virtio_blk_path.c: struct virtio_dev_ops */
void vblk_queue_start(struct virtio_queue *q);
void vblk_queue_kick(struct virtio_queue *q);
void vblk_queue_stop(struct virtio_queue *q);

/* Main, while the device is made and freed. 0 or -errno; a half-made one is to be freed too. */
int vblk_queue_init(struct vblk *disk, struct virtio_queue *q) must_check;
void vblk_queue_free(struct vblk_queue *vq);

#endif
