/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "bus/io_bus.h"

struct noted_access {
	uint64_t offset, value;
	unsigned size;
};

/* Reads give the offset's low byte in each byte; every access is noted. */
struct probe {
	struct io_region region;
	struct noted_access seen[8];
	unsigned n;
};

static struct noted_access *note(struct io_region *region, uint64_t offset, unsigned size)
{
	struct probe *p = container_of(region, struct probe, region);

	cr_assert_lt(p->n, 8);
	p->seen[p->n] = (struct noted_access){.offset = offset, .size = size};
	return &p->seen[p->n++];
}

static uint64_t probe_read(struct io_region *region, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	(void)note(region, offset, size);
	for (unsigned i = 0; i < size; i++)
		value |= ((offset + i) & 0xff) << (8 * i);
	return value;
}

static void probe_write(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	note(region, offset, size)->value = value;
}

static const struct io_ops byte_ops = {.read = probe_read, .write = probe_write};
static const struct io_ops dword_ops = {.read = probe_read, .write = probe_write, .max_size = 4};
static const struct io_ops qword_ops = {.read = probe_read, .write = probe_write, .max_size = 8};

static struct io_bus bus;

static struct probe probe(const struct io_ops *ops, uint64_t base, uint64_t size)
{
	return (struct probe){.region = {.ops = ops, .name = "probe", .base = base, .size = size}};
}

static uint64_t read_n(uint64_t addr, unsigned size)
{
	uint64_t value = 0;

	cr_assert(io_bus_read(&bus, addr, size, &value));
	return value;
}

Test(io_bus, first_and_last_address_answer_and_their_neighbours_do_not)
{
	struct probe p = probe(&byte_ops, 0x3f8, 8);
	uint8_t byte = 0;

	cr_assert_eq(io_bus_add(&bus, &p.region), 0);
	cr_assert_eq(read_n(0x3f8, 1), 0);
	cr_assert_eq(read_n(0x3ff, 1), 7);
	cr_assert_not(io_bus_read(&bus, 0x3f7, 1, &byte));
	cr_assert_not(io_bus_read(&bus, 0x400, 1, &byte));
	cr_assert_eq(p.n, 2);
}

Test(io_bus, unanswered_read_is_all_ones_and_write_is_dropped)
{
	uint8_t data[9] = {0};

	cr_assert_not(io_bus_read(&bus, 0x1234, 3, data));
	cr_assert_arr_eq(data, ((uint8_t[]){0xff, 0xff, 0xff, 0}), 4);
	cr_assert_not(io_bus_read(&bus, 0x1234, 8, data));
	cr_assert_arr_eq(data, ((uint8_t[]){0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}), 9);
	cr_assert_not(io_bus_write(&bus, 0x1234, 4, data));
}

Test(io_bus, access_across_the_end_is_unanswered_and_not_seen)
{
	struct probe a = probe(&dword_ops, 0x100, 4), b = probe(&dword_ops, 0x104, 4);
	uint32_t value = 0;

	cr_assert_eq(io_bus_add(&bus, &a.region), 0);
	cr_assert_eq(io_bus_add(&bus, &b.region), 0);
	cr_assert_not(io_bus_read(&bus, 0x102, 4, &value));
	cr_assert_eq(value, 0xffffffff);
	cr_assert_not(io_bus_write(&bus, 0x106, 4, &value));
	cr_assert_not(io_bus_write(&bus, 0xff, 2, &value));
	cr_assert_eq(a.n + b.n, 0);
}

Test(io_bus, regions_are_found_whatever_the_order_they_came_in)
{
	static struct probe p[IO_BUS_MAX_REGIONS];

	for (unsigned i = 0; i < IO_BUS_MAX_REGIONS; i++) {
		unsigned at = i * 37 % IO_BUS_MAX_REGIONS;

		p[at] = probe(&byte_ops, 0x1000 + at * 0x10, 0x10);
		cr_assert_eq(io_bus_add(&bus, &p[at].region), 0);
	}
	for (unsigned i = 0; i < IO_BUS_MAX_REGIONS; i++) {
		cr_assert_eq(read_n(0x1000 + i * 0x10 + 5, 1), 5);
		cr_assert_eq(p[i].n, 1, "region %u", i);
	}
	struct probe more = probe(&byte_ops, 0, 1);

	cr_assert_eq(io_bus_add(&bus, &more.region), -ENOSPC);
}

