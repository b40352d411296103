/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/blk_bitmap.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/checked.h"

enum { WORD = 64 };

static uint64_t map_bytes(uint64_t bits)
{
	return (bits / WORD + 1) * sizeof(uint64_t);
}

int blk_bitmap_init(struct blk_bitmap *map, uint64_t bits)
{
	void *at = mmap(NULL, map_bytes(bits), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	*map = (struct blk_bitmap){.words = at, .bits = bits};
	return 0;
}

void blk_bitmap_done(struct blk_bitmap *map)
{
	if (map->words)
		(void)munmap(map->words, map_bytes(map->bits));
	map->words = NULL;
}

/* Bits low to low + n - 1, which lie in one word. */
static uint64_t mask(unsigned low, uint64_t n)
{
	return n >= WORD ? UINT64_MAX : ((UINT64_C(1) << n) - 1) << low;
}

void blk_bitmap_set(struct blk_bitmap *map, uint64_t first, uint64_t n)
{
	vmm_assert(range_inside(first, n, 0, map->bits));
	while (n) {
		unsigned low = first % WORD;
		uint64_t here = MIN(n, (uint64_t)(WORD - low));

		atomic_fetch_or_explicit(&map->words[first / WORD], mask(low, here),
					 memory_order_release);
		first += here;
		n -= here;
	}
}

bool blk_bitmap_run(const struct blk_bitmap *map, uint64_t first, uint64_t n, uint64_t *ret_n)
{
	uint64_t flip = 0, run = 0;
	bool value = false;

	vmm_assert(range_inside(first, n, 0, map->bits));
	while (run < n) {
		unsigned low = (first + run) % WORD;
		uint64_t here = MIN(n - run, (uint64_t)(WORD - low));
		uint64_t word = atomic_load_explicit(&map->words[(first + run) / WORD],
						     memory_order_acquire);

		if (run == 0) {
			value = word >> low & 1;
			flip = value ? UINT64_MAX : 0;
		}
		word = (word ^ flip) & mask(low, here); /* the bits that differ */
		if (word) {
			run += (unsigned)__builtin_ctzll(word) - low;
			break;
		}
		run += here;
	}
	*ret_n = run;
	return value;
}
