/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "mm/discard.h"
#include "mm/ram.h"

enum { PAGE = 4096 };
static const uint64_t SIZE = MIB(8), LOW = MIB(4);

/* Two regions, the second from 4 GiB up, every page touched. */
static struct mm_ram *ram;
static struct mm_map map;

static void make(bool shared, uint64_t page_size)
{
	struct mm_ram_opts opts = {.size = SIZE, .shared = shared, .page_size = page_size};
	struct mm_region high;
	struct err err = {0};

	if (page_size && mm_ram_check(&opts, &err) < 0)
		cr_skip_test("no huge pages: %s", err.msg);
	cr_assert_eq(mm_ram_new(&opts, &ram, &err), 0, "%s", err.msg);
	map = (struct mm_map){.n = 1};
	mm_ram_region(ram, GPA(0), 0, LOW, &map.regions[0]);
	mm_ram_region(ram, GPA(GIB(4)), LOW, SIZE - LOW, &high);
	cr_assert_eq(mm_map_add(&map, &high), 0);
	memset(ram->host, 0xaa, SIZE);
}

static uint64_t resident(void)
{
	static unsigned char present[MIB(8) / PAGE];
	uint64_t n = 0;

	cr_assert_eq(mincore(ram->host, SIZE, present), 0);
	for (size_t i = 0; i < sizeof(present); i++)
		n += present[i] & 1;
	return n * PAGE;
}

