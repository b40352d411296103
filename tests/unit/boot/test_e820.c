/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "base/checked.h"
#include "boot/x86/e820.h"

static const struct boot_platform platform = {.ecam_base = 0xe0000000, .ecam_size = MIB(256)};

/* Host pointers are never followed here. */
static struct mm_map map_of(uint64_t bytes)
{
	struct mm_map map = {.n = 1};

	map.regions[0] = (struct mm_region){.gpa = GPA(0), .size = MIN(bytes, GIB(3)), .fd = -1};
	if (bytes > GIB(3))
		map.regions[map.n++] =
			(struct mm_region){.gpa = GPA(GIB(4)), .size = bytes - GIB(3), .fd = -1};
	return map;
}

static uint64_t sum_of(const struct e820 *e820, enum e820_type type)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < e820->n; i++)
		sum += e820->entries[i].type == type ? e820->entries[i].size : 0;
	return sum;
}

static void check_shape(const struct e820 *e820)
{
	for (unsigned i = 0; i < e820->n; i++) {
		cr_assert(is_aligned(e820->entries[i].addr, 4096));
		cr_assert(is_aligned(e820->entries[i].size, 4096));
		cr_assert_gt(e820->entries[i].size, 0);
		if (i > 0)
			cr_assert_geq(e820->entries[i].addr,
				      e820->entries[i - 1].addr + e820->entries[i - 1].size,
				      "entry %u overlaps or is out of order", i);
	}
}

Test(e820, ram_is_right_to_the_page_at_every_size)
{
	static const uint64_t sizes[] = {MIB(16),	  MIB(32), MIB(128), MIB(512) + KIB(4),
					 GIB(1),	  GIB(2),  GIB(3),   GIB(3) - KIB(4),
					 GIB(3) + KIB(4), GIB(4),  GIB(5),   GIB(64),
					 TIB(1),	  TIB(12)};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct mm_map map = map_of(sizes[i]);
		struct e820 e820;

		e820_build(&platform, &map, &e820);
		check_shape(&e820);
		cr_assert_eq(sum_of(&e820, E820_RAM), sizes[i] - KIB(384), "%llu bytes",
			     (unsigned long long)sizes[i]);
		cr_assert_eq(sum_of(&e820, E820_RESERVED), MIB(256) + KIB(128));
	}
}

static bool is(const struct e820_entry *e, uint64_t addr, uint64_t size, enum e820_type type)
{
	return e->addr == addr && e->size == size && e->type == type;
}

Test(e820, five_gigabytes_entry_by_entry)
{
	struct mm_map map = map_of(GIB(5));
	struct e820 e820;

	e820_build(&platform, &map, &e820);
	cr_assert_eq(e820.n, 5);
	cr_assert(is(&e820.entries[0], 0, 0xa0000, E820_RAM));
	cr_assert(is(&e820.entries[1], 0xe0000, 0x20000, E820_RESERVED));
	cr_assert(is(&e820.entries[2], 0x100000, GIB(3) - MIB(1), E820_RAM));
	cr_assert(is(&e820.entries[3], 0xe0000000, MIB(256), E820_RESERVED));
	cr_assert(is(&e820.entries[4], GIB(4), GIB(2), E820_RAM));
}

Test(e820, part_of_a_page_is_not_told)
{
	struct mm_map map = map_of(MIB(32) + 100);
	struct e820 e820;

	e820_build(&platform, &map, &e820);
	check_shape(&e820);
	cr_assert_eq(sum_of(&e820, E820_RAM), MIB(32) - KIB(384));
}

Test(e820, as_many_regions_as_a_map_can_have)
{
	struct mm_map map = map_of(GIB(3));
	struct e820 e820;

	for (; map.n < MM_MAP_MAX_REGIONS; map.n++)
		map.regions[map.n] = (struct mm_region){.gpa = GPA(GIB(4) * map.n), .size = GIB(1)};
	e820_build(&platform, &map, &e820);
	check_shape(&e820);
	cr_assert_eq(sum_of(&e820, E820_RAM),
		     GIB(3) - KIB(384) + (MM_MAP_MAX_REGIONS - 1) * GIB(1));
}
