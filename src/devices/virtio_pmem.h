/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-pmem (virtio 1.2, 5.19): a file that lies in the guest's address space. Reads and writes
 * are the guest's own memory accesses; the device has nothing to do but to flush.
 *
 * machine/ opens it (backend/pmem.h) and puts it into the map (pmem_region(), mm_map_add()) and so
 * into a memory slot, above all RAM, at a multiple of 1 GiB: then KVM can use huge pages, and
 * Linux, which counts memory in sections of 128 MiB, finds nothing else beside it. Not in the e820
 * map.
 */
#ifndef VMM_DEVICES_VIRTIO_PMEM_H
#define VMM_DEVICES_VIRTIO_PMEM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "event/loop.h"
#include "mm/map.h"
#include "virtio/virtio.h"

struct virtio_pmem_setup {
	const char *id; /* borrowed, as are map, loops and fd */
	const struct mm_map *map;
	struct loop *const *loops; /* the queue is on the first; its loop_add_file() is called */
	unsigned n_loops;
	bool packed; /* offer packed rings */
	uint16_t queue_size;
	int fd;	       /* of the file, see backend/pmem.h */
	bool ro;       /* nothing to flush */
	uint64_t gpa;  /* where the guest finds it: a memory slot of its own, by machine/ */
	uint64_t size; /* both multiples of 2 MiB */
};

/* Main, while the machine is built and the loop has not run. 0 or -errno. */
int virtio_pmem_new(const struct virtio_pmem_setup *setup, struct virtio_dev **ret) must_check;

#endif
