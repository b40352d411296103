/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's memory without a guest: RAM at [0, 3 GiB), the PCI hole, RAM at [4 GiB, 4 GiB + 256
 * MiB). Nothing is backed until it is touched; an access past either end of a region ends the test.
 */
#ifndef VMM_TESTS_GUEST_MEM_H
#define VMM_TESTS_GUEST_MEM_H

#include <stdint.h>

#include "base/checked.h"
#include "mm/map.h"

#define GUEST_LOW_END	 GIB(3)
#define GUEST_HIGH_START GIB(4)
#define GUEST_HIGH_END	 (GIB(4) + MIB(256))

struct guest_mem {
	struct mm_map map;
	uint64_t next_low, next_high; /* to be given out */
};

void guest_mem_init(struct guest_mem *mem);
void guest_mem_done(struct guest_mem *mem);

/* Zeroed memory that nobody else gets; align is a power of two. There is no free(). */
uint64_t guest_alloc(struct guest_mem *mem, uint64_t size, uint64_t align);
uint64_t guest_alloc_high(struct guest_mem *mem, uint64_t size, uint64_t align);

/* A host pointer for what the guest itself would do; all of it must be RAM. */
void *guest_ptr(const struct guest_mem *mem, uint64_t gpa, uint64_t len);

#endif
