/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/debugcon.h"

#include <errno.h>
#include <stdlib.h>

#include "backend/chr.h"
#include "bus/device.h"
#include "bus/io_bus.h"

enum { SIGNATURE = 0xe9 };

struct debugcon {
	struct device dev;
	struct io_region region;
	struct chr *chr;
	_Atomic uint64_t tx_bytes;
};

static uint64_t debugcon_read(struct io_region *region, uint64_t offset, unsigned size)
{
	(void)region;
	(void)offset;
	(void)size;
	return SIGNATURE;
}

static void debugcon_write(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	struct debugcon *d = container_of(region, struct debugcon, region);
	uint8_t byte = (uint8_t)value;

	(void)offset;
	(void)size;
	device_count(&d->tx_bytes, 1);
	(void)chr_write(d->chr, &byte, 1);
}

static void debugcon_reset(struct device *dev)
{
	(void)dev;
}

static void debugcon_free(struct device *dev)
{
	free(container_of(dev, struct debugcon, dev));
}

static const struct device_stat stats[] = {
	DEVICE_STAT(struct debugcon, tx_bytes, "bytes that the guest sent"),
};

int debugcon_new(struct io_bus *pio, uint16_t port, struct chr *chr, struct device **ret)
{
	static const struct device_ops device_ops = {.reset = debugcon_reset,
						     .free = debugcon_free,
						     .help = "debug console",
						     .stats = stats,
						     .n_stats = ARRAY_SIZE(stats)};
	static const struct io_ops io_ops = {.read = debugcon_read, .write = debugcon_write};
	struct debugcon *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->dev = (struct device){.ops = &device_ops, .id = "debugcon0"};
	d->region =
		(struct io_region){.ops = &io_ops, .name = "debugcon0", .base = port, .size = 1};
	d->chr = chr;
	r = io_bus_add(pio, &d->region);
	if (r < 0) {
		free(d);
		return r;
	}
	*ret = &d->dev;
	return 0;
}
