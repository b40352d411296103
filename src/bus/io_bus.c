/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/io_bus.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/endian.h"
#include "base/log.h"

/* Index of the first region whose last address is at or above addr; n when there is none. */
static unsigned first_not_below(const struct io_bus *bus, uint64_t addr)
{
	unsigned low = 0, high = bus->n;

	while (low < high) {
		unsigned mid = (low + high) / 2;
		const struct io_region *region = bus->regions[mid];

		/* base + size may be 2^64; the last address always fits. */
		if (region->base + (region->size - 1) < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int io_bus_add(struct io_bus *bus, struct io_region *region)
{
	uint64_t last;
	unsigned at;

	if (region->size == 0 || ckd_add(&last, region->base, region->size - 1))
		return -EINVAL;
	at = first_not_below(bus, region->base);
	if (at < bus->n && bus->regions[at]->base <= last) {
		log_error("region %s at 0x%llx overlaps %s at 0x%llx", region->name,
			  (unsigned long long)region->base, bus->regions[at]->name,
			  (unsigned long long)bus->regions[at]->base);
		return -EEXIST;
	}
	if (bus->n == IO_BUS_MAX_REGIONS)
		return -ENOSPC;
	memmove(&bus->regions[at + 1], &bus->regions[at], (bus->n - at) * sizeof(bus->regions[0]));
	bus->regions[at] = region;
	bus->n++;
	return 0;
}

/* The region that holds all of the access, or NULL. */
static struct io_region *find(const struct io_bus *bus, uint64_t addr, unsigned size)
{
	unsigned at = first_not_below(bus, addr);
	struct io_region *region;

	vmm_assert(size >= 1 && size <= 8);
	if (at == bus->n)
		return NULL;
	region = bus->regions[at];
	return range_inside(addr, size, region->base, region->size) ? region : NULL;
}

/* Size of the next piece: the largest power of two that is left and that the device takes. */
static unsigned piece_size(const struct io_region *region, unsigned left)
{
	unsigned max = region->ops->max_size ? region->ops->max_size : 1, piece = 8;

	while (piece > left || piece > max)
		piece /= 2;
	return piece;
}

bool io_bus_read(const struct io_bus *bus, uint64_t addr, unsigned size, void *data)
{
	struct io_region *region = find(bus, addr, size);
	uint8_t *at = data;

	if (!region) {
		memset(data, 0xff, size);
		return false;
	}
	for (uint64_t offset = addr - region->base; size > 0;) {
		unsigned piece = piece_size(region, size);

		put_le_n(at, piece, region->ops->read(region, offset, piece));
		at += piece;
		offset += piece;
		size -= piece;
	}
	return true;
}

bool io_bus_write(const struct io_bus *bus, uint64_t addr, unsigned size, const void *data)
{
	struct io_region *region = find(bus, addr, size);
	const uint8_t *at = data;

	if (!region)
		return false;
	for (uint64_t offset = addr - region->base; size > 0;) {
		unsigned piece = piece_size(region, size);

		region->ops->write(region, offset, piece, get_le_n(at, piece));
		at += piece;
		offset += piece;
		size -= piece;
	}
	return true;
}
