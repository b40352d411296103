/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where boot/ puts its own things below 1 MiB. All of it is the guest's to reuse once it has read
 * it. Page 0 stays empty: Linux never uses it, and a null pointer should find nothing there.
 */
#ifndef VMM_BOOT_X86_LAYOUT_H
#define VMM_BOOT_X86_LAYOUT_H

#include "base/checked.h"

enum {
	LOW_GDT = 0x1000,
	LOW_ZERO_PAGE = 0x2000,	  /* struct boot_params of Linux, one page */
	LOW_START_INFO = 0x3000,  /* PVH: start info, module list, memory map; one page */
	LOW_PAGE_TABLES = 0x4000, /* PML4, PDPT, four page directories */
	LOW_PAGE_TABLES_END = 0xa000,
	LOW_STACK_TOP = 0xb000, /* one page, grows down */
	LOW_CMDLINE = 0x10000,
	LOW_CMDLINE_MAX = 0x40000, /* bytes, the final 0 included */
	LOW_RAM_END = 0xa0000,	   /* from here to 1 MiB is no RAM to the guest */
	BIOS_START = 0xe0000,	/* reserved in e820: ACPI tables, found by scanning on 16 bytes */
	SMBIOS_START = 0xf0000, /* the SMBIOS entry point is searched for from here */
	BIOS_END = 0x100000,
	HIGH_RAM_START = 0x100000,
	GUEST_PAGE = 0x1000,
};

/* The identity map of the 64-bit entry, and the reach of 32-bit entry points. */
#define LOW_4G GIB(4)

#endif
