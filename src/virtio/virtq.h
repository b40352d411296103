/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct virtq: the device's side of one virtqueue, split (virtio 1.2, 2.7) or packed (2.8).
 *
 *   driver                              device (this file)
 *   descriptors, available  --------->  virtq_pop     copies each descriptor once, checks it, and
 *                                                     turns guest addresses into iovecs
 *                                       (the request is done)
 *   used                    <---------  virtq_push    puts it among the used ones, unseen yet
 *                           <---------  virtq_flush   shows the whole batch; interrupt or not?
 *
 * A queue belongs to one thread, that of its loop. No function blocks, locks or allocates. What the
 * guest may have written badly breaks the queue, for good: pop returns -EINVAL or -EFAULT from then
 * on, and the owner sets DEVICE_NEEDS_RESET.
 */
#ifndef VMM_VIRTIO_VIRTQ_H
#define VMM_VIRTIO_VIRTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "mm/map.h"

enum { VIRTQ_MAX_SIZE = 32768 };

/* Where the driver has put it: guest-physical addresses of the descriptor area (split: table),
 * driver area (split: available ring) and device area (split: used ring). */
struct virtq_config {
	uint16_t size; /* split: a power of two; packed: any number, 1 to VIRTQ_MAX_SIZE */
	uint64_t desc, driver, device;
};

/* What is under way between two moments when nothing is in flight; 2.8.1 for the wrap counters. */
struct virtq_position {
	uint16_t avail, used;	    /* next to take, next to fill */
	bool avail_wrap, used_wrap; /* packed only */
};

/* Others read packed, event_idx, indirect, in_order, broken, why, size, at and notifying, and write
 * none. */
struct virtq {
	bool packed, event_idx, indirect;
	bool in_order; /* negotiated: the owner pushes in the order in which it popped */
	bool broken;
	bool notifying; /* kicks are on */
	bool pushed;	/* since the last flush */
	bool shown_wrap;
	uint16_t size;
	uint16_t shown;	      /* at.used (with shown_wrap) as the driver sees it */
	uint16_t shown_flags; /* packed: of the descriptor there, once it is shown */
	uint16_t seen;	      /* split: the last avail.idx that could be */
	uint16_t given_back;  /* slots from at.avail on that virtq_unpop() gave back */
	struct virtq_position at;
	const struct mm_map *map;
	void *desc, *driver, *device; /* host addresses of the three areas */
	const char *why;	      /* it is broken, for a log; else NULL */
};

/*
 * One request of the driver's. Segments that the device reads come first (2.7.4.2). Never more than
 * `size` chains are popped and not yet pushed. But the id is the guest's word: two of these chains
 * can have the same, and in a packed queue it can be any number, so it is no index for the owner.
 */
struct virtq_chain {
	uint16_t id;	      /* split: head index; packed: buffer id */
	uint16_t slots;	      /* ring slots taken; split: 1 */
	uint16_t n_out, n_in; /* segments to read; to write */
	uint64_t out_bytes, in_bytes;
	struct iovec *iov; /* n_out, then n_in; the caller's array */
};

/*
 * features: the negotiated bits of virtio 1.2, 6 (VIRTIO_F_RING_PACKED and so on). map is borrowed
 * and stays. 0; -EINVAL for a size that can't be or a misaligned area, -EFAULT for an area outside
 * RAM. Begins at position 0, wrap counters 1; kicks are on.
 */
int virtq_start(struct virtq *vq, const struct virtq_config *config, uint64_t features,
		const struct mm_map *map) must_check;

/* Goes on from a position kept (vq->at, when nothing was in flight) instead of 0: right after
 * virtq_start(). -EINVAL for one that can't be. */
int virtq_seek(struct virtq *vq, const struct virtq_position *position) must_check;

/*
 * Takes the next available chain: 1, or 0 when there is none, or -errno when the queue is broken.
 * iov has room for max segments. A chain of more than max segments or than the queue has entries, a
 * loop, a segment of length 0 or outside RAM, a readable segment after a writable one, nested or
 * misplaced indirect tables break the queue.
 */
int virtq_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov,
	      unsigned max) must_check;

/* Gives the last popped chain back as if it had not been popped; then the one before it, and so on.
 * Nothing else may be popped between. */
void virtq_unpop(struct virtq *vq, const struct virtq_chain *chain);

/* The chain is done, `written` bytes of its writable segments are valid. Any order unless
 * VIRTIO_F_IN_ORDER. The driver sees it at the next flush. */
void virtq_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t written);

/* Shows what was pushed since the last time. True: the driver wants an interrupt for it. */
bool virtq_flush(struct virtq *vq) must_check;

/*
 * Asks for kicks, or says that none are needed (2.7.7, 2.7.10, 2.8.10). virtq_kicks_on() returns
 * true when there is something to pop already: pop again, a kick may not come. Chains given back
 * by virtq_unpop() don't count: their owner wants to be kicked for the next after them.
 */
bool virtq_kicks_on(struct virtq *vq) must_check;
void virtq_kicks_off(struct virtq *vq);

/* True when a chain waits to be popped, be it one that was given back. */
bool virtq_has_work(const struct virtq *vq) must_check;

/*
 * A queue that somebody else works on: a position as vhost speaks of it (SET_VRING_BASE). Split:
 * the next available index, and what is used is seen in the ring. Packed: 2.8.1's position of
 * available descriptors with its wrap counter in bit 15, and of used ones in the upper half.
 */
uint32_t virtq_vhost_base(const struct virtq *vq) must_check;
/* False for a position that this queue can't have now; then it is not changed. */
bool virtq_take_vhost_base(struct virtq *vq, uint32_t base) must_check;
/* He has left without a word: at the last chain that he has used. Returns how many there are that
 * he may have begun, or UINT32_MAX when the ring doesn't show that (a packed one, or one that
 * nobody can have written so). */
uint32_t virtq_rewind(struct virtq *vq) must_check;

/* For a poller that is there instead of the kick: true when a chain came after those given back;
 * virtq_kick_due(): and kicks are on. */
bool virtq_has_new(const struct virtq *vq) must_check;
bool virtq_kick_due(const struct virtq *vq) must_check;

#endif
