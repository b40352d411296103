/* SPDX-License-Identifier: Apache-2.0 */
/* Packed virtqueues: virtio 1.2, 2.8. A position is a slot and a wrap counter. */
#include "base/checked.h"
#include "virtio/virtq_internal.h"

struct slot {
	uint16_t i;
	bool wrap;
};

/* n is at most vq->size. */
static struct slot forward(const struct virtq *vq, struct slot from, uint16_t n)
{
	unsigned i = (unsigned)from.i + n;

	if (i < vq->size)
		return (struct slot){(uint16_t)i, from.wrap};
	return (struct slot){(uint16_t)(i - vq->size), !from.wrap};
}

static struct slot back(const struct virtq *vq, struct slot from, uint16_t n)
{
	if (n <= from.i)
		return (struct slot){(uint16_t)(from.i - n), from.wrap};
	return (struct slot){(uint16_t)(from.i + vq->size - n), !from.wrap};
}

/* Slots from one position to a later one, 0 to vq->size. */
static unsigned distance(const struct virtq *vq, struct slot from, struct slot to)
{
	return to.i + (from.wrap == to.wrap ? 0U : vq->size) - from.i;
}

static struct slot next_avail(const struct virtq *vq)
{
	return (struct slot){vq->at.avail, vq->at.avail_wrap};
}

static struct slot next_used(const struct virtq *vq)
{
	return (struct slot){vq->at.used, vq->at.used_wrap};
}

static void set_next_avail(struct virtq *vq, struct slot slot)
{
	vq->at.avail = slot.i;
	vq->at.avail_wrap = slot.wrap;
}

/* A descriptor, copied once. */
struct copy {
	struct virtq_seg seg;
	uint16_t id;
};

static struct copy load_with(const char *table, uint32_t i, uint64_t rest)
{
	return (struct copy){.seg = {.addr = virtq_load_addr(table, i),
				     .len = (uint32_t)rest,
				     .flags = (uint16_t)(rest >> 48)},
			     .id = (uint16_t)(rest >> 32)};
}

static struct copy load(const char *table, uint32_t i)
{
	return load_with(table, i, virtq_load_rest(table, i));
}

/* Loads the second half of a chain's first descriptor; true when the driver has made it available
 * (2.8.1). */
static bool available(const struct virtq *vq, struct slot at, uint64_t *ret_rest)
{
	const struct virtq_desc *ring = vq->desc;
	/* Pairs with the driver's barrier before it writes these flags, its last write of the whole
	 * chain (2.8.21.1): once they are seen, so are all of its descriptors. */
	uint64_t rest = ring_load64_acquire(&ring[at.i].rest);
	uint16_t flags = (uint16_t)(rest >> 48);

	*ret_rest = rest;
	return !(flags & VIRTQ_DESC_F_AVAIL) == !at.wrap && !(flags & VIRTQ_DESC_F_USED) == at.wrap;
}

bool virtq_packed_waits(const struct virtq *vq, uint16_t ahead)
{
	uint64_t rest;

	return available(vq, forward(vq, next_avail(vq), ahead), &rest);
}

/* A chain that is one descriptor with a table, of which every entry counts (2.8.8). */
static int walk_table(struct virtq *vq, struct virtq_chain *chain, unsigned limit,
		      const struct virtq_seg *head)
{
	const char *table;
	uint32_t n;
	int err = virtq_open_table(vq, head, &table, &n);

	for (uint32_t i = 0; !err && i < n; i++) {
		struct virtq_seg seg = load(table, i).seg;

		if (seg.flags & VIRTQ_DESC_F_INDIRECT)
			return virtq_break(vq, -EINVAL, "a table in an indirect table");
		err = virtq_add_seg(vq, chain, limit, &seg);
	}
	return err;
}

/* A list of descriptors, slot by slot; the id is in its last (2.8.6). room: slots that are not in
 * flight. */
static int walk_list(struct virtq *vq, struct virtq_chain *chain, unsigned limit, unsigned room,
		     struct copy desc)
{
	uint16_t i = vq->at.avail;

	for (;;) {
		int err = virtq_add_seg(vq, chain, limit, &desc.seg);

		if (err)
			return err;
		if (!(desc.seg.flags & VIRTQ_DESC_F_NEXT)) {
			chain->id = desc.id;
			return 0;
		}
		if (chain->slots == room)
			return virtq_break(vq, -EINVAL, "a chain longer than what is free");
		chain->slots++;
		i = i + 1 == vq->size ? 0 : i + 1;
		desc = load(vq->desc, i);
		if (desc.seg.flags & VIRTQ_DESC_F_INDIRECT)
			return virtq_break(vq, -EINVAL, "an indirect descriptor in a list");
	}
}