static uint64_t in_memfd(void)
{
	struct stat st;

	cr_assert_eq(fstat(ram->fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static uint64_t discard(uint64_t gpa, uint64_t len)
{
	uint64_t bytes = 0;

	cr_assert_eq(mm_discard(&map, GPA(gpa), len, &bytes), 0);
	return bytes;
}

static void frees_exactly_the_range(void)
{
	const char *bytes = ram->host;

	cr_assert_eq(resident(), SIZE);
	cr_assert_eq(discard(PAGE, 3 * PAGE), 3 * PAGE);
	cr_assert_eq(resident(), SIZE - 3 * PAGE);
	cr_assert_eq(discard(GIB(4), PAGE), PAGE);
	cr_assert_eq(resident(), SIZE - 4 * PAGE);
	cr_assert_eq(bytes[PAGE - 1], (char)0xaa);
	cr_assert_eq(bytes[4 * PAGE], (char)0xaa);
	for (unsigned i = PAGE; i < 4 * PAGE; i++)
		cr_assert_eq(bytes[i], 0);
	cr_assert_eq(bytes[LOW], 0);
	cr_assert_eq(bytes[LOW + PAGE], (char)0xaa);
	cr_assert_null(mm_ram_free(ram));
}

Test(discard, private_memory__frees_exactly_the_range)
{
	make(false, 0);
	frees_exactly_the_range();
}

Test(discard, shared_memory__frees_exactly_the_range)
{
	make(true, 0);
	frees_exactly_the_range();
}

Test(discard, part_of_a_page__stays)
{
	make(false, 0);
	cr_assert_eq(discard(1, PAGE), 0);
	cr_assert_eq(discard(PAGE - 1, PAGE + 2), PAGE);
	cr_assert_eq(discard(10 * PAGE, PAGE - 1), 0);
	cr_assert_eq(discard(10 * PAGE, 0), 0);
	cr_assert_eq(resident(), SIZE - PAGE);
	cr_assert_null(mm_ram_free(ram));
}

Test(discard, outside_ram__is_refused_and_nothing_done)
{
	uint64_t bytes = 77;

	make(false, 0);
	cr_assert_eq(mm_discard(&map, GPA(LOW - PAGE), 2 * PAGE, &bytes), -EFAULT, "into the hole");
	cr_assert_eq(mm_discard(&map, GPA(LOW), PAGE, &bytes), -EFAULT, "in the hole");
	cr_assert_eq(mm_discard(&map, GPA(GIB(4) - PAGE), 2 * PAGE, &bytes), -EFAULT, "out of it");
	cr_assert_eq(mm_discard(&map, GPA(GIB(4)), SIZE, &bytes), -EFAULT, "over the end");
	cr_assert_eq(mm_discard(&map, GPA(PAGE), UINT64_MAX, &bytes), -EFAULT, "wrapping");
	cr_assert_eq(mm_discard(&map, GPA(UINT64_MAX - PAGE + 1), 2 * PAGE, &bytes), -EFAULT);
	cr_assert_eq(bytes, 77);
	cr_assert_eq(resident(), SIZE);
	cr_assert_null(mm_ram_free(ram));
}

Test(discard, regions_that_touch__are_both_reached)
{
	make(false, 0);
	map.regions[1].gpa = GPA(LOW);
	cr_assert_eq(discard(LOW - PAGE, 2 * PAGE), 2 * PAGE);
	cr_assert_eq(resident(), SIZE - 2 * PAGE);
	cr_assert_null(mm_ram_free(ram));
}

Test(discard, a_file_that_is_kept__is_refused_as_a_whole)
{
	uint64_t bytes;

	make(true, 0);
	map.regions[1].gpa = GPA(LOW);
	map.regions[1].keep = true;
	cr_assert_eq(mm_discard(&map, GPA(LOW - PAGE), 2 * PAGE, &bytes), -EFAULT);
	cr_assert_eq(resident(), SIZE);
	cr_assert_null(mm_ram_free(ram));
}

Test(discard, host_pointers__are_found_in_their_region)
{
	const char *host;
	uint64_t bytes = 0;

	make(false, 0);
	host = ram->host;
	/* The regions lie side by side in this process, but not for the guest. */
	map.regions[1].host = (char *)ram->host + LOW + PAGE;
	map.regions[1].size -= PAGE;
	cr_assert_eq(mm_discard_host(&map, host + LOW + PAGE, PAGE, &bytes), 0);
	cr_assert_eq(bytes, PAGE);
	cr_assert_eq(mm_discard_host(&map, host + LOW, PAGE, &bytes), -EFAULT);
	cr_assert_eq(mm_discard_host(&map, host + LOW - PAGE, 2 * PAGE, &bytes), -EFAULT);
	cr_assert_eq(mm_discard_host(&map, NULL, PAGE, &bytes), -EFAULT);
	cr_assert_eq(resident(), SIZE - PAGE);
	cr_assert_eq(host[LOW + PAGE], 0);
	cr_assert_null(mm_ram_free(ram));
}

Test(discard, huge_pages__only_whole_ones_go)
{
	make(false, MIB(2));
	cr_assert_eq(mm_discard_granule(&map), MIB(2));
	cr_assert_eq(discard(PAGE, PAGE), 0);
	cr_assert_eq(discard(PAGE, MIB(2)), 0);
	cr_assert_eq(discard(PAGE, MIB(4) - PAGE), MIB(2));
	cr_assert_eq(resident(), SIZE - MIB(2));
	cr_assert_eq(in_memfd(), SIZE - MIB(2));
	cr_assert_eq(mm_claim(&map, GPA(0), MIB(4)), 0);
	cr_assert_eq(in_memfd(), SIZE);
	cr_assert_null(mm_ram_free(ram));
}

Test(discard, huge_pages__that_are_not_there_are_told_by_claim)
{
	struct mm_ram_opts opts = {.size = GIB(64), .page_size = MIB(2), .on_demand = true};
	struct err err = {0};

	if (mm_ram_new(&opts, &ram, &err) < 0)
		cr_skip_test("%s", err.msg);
	map = (struct mm_map){.n = 1};
	mm_ram_region(ram, GPA(0), 0, GIB(64), &map.regions[0]);
	cr_assert_eq(mm_claim(&map, GPA(0), GIB(64)), -ENOSPC);
	cr_assert_null(mm_ram_free(ram));
}

Test(discard, claim__is_nothing_for_ordinary_pages)
{
	make(true, 0);
	cr_assert_eq(discard(0, LOW), LOW);
	cr_assert_eq(mm_claim(&map, GPA(0), LOW), 0);
	cr_assert_eq(resident(), SIZE - LOW);
	cr_assert_eq(mm_claim(&map, GPA(LOW), PAGE), -EFAULT);
	cr_assert_eq(mm_discard_granule(&map), PAGE);
	cr_assert_null(mm_ram_free(ram));
}

Test(discard, ledger__a_clash_names_both)
{
	struct mm_discard_ledger ledger = {0};
	struct err err = {0};

	cr_assert_eq(mm_discard_require(&ledger, "--balloon", &err), 0);
	cr_assert_eq(mm_discard_require(&ledger, "memory.max", &err), 0);
	cr_assert_eq(mm_discard_block(&ledger, "--vfio", &err), -EBUSY);
	cr_assert(strstr(err.msg, "--vfio") && strstr(err.msg, "--balloon"), "%s", err.msg);
	mm_discard_unrequire(&ledger);
	cr_assert_eq(mm_discard_block(&ledger, "--vfio", NULL), -EBUSY);
	mm_discard_unrequire(&ledger);
	cr_assert_eq(mm_discard_block(&ledger, "vfio1", NULL), 0);
	err = (struct err){0};
	cr_assert_eq(mm_discard_require(&ledger, "balloon0", &err), -EBUSY);
	cr_assert(strstr(err.msg, "vfio1") && strstr(err.msg, "balloon0"), "%s", err.msg);
	mm_discard_unblock(&ledger);
	cr_assert_eq(mm_discard_require(&ledger, "balloon0", NULL), 0);
}
