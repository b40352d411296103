/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng (virtio 1.2, 5.4): random bytes of the host's kernel, getrandom(2), straight into the
 * guest's buffers. At most 64 KiB for one buffer; a driver asks again for more. Never waits: while
 * the host's own pool is not ready, and beyond the rate, requests wait in the queue.
 */
#ifndef VMM_DEVICES_VIRTIO_RNG_H
#define VMM_DEVICES_VIRTIO_RNG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct loop;
struct mm_map;
struct virtio_dev;

enum { VIRTIO_RNG_MOST = 64 << 10 };

/* All borrowed. */
struct virtio_rng_setup {
	const char *id; /* "rng0" */
	const struct mm_map *map;
	struct loop *const *loops; /* the first is used */
	unsigned n_loops;
	bool packed;
	uint16_t queue_size;
	uint64_t bw; /* bytes a second; 0: no limit */
};

/* 0 or -errno. */
int virtio_rng_new(const struct virtio_rng_setup *setup, struct virtio_dev **ret) must_check;

#endif
