/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory map: where guest RAM lies in guest-physical space and in this process. Immutable once
 * made, so any thread reads it without a lock. mm_map_host() is the only door from a guest address
 * to a host pointer, and it always takes a length.
 */
#ifndef VMM_MM_MAP_H
#define VMM_MM_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "mm/gpa.h"

struct mm_region {
	gpa_t gpa;
	uint64_t size;	    /* bytes, never 0; gpa + size does not wrap */
	void *host;	    /* where this process has it mapped */
	int fd;		    /* the memfd behind it, borrowed; -1 for anonymous memory */
	uint64_t offset;    /* of the region in fd */
	uint64_t page_size; /* of the huge pages behind it; 0: ordinary pages */
	bool keep;	    /* a file's contents (virtio-pmem): never discarded */
};

enum { MM_MAP_MAX_REGIONS = 16 };

struct mm_map {
	unsigned n;
	struct mm_region regions[MM_MAP_MAX_REGIONS]; /* sorted by gpa, disjoint */
};

/* Puts a region into a map that nobody uses yet. 0; -EEXIST when it overlaps another, -ENOSPC when
 * there are too many. */
int mm_map_add(struct mm_map *map, const struct mm_region *region) must_check;

/* The host pointer for [gpa, gpa + len), or NULL unless all of it lies in one region. len may be 0.
 */
void *mm_map_host(const struct mm_map *map, gpa_t gpa, uint64_t len) must_check;

/* Copy in, copy out, clear. 0, or -EFAULT when the range is not RAM (then nothing was done). */
int mm_map_write(const struct mm_map *map, gpa_t gpa, const void *from, uint64_t len) must_check;
int mm_map_read(const struct mm_map *map, gpa_t gpa, void *to, uint64_t len) must_check;
int mm_map_zero(const struct mm_map *map, gpa_t gpa, uint64_t len) must_check;

#endif
