/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtqueue, split or packed, over a memory image that is the input's: what a guest can do to the
 * walk of its rings. Input: flags, size (2 bytes), places of the three areas (2 bytes each), number
 * of operations, the operations, the image. What is popped must lie in memory and be no more than
 * was asked for.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/endian.h"
#include "virtio/virtq.h"
#include "virtio/virtq_abi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LOW = 65536, HIGH = 4096, HEADER = 10, MAX_SEGS = 32, MAX_IN_FLIGHT = 64 };

struct world {
	struct mm_map map;
	struct virtq vq;
	struct virtq_chain in_flight[MAX_IN_FLIGHT];
	unsigned n_in_flight;
	bool unpoppable; /* the last thing popped or pushed was in_flight's last, popped */
};

/* Two separate buffers, so that a sanitizer sees a step out of either. */
static void build(struct world *w, const uint8_t *image, size_t size)
{
	uint8_t *low = calloc(1, LOW), *high = calloc(1, HIGH);

	vmm_assert(low && high);
	memcpy(low, image, MIN(size, (size_t)LOW));
	*w = (struct world){
		.map = {.n = 2,
			.regions = {{.gpa = GPA(0), .size = LOW, .host = low, .fd = -1},
				    {.gpa = GPA(GIB(4)), .size = HIGH, .host = high, .fd = -1}}}};
}

static int start(struct world *w, const uint8_t *header)
{
	struct virtq_config config = {.size = get_le16(header + 1),
				      .desc = 16 * (uint64_t)(get_le16(header + 3) & 0x1fff),
				      .driver = 4 * (uint64_t)(get_le16(header + 5) & 0x7fff),
				      .device = 4 * (uint64_t)(get_le16(header + 7) & 0x7fff)};
	uint64_t features = (uint64_t)(header[0] & 1) << VIRTQ_F_RING_PACKED |
			    (uint64_t)(header[0] >> 1 & 1) << VIRTQ_F_EVENT_IDX |
			    (uint64_t)(header[0] >> 2 & 1) << VIRTQ_F_INDIRECT_DESC;

	return virtq_start(&w->vq, &config, features, &w->map);
}

static bool in_memory(const struct world *w, const struct iovec *iov)
{
	for (unsigned i = 0; i < w->map.n; i++)
		if (range_inside((uintptr_t)iov->iov_base, iov->iov_len,
				 (uintptr_t)w->map.regions[i].host, w->map.regions[i].size))
			return true;
	return false;
}

static void check(const struct world *w, const struct virtq_chain *chain, unsigned max)
{
	unsigned n = (unsigned)chain->n_out + chain->n_in;
	uint64_t bytes = 0;

	vmm_assert(n >= 1 && n <= max && n <= w->vq.size);
	vmm_assert(chain->slots >= 1 && chain->slots <= w->vq.size);
	for (unsigned i = 0; i < n; i++) {
		uint8_t *at = chain->iov[i].iov_base;

		vmm_assert(chain->iov[i].iov_len != 0);
		vmm_assert(in_memory(w, &chain->iov[i]));
		bytes += chain->iov[i].iov_len;
		if (i < chain->n_out)
			continue;
		at[0] ^= 1; /* the guest may have put its rings there */
		at[chain->iov[i].iov_len - 1] ^= 1;
	}
	vmm_assert(bytes == chain->out_bytes + chain->in_bytes);
}

static void push(struct world *w, unsigned i)
{
	virtq_push(&w->vq, &w->in_flight[i], (uint32_t)w->in_flight[i].in_bytes);
	w->in_flight[i] = w->in_flight[--w->n_in_flight];
	w->unpoppable = false;
}

static void pop(struct world *w, unsigned max)
{
	struct virtq_chain *chain = &w->in_flight[w->n_in_flight];
	bool broken = w->vq.broken;
	struct iovec iov[MAX_SEGS];
	int r = virtq_pop(&w->vq, chain, iov, max);

	vmm_assert(!broken || r == -EINVAL);
	vmm_assert(r < 0 ? w->vq.broken && w->vq.why : !w->vq.broken);
	if (r <= 0)
		return;
	check(w, chain, max);
	chain->iov = NULL;
	w->n_in_flight++;
	vmm_assert(w->n_in_flight <= w->vq.size);
	w->unpoppable = true;
	if (w->n_in_flight == MAX_IN_FLIGHT)
		push(w, 0);
}

static void unpop(struct world *w)
{
	if (!w->unpoppable)
		return;
	virtq_unpop(&w->vq, &w->in_flight[--w->n_in_flight]);
	w->unpoppable = false;
}

static void start_again(struct world *w, const uint8_t *header)
{
	struct virtq_position at = w->vq.at;

	if (w->n_in_flight || w->vq.pushed || w->vq.broken)
		return;
	vmm_assert(start(w, header) == 0);
	vmm_assert(virtq_seek(&w->vq, &at) == 0);
}

/* Returns how many bytes it used. */
static size_t step(struct world *w, const uint8_t *header, const uint8_t *op, size_t left)
{
	bool told;

	switch (op[0] & 7) {
	case 0:
		pop(w, 1 + (op[0] >> 3));
		break;
	case 1:
		if (w->n_in_flight)
			push(w, (op[0] >> 3) % w->n_in_flight);
		break;
	case 2:
		told = virtq_flush(&w->vq);
		vmm_assert(!w->vq.pushed && !(told && virtq_flush(&w->vq)));
		break;
	case 3:
		told = virtq_kicks_on(&w->vq);
		vmm_assert(!(told && w->vq.broken));
		break;
	case 4:
		virtq_kicks_off(&w->vq);
		break;
	case 5:
		unpop(w);
		break;
	case 6: /* the guest writes */
		if (left < 5)
			return left;
		memcpy((uint8_t *)w->map.regions[0].host + (get_le16(op + 1) & (LOW - 2)), op + 3,
		       2);
		return 5;
	default:
		told = virtq_kick_due(&w->vq);
		vmm_assert(!told || virtq_has_work(&w->vq) || w->vq.given_back);
		start_again(w, header);
		break;
	}
	return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w;
	size_t n_ops;

	if (size < HEADER)
		return 0;
	n_ops = MIN((size_t)data[9], size - HEADER);
	build(&w, data + HEADER + n_ops, size - HEADER - n_ops);
	if (start(&w, data) == 0)
		for (size_t at = 0; at < n_ops;)
			at += step(&w, data, data + HEADER + at, n_ops - at);
	free(w.map.regions[0].host);
	free(w.map.regions[1].host);
	return 0;
}
