/* SPDX-License-Identifier: Apache-2.0 */
/* What a PVH loader hands over (xen/include/public/arch-x86/hvm/start_info.h), by our own names. */
#ifndef GUEST_PVH_H
#define GUEST_PVH_H

#include <stdint.h>

#define PVH_MAGIC 0x336ec578

enum { PVH_MEM_RAM = 1 };

struct pvh_memmap_entry {
	uint64_t base, size;
	uint32_t type;
	uint32_t reserved;
};

struct pvh_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t n_modules;
	uint64_t modules;
	uint64_t cmdline;
	uint64_t rsdp;
	/* version 1 and later */
	uint64_t memmap;
	uint32_t n_memmap;
	uint32_t reserved;
};

_Static_assert(sizeof(struct pvh_memmap_entry) == 24, "start_info.h, hvm_memmap_table_entry");
_Static_assert(sizeof(struct pvh_start_info) == 56, "start_info.h, hvm_start_info version 1");

#endif
