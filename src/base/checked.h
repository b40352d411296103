/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checked arithmetic. Whatever comes from a guest, a file or a socket passes through here before it
 * is an index, a size or an offset. Each ckd_* returns true when the result does not fit (C23's
 * convention).
 */
#ifndef VMM_BASE_CHECKED_H
#define VMM_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#define ckd_add(ret, a, b) __builtin_add_overflow(a, b, ret)
#define ckd_sub(ret, a, b) __builtin_sub_overflow(a, b, ret)
#define ckd_mul(ret, a, b) __builtin_mul_overflow(a, b, ret)

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)
#define TIB(n) ((uint64_t)(n) << 40)

#define MIN(a, b)                                                                                  \
	({                                                                                         \
		__typeof__(a) min_a_ = (a);                                                        \
		__typeof__(b) min_b_ = (b);                                                        \
		min_a_ < min_b_ ? min_a_ : min_b_;                                                 \
	})
#define MAX(a, b)                                                                                  \
	({                                                                                         \
		__typeof__(a) max_a_ = (a);                                                        \
		__typeof__(b) max_b_ = (b);                                                        \
		max_a_ > max_b_ ? max_a_ : max_b_;                                                 \
	})

/* `align` is a power of two. align_up wraps to 0 past the end: check v first where it is not ours.
 */
static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return align_down(v + align - 1, align);
}

static inline bool is_aligned(uint64_t v, uint64_t align)
{
	return (v & (align - 1)) == 0;
}

/* True if [start, start + len) lies in [base, base + size), without wrapping. */
static inline bool range_inside(uint64_t start, uint64_t len, uint64_t base, uint64_t size)
{
	return start >= base && start - base <= size && len <= size - (start - base);
}

#endif
