/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/chr_ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/checked.h"

int chr_ring_init(struct chr_ring *ring, size_t size)
{
	void *buf = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (buf == MAP_FAILED)
		return -errno;
	*ring = (struct chr_ring){.buf = buf, .size = size};
	return 0;
}

void chr_ring_done(struct chr_ring *ring)
{
	if (ring->buf)
		(void)munmap(ring->buf, ring->size);
	*ring = (struct chr_ring){0};
}

size_t chr_ring_put(struct chr_ring *ring, const uint8_t *bytes, size_t n)
{
	size_t take = MIN(n, ring->size - ring->used), tail = ring->head + ring->used, first;

	if (tail >= ring->size)
		tail -= ring->size;
	first = MIN(take, ring->size - tail);
	memcpy(ring->buf + tail, bytes, first);
	memcpy(ring->buf, bytes + first, take - first);
	ring->used += take;
	return take;
}

size_t chr_ring_peek(const struct chr_ring *ring, const uint8_t **ret)
{
	*ret = ring->buf + ring->head;
	return MIN(ring->used, ring->size - ring->head);
}

void chr_ring_drop(struct chr_ring *ring, size_t n)
{
	vmm_assert(n <= ring->used);
	ring->used -= n;
	ring->head += n;
	if (ring->head >= ring->size)
		ring->head -= ring->size;
	if (ring->used == 0)
		ring->head = 0;
}

size_t chr_ring_trim(struct chr_ring *ring, size_t keep)
{
	const uint8_t *piece, *newline;
	size_t gone = 0, len;

	if (ring->used > keep) {
		gone = ring->used - keep;
		chr_ring_drop(ring, gone);
		len = chr_ring_peek(ring, &piece);
		/* A line that wraps round the end is not looked for: then half a line stays. */
		newline = memchr(piece, '\n', len);
		if (newline) {
			len = (size_t)(newline - piece) + 1;
			chr_ring_drop(ring, len);
			gone += len;
		}
	}
	return gone;
}
