/* SPDX-License-Identifier: Apache-2.0 */
/* A virtq and its driver, face to face over a guest memory. */
#ifndef VMM_TESTS_QUEUE_WORLD_H
#define VMM_TESTS_QUEUE_WORLD_H

#include "driver.h"

#include <stdint.h>

#include "virtio/virtq.h"

struct queue_world {
	struct guest_mem mem;
	struct driver_queue dq;
	struct virtq vq;
	uint64_t buf; /* a page of guest memory */
};

/* All 32 combinations of packed, event_idx, indirect, in_order and high, at this size. */
enum { WORLD_COMBINATIONS = 32 };
struct driver_setup world_setup(unsigned combination, uint16_t size);
/* For messages: "packed event_idx ...". Static memory. */
const char *world_name(const struct driver_setup *setup);

void world_init(struct queue_world *w, const struct driver_setup *setup);
void world_done(struct queue_world *w);
/* virtq_start() anew on the driver's rings, at position 0. */
void world_start(struct queue_world *w);
struct virtq_config world_config(const struct queue_world *w);

/* The same as virtq_...(), for who doesn't look at the answer. */
bool world_flush(struct queue_world *w);
bool world_kicks_on(struct queue_world *w);

/* n chains of one writable segment, published at once: does the driver kick? */
bool world_add(struct queue_world *w, unsigned n);
/* Pops, pushes and flushes n of them: does the device interrupt? */
bool world_use(struct queue_world *w, unsigned n);
/* Collects n, and there are no more. */
void world_collect(struct queue_world *w, unsigned n);

#endif
