/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM: one stretch of host memory of one of three kinds.
 *
 *   private     anonymous, with transparent huge pages when asked: the cheapest to fault in
 *   shared      a memfd that other processes can map, sealed against resizing
 *   huge pages  a memfd on hugetlbfs, always shared; its pages are reserved when it is made
 *
 * mm_ram_check() tells before anything has started what the host can't give. All on main; prefault
 * makes threads of its own and joins them.
 */
#ifndef VMM_MM_RAM_H
#define VMM_MM_RAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "mm/map.h"

struct mm_ram_opts {
	uint64_t size; /* bytes, a multiple of the page size */
	uint64_t
		page_size; /* 0: ordinary pages; else the hugetlb page size, which implies shared */
	bool shared;
	bool thp; /* advise transparent huge pages; private memory only */
	/* Memory for a guest to be given later (virtio-mem): no huge page is reserved now,
	 * mm_claim() takes them piece by piece. */
	bool on_demand;
};

struct mm_ram {
	void *host; /* aligned to 2 MiB or to the huge page */
	uint64_t size;
	uint64_t page_size; /* as in the options */
	int fd;		    /* -1 for private memory */
};

/* 0, or -ENOMEM and the like with a message that says how much there is and how to get more. */
int mm_ram_check(const struct mm_ram_opts *opts, struct err *err) must_check;

int mm_ram_new(const struct mm_ram_opts *opts, struct mm_ram **ret, struct err *err) must_check;
struct mm_ram *mm_ram_free(struct mm_ram *ram);

/* The part of it at offset as a region of a map. */
void mm_ram_region(const struct mm_ram *ram, gpa_t gpa, uint64_t offset, uint64_t size,
		   struct mm_region *ret);

/*
 * Lays RAM out in guest-physical space: [0, hole_start) and the rest from hole_end up. Both are
 * multiples of 1 GiB, so that any page size maps one to one.
 */
void mm_ram_layout(const struct mm_ram *ram, uint64_t hole_start, uint64_t hole_end,
		   struct mm_map *ret);

/* Gives every page back: the guest reads zeros from now on. No vCPU may run. 0 or -errno. */
int mm_ram_clear(const struct mm_ram *ram) must_check;

/*
 * Touches every page with `threads` threads. progress (may be NULL) is called on the caller's
 * thread, about every 64 MiB. enter (may be NULL) is each worker's first act. 0 or -errno with a
 * message.
 */
struct mm_prefault {
	unsigned threads;
	int (*enter)(const struct mm_prefault *how);
	void (*progress)(uint64_t done, uint64_t total);
	bool (*cancelled)(void); /* asked on the caller's thread; may be NULL */
};
int mm_ram_prefault(const struct mm_ram *ram, const struct mm_prefault *how,
		    struct err *err) must_check;

#endif
