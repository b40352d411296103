/* SPDX-License-Identifier: Apache-2.0 */
#include "driver.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* The host is little-endian, as the rings are. */
#define load(p)		    __atomic_load_n(p, __ATOMIC_RELAXED)
#define load_acquire(p)	    __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store(p, v)	    __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define fence()		    __atomic_thread_fence(__ATOMIC_SEQ_CST)

enum { AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL, USED = 1 << VRING_PACKED_DESC_F_USED };

struct driver_chain {
	bool outstanding;
	uint16_t slots; /* of the ring */
	void *cookie;
	uint64_t in_bytes, sequence;
	uint64_t table; /* indirect, kept for the next user of the id */
	unsigned table_room;
};

static struct vring_avail *avail_of(const struct driver_queue *q)
{
	return q->driver;
}

static struct vring_used *used_of(const struct driver_queue *q)
{
	return q->device;
}

static uint16_t *used_event(const struct driver_queue *q)
{
	return &avail_of(q)->ring[q->setup.size];
}

static uint16_t *avail_event(const struct driver_queue *q)
{
	return (uint16_t *)&used_of(q)->ring[q->setup.size];
}

/* ---- life ---- */

static uint64_t place(struct driver_queue *q, uint64_t size, uint64_t align, void **ret)
{
	uint64_t gpa = q->setup.high ? guest_alloc_high(q->mem, size, align)
				     : guest_alloc(q->mem, size, align);

	*ret = guest_ptr(q->mem, gpa, size);
	return gpa;
}

static uint64_t driver_area_size(const struct driver_setup *s)
{
	return s->packed ? sizeof(struct vring_packed_desc_event) : 6 + 2 * (uint64_t)s->size;
}

static uint64_t device_area_size(const struct driver_setup *s)
{
	return s->packed ? sizeof(struct vring_packed_desc_event) : 6 + 8 * (uint64_t)s->size;
}

void driver_init(struct driver_queue *q, struct guest_mem *mem, const struct driver_setup *setup)
{
	*q = (struct driver_queue){.setup = *setup, .mem = mem};
	q->desc_gpa = place(q, 16 * (uint64_t)setup->size, 16, &q->desc);
	q->driver_gpa = place(q, driver_area_size(setup), 4, &q->driver);
	q->device_gpa = place(q, device_area_size(setup), 4, &q->device);
	q->chains = calloc(setup->size, sizeof(*q->chains));
	q->next_free = calloc(setup->size, sizeof(*q->next_free));
	q->scratch = calloc(setup->size, sizeof(*q->scratch));
	vmm_assert(q->chains && q->next_free && q->scratch);
	driver_reset(q);
}

void driver_done(struct driver_queue *q)
{
	free(q->chains);
	free(q->next_free);
	free(q->scratch);
}

void driver_reset(struct driver_queue *q)
{
	memset(q->desc, 0, 16 * (size_t)q->setup.size);
	memset(q->driver, 0, driver_area_size(&q->setup));
	memset(q->device, 0, device_area_size(&q->setup));
	for (uint16_t i = 0; i < q->setup.size; i++) {
		q->chains[i].outstanding = false;
		q->next_free[i] = (uint16_t)(i + 1);
	}
	q->n_chains = q->free_head = q->added = 0;
	q->free_slots = q->setup.size;
	q->next_avail = q->next_used = q->published = 0;
	q->avail_wrap = q->used_wrap = true;
	q->oldest = q->newest = 0;
}

uint64_t driver_features(const struct driver_queue *q)
{
	return UINT64_C(1) << VIRTIO_F_VERSION_1 |
	       (uint64_t)q->setup.packed << VIRTIO_F_RING_PACKED |
	       (uint64_t)q->setup.event_idx << VIRTIO_RING_F_EVENT_IDX |
	       (uint64_t)q->setup.indirect << VIRTIO_RING_F_INDIRECT_DESC |
	       (uint64_t)q->setup.in_order << VIRTIO_F_IN_ORDER;
}

/* ---- adding ---- */

static uint16_t take_free(struct driver_queue *q)
{
	uint16_t i = q->free_head;

	q->free_head = q->next_free[i];
	return i;
}

static void give_free(struct driver_queue *q, uint16_t i)
{
	q->next_free[i] = q->free_head;
	q->free_head = i;
}

