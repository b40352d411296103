/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio driver's side of one queue, split or packed, written from the specification (virtio 1.2,
 * 2.7 and 2.8) and knowing nothing of virtq.c: it drives queues and whole devices in tests.
 *
 *   driver_add()...  driver_publish() -> kick the device if it says so
 *   interrupt: driver_collect() until it returns false
 *
 * One thread at a time; the device may run on another one. What a device must never do (an id that
 * isn't outstanding, more bytes written than there was room for) is an assertion.
 */
#ifndef VMM_TESTS_DRIVER_H
#define VMM_TESTS_DRIVER_H

#include "guest_mem.h"

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct driver_setup {
	uint16_t size; /* split: a power of two */
	bool packed, event_idx, indirect, in_order;
	bool high; /* rings above 4 GiB */
};

struct driver_seg {
	uint64_t gpa;
	uint32_t len;
};

struct driver_used {
	void *cookie; /* of driver_add() */
	uint32_t len; /* that the device says it has written */
};

struct driver_chain; /* outstanding */
struct driver_desc;

struct driver_queue {
	struct driver_setup setup;
	struct guest_mem *mem;
	uint64_t desc_gpa, driver_gpa, device_gpa; /* for the transport's registers */
	void *desc, *driver, *device;
	struct driver_chain *chains; /* by id */
	struct driver_desc *scratch; /* `size` of them, so that only driver_init() allocates */
	uint16_t n_chains;	     /* outstanding: added, not yet collected */
	uint16_t free_slots;
	uint16_t *next_free, free_head; /* descriptors (split) or ids (packed) */
	/* Of free-running 16-bit indices (split), or slots with wrap counters (packed): */
	uint16_t next_avail, next_used, published;
	bool avail_wrap, used_wrap;
	uint16_t added;		 /* ring entries or slots since the last publish */
	uint16_t publish_flags;	 /* packed: of the first slot of the batch, held back */
	uint64_t oldest, newest; /* in_order: sequence numbers */
};

void driver_init(struct driver_queue *q, struct guest_mem *mem, const struct driver_setup *setup);
void driver_done(struct driver_queue *q);
/* Zeroes the rings and forgets what is outstanding, as after a reset of the device or queue. */
void driver_reset(struct driver_queue *q);
/* The bits of `setup` as features, with VIRTIO_F_VERSION_1. */
uint64_t driver_features(const struct driver_queue *q);

/* Adds a chain: n_out segments for the device to read, then n_in for it to write. 0; -ENOSPC when
 * the ring has no room. The device sees it at the next publish. At most `size` segments. */
int driver_add(struct driver_queue *q, const struct driver_seg *segs, unsigned n_out, unsigned n_in,
	       void *cookie) must_check;
/* The same through an indirect table, which takes one slot. */
int driver_add_indirect(struct driver_queue *q, const struct driver_seg *segs, unsigned n_out,
			unsigned n_in, void *cookie) must_check;
/* Shows the device what was added. True: it wants a kick. */
bool driver_publish(struct driver_queue *q);

/* The next chain that the device has used; false when there is none. */
bool driver_collect(struct driver_queue *q, struct driver_used *ret) must_check;
/* Is there something to collect? */
bool driver_has_used(const struct driver_queue *q) must_check;

/* No interrupts, please: a hint. */
void driver_interrupts_off(struct driver_queue *q);
/* An interrupt for the n-th entry from now (packed: slot), 1 is the next; without event_idx for
 * any. True when there is something to collect already, so that no interrupt may come. */
bool driver_interrupts_after(struct driver_queue *q, uint16_t n);
static inline bool driver_interrupts_on(struct driver_queue *q)
{
	return driver_interrupts_after(q, 1);
}

/* ---- raw: what a good driver never does. No book is kept ---- */

struct driver_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags; /* VRING_DESC_F_* */
	uint16_t more;	/* split: next; packed: id */
};

/* Writes descriptors in the queue's format: a table at gpa (2-byte aligned or better). */
void driver_write_table(struct driver_queue *q, uint64_t gpa, const struct driver_desc *descs,
			unsigned n);
/* Split: into the table from index 0 on, and makes `head` available. Packed: into the ring at the
 * next slots, and makes the first available; head is ignored. Then
 * driver_publish(). */
bool driver_add_raw(struct driver_queue *q, const struct driver_desc *descs, unsigned n,
		    uint16_t head);
/* Split only: sets avail.idx. */
void driver_set_avail_idx(struct driver_queue *q, uint16_t idx);

#endif
