/* SPDX-License-Identifier: Apache-2.0 */
/* The start info of the PVH boot protocol, version 1
 * (xen/include/public/arch-x86/hvm/start_info.h). */
#ifndef VMM_BOOT_X86_PVH_ABI_H
#define VMM_BOOT_X86_PVH_ABI_H

#include <assert.h>
#include <stddef.h>

#include "base/endian.h"

#define PVH_MAGIC 0x336ec578U
enum {
	PVH_VERSION = 1,
	PVH_NOTE_TYPE = 18, /* XEN_ELFNOTE_PHYS32_ENTRY, owner "Xen" */
};

struct pvh_start_info {
	le32_t magic;
	le32_t version;
	le32_t flags;
	le32_t n_modules;
	le64_t modules;
	le64_t cmdline;
	le64_t rsdp;
	le64_t memmap;
	le32_t n_memmap;
	le32_t reserved;
};
static_assert(sizeof(struct pvh_start_info) == 56, "start_info.h, version 1");
static_assert(offsetof(struct pvh_start_info, memmap) == 40, "start_info.h, version 1");

struct pvh_module {
	le64_t addr, size, cmdline, reserved;
};
static_assert(sizeof(struct pvh_module) == 32, "start_info.h");

struct pvh_memmap_entry {
	le64_t addr, size;
	le32_t type; /* as in e820 */
	le32_t reserved;
};
static_assert(sizeof(struct pvh_memmap_entry) == 24, "start_info.h");

#endif