static uint16_t seg_flags(unsigned i, unsigned n_out, unsigned n)
{
	return (uint16_t)((i >= n_out ? VRING_DESC_F_WRITE : 0) |
			  (i + 1 < n ? VRING_DESC_F_NEXT : 0));
}

static void remember(struct driver_queue *q, uint16_t id, uint16_t slots, uint64_t in_bytes,
		     void *cookie)
{
	struct driver_chain *c = &q->chains[id];

	c->outstanding = true;
	c->slots = slots;
	c->in_bytes = in_bytes;
	c->cookie = cookie;
	c->sequence = q->newest++;
	q->n_chains++;
	q->free_slots -= slots;
}

static void split_write(struct driver_queue *q, uint16_t i, const struct driver_desc *d)
{
	((struct vring_desc *)q->desc)[i] = (struct vring_desc){d->addr, d->len, d->flags, d->more};
}

/* Puts n descriptors into free places, linked; the first one's index. */
static uint16_t split_place(struct driver_queue *q, struct driver_desc *descs, unsigned n)
{
	uint16_t head = take_free(q), at = head;

	for (unsigned i = 0; i < n; i++) {
		uint16_t here = at;

		if (i + 1 < n)
			descs[i].more = at = take_free(q);
		split_write(q, here, &descs[i]);
	}
	return head;
}

static void split_offer(struct driver_queue *q, uint16_t head)
{
	store(&avail_of(q)->ring[q->next_avail & (q->setup.size - 1)], head);
	q->next_avail++;
	q->added++;
}

static uint16_t packed_avail_flags(bool wrap)
{
	return wrap ? AVAIL : USED;
}

static void packed_step(struct driver_queue *q, uint16_t *at, bool *wrap, uint16_t n)
{
	unsigned to = (unsigned)*at + n;

	if (to >= q->setup.size) {
		to -= q->setup.size;
		*wrap = !*wrap;
	}
	*at = (uint16_t)to;
}

/* Writes the next slot; the flags of a batch's first one are held back until it is published. */
static void packed_write(struct driver_queue *q, const struct driver_desc *d)
{
	struct vring_packed_desc *slot = (struct vring_packed_desc *)q->desc + q->next_avail;
	uint16_t flags = d->flags | packed_avail_flags(q->avail_wrap);

	store(&slot->addr, d->addr);
	store(&slot->len, d->len);
	store(&slot->id, d->more);
	if (q->added++ == 0)
		q->publish_flags = flags;
	else
		store(&slot->flags, flags);
	packed_step(q, &q->next_avail, &q->avail_wrap, 1);
}

/* One chain of n descriptors whose flags are made; the id. */
static uint16_t put_chain(struct driver_queue *q, struct driver_desc *descs, unsigned n)
{
	uint16_t id;

	if (!q->setup.packed) {
		id = split_place(q, descs, n);
		split_offer(q, id);
		return id;
	}
	id = take_free(q);
	for (unsigned i = 0; i < n; i++) {
		/* Only the last one's id counts (2.8.6): the others are noise. */
		descs[i].more = i + 1 < n ? (uint16_t)~id : id;
		packed_write(q, &descs[i]);
	}
	return id;
}

static uint64_t make_descs(const struct driver_seg *segs, unsigned n_out, unsigned n_in,
			   struct driver_desc *descs)
{
	uint64_t in_bytes = 0;

	for (unsigned i = 0; i < n_out + n_in; i++) {
		descs[i] = (struct driver_desc){.addr = segs[i].gpa,
						.len = segs[i].len,
						.flags = seg_flags(i, n_out, n_out + n_in)};
		in_bytes += i < n_out ? 0 : segs[i].len;
	}
	return in_bytes;
}

int driver_add(struct driver_queue *q, const struct driver_seg *segs, unsigned n_out, unsigned n_in,
	       void *cookie)
{
	unsigned n = n_out + n_in;
	uint64_t in_bytes;

	vmm_assert(n);
	if (n > q->free_slots)
		return -ENOSPC;
	in_bytes = make_descs(segs, n_out, n_in, q->scratch);
	remember(q, put_chain(q, q->scratch, n), (uint16_t)n, in_bytes, cookie);
	return 0;
}

static uint64_t table_for(struct driver_queue *q, uint16_t id, unsigned n)
{
	struct driver_chain *c = &q->chains[id];

	if (c->table_room < n) {
		c->table = guest_alloc(q->mem, 16 * (uint64_t)n, 16);
		c->table_room = n;
	}
	return c->table;
}

