/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/chr_ring.h"
#include "base/checked.h"

static struct chr_ring ring;

static void set_up(void)
{
	cr_assert_eq(chr_ring_init(&ring, 4096), 0);
}

static void tear_down(void)
{
	chr_ring_done(&ring);
}

TestSuite(chr_ring, .init = set_up, .fini = tear_down);

static size_t put(const char *text)
{
	return chr_ring_put(&ring, (const uint8_t *)text, strlen(text));
}

static void fill(size_t n)
{
	static uint8_t bytes[8192];

	cr_assert_eq(chr_ring_put(&ring, bytes, n), n);
}

static void assert_next(const char *text)
{
	const uint8_t *at;
	size_t n = chr_ring_peek(&ring, &at);

	cr_assert_eq(n, strlen(text));
	cr_assert_arr_eq(at, text, n);
}

Test(chr_ring, bytes_come_out_as_they_went_in_across_the_end)
{
	fill(4094);
	chr_ring_drop(&ring, 4093);
	cr_assert_eq(put("abcdef"), 6);
	chr_ring_drop(&ring, 1);
	assert_next("ab");
	chr_ring_drop(&ring, 2);
	assert_next("cdef");
}

Test(chr_ring, full_ring_takes_what_fits)
{
	fill(4090);
	cr_assert_eq(put("0123456789"), 6);
	cr_assert_eq(put("x"), 0);
	chr_ring_drop(&ring, 1);
	cr_assert_eq(put("xy"), 1);
	cr_assert_eq(ring.used, 4096);
}

Test(chr_ring, emptied_ring_starts_at_its_first_byte)
{
	fill(100);
	chr_ring_drop(&ring, 100);
	cr_assert_eq(ring.head, 0);
}

Test(chr_ring, trim_keeps_the_newest_from_the_start_of_a_line)
{
	cr_assert_eq(put("first\nsecond\nthird\n"), 19);
	cr_assert_eq(chr_ring_trim(&ring, 10), 13);
	assert_next("third\n");
	cr_assert_eq(chr_ring_trim(&ring, 10), 0);
	cr_assert_eq(put("no end"), 6);
	cr_assert_eq(chr_ring_trim(&ring, 4), 8);
	assert_next(" end");
}

Test(chr_ring, unused_memory_is_not_resident)
{
	struct chr_ring big = {0};
	unsigned char resident[64];
	size_t pages = 0;

	cr_assert_eq(chr_ring_init(&big, KIB(256)), 0);
	cr_assert_eq(chr_ring_put(&big, (const uint8_t *)"x", 1), 1);
	cr_assert_eq(mincore(big.buf, big.size, resident), 0);
	for (size_t i = 0; i < big.size / (size_t)sysconf(_SC_PAGESIZE); i++)
		pages += resident[i] & 1;
	cr_assert_eq(pages, 1);
	chr_ring_done(&big);
}
