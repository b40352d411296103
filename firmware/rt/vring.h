/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of one virtqueue, split (virtio 1.2, 2.7) or packed (2.8), for guests that
 * poll: a request is a row of buffers, and an index of the driver's own comes back with it. All
 * inline, so that a guest at CPL 3 carries its own copy.
 */
#ifndef GUEST_VRING_H
#define GUEST_VRING_H

#include <stdbool.h>
#include <stdint.h>

enum {
	VRING_MAX = 256,
	VRING_NEXT = 1,
	VRING_WRITE = 2,
	VRING_AVAIL = 1 << 7,
	VRING_USED = 1 << 15
};

struct vring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags_or_id; /* split: flags; packed: id */
	uint16_t next_or_flags;
};

/* Page-aligned. */
struct vring_memory {
	struct vring_desc desc[VRING_MAX];
	union {
		struct {
			uint16_t flags, idx, ring[VRING_MAX], used_event;
		} avail;
		struct {
			uint16_t off_wrap, flags;
		} event;
	} driver __attribute__((aligned(64)));
	union {
		struct {
			uint16_t flags, idx;
			struct {
				uint32_t id, len;
			} ring[VRING_MAX];
			uint16_t avail_event;
		} used;
		struct {
			uint16_t off_wrap, flags;
		} event;
	} device __attribute__((aligned(64)));
};

struct vring {
	struct vring_memory *m;
	uint16_t size;
	bool packed;
	uint16_t next, seen; /* split: avail.idx, used.idx; packed: slots */
	bool next_wrap, seen_wrap;
	uint16_t slots[VRING_MAX]; /* packed: by id, how many it took */
};

struct vring_buffer {
	const void *at;
	uint32_t len;
	bool written; /* by the device */
};

static inline void vring_init(struct vring *v, struct vring_memory *m, uint16_t size, bool packed)
{
	v->m = m;
	v->size = size;
	v->packed = packed;
	v->next = v->seen = 0;
	v->next_wrap = v->seen_wrap = true;
}

static inline void vring_add_split(struct vring *v, uint16_t id, const struct vring_buffer *b,
				   unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		v->m->desc[id + i] = (struct vring_desc){
			.addr = (uintptr_t)b[i].at,
			.len = b[i].len,
			.flags_or_id = (uint16_t)((b[i].written ? VRING_WRITE : 0) |
						  (i + 1 < n ? VRING_NEXT : 0)),
			.next_or_flags = (uint16_t)(id + i + 1)};
	v->m->driver.avail.ring[v->next & (v->size - 1)] = id;
	v->next++;
}

static inline uint16_t vring_packed_flags(bool wrap)
{
	return wrap ? VRING_AVAIL : VRING_USED;
}

static inline void vring_add_packed(struct vring *v, uint16_t id, const struct vring_buffer *b,
				    unsigned n)
{
	uint16_t first = v->next, first_flags = 0;

	for (unsigned i = 0; i < n; i++) {
		struct vring_desc *d = &v->m->desc[v->next];
		uint16_t flags =
			(uint16_t)(vring_packed_flags(v->next_wrap) |
				   (b[i].written ? VRING_WRITE : 0) | (i + 1 < n ? VRING_NEXT : 0));

		d->addr = (uintptr_t)b[i].at;
		d->len = b[i].len;
		d->flags_or_id = id;
		if (i == 0)
			first_flags = flags;
		else
			d->next_or_flags = flags;
		if (++v->next == v->size) {
			v->next = 0;
			v->next_wrap = !v->next_wrap;
		}
	}
	v->slots[id] = (uint16_t)n;
	__atomic_store_n(&v->m->desc[first].next_or_flags, first_flags, __ATOMIC_RELEASE);
}

/* id: the driver's, below the ring's size; split rings use the n descriptors from id on for it. */
static inline void vring_add(struct vring *v, uint16_t id, const struct vring_buffer *b, unsigned n)
{
	if (v->packed)
		vring_add_packed(v, id, b, n);
	else
		vring_add_split(v, id, b, n);
}

/* After one or more vring_add(): the device may see them. True: it wants a kick. */
static inline bool vring_publish(struct vring *v)
{
	if (!v->packed)
		__atomic_store_n(&v->m->driver.avail.idx, v->next, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return v->packed ? __atomic_load_n(&v->m->device.event.flags, __ATOMIC_RELAXED) != 1
			 : !(__atomic_load_n(&v->m->device.used.flags, __ATOMIC_RELAXED) & 1);
}

/* The device shall not interrupt. */
static inline void vring_no_interrupts(struct vring *v)
{
	if (v->packed)
		v->m->driver.event.flags = 1;
	else
		v->m->driver.avail.flags = 1;
}

/* The id of the next request that is done, and the bytes written; -1: none. */
static inline int vring_take(struct vring *v, uint32_t *ret_len)
{
	uint16_t flags, id;

	if (!v->packed) {
		if (__atomic_load_n(&v->m->device.used.idx, __ATOMIC_ACQUIRE) == v->seen)
			return -1;
		*ret_len = v->m->device.used.ring[v->seen & (v->size - 1)].len;
		return (int)v->m->device.used.ring[v->seen++ & (v->size - 1)].id;
	}
	flags = __atomic_load_n(&v->m->desc[v->seen].next_or_flags, __ATOMIC_ACQUIRE);
	if (!!(flags & VRING_AVAIL) != v->seen_wrap || !!(flags & VRING_USED) != v->seen_wrap)
		return -1;
	*ret_len = v->m->desc[v->seen].len;
	id = v->m->desc[v->seen].flags_or_id;
	v->seen = (uint16_t)(v->seen + v->slots[id]);
	if (v->seen >= v->size) {
		v->seen = (uint16_t)(v->seen - v->size);
		v->seen_wrap = !v->seen_wrap;
	}
	return id;
}

#endif