int driver_add_indirect(struct driver_queue *q, const struct driver_seg *segs, unsigned n_out,
			unsigned n_in, void *cookie)
{
	unsigned n = n_out + n_in;
	struct driver_desc head = {.len = 16 * n, .flags = VRING_DESC_F_INDIRECT};
	struct driver_desc *descs = q->scratch;
	uint64_t in_bytes;

	vmm_assert(n && n <= q->setup.size && q->setup.indirect);
	if (q->free_slots == 0)
		return -ENOSPC;
	in_bytes = make_descs(segs, n_out, n_in, descs);
	for (unsigned i = 0; i < n; i++) {
		descs[i].more = (uint16_t)(i + 1);
		if (q->setup.packed) /* only this flag has a meaning (2.8.8) */
			descs[i].flags &= VRING_DESC_F_WRITE;
	}
	head.addr = table_for(q, q->free_head, n);
	driver_write_table(q, head.addr, descs, n);
	remember(q, put_chain(q, &head, 1), 1, in_bytes, cookie);
	return 0;
}

/* ---- publishing ---- */

static bool split_publish(struct driver_queue *q)
{
	uint16_t old = q->published;

	q->published = q->next_avail;
	store_release(&avail_of(q)->idx, q->next_avail); /* the ring and table first (2.7.13.3.1) */
	fence(); /* between idx and what the device wants (2.7.13.4.1) */
	if (q->setup.event_idx)
		return vring_need_event(load(avail_event(q)), q->next_avail, old);
	return !(load(&used_of(q)->flags) & VRING_USED_F_NO_NOTIFY);
}

/* added: slots up to next_avail; what the device wants is in its event structure (2.8.21.3). */
static bool packed_kick_wanted(const struct driver_queue *q, uint16_t added)
{
	struct vring_packed_desc_event event;
	uint32_t word = load((uint32_t *)q->device);
	uint16_t off;

	memcpy(&event, &word, sizeof(event));
	if (event.flags != VRING_PACKED_EVENT_FLAG_DESC)
		return event.flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	vmm_assert(q->setup.event_idx);
	off = event.off_wrap & 0x7fff;
	vmm_assert(off < q->setup.size);
	if (event.off_wrap >> VRING_PACKED_EVENT_F_WRAP_CTR != q->avail_wrap)
		off = (uint16_t)(off - q->setup.size);
	return vring_need_event(off, q->next_avail, (uint16_t)(q->next_avail - added));
}

static bool packed_publish(struct driver_queue *q, uint16_t added)
{
	struct vring_packed_desc *first = (struct vring_packed_desc *)q->desc + q->published;

	q->published = q->next_avail;
	store_release(&first->flags, q->publish_flags); /* everything else first (2.8.21.1) */
	fence(); /* between the flags and what the device wants (2.8.21.3.1) */
	return packed_kick_wanted(q, added);
}

bool driver_publish(struct driver_queue *q)
{
	uint16_t added = q->added;

	q->added = 0;
	if (added == 0)
		return false;
	return q->setup.packed ? packed_publish(q, added) : split_publish(q);
}

/* ---- collecting ---- */

static const struct vring_packed_desc *packed_used_slot(const struct driver_queue *q)
{
	return (const struct vring_packed_desc *)q->desc + q->next_used;
}

bool driver_has_used(const struct driver_queue *q)
{
	uint16_t flags;

	if (!q->setup.packed)
		return load_acquire(&used_of(q)->idx) != q->next_used;
	flags = load_acquire(&packed_used_slot(q)->flags);
	return !(flags & AVAIL) == !q->used_wrap && !(flags & USED) == !q->used_wrap;
}

/* What the device says of the entry at next_used, which is used: its id and length. */
static uint32_t split_take(struct driver_queue *q, uint32_t *ret_len)
{
	const struct vring_used_elem *e = &used_of(q)->ring[q->next_used & (q->setup.size - 1)];
	uint16_t n = (uint16_t)(load(&used_of(q)->idx) - q->next_used);

	vmm_assert(n <= q->n_chains);
	q->next_used++;
	*ret_len = load(&e->len);
	return load(&e->id);
}

static uint32_t packed_take(struct driver_queue *q, uint32_t *ret_len)
{
	const struct vring_packed_desc *slot = packed_used_slot(q);
	uint16_t id = load(&slot->id);

	/* The length counts only where something was written (2.8.7). */
	*ret_len = load(&slot->flags) & VRING_DESC_F_WRITE ? load(&slot->len) : 0;
	vmm_assert(id < q->setup.size);
	packed_step(q, &q->next_used, &q->used_wrap, q->chains[id].slots);
	return id;
}

