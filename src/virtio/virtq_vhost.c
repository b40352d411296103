/* SPDX-License-Identifier: Apache-2.0 */
/* Where a queue stands that a vhost back end works on. */
#include "virtio/virtq_internal.h"

enum { WRAP = 1 << 15 };

static uint16_t used_index(const struct virtq *vq)
{
	const struct virtq_used *used = vq->device;

	return ring_load16_acquire(&used->idx);
}

static uint16_t avail_index(const struct virtq *vq)
{
	const struct virtq_avail *avail = vq->driver;

	return ring_load16_acquire(&avail->idx);
}

uint32_t virtq_vhost_base(const struct virtq *vq)
{
	const struct virtq_position *at = &vq->at;

	if (!vq->packed)
		return at->avail;
	return (uint32_t)(at->avail | at->avail_wrap * WRAP) |
	       (uint32_t)(at->used | at->used_wrap * WRAP) << 16;
}

/* What was used is in the ring; no more than that can be behind the next to take, and no more than
 * is available before it. */
static bool take_split(struct virtq *vq, uint16_t avail)
{
	uint16_t used = used_index(vq), limit = avail_index(vq);

	if ((uint16_t)(avail - used) > vq->size || (uint16_t)(limit - avail) > vq->size)
		return false;
	return virtq_seek(vq, &(struct virtq_position){.avail = avail, .used = used}) == 0;
}

/* DPDK leaves the upper half 0: it has used all that it has taken. */
static bool take_packed(struct virtq *vq, uint32_t base)
{
	uint32_t used = base >> 16 ? base >> 16 : base;
	const struct virtq_position at = {.avail = base & (WRAP - 1),
					  .avail_wrap = base & WRAP,
					  .used = used & (WRAP - 1),
					  .used_wrap = used & WRAP};

	return virtq_seek(vq, &at) == 0;
}

bool virtq_take_vhost_base(struct virtq *vq, uint32_t base)
{
	if (vq->packed)
		return take_packed(vq, base);
	return base <= UINT16_MAX && take_split(vq, (uint16_t)base);
}

uint32_t virtq_rewind(struct virtq *vq)
{
	uint16_t used, begun;

	if (vq->packed)
		return UINT32_MAX;
	used = used_index(vq);
	begun = (uint16_t)(avail_index(vq) - used);
	if (begun > vq->size ||
	    virtq_seek(vq, &(struct virtq_position){.avail = used, .used = used}) < 0)
		return UINT32_MAX;
	return begun;
}