Test(io_bus, overlap_is_refused_at_each_side)
{
	struct probe p = probe(&byte_ops, 0x100, 0x10);
	static const struct {
		uint64_t base, size;
		int r;
	} cases[] = {
		{0x100, 0x10, -EEXIST}, {0xff, 2, -EEXIST},	 {0x10f, 1, -EEXIST},
		{0x104, 4, -EEXIST},	{0x80, 0x1000, -EEXIST}, {0, UINT64_MAX, -EEXIST},
		{0xff, 1, 0},		{0x110, 1, 0},		 {0x200, 0, -EINVAL},
	};
	static struct probe others[ARRAY_SIZE(cases)];

	log_set_level(LOG_ERROR);
	log_init(-1, LOG_ERROR);
	cr_assert_eq(io_bus_add(&bus, &p.region), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		others[i] = probe(&byte_ops, cases[i].base, cases[i].size);
		cr_assert_eq(io_bus_add(&bus, &others[i].region), cases[i].r, "case %zu", i);
	}
	cr_assert_eq(bus.n, 3);
}

Test(io_bus, region_may_end_at_2_to_the_64_but_not_wrap)
{
	struct probe top = probe(&qword_ops, UINT64_MAX - 15, 16),
		     wraps = probe(&qword_ops, UINT64_MAX, 2);
	uint64_t value = 0;

	cr_assert_eq(io_bus_add(&bus, &wraps.region), -EINVAL);
	cr_assert_eq(io_bus_add(&bus, &top.region), 0);
	cr_assert_eq(read_n(UINT64_MAX, 1), 15);
	cr_assert_eq(read_n(UINT64_MAX - 7, 8), 0x0f0e0d0c0b0a0908);
	cr_assert_not(io_bus_read(&bus, UINT64_MAX - 3, 8, &value));
	cr_assert_eq(value, UINT64_MAX);
	cr_assert_not(io_bus_write(&bus, UINT64_MAX, 2, &value));
}

Test(io_bus, wide_access_to_a_byte_device_is_split_low_address_first)
{
	struct probe p = probe(&byte_ops, 0x70, 4);
	uint32_t value = 0x44332211;

	cr_assert_eq(io_bus_add(&bus, &p.region), 0);
	cr_assert(io_bus_write(&bus, 0x70, 4, &value));
	cr_assert_eq(p.n, 4);
	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(p.seen[i].offset, i);
		cr_assert_eq(p.seen[i].size, 1);
		cr_assert_eq(p.seen[i].value, 0x11 * (i + 1));
	}
	p.n = 0;
	cr_assert_eq(read_n(0x70, 4), 0x03020100);
}

Test(io_bus, odd_sizes_become_powers_of_two_that_the_device_takes)
{
	struct probe p = probe(&dword_ops, 0, 16);
	uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8};

	cr_assert_eq(io_bus_add(&bus, &p.region), 0);
	cr_assert(io_bus_write(&bus, 1, 7, data));
	cr_assert_eq(p.n, 3);
	cr_assert_eq(p.seen[0].size, 4);
	cr_assert_eq(p.seen[0].offset, 1);
	cr_assert_eq(p.seen[0].value, 0x04030201);
	cr_assert_eq(p.seen[1].size, 2);
	cr_assert_eq(p.seen[1].value, 0x0605);
	cr_assert_eq(p.seen[2].size, 1);
	cr_assert_eq(p.seen[2].offset, 7);
	p.n = 0;
	cr_assert_eq(read_n(4, 8), 0x0b0a090807060504);
	cr_assert_eq(p.n, 2);
}

Test(io_bus, qword_device_gets_one_access)
{
	struct probe p = probe(&qword_ops, 0, 8);
	uint64_t value = 0x1122334455667788;

	cr_assert_eq(io_bus_add(&bus, &p.region), 0);
	cr_assert(io_bus_write(&bus, 0, 8, &value));
	cr_assert_eq(p.n, 1);
	cr_assert_eq(p.seen[0].value, value);
}
