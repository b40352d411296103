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
