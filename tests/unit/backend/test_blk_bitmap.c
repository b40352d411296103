/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <pthread.h>

#include "backend/blk_bitmap.h"
#include "base/checked.h"

TestSuite(blk_bitmap, .timeout = 60);

static struct blk_bitmap map;

static void make(uint64_t bits)
{
	cr_assert_eq(blk_bitmap_init(&map, bits), 0);
}

Test(blk_bitmap, runs__agree_with_single_bits)
{
	enum { BITS = 300 };
	bool model[BITS] = {false};
	unsigned seed = 1;

	make(BITS);
	for (unsigned round = 0; round < 40; round++) {
		uint64_t first = (seed = seed * 1103515245 + 12345) / 7 % BITS;
		uint64_t n = 1 + (seed = seed * 1103515245 + 12345) / 7 % 90, run;

		n = MIN(n, BITS - first);
		if (round % 2) /* short ones stay visible */
			n = MIN(n, UINT64_C(3));
		blk_bitmap_set(&map, first, n);
		for (uint64_t i = first; i < first + n; i++)
			model[i] = true;
		for (uint64_t from = 0; from < BITS; from++)
			for (uint64_t most = 1; most <= BITS - from; most += 37) {
				uint64_t expect = 1;

				while (expect < most && model[from + expect] == model[from])
					expect++;
				cr_assert_eq(blk_bitmap_run(&map, from, most, &run), model[from]);
				cr_assert_eq(run, expect, "from %lu, most %lu", from, most);
			}
	}
	blk_bitmap_done(&map);
}

Test(blk_bitmap, a_disk_of_16_tib__costs_what_is_written)
{
	uint64_t bits = TIB(16) / 512, n;

	make(bits);
	cr_assert_not(blk_bitmap_run(&map, 0, 1000, &n));
	blk_bitmap_set(&map, bits - 1, 1);
	cr_assert(blk_bitmap_run(&map, bits - 1, 1, &n));
	cr_assert_not(blk_bitmap_run(&map, bits - 100, 100, &n));
	cr_assert_eq(n, 99);
	blk_bitmap_done(&map);
}

enum { THREADS = 4, PER_THREAD = 20000 };

/* Neighbouring bits belong to different threads. */
static void *set_every_fourth(void *arg)
{
	for (uint64_t i = 0; i < PER_THREAD; i++)
		blk_bitmap_set(&map, i * THREADS + (uintptr_t)arg, 1);
	return NULL;
}

Test(blk_bitmap, bits_set_by_several_threads__are_all_there)
{
	pthread_t threads[THREADS];
	uint64_t n;

	make(THREADS * PER_THREAD);
	for (uintptr_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, set_every_fourth, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_join(threads[i], NULL), 0);
	cr_assert(blk_bitmap_run(&map, 0, THREADS * PER_THREAD, &n));
	cr_assert_eq(n, THREADS * PER_THREAD);
	blk_bitmap_done(&map);
}
