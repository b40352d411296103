/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dispatch of port and memory accesses to the device that owns the address.
 *
 * One struct io_bus for ports, one for memory. Regions are added while the machine is built, before
 * any vCPU runs; from then on the bus is read-only and every vCPU thread dispatches on it without a
 * lock. A device's read and write run on the vCPU thread that made the access: they lock what they
 * share.
 */
#ifndef VMM_BUS_IO_BUS_H
#define VMM_BUS_IO_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct io_region;

/* offset is relative to the region; size is 1, 2, 4 or 8 and the access lies within the region. */
struct io_ops {
	uint64_t (*read)(struct io_region *region, uint64_t offset, unsigned size);
	void (*write)(struct io_region *region, uint64_t offset, unsigned size, uint64_t value);
	/*
	 * Largest access the device takes; wider ones are split into pieces of this size, low
	 * address first. 0 means 1, the byte-wide devices of old.
	 */
	uint8_t max_size;
};

/* Embedded in the device, which gets back to itself with container_of(). */
struct io_region {
	const struct io_ops *ops;
	const char *name;
	uint64_t base, size;
};

enum { IO_BUS_MAX_REGIONS = 64 };

struct io_bus {
	unsigned n;
	struct io_region *regions[IO_BUS_MAX_REGIONS]; /* sorted by base, disjoint, borrowed */
};

/* 0; -EEXIST when it overlaps another region (reported by name in the log); -ENOSPC; -EINVAL for
 * size 0. */
int io_bus_add(struct io_bus *bus, struct io_region *region) must_check;

/*
 * Both return false when no device answers: a read then gives all ones, a write is dropped. `data`
 * is in guest byte order, size is 1 to 8 bytes. An access that crosses out of a region counts as
 * unanswered.
 */
bool io_bus_read(const struct io_bus *bus, uint64_t addr, unsigned size, void *data);
bool io_bus_write(const struct io_bus *bus, uint64_t addr, unsigned size, const void *data);

#endif
