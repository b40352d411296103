/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways in: what each protocol wants to find in memory and in registers. */
#ifndef VMM_BOOT_X86_ENTRY_H
#define VMM_BOOT_X86_ENTRY_H

#include "boot/kernel.h"
#include "boot/x86/e820.h"

/* What the kernel is handed; lies in guest memory already. */
struct handover {
	uint64_t cmdline;
	uint64_t initrd, initrd_size; /* 0, 0: none */
	uint64_t rsdp;
	const struct e820 *e820;
};

/* Linux's zero page (struct boot_params) into 4096 bytes. The header of an ELF kernel is made up.
 */
void zero_page_fill(uint8_t *page, const struct kernel_info *info, const struct handover *handover);

/* GDT and page tables for the 64-bit entry; fills in gdt, gdt_limit and cr3. */
void paging_fill(uint8_t *gdt, uint8_t *page_tables, struct boot_entry *entry);

/* The PVH start info with its lists into one page that lies at `gpa`. */
void pvh_fill(uint8_t *page, uint64_t gpa, const struct handover *handover);

#endif
