/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/x86/e820.h"

#include "base/assert.h"
#include "base/checked.h"
#include "boot/x86/layout.h"

/* Keeps the entries in order of address. */
static void add(struct e820 *e820, uint64_t start, uint64_t end, enum e820_type type)
{
	unsigned at = e820->n;

	start = align_up(start, GUEST_PAGE);
	end = align_down(end, GUEST_PAGE);
	if (start >= end)
		return;
	vmm_assert(e820->n < E820_MAX);
	for (; at > 0 && e820->entries[at - 1].addr > start; at--)
		e820->entries[at] = e820->entries[at - 1];
	e820->entries[at] = (struct e820_entry){.addr = start, .size = end - start, .type = type};
	e820->n++;
}

void e820_build(const struct boot_platform *platform, const struct mm_map *ram, struct e820 *ret)
{
	*ret = (struct e820){0};
	add(ret, 0, LOW_RAM_END, E820_RAM);
	add(ret, BIOS_START, BIOS_END, E820_RESERVED);
	add(ret, HIGH_RAM_START, ram->regions[0].size, E820_RAM);
	for (unsigned i = 1; i < ram->n; i++)
		add(ret, ram->regions[i].gpa.v, ram->regions[i].gpa.v + ram->regions[i].size,
		    E820_RAM);
	add(ret, platform->ecam_base, platform->ecam_base + platform->ecam_size, E820_RESERVED);
}
