/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "mm/ram.h"

static struct mm_ram *make(const struct mm_ram_opts *opts)
{
	struct err err = {0};
	struct mm_ram *ram = NULL;

	cr_assert_eq(mm_ram_new(opts, &ram, &err), 0, "%s", err.msg);
	cr_assert_not_null(ram);
	cr_assert(is_aligned((uintptr_t)ram->host, MIB(2)));
	return ram;
}

Test(ram, shared__is_a_memfd_that_nobody_can_resize)
{
	struct mm_ram *ram = make(&(struct mm_ram_opts){.size = MIB(4), .shared = true});

	cr_assert_geq(ram->fd, 0);
	cr_assert_eq(ftruncate(ram->fd, MIB(1)), -1);
	cr_assert_eq(errno, EPERM);
	cr_assert_eq(ftruncate(ram->fd, MIB(8)), -1);
	cr_assert_eq(fcntl(ram->fd, F_ADD_SEALS, F_SEAL_WRITE), -1, "and the seals are sealed");
	cr_assert_null(mm_ram_free(ram));
}

Test(ram, private__has_no_fd)
{
	struct mm_ram *ram = make(&(struct mm_ram_opts){.size = MIB(4), .thp = true});

	cr_assert_eq(ram->fd, -1);
	cr_assert_null(mm_ram_free(ram));
}

static void clear_gives_zeros(bool shared)
{
	struct mm_ram *ram = make(&(struct mm_ram_opts){.size = MIB(4), .shared = shared});
	char *bytes = ram->host;

	memset(bytes, 0xaa, MIB(4));
	cr_assert_eq(mm_ram_clear(ram), 0);
	for (size_t i = 0; i < MIB(4); i += 4096)
		cr_assert_eq(bytes[i], 0);
	cr_assert_null(mm_ram_free(ram));
}

Test(ram, clear__gives_zeros_in_private_memory)
{
	clear_gives_zeros(false);
}

Test(ram, clear__gives_zeros_in_shared_memory)
{
	clear_gives_zeros(true);
}

Test(ram, layout__splits_around_the_hole)
{
	struct mm_ram ram = {.host = (void *)MIB(2), .size = GIB(5), .fd = -1};
	struct mm_map map;

	mm_ram_layout(&ram, GIB(3), GIB(4), &map);
	cr_assert_eq(map.n, 2);
	cr_assert_eq(map.regions[0].size, GIB(3));
	cr_assert_eq(map.regions[1].gpa.v, GIB(4));
	cr_assert_eq(map.regions[1].size, GIB(2));
	cr_assert_eq(map.regions[1].host, (void *)(MIB(2) + GIB(3)));
	cr_assert_eq(map.regions[1].offset, GIB(3));
}

Test(ram, layout__exactly_the_hole_is_one_region)
{
	struct mm_ram ram = {.host = (void *)MIB(2), .size = GIB(3), .fd = -1};
	struct mm_map map;

	mm_ram_layout(&ram, GIB(3), GIB(4), &map);
	cr_assert_eq(map.n, 1);
}

static uint64_t progress_done;

static void on_progress(uint64_t done, uint64_t total)
{
	cr_assert_leq(done, total);
	progress_done = done;
}

Test(ram, prefault__touches_every_page)
{
	struct mm_ram *ram = make(&(struct mm_ram_opts){.size = MIB(192)});
	struct mm_prefault how = {.threads = 2, .progress = on_progress};
	static unsigned char present[MIB(192) / 4096];
	struct err err = {0};

	cr_assert_eq(mm_ram_prefault(ram, &how, &err), 0, "%s", err.msg);
	cr_assert_eq(progress_done, MIB(192));
	cr_assert_eq(mincore(ram->host, MIB(192), present), 0);
	for (size_t i = 0; i < sizeof(present); i++)
		cr_assert(present[i] & 1, "page %zu", i);
	cr_assert_null(mm_ram_free(ram));
}

Test(ram, check__more_than_the_host_has_is_refused_with_numbers)
{
	struct mm_ram_opts opts = {.size = TIB(512)};
	struct err err = {0};

	cr_assert_eq(mm_ram_check(&opts, &err), -ENOMEM);
	cr_assert(strstr(err.msg, "--mem"), "%s", err.msg);
	cr_assert(strstr(err.msg, "smaller"), "%s", err.msg);
}

Test(ram, check__too_few_huge_pages_names_the_command)
{
	struct mm_ram_opts opts = {.size = TIB(512), .page_size = MIB(2)};
	struct err err = {0};

	cr_assert_lt(mm_ram_check(&opts, &err), 0);
	cr_assert(strstr(err.msg, "hugepages=2M"), "%s", err.msg);
}