static void give_back(struct driver_queue *q, uint16_t id, uint16_t slots)
{
	if (q->setup.packed) {
		give_free(q, id);
		return;
	}
	for (uint16_t i = 0; i < slots; i++) {
		/* Read before it is linked elsewhere. The device may write no descriptor. */
		uint16_t next = ((struct vring_desc *)q->desc)[id].next;

		give_free(q, id);
		id = next;
	}
}

bool driver_collect(struct driver_queue *q, struct driver_used *ret)
{
	struct driver_chain *c;
	uint32_t id, len;

	if (!driver_has_used(q))
		return false;
	id = q->setup.packed ? packed_take(q, &len) : split_take(q, &len);
	vmm_assert(id < q->setup.size);
	c = &q->chains[id];
	vmm_assert(c->outstanding);
	vmm_assert(len <= c->in_bytes);
	vmm_assert(!q->setup.in_order || c->sequence == q->oldest);
	q->oldest++;
	c->outstanding = false;
	q->n_chains--;
	q->free_slots += c->slots;
	give_back(q, (uint16_t)id, c->slots);
	*ret = (struct driver_used){.cookie = c->cookie, .len = len};
	return true;
}

/* ---- interrupts ---- */

static void packed_set_event(struct driver_queue *q, uint16_t off_wrap, uint16_t flags)
{
	store((uint32_t *)q->driver, (uint32_t)flags << 16 | off_wrap);
}

void driver_interrupts_off(struct driver_queue *q)
{
	if (q->setup.packed)
		packed_set_event(q, 0, VRING_PACKED_EVENT_FLAG_DISABLE);
	else if (!q->setup.event_idx)
		store(&avail_of(q)->flags, VRING_AVAIL_F_NO_INTERRUPT);
	else /* as far away as can be */
		store(used_event(q), (uint16_t)(q->next_used - 1));
}

static void packed_interrupts_after(struct driver_queue *q, uint16_t n)
{
	uint16_t at = q->next_used;
	bool wrap = q->used_wrap;

	if (!q->setup.event_idx) {
		packed_set_event(q, 0, VRING_PACKED_EVENT_FLAG_ENABLE);
		return;
	}
	packed_step(q, &at, &wrap, (uint16_t)(n - 1));
	packed_set_event(q, (uint16_t)(at | wrap << VRING_PACKED_EVENT_F_WRAP_CTR),
			 VRING_PACKED_EVENT_FLAG_DESC);
}

bool driver_interrupts_after(struct driver_queue *q, uint16_t n)
{
	vmm_assert(n && n <= q->setup.size);
	if (q->setup.packed)
		packed_interrupts_after(q, n);
	else if (q->setup.event_idx)
		store(used_event(q), (uint16_t)(q->next_used + n - 1));
	else
		store(&avail_of(q)->flags, 0);
	fence(); /* between our wish and another look at what is used (2.7.7.1) */
	return driver_has_used(q);
}

/* ---- raw ---- */

void driver_write_table(struct driver_queue *q, uint64_t gpa, const struct driver_desc *descs,
			unsigned n)
{
	char *to = guest_ptr(q->mem, gpa, 16 * (uint64_t)n);

	for (unsigned i = 0; i < n; i++) {
		struct vring_desc split = {descs[i].addr, descs[i].len, descs[i].flags,
					   descs[i].more};
		struct vring_packed_desc packed = {descs[i].addr, descs[i].len, descs[i].more,
						   descs[i].flags};

		memcpy(to + 16 * (size_t)i, q->setup.packed ? (void *)&packed : (void *)&split, 16);
	}
}

bool driver_add_raw(struct driver_queue *q, const struct driver_desc *descs, unsigned n,
		    uint16_t head)
{
	for (unsigned i = 0; i < n; i++) {
		if (q->setup.packed)
			packed_write(q, &descs[i]);
		else
			split_write(q, (uint16_t)i, &descs[i]);
	}
	if (!q->setup.packed)
		split_offer(q, head);
	return driver_publish(q);
}

void driver_set_avail_idx(struct driver_queue *q, uint16_t idx)
{
	store_release(&avail_of(q)->idx, idx);
}
