/* SPDX-License-Identifier: Apache-2.0 */
/* Virtqueues as they lie in guest memory: virtio 1.2, 2.7 (split) and 2.8 (packed). */
#ifndef VMM_VIRTIO_VIRTQ_ABI_H
#define VMM_VIRTIO_VIRTQ_ABI_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endian.h"

enum {
	VIRTQ_DESC_F_NEXT = 1 << 0,
	VIRTQ_DESC_F_WRITE = 1 << 1,
	VIRTQ_DESC_F_INDIRECT = 1 << 2,
	VIRTQ_DESC_F_AVAIL = 1 << 7, /* packed only */
	VIRTQ_DESC_F_USED = 1 << 15, /* packed only */
};

/* Bits of virtio 1.2, 6, that change a queue. */
enum {
	VIRTQ_F_INDIRECT_DESC = 28,
	VIRTQ_F_EVENT_IDX = 29,
	VIRTQ_F_RING_PACKED = 34,
	VIRTQ_F_IN_ORDER = 35,
};

/*
 * A descriptor of either format (2.7.5, 2.8.13), in the two halves in which it is loaded. The
 * second half, from its low end: length (32 bits), then split: flags, next; packed: id, flags.
 */
struct virtq_desc {
	le64_t addr;
	le64_t rest;
};
static_assert(sizeof(struct virtq_desc) == 16, "virtio 1.2, 2.7.5");

/* The second half of a packed descriptor, as it is written when it is used (2.8.14). */
struct virtq_packed_used {
	le32_t len;
	le16_t id, flags;
};
static_assert(sizeof(struct virtq_packed_used) == 8, "virtio 1.2, 2.8.14");

/* Driver area of a split queue (2.7.6). used_event follows the ring. */
struct virtq_avail {
	le16_t flags, idx;
	le16_t ring[];
};
static_assert(offsetof(struct virtq_avail, ring) == 4, "virtio 1.2, 2.7.6");

enum { VIRTQ_AVAIL_F_NO_INTERRUPT = 1 };

/* Device area of a split queue (2.7.8): ring entries are id and length, 32 bits each; avail_event
 * follows the ring. */
struct virtq_used {
	le16_t flags, idx;
	le32_t ring[];
};
static_assert(offsetof(struct virtq_used, ring) == 4, "virtio 1.2, 2.7.8");

enum { VIRTQ_USED_F_NO_NOTIFY = 1 };

/* Driver and device area of a packed queue (2.8.14): one of these. From the low end: offset (15
 * bits), wrap counter (1), flags (2 of 16). */
struct virtq_event {
	le32_t word;
};

enum {
	VIRTQ_EVENT_ENABLE = 0,
	VIRTQ_EVENT_DISABLE = 1,
	VIRTQ_EVENT_DESC = 2, /* at that offset; with VIRTIO_F_EVENT_IDX only */
};

#endif
