/* SPDX-License-Identifier: Apache-2.0 */
/* Split virtqueues: virtio 1.2, 2.7. Positions run free, modulo 65536. */
#include "base/checked.h"
#include "virtio/virtq_internal.h"

/* The 16 bits behind each ring (2.7.6, 2.7.8). */
static const le16_t *used_event(const struct virtq *vq)
{
	const struct virtq_avail *avail = vq->driver;

	return &avail->ring[vq->size];
}

static le16_t *avail_event(const struct virtq *vq)
{
	struct virtq_used *used = vq->device;

	return (le16_t *)&used->ring[2 * vq->size];
}

/* How far the driver says that it has come. */
static uint16_t look(const struct virtq *vq)
{
	const struct virtq_avail *avail = vq->driver;

	/* Pairs with the driver's barrier between the ring and idx (2.7.13.3.1): the ring entries
	 * and descriptors up to there are seen whole. */
	return ring_load16_acquire(&avail->idx);
}

bool virtq_split_waits(const struct virtq *vq, uint16_t ahead)
{
	uint16_t from = (uint16_t)(vq->at.avail + ahead);

	return vq->seen != from || look(vq) != from;
}

/* 1, 0 or -errno. No driver can have more chains under way than it has descriptors; that also holds
 * what is in flight down to `size`. */
static int more(struct virtq *vq)
{
	uint16_t idx = look(vq);
	uint16_t pending = (uint16_t)(idx - vq->at.avail);
	uint16_t in_flight = (uint16_t)(vq->at.avail - vq->at.used);

	if (pending + in_flight > vq->size)
		return virtq_break(vq, -EINVAL, "more chains available than the queue has entries");
	vq->seen = idx;
	return pending != 0;
}

/* A descriptor, copied once. */
static struct virtq_seg load(const char *table, uint16_t i, uint16_t *ret_next)
{
	uint64_t rest = virtq_load_rest(table, i);

	*ret_next = (uint16_t)(rest >> 48);
	return (struct virtq_seg){.addr = virtq_load_addr(table, i),
				  .len = (uint32_t)rest,
				  .flags = (uint16_t)(rest >> 32)};
}

/* Direct descriptors, of which the last may lead to a table (2.7.5.3.2). */
static int walk(struct virtq *vq, struct virtq_chain *chain, unsigned limit)
{
	const char *table = vq->desc;
	uint32_t n = vq->size;
	uint16_t i = chain->id;
	bool indirect = false;
	int err;

	for (;;) {
		struct virtq_seg seg = load(table, i, &i);

		if (seg.flags & VIRTQ_DESC_F_INDIRECT) {
			if (indirect)
				return virtq_break(vq, -EINVAL, "a table in an indirect table");
			err = virtq_open_table(vq, &seg, &table, &n);
			indirect = true;
			i = 0;
		} else {
			err = virtq_add_seg(vq, chain, limit, &seg);
			if (!(seg.flags & VIRTQ_DESC_F_NEXT))
				return err;
		}
		if (err)
			return err;
		if (i >= n)
			return virtq_break(vq, -EINVAL, "a next descriptor past the table's end");
	}
}

int virtq_split_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov, unsigned max)
{
	const struct virtq_avail *avail = vq->driver;
	uint16_t head;
	int ret;

	if (vq->seen == vq->at.avail) {
		ret = more(vq);
		if (ret <= 0)
			return ret;
	}
	head = ring_load16(&avail->ring[vq->at.avail & (vq->size - 1)]);
	if (head >= vq->size)
		return virtq_break(vq, -EINVAL, "a chain's head past the table's end");
	*chain = (struct virtq_chain){.id = head, .slots = 1, .iov = iov};
	ret = walk(vq, chain, MIN(max, (unsigned)vq->size));
	if (ret)
		return ret;
	vq->at.avail++;
	virtq_took(vq, 1);
	return 1;
}

void virtq_split_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t written)
{
	struct virtq_used *used = vq->device;
	le32_t *elem = &used->ring[2 * (vq->at.used & (vq->size - 1))];

	ring_store32(&elem[0], chain->id);
	ring_store32(&elem[1], written);
	vq->at.used++;
}

bool virtq_split_flush(struct virtq *vq)
{
	const struct virtq_avail *avail = vq->driver;
	struct virtq_used *used = vq->device;
	uint16_t old = vq->shown, now = vq->at.used;

	vq->shown = now;
	/* Pairs with the driver's barrier after it has read idx (2.7.14): the elements, and what
	 * the device wrote into the buffers, are seen when idx is. */
	ring_store16_release(&used->idx, now);
	/* Pairs with the driver's fence between asking for interrupts and looking at idx once more:
	 * it sees our idx, or we see that it asks. */
	ring_fence();
	if (vq->event_idx)
		return virtq_passed(ring_load16(used_event(vq)), now, old);
	return !(ring_load16(&avail->flags) & VIRTQ_AVAIL_F_NO_INTERRUPT);
}

void virtq_split_kicks(struct virtq *vq, bool on)
{
	struct virtq_used *used = vq->device;

	if (!vq->event_idx)
		ring_store16(&used->flags, on ? 0 : VIRTQ_USED_F_NO_NOTIFY);
	else if (on)
		ring_store16(avail_event(vq), (uint16_t)(vq->at.avail + vq->given_back));
	/* else: the driver has passed avail_event, or does so once more */
}
