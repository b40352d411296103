/* SPDX-License-Identifier: Apache-2.0 */
/* The memory map that the guest is told, by the zero page or by the PVH start info: same kinds,
 * same numbers. */
#ifndef VMM_BOOT_X86_E820_H
#define VMM_BOOT_X86_E820_H

#include "boot/boot.h"

enum e820_type { E820_RAM = 1, E820_RESERVED = 2 };

struct e820_entry {
	uint64_t addr, size; /* bytes */
	enum e820_type type;
};

/* Two more for the split of the first region, one for the tables, one for the ECAM. */
enum { E820_MAX = MM_MAP_MAX_REGIONS + 4 };

struct e820 {
	unsigned n;
	struct e820_entry entries[E820_MAX]; /* by address, disjoint */
};

/*
 * RAM of the regions, whole pages only, less [640 KiB, 1 MiB); reserved: the ACPI and SMBIOS
 * tables, the ECAM. `ram` as in struct boot_params.
 */
void e820_build(const struct boot_platform *platform, const struct mm_map *ram, struct e820 *ret);

#endif
