/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One bit for each sector of a disk: which ones a layer has. Any number of threads; bits are only
 * ever set. A reader that was told (by way of the guest) that a write is done sees its bits.
 */
#ifndef VMM_BACKEND_BLK_BITMAP_H
#define VMM_BACKEND_BLK_BITMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct blk_bitmap {
	_Atomic uint64_t *words;
	uint64_t bits;
};

/* Memory is taken as bits are set. 0 or -errno. */
int blk_bitmap_init(struct blk_bitmap *map, uint64_t bits) must_check;
void blk_bitmap_done(struct blk_bitmap *map);

void blk_bitmap_set(struct blk_bitmap *map, uint64_t first, uint64_t n);

/* The value of bit `first`, and in *ret_n how many from there on, at most n, have it too. n is not
 * 0. */
bool blk_bitmap_run(const struct blk_bitmap *map, uint64_t first, uint64_t n, uint64_t *ret_n);

#endif