int virtq_packed_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov, unsigned max)
{
	unsigned limit = MIN(max, (unsigned)vq->size), room;
	struct slot at = next_avail(vq);
	struct copy head;
	uint64_t rest;
	int err;

	if (!available(vq, at, &rest))
		return 0;
	/* No driver makes a slot available that it doesn't have back; this holds what is in flight
	 * down to `size`. */
	room = vq->size - distance(vq, next_used(vq), at);
	if (room == 0)
		return virtq_break(vq, -EINVAL, "more chains available than the queue has entries");
	head = load_with(vq->desc, at.i, rest);
	*chain = (struct virtq_chain){.id = head.id, .slots = 1, .iov = iov};
	if (head.seg.flags & VIRTQ_DESC_F_INDIRECT)
		err = walk_table(vq, chain, limit, &head.seg);
	else
		err = walk_list(vq, chain, limit, room, head);
	if (err)
		return err;
	set_next_avail(vq, forward(vq, at, chain->slots));
	virtq_took(vq, chain->slots);
	return 1;
}

void virtq_packed_unpop(struct virtq *vq, const struct virtq_chain *chain)
{
	set_next_avail(vq, back(vq, next_avail(vq), chain->slots));
}

/* The first of a batch gets its flags at the flush, so that the driver, which looks there first,
 * sees the batch at once. */
void virtq_packed_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t written)
{
	struct virtq_desc *desc = (struct virtq_desc *)vq->desc + vq->at.used;
	struct slot next = forward(vq, next_used(vq), chain->slots);
	uint16_t flags = vq->at.used_wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;

	if (written)
		flags |= VIRTQ_DESC_F_WRITE;
	if (vq->pushed) {
		ring_store64(&desc->rest,
			     (uint64_t)flags << 48 | (uint64_t)chain->id << 32 | written);
	} else {
		struct virtq_packed_used *used = (struct virtq_packed_used *)&desc->rest;

		ring_store32(&used->len, written);
		ring_store16(&used->id, chain->id);
		vq->shown_flags = flags;
	}
	vq->at.used = next.i;
	vq->at.used_wrap = next.wrap;
}

/* Does the driver want an interrupt for what was used from `old` up to at.used (2.8.14)? */
static bool interrupt_wanted(const struct virtq *vq, struct slot old)
{
	const struct virtq_event *driver = vq->driver;
	struct slot now = next_used(vq);
	uint32_t word = ring_load32(&driver->word);
	unsigned flags = word >> 16 & 3;
	uint16_t event = word & 0x7fff;

	if (flags == VIRTQ_EVENT_DESC && vq->event_idx) {
		if ((word >> 15 & 1) != now.wrap)
			event = (uint16_t)(event - vq->size);
		return virtq_passed(event, now.i, (uint16_t)(now.i - distance(vq, old, now)));
	}
	return flags != VIRTQ_EVENT_DISABLE;
}

bool virtq_packed_flush(struct virtq *vq)
{
	struct slot old = {vq->shown, vq->shown_wrap};
	struct virtq_desc *desc = (struct virtq_desc *)vq->desc + old.i;
	struct virtq_packed_used *used = (struct virtq_packed_used *)&desc->rest;

	vq->shown = vq->at.used;
	vq->shown_wrap = vq->at.used_wrap;
	/* Pairs with the driver's barrier after it has seen these flags (2.8.22): the whole batch,
	 * and what the device wrote into the buffers, is seen when they are. */
	ring_store16_release(&used->flags, vq->shown_flags);
	/* Pairs with the driver's fence between asking for interrupts and looking at the next used
	 * descriptor: it sees our flags, or we see that it asks. */
	ring_fence();
	return interrupt_wanted(vq, old);
}

void virtq_packed_kicks(struct virtq *vq, bool on)
{
	struct virtq_event *device = vq->device;
	struct slot at = forward(vq, next_avail(vq), vq->given_back);
	uint32_t word;

	if (!on)
		word = VIRTQ_EVENT_DISABLE << 16;
	else if (!vq->event_idx)
		word = VIRTQ_EVENT_ENABLE << 16;
	else
		word = VIRTQ_EVENT_DESC << 16 | (uint32_t)at.wrap << 15 | at.i;
	ring_store32(&device->word, word);
}
