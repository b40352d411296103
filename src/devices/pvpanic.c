/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/pvpanic.h"

#include <errno.h>
#include <stdlib.h>

#include "bus/device.h"
#include "bus/io_bus.h"
#include "bus/wires.h"

enum { PANICKED = 0x01, CRASH_LOADED = 0x02 };

struct pvpanic {
	struct device dev;
	struct io_region region;
	struct run_wire *run;
	_Atomic uint64_t panics, crash_kernels;
};

static uint64_t pvpanic_read(struct io_region *region, uint64_t offset, unsigned size)
{
	(void)region;
	(void)offset;
	(void)size;
	return PANICKED | CRASH_LOADED;
}

static void pvpanic_write(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	struct pvpanic *p = container_of(region, struct pvpanic, region);

	(void)offset;
	(void)size;
	if (value & PANICKED) {
		device_count(&p->panics, 1);
		run_wire_request(p->run, GUEST_PANICKED, 1);
	} else if (value & CRASH_LOADED) {
		device_count(&p->crash_kernels, 1);
		run_wire_request(p->run, GUEST_PANICKED, 2);
	}
}

static void pvpanic_reset(struct device *dev)
{
	(void)dev;
}

static void pvpanic_free(struct device *dev)
{
	free(container_of(dev, struct pvpanic, dev));
}

static const struct device_stat stats[] = {
	DEVICE_STAT(struct pvpanic, panics, "panics that the guest reported"),
	DEVICE_STAT(struct pvpanic, crash_kernels,
		    "panics that it went on from, with a crash kernel"),
};

int pvpanic_new(struct io_bus *pio, uint16_t port, struct run_wire *run, struct device **ret)
{
	static const struct device_ops device_ops = {.reset = pvpanic_reset,
						     .free = pvpanic_free,
						     .help = "panic notification",
						     .stats = stats,
						     .n_stats = ARRAY_SIZE(stats)};
	static const struct io_ops io_ops = {.read = pvpanic_read, .write = pvpanic_write};
	struct pvpanic *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->dev = (struct device){.ops = &device_ops, .id = "pvpanic0"};
	p->region = (struct io_region){.ops = &io_ops, .name = "pvpanic0", .base = port, .size = 1};
	p->run = run;
	r = io_bus_add(pio, &p->region);
	if (r < 0) {
		free(p);
		return r;
	}
	*ret = &p->dev;
	return 0;
}
