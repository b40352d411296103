/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/paging.h"

enum { PTE_PRESENT_WRITABLE_LARGE = 0x83, LARGE_PAGE = 0x200000 };

extern uint64_t window_pd[]; /* start.S: maps the fifth gigabyte */

static const uint64_t window = 1ULL << 32;

void *paging_map(uint64_t pa)
{
	uint64_t offset = pa % LARGE_PAGE;

	if (pa < window)
		return (void *)(uintptr_t)pa;
	window_pd[0] = (pa - offset) | PTE_PRESENT_WRITABLE_LARGE;
	__asm__ volatile("invlpg (%0)" : : "r"(window) : "memory");
	return (void *)(uintptr_t)(window + offset);
}
