/* SPDX-License-Identifier: Apache-2.0 */
/* The 64-bit entry starts with paging on: the low 4 GiB mapped to themselves, in pages of 2 MiB. */
#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "boot/x86/entry.h"
#include "boot/x86/layout.h"

enum { PTE_PRESENT = 1 << 0, PTE_WRITE = 1 << 1, PTE_LARGE = 1 << 7, PTES = 512, N_DIRS = 4 };

static_assert(LOW_PAGE_TABLES + (2 + N_DIRS) * GUEST_PAGE == LOW_PAGE_TABLES_END, "room for all");

/* Selectors 0x10 and 0x18: flat, present, ring 0, accessed; L or D set (Intel SDM 3, 3.4.5). */
static const uint64_t descriptors[] = {
	0, 0, UINT64_C(0x00af9b000000ffff), /* 64-bit code */
	UINT64_C(0x00cf93000000ffff),	    /* data */
};

static void put_entry(uint8_t *table, size_t index, uint64_t entry)
{
	put_le64(table + index * sizeof(entry), entry);
}

static void fill_tables(uint8_t *tables)
{
	uint8_t *pdpt = tables + GUEST_PAGE, *dirs = tables + (size_t)2 * GUEST_PAGE;

	memset(tables, 0, (size_t)2 * GUEST_PAGE);
	put_entry(tables, 0, (LOW_PAGE_TABLES + GUEST_PAGE) | PTE_PRESENT | PTE_WRITE);
	for (unsigned i = 0; i < N_DIRS; i++)
		put_entry(pdpt, i,
			  (LOW_PAGE_TABLES + (2 + (uint64_t)i) * GUEST_PAGE) | PTE_PRESENT |
				  PTE_WRITE);
	for (uint64_t i = 0; i < (uint64_t)N_DIRS * PTES; i++)
		put_entry(dirs, i, i * MIB(2) | PTE_PRESENT | PTE_WRITE | PTE_LARGE);
}

void paging_fill(uint8_t *gdt, uint8_t *page_tables, struct boot_entry *entry)
{
	for (size_t i = 0; i < ARRAY_SIZE(descriptors); i++)
		put_entry(gdt, i, descriptors[i]);
	fill_tables(page_tables);
	entry->gdt = GPA(LOW_GDT);
	entry->gdt_limit = sizeof(descriptors) - 1;
	entry->cr3 = LOW_PAGE_TABLES;
}
