/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mem (virtio 1.2, 5.15): memory that the guest takes and gives back in blocks while it
 * runs, out of one region that is reserved for it. The verb `set size=SIZE` says how much it shall
 * have; it plugs and unplugs by itself, and what is unplugged costs the host nothing.
 *
 * What machine/ does for it:
 *   - The region lies above all RAM (and above virtio-pmem), aligned to 2 GiB, the largest memory
 *     block of Linux on x86 (128 MiB in guests below 64 GiB): what is not a whole block at either
 *     end can't be used. It ends below the physical address width that CPUID 0x80000008 tells.
 *   - It is neither in the e820 map nor in a window of the PCI host bridge. An SRAT entry is not
 *     needed: without one Linux takes node 0, and its direct map has room for 10 TiB more than it
 *     had at boot (CONFIG_RANDOMIZE_MEMORY_PHYSICAL_PADDING). Only a device that is passed through
 *     and does DMA below 4 GiB would need one, so that swiotlb is set up in a smaller guest.
 *   - Memory by mm_ram_new() with on_demand, mm_ram_region() and mm_map_add(), as one slot of KVM;
 *     mm_discard_require(). A reset of the machine does not clear it: the device discards all.
 *   - Linux adds the memory offline unless it is told: memhp_default_state=online_movable on its
 *     command line, which also lets it be unplugged again.
 */
#ifndef VMM_DEVICES_VIRTIO_MEM_H
#define VMM_DEVICES_VIRTIO_MEM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "event/loop.h"
#include "mm/map.h"
#include "virtio/virtio.h"

struct virtio_mem_setup {
	const char *id;		   /* borrowed, as are map and loops */
	const struct mm_map *map;  /* with the region in it */
	struct loop *const *loops; /* the queue is on the first */
	unsigned n_loops;
	bool packed; /* offer packed rings */
	uint16_t queue_size;
	uint64_t gpa, size;  /* the region; multiples of block_size */
	uint64_t block_size; /* a power of two; 0: 2 MiB, or the huge page where that is larger */
	uint64_t requested;  /* plugged by the guest when it starts; a multiple of block_size */
};

/* Main, while the machine is built. 0; -EINVAL when the region is not in the map or not made of
 * blocks; -ENOMEM. */
int virtio_mem_new(const struct virtio_mem_setup *setup, struct virtio_dev **ret) must_check;

#endif
