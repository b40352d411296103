/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes that wait for the loop's thread: a plain byte ring, no locks and no policy of its own.
 * Its memory is mapped and lazily touched, and an emptied ring starts again at its first page, so
 * it only ever costs what the largest burst needed.
 */
#ifndef VMM_BACKEND_CHR_RING_H
#define VMM_BACKEND_CHR_RING_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct chr_ring {
	uint8_t *buf;
	size_t size, head, used; /* head: the oldest byte */
};

int chr_ring_init(struct chr_ring *ring, size_t size) must_check;
void chr_ring_done(struct chr_ring *ring); /* also for one that is all zero */

/* Returns how many bytes found room. */
size_t chr_ring_put(struct chr_ring *ring, const uint8_t *bytes, size_t n);
/* The oldest bytes that lie in one piece; returns their number. They stay until chr_ring_drop(). */
size_t chr_ring_peek(const struct chr_ring *ring, const uint8_t **ret);
void chr_ring_drop(struct chr_ring *ring, size_t n);
/* Drops the oldest bytes until at most `keep` are left and a line begins; returns how many went. */
size_t chr_ring_trim(struct chr_ring *ring, size_t keep);

#endif
