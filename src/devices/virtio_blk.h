/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk (virtio 1.2, 5.2) over a disk of backend/blk.h. Each queue works on its own loop with
 * requests made beforehand; nothing is allocated or locked between a kick and its interrupt.
 *
 * Whatever goes wrong with the host's file is an I/O error in the guest and a count in `errors`.
 *
 * Its verbs: `resize` makes the file larger, or takes over what it has become outside; `limit`
 * changes the rate limits.
 */
#ifndef VMM_DEVICES_VIRTIO_BLK_H
#define VMM_DEVICES_VIRTIO_BLK_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/blk.h"
#include "base/compiler.h"

struct loop;
struct mm_map;
struct virtio_dev;

enum {
	VIRTIO_BLK_SERIAL_LEN = 20,    /* bytes; one of that length has no zero behind it */
	VIRTIO_BLK_MIN_QUEUE_SIZE = 4, /* header, data, status, and a power of two */
};

struct virtio_blk_setup {
	const char *id; /* "disk0"; borrowed for the device's life, as blk and map are */
	struct blk *blk;
	const struct mm_map *map;
	struct loop *const
		*loops; /* queue i runs on loops[i % n_loops]; the array is copied from */
	unsigned n_loops;
	unsigned n_queues;   /* 1 to VIRTIO_MAX_QUEUES */
	uint16_t queue_size; /* VIRTIO_BLK_MIN_QUEUE_SIZE and more */
	bool packed;	     /* offer packed rings */
	const char *serial;  /* what is too long is cut; NULL: the id */
};

/* Before the loops' first run. 0 or -errno; -EINVAL for a number out of range. */
int virtio_blk_new(const struct virtio_blk_setup *setup, struct virtio_dev **ret) must_check;

#endif
