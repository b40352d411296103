/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/virtq.h"

#include "base/checked.h"
#include "virtio/virtq_internal.h"

/* Size in bytes and alignment of the three areas (virtio 1.2, 2.7 and 2.8.10.1). */
struct areas {
	uint64_t desc, driver, device;
	unsigned desc_align, driver_align, device_align;
};

static struct areas areas_of(bool packed, uint64_t size)
{
	if (packed)
		return (struct areas){.desc = 16 * size,
				      .driver = sizeof(struct virtq_event),
				      .device = sizeof(struct virtq_event),
				      .desc_align = 16,
				      .driver_align = 4,
				      .device_align = 4};
	return (struct areas){.desc = 16 * size,
			      .driver = 6 + 2 * size,
			      .device = 6 + 8 * size,
			      .desc_align = 16,
			      .driver_align = 2,
			      .device_align = 4};
}

static bool size_ok(bool packed, uint16_t size)
{
	return size != 0 && size <= VIRTQ_MAX_SIZE && (packed || (size & (size - 1)) == 0);
}

static bool has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

int virtq_start(struct virtq *vq, const struct virtq_config *config, uint64_t features,
		const struct mm_map *map)
{
	struct virtq new = {
		.packed = has(features, VIRTQ_F_RING_PACKED),
		.event_idx = has(features, VIRTQ_F_EVENT_IDX),
		.indirect = has(features, VIRTQ_F_INDIRECT_DESC),
		.in_order = has(features, VIRTQ_F_IN_ORDER),
		.notifying = true,
		.shown_wrap = true,
		.size = config->size,
		.map = map,
		.at = {.avail_wrap = true, .used_wrap = true},
	};
	struct areas areas = areas_of(new.packed, config->size);

	if (!size_ok(new.packed, config->size) || !is_aligned(config->desc, areas.desc_align) ||
	    !is_aligned(config->driver, areas.driver_align) ||
	    !is_aligned(config->device, areas.device_align))
		return -EINVAL;
	new.desc = mm_map_host(map, GPA(config->desc), areas.desc);
	new.driver = mm_map_host(map, GPA(config->driver), areas.driver);
	new.device = mm_map_host(map, GPA(config->device), areas.device);
	if (!new.desc || !new.driver || !new.device)
		return -EFAULT;
	*vq = new;
	return 0;
}

/* What is in flight is never negative and never more than the queue has slots. */
static bool position_ok(const struct virtq *vq, const struct virtq_position *at)
{
	if (!vq->packed)
		return (uint16_t)(at->avail - at->used) <= vq->size;
	if (at->avail >= vq->size || at->used >= vq->size)
		return false;
	return at->avail_wrap == at->used_wrap ? at->avail >= at->used : at->avail <= at->used;
}

int virtq_seek(struct virtq *vq, const struct virtq_position *position)
{
	if (!position_ok(vq, position))
		return -EINVAL;
	vq->at = *position;
	vq->seen = position->avail;
	vq->shown = position->used;
	vq->shown_wrap = position->used_wrap;
	return 0;
}

__attribute__((cold)) int virtq_break(struct virtq *vq, int error, const char *why)
{
	vq->broken = true;
	vq->why = why;
	return error;
}

int virtq_open_table(struct virtq *vq, const struct virtq_seg *seg, const char **ret,
		     uint32_t *ret_n)
{
	const uint32_t each = sizeof(struct virtq_desc);
	const char *table;

	if (!vq->indirect)
		return virtq_break(vq, -EINVAL, "an indirect descriptor, though not negotiated");
	if (seg->flags & VIRTQ_DESC_F_NEXT)
		return virtq_break(vq, -EINVAL, "an indirect descriptor with a next one");
	if (seg->len == 0 || seg->len % each != 0)
		return virtq_break(vq, -EINVAL, "an indirect table of an impossible length");
	table = mm_map_host(vq->map, GPA(seg->addr), seg->len);
	if (!table)
		return virtq_break(vq, -EFAULT, "an indirect table outside of RAM");
	*ret = table;
	*ret_n = seg->len / each;
	return 0;
}

int virtq_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov, unsigned max)
{
	if (vq->broken)
		return -EINVAL;
	return vq->packed ? virtq_packed_pop(vq, chain, iov, max)
			  : virtq_split_pop(vq, chain, iov, max);
}

void virtq_unpop(struct virtq *vq, const struct virtq_chain *chain)
{
	if (vq->packed)
		virtq_packed_unpop(vq, chain);
	else
		vq->at.avail--;
	vq->given_back += chain->slots;
}

void virtq_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t written)
{
	if (vq->packed)
		virtq_packed_push(vq, chain, written);
	else
		virtq_split_push(vq, chain, written);
	vq->pushed = true;
}

bool virtq_flush(struct virtq *vq)
{
	if (!vq->pushed)
		return false;
	vq->pushed = false;
	return vq->packed ? virtq_packed_flush(vq) : virtq_split_flush(vq);
}

static bool waits(const struct virtq *vq, uint16_t ahead)
{
	return !vq->broken &&
	       (vq->packed ? virtq_packed_waits(vq, ahead) : virtq_split_waits(vq, ahead));
}

static void kicks(struct virtq *vq, bool on)
{
	vq->notifying = on;
	if (vq->packed)
		virtq_packed_kicks(vq, on);
	else
		virtq_split_kicks(vq, on);
}

bool virtq_kicks_on(struct virtq *vq)
{
	if (vq->broken)
		return false;
	kicks(vq, true);
	/* Pairs with the driver's fence between making a chain available and reading whether we
	 * want a kick (2.7.13.4.1, 2.8.21.3.1): it sees that we do, or we see its chain. */
	ring_fence();
	return waits(vq, vq->given_back);
}

void virtq_kicks_off(struct virtq *vq)
{
	if (vq->notifying)
		kicks(vq, false);
}

bool virtq_has_work(const struct virtq *vq)
{
	return waits(vq, 0);
}

bool virtq_has_new(const struct virtq *vq)
{
	return waits(vq, vq->given_back);
}

bool virtq_kick_due(const struct virtq *vq)
{
	return vq->notifying && virtq_has_new(vq);
}
