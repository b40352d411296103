/* SPDX-License-Identifier: Apache-2.0 */
/* What the boot vCPU finds: GDT, page tables, PVH start info. */
#include "guest.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "boot/x86/pvh_abi.h"

static struct elf_maker elf;
static struct guest g;

static void setup(void)
{
	elf_make(&elf, true);
	guest_init(&g, GIB(5));
	g.params.kernel = file_make("vmlinux", &elf, sizeof(elf));
}

static void teardown(void)
{
	guest_done(&g);
}

TestSuite(entry, .init = setup, .fini = teardown);

/* As the CPU would walk it; 0 when something is not present. */
static uint64_t translate(uint64_t virtual, uint64_t *ret_flags)
{
	uint64_t table = g.entry.cr3;

	for (unsigned shift = 39; shift >= 21; shift -= 9) {
		const uint8_t *at = guest_at(&g, table + ((virtual >> shift) & 511) * 8, 8);
		uint64_t entry = get_le64(at);

		if (!(entry & 1))
			return 0;
		*ret_flags = entry & 0xfff;
		if (entry & 0x80)
			return (entry & 0x000ffffffffff000) |
			       (virtual & ((UINT64_C(1) << shift) - 1));
		table = entry & 0x000ffffffffff000;
	}
	return 0;
}

Test(entry, low_four_gigabytes_are_mapped_to_themselves)
{
	uint64_t flags = 0;

	g.params.protocol = BOOT_LINUX64;
	guest_boot(&g);
	for (uint64_t at = 0x1234; at < GIB(4); at += MIB(2)) {
		cr_assert_eq(translate(at, &flags), at);
		cr_assert_eq(flags & 3, 3, "present and writable");
	}
	cr_assert_eq(translate(GIB(4), &flags), 0);
	cr_assert_eq(translate(GIB(512), &flags), 0);
}

Test(entry, gdt_has_code_at_0x10_and_data_at_0x18)
{
	const uint8_t *gdt;

	g.params.protocol = BOOT_LINUX64;
	guest_boot(&g);
	cr_assert_eq(g.entry.gdt_limit, 31);
	gdt = guest_at(&g, g.entry.gdt.v, 32);
	cr_assert_eq(get_le64(gdt), 0);
	cr_assert_eq(get_le64(gdt + 0x10), 0x00af9b000000ffff);
	cr_assert_eq(get_le64(gdt + 0x18), 0x00cf93000000ffff);
}

Test(entry, stack_lies_in_memory)
{
	g.params.protocol = BOOT_LINUX64;
	guest_boot(&g);
	cr_assert(is_aligned(g.entry.rsp, 16));
	cr_assert_not_null(guest_at(&g, g.entry.rsp - 4096, 4096));
}

Test(entry, pvh_start_info_is_complete)
{
	const struct pvh_start_info *info;
	const struct pvh_memmap_entry *map;
	uint64_t sum = 0;

	guest_boot(&g);
	info = guest_at(&g, g.entry.rbx, sizeof(*info));
	cr_assert_eq(le32_get(info->magic), 0x336ec578);
	cr_assert_eq(le32_get(info->version), 1);
	cr_assert_eq(le32_get(info->flags), 0);
	cr_assert_eq(le32_get(info->n_modules), 0);
	cr_assert_eq(le64_get(info->modules), 0);
	cr_assert_eq(le64_get(info->rsdp), g.entry.rsdp.v);
	cr_assert_str_eq(guest_at(&g, le64_get(info->cmdline), 100), "console=ttyS0");
	cr_assert_eq(le32_get(info->n_memmap), 5);
	map = guest_at(&g, le64_get(info->memmap), 5 * sizeof(*map));
	for (unsigned i = 0; i < 5; i++)
		sum += le32_get(map[i].type) == 1 ? le64_get(map[i].size) : 0;
	cr_assert_eq(sum, GIB(5) - KIB(384));
}

Test(entry, pvh_initrd_is_the_only_module)
{
	const struct pvh_start_info *info;
	const struct pvh_module *module;

	g.params.initrd = file_make("initrd", "hello", 5);
	guest_boot(&g);
	info = guest_at(&g, g.entry.rbx, sizeof(*info));
	cr_assert_eq(le32_get(info->n_modules), 1);
	module = guest_at(&g, le64_get(info->modules), sizeof(*module));
	cr_assert_eq(le64_get(module->size), 5);
	cr_assert_eq(memcmp(guest_at(&g, le64_get(module->addr), 5), "hello", 5), 0);
}

/* What a boot protocol hands over must lie in RAM that the guest is told of, apart from each other.
 */
Test(entry, nothing_is_written_where_the_guest_expects_no_ram)
{
	const uint8_t *hole;

	g.params.protocol = BOOT_LINUX64;
	guest_boot(&g);
	hole = guest_at(&g, 0xa0000, 0x40000);
	for (size_t i = 0; i < 0x40000; i++)
		cr_assert_eq(hole[i], 0, "byte %#zx", 0xa0000 + i);
	hole = guest_at(&g, 0, 0x1000);
	for (size_t i = 0; i < 0x1000; i++)
		cr_assert_eq(hole[i], 0, "byte %#zx", i);
}
