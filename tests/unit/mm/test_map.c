/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>

#include "base/checked.h"
#include "mm/map.h"

static char low[8192], high[4096];

static struct mm_map two_regions(void)
{
	return (struct mm_map){
		.n = 2,
		.regions = {{.gpa = GPA(0), .size = sizeof(low), .host = low, .fd = -1},
			    {.gpa = GPA(GIB(4)), .size = sizeof(high), .host = high, .fd = -1}},
	};
}

Test(map, host__finds_both_regions_to_their_last_byte)
{
	struct mm_map map = two_regions();

	cr_assert_eq(mm_map_host(&map, GPA(0), sizeof(low)), (void *)low);
	cr_assert_eq(mm_map_host(&map, GPA(8191), 1), (void *)(low + 8191));
	cr_assert_eq(mm_map_host(&map, GPA(GIB(4) + 4095), 1), (void *)(high + 4095));
}

Test(map, host__refuses_what_is_not_wholly_ram)
{
	struct mm_map map = two_regions();

	cr_assert_null(mm_map_host(&map, GPA(8191), 2), "over the end");
	cr_assert_null(mm_map_host(&map, GPA(8192), 1), "in the hole");
	cr_assert_null(mm_map_host(&map, GPA(GIB(4) - 1), 2), "into a region from below");
	cr_assert_null(mm_map_host(&map, GPA(UINT64_MAX), 2), "wrapping");
	cr_assert_null(mm_map_host(&map, GPA(1), UINT64_MAX), "a length that wraps");
}

Test(map, copies__leave_everything_alone_when_out_of_range)
{
	struct mm_map map = two_regions();
	char buf[4] = "abc";

	cr_assert_eq(mm_map_write(&map, GPA(8190), buf, 4), -EFAULT);
	cr_assert_eq(low[8190], 0);
	cr_assert_eq(mm_map_write(&map, GPA(100), buf, 4), 0);
	buf[0] = 'x';
	cr_assert_eq(mm_map_read(&map, GPA(100), buf, 4), 0);
	cr_assert_str_eq(buf, "abc");
	cr_assert_eq(mm_map_zero(&map, GPA(100), 4), 0);
	cr_assert_eq(low[100], 0);
	cr_assert_eq(mm_map_read(&map, GPA(GIB(2)), buf, 1), -EFAULT);
	cr_assert_eq(mm_map_zero(&map, GPA(GIB(2)), 1), -EFAULT);
}

Test(map, add__keeps_order_and_refuses_overlap)
{
	struct mm_map map = {0};
	struct mm_region at = {.size = 0x1000, .host = low, .fd = -1};
	static const uint64_t places[] = {0x4000, 0x1000, 0x8000, 0x2000}, bad[] = {0x3800, 0x4fff};

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		at.gpa = GPA(places[i]);
		cr_assert_eq(mm_map_add(&map, &at), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		at.gpa = GPA(bad[i]);
		cr_assert_eq(mm_map_add(&map, &at), -EEXIST);
	}
	at = (struct mm_region){.gpa = GPA(0), .size = 0x10000, .host = low, .fd = -1};
	cr_assert_eq(mm_map_add(&map, &at), -EEXIST, "around one");
	cr_assert_eq(map.n, 4);
	for (unsigned i = 1; i < map.n; i++)
		cr_assert_gt(map.regions[i].gpa.v, map.regions[i - 1].gpa.v);
	for (unsigned i = 0; map.n < MM_MAP_MAX_REGIONS; i++) {
		at = (struct mm_region){.gpa = GPA(GIB(1 + i)), .size = 1, .host = low, .fd = -1};
		cr_assert_eq(mm_map_add(&map, &at), 0);
	}
	at.gpa = GPA(GIB(100));
	cr_assert_eq(mm_map_add(&map, &at), -ENOSPC);
}
