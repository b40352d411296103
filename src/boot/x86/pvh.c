/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "boot/x86/entry.h"
#include "boot/x86/layout.h"
#include "boot/x86/pvh_abi.h"

/* One page: the start info, behind it the only module, behind that the memory map. */
struct pvh_page {
	struct pvh_start_info info;
	struct pvh_module initrd;
	struct pvh_memmap_entry memmap[E820_MAX];
};
static_assert(sizeof(struct pvh_page) <= GUEST_PAGE, "it is one page");

static void fill_memmap(struct pvh_page *page, const struct e820 *e820)
{
	for (unsigned i = 0; i < e820->n; i++) {
		page->memmap[i] = (struct pvh_memmap_entry){
			.addr = le64_make(e820->entries[i].addr),
			.size = le64_make(e820->entries[i].size),
			.type = le32_make(e820->entries[i].type),
		};
	}
}

void pvh_fill(uint8_t *at, uint64_t gpa, const struct handover *handover)
{
	bool initrd = handover->initrd_size > 0;
	struct pvh_page page = {
		.info =
			{
				.magic = le32_make(PVH_MAGIC),
				.version = le32_make(PVH_VERSION),
				.n_modules = le32_make(initrd),
				.modules = le64_make(
					initrd ? gpa + offsetof(struct pvh_page, initrd) : 0),
				.cmdline = le64_make(handover->cmdline),
				.rsdp = le64_make(handover->rsdp),
				.memmap = le64_make(gpa + offsetof(struct pvh_page, memmap)),
				.n_memmap = le32_make(handover->e820->n),
			},
		.initrd =
			{
				.addr = le64_make(handover->initrd),
				.size = le64_make(handover->initrd_size),
			},
	};

	fill_memmap(&page, handover->e820);
	memcpy(at, &page, sizeof(page));
}
