/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory given back to the host. What is discarded reads as zeros from then on and costs
 * nothing until it is touched again. Balloon, free page reporting and virtio-mem live on it.
 *
 * It pulls pages away from under whoever holds them: fixed io_uring buffers over guest RAM and VFIO
 * would go on with the old ones, and the guest would see others. So both sides say what they are
 * while the machine is built, and a clash is a configuration error.
 */
#ifndef VMM_MM_DISCARD_H
#define VMM_MM_DISCARD_H

#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "mm/map.h"

/*
 * Discards [gpa, gpa + len), which may reach over several regions, in whole pages: where the region
 * has huge pages, what is smaller than one stays. *ret_bytes is what was given back, which may be
 * 0. 0; -EFAULT when any of it is no RAM or belongs to a file that is kept (then nothing was done);
 * -errno of the host. Any thread; whoever uses the memory meanwhile sees old bytes or zeros.
 */
int mm_discard(const struct mm_map *map, gpa_t gpa, uint64_t len, uint64_t *ret_bytes) must_check;

/* The same for a range that mm_map_host() or a virtqueue gave; it lies in one region. */
int mm_discard_host(const struct mm_map *map, const void *host, uint64_t len,
		    uint64_t *ret_bytes) must_check;

/* Takes huge pages for all of the range now, so that a shortage is told here (-ENOSPC; some
 * of it may have been taken) and is not the guest's death when it touches them. Nothing for
 * ordinary pages. As for the rest, like mm_discard(). */
int mm_claim(const struct mm_map *map, gpa_t gpa, uint64_t len) must_check;

/* The largest page in RAM that can be discarded: what is smaller may stay. Ordinary pages: 4096. */
uint64_t mm_discard_granule(const struct mm_map *map);

/* ---- who may not have it, and who needs it; main only ---- */

struct mm_discard_ledger {
	unsigned blocks, requires;
	const char *blocker, *requirer; /* the first of each, borrowed: option or device id */
};

/* 0, or -EBUSY with a message that names both. unblock and unrequire take one back. */
int mm_discard_block(struct mm_discard_ledger *ledger, const char *who, struct err *err) must_check;
int mm_discard_require(struct mm_discard_ledger *ledger, const char *who,
		       struct err *err) must_check;
void mm_discard_unblock(struct mm_discard_ledger *ledger);
void mm_discard_unrequire(struct mm_discard_ledger *ledger);

#endif
