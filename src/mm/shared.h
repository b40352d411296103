/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads and stores on memory that a guest or another process writes at the same time: rings. Each
 * is one access of its width, neither torn nor repeated, so that a value checked is the value used.
 * Relaxed unless the name says otherwise; addresses are naturally aligned unless it says otherwise.
 *
 * An acquire load pairs with a release store by the other side (or its write barrier): what it
 * wrote before is seen after. ring_fence() orders a store of ours before a load of ours, which
 * neither of the others does; it pairs with a full fence between a store and a load of the other
 * side, and then at least one of the two sees what the other has stored.
 */
#ifndef VMM_MM_SHARED_H
#define VMM_MM_SHARED_H

#include <stdint.h>

#include "base/endian.h"

static inline uint16_t ring_load16(const le16_t *p)
{
	return le16toh(__atomic_load_n(&p->raw, __ATOMIC_RELAXED));
}

static inline uint16_t ring_load16_acquire(const le16_t *p)
{
	return le16toh(__atomic_load_n(&p->raw, __ATOMIC_ACQUIRE));
}

static inline uint32_t ring_load32(const le32_t *p)
{
	return le32toh(__atomic_load_n(&p->raw, __ATOMIC_RELAXED));
}

static inline uint64_t ring_load64_acquire(const le64_t *p)
{
	return le64toh(__atomic_load_n(&p->raw, __ATOMIC_ACQUIRE));
}

/* Any alignment: read once, though perhaps in pieces where it crosses a cache line. */
static inline uint64_t ring_load64_unaligned(const void *p)
{
	struct __attribute__((packed, may_alias)) any {
		uint64_t raw;
	};

	return le64toh(((const volatile struct any *)p)->raw);
}

static inline void ring_store16(le16_t *p, uint16_t v)
{
	__atomic_store_n(&p->raw, htole16(v), __ATOMIC_RELAXED);
}

static inline void ring_store16_release(le16_t *p, uint16_t v)
{
	__atomic_store_n(&p->raw, htole16(v), __ATOMIC_RELEASE);
}

static inline void ring_store32(le32_t *p, uint32_t v)
{
	__atomic_store_n(&p->raw, htole32(v), __ATOMIC_RELAXED);
}

static inline void ring_store64(le64_t *p, uint64_t v)
{
	__atomic_store_n(&p->raw, htole64(v), __ATOMIC_RELAXED);
}

static inline void ring_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif
