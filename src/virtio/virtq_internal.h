/* SPDX-License-Identifier: Apache-2.0 */
/* Between virtq.c and its two ring formats; nobody else includes it. */
#ifndef VMM_VIRTIO_VIRTQ_INTERNAL_H
#define VMM_VIRTIO_VIRTQ_INTERNAL_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "mm/shared.h"
#include "virtio/virtq.h"
#include "virtio/virtq_abi.h"

/* As their namesakes in virtq.h, on a queue that isn't broken. */
int virtq_split_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov,
		    unsigned max) must_check;
void virtq_split_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t written);
bool virtq_split_flush(struct virtq *vq) must_check;
void virtq_split_kicks(struct virtq *vq, bool on);
int virtq_packed_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov,
		     unsigned max) must_check;
void virtq_packed_unpop(struct virtq *vq, const struct virtq_chain *chain);
void virtq_packed_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t written);
bool virtq_packed_flush(struct virtq *vq) must_check;
void virtq_packed_kicks(struct virtq *vq, bool on);
/* Is there a chain `ahead` slots past the next one to pop? */
bool virtq_split_waits(const struct virtq *vq, uint16_t ahead) must_check;
bool virtq_packed_waits(const struct virtq *vq, uint16_t ahead) must_check;

/* Breaks the queue for good; why is a literal. Returns error. */
int virtq_break(struct virtq *vq, int error, const char *why) must_check;

/* What of a descriptor is the same in both formats, copied out of guest memory. */
struct virtq_seg {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
};

/* The descriptors of an indirect one's table (2.7.5.3, 2.8.8), all in RAM. 0 or -errno, and the
 * queue is broken. */
int virtq_open_table(struct virtq *vq, const struct virtq_seg *seg, const char **ret,
		     uint32_t *ret_n) must_check;

/* Half a descriptor of a table at any alignment, since the specification asks for none where it is
 * an indirect one's. Each is loaded once. */
static inline uint64_t virtq_load_addr(const char *table, uint32_t i)
{
	return ring_load64_unaligned(table + sizeof(struct virtq_desc) * i);
}

static inline uint64_t virtq_load_rest(const char *table, uint32_t i)
{
	return ring_load64_unaligned(table + sizeof(struct virtq_desc) * i +
				     offsetof(struct virtq_desc, rest));
}

/*
 * Puts a segment behind those that the chain has: 0 or -errno, and the queue is broken. As each
 * segment takes one of `limit` places, every walk over descriptors ends, loops included.
 */
static inline int virtq_add_seg(struct virtq *vq, struct virtq_chain *chain, unsigned limit,
				const struct virtq_seg *seg)
{
	unsigned n = chain->n_out + chain->n_in;
	void *host;

	if (n >= limit)
		return virtq_break(vq, -EINVAL, "a chain that is too long, or a loop");
	if (seg->len == 0)
		return virtq_break(vq, -EINVAL, "a segment of length 0");
	host = mm_map_host(vq->map, GPA(seg->addr), seg->len);
	if (!host)
		return virtq_break(vq, -EFAULT, "a segment outside of RAM");
	if (seg->flags & VIRTQ_DESC_F_WRITE) {
		chain->n_in++;
		chain->in_bytes += seg->len;
	} else {
		if (chain->n_in)
			return virtq_break(vq, -EINVAL, "a readable segment after a writable one");
		chain->n_out++;
		chain->out_bytes += seg->len;
	}
	chain->iov[n] = (struct iovec){.iov_base = host, .iov_len = seg->len};
	return 0;
}

/* So many slots were popped, perhaps again. */
static inline void virtq_took(struct virtq *vq, uint16_t slots)
{
	vq->given_back = vq->given_back > slots ? (uint16_t)(vq->given_back - slots) : 0;
}

/*
 * virtio 1.2, 2.7.10.1: has the other side's wish, to hear when the index passes `event`, come true
 * on the way from `old` to `now`? All modulo 65536.
 */
static inline bool virtq_passed(uint16_t event, uint16_t now, uint16_t old)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

#endif
