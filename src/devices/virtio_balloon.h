/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon (virtio 1.2, 5.5): the guest gives memory back when it is asked to, reports pages
 * that it does not use, and tells how much it has. What comes back is discarded, so the host can
 * use it for others; the guest gets zeros when it touches it again.
 */
#ifndef VMM_DEVICES_VIRTIO_BALLOON_H
#define VMM_DEVICES_VIRTIO_BALLOON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "event/loop.h"
#include "mm/map.h"
#include "virtio/virtio.h"

struct virtio_balloon_setup {
	const char *id; /* borrowed, as are map and loops */
	const struct mm_map *map;
	struct loop *const *loops;
	unsigned n_loops;
	bool packed;	     /* offer packed rings */
	uint16_t queue_size; /* at least 32, or Linux refuses to report free pages */
	uint64_t
		target; /* bytes that the guest shall give back from the start; multiple of 4 KiB */
	bool deflate_on_oom; /* the guest may take pages back by itself when it runs out */
	bool reporting;	     /* free page reporting */
	uint64_t stats_ns;   /* statistics are asked for this often; 0: never, and nothing wakes */
};

/*
 * Main, while the machine is built; whoever makes it has called mm_discard_require(). Verb `set
 * size=SIZE stats=TIME`. Huge pages are freed only as wholes: then it says so once in the log.
 * 0 or -errno.
 */
int virtio_balloon_new(const struct virtio_balloon_setup *setup,
		       struct virtio_dev **ret) must_check;

#endif
