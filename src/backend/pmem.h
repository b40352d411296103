/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that the guest sees as persistent memory: opened, locked and mapped. Main.
 *
 * To write, it is mapped shared: what the guest writes is in the file's pages at once, and on the
 * disk after a flush. Read-only, it is mapped privately and the guest's memory slot is read-only as
 * well: what a guest writes is lost, so that it has to mount it read-only.
 */
#ifndef VMM_BACKEND_PMEM_H
#define VMM_BACKEND_PMEM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "mm/map.h"

enum { PMEM_ALIGN = 2 << 20 }; /* of its size, and of its place for the guest and in vmm */

struct pmem_opts {
	const char *path;
	uint64_t size; /* map this much from its start, a multiple of PMEM_ALIGN; 0: all of it */
	bool ro;
	bool no_lock; /* lock=off */
};

struct pmem {
	int fd;
	bool ro;
	void *host; /* aligned to PMEM_ALIGN */
	uint64_t size;
};

/* Opens by path: before the lock-down. 0, or -errno with a message that says what to do. */
int pmem_new(const struct pmem_opts *opts, struct pmem **ret, struct err *err) must_check;
struct pmem *pmem_free(struct pmem *p);

/* It as a region of guest memory. */
void pmem_region(const struct pmem *p, gpa_t gpa, struct mm_region *ret);

#endif
