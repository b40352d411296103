/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/exit_port.h"

#include <errno.h>
#include <stdlib.h>

#include "bus/device.h"
#include "bus/io_bus.h"
#include "bus/wires.h"

enum { PORTS = 4 };

struct exit_port {
	struct device dev;
	struct io_region region;
	struct run_wire *run;
};

static uint64_t exit_port_read(struct io_region *region, uint64_t offset, unsigned size)
{
	(void)region;
	(void)offset;
	(void)size;
	return 0;
}

static void exit_port_write(struct io_region *region, uint64_t offset, unsigned size,
			    uint64_t value)
{
	struct exit_port *e = container_of(region, struct exit_port, region);

	(void)size;
	if (offset == 0)
		run_wire_request(e->run, GUEST_EXIT, value & 0xff);
}

static void exit_port_reset(struct device *dev)
{
	(void)dev;
}

static void exit_port_free(struct device *dev)
{
	free(container_of(dev, struct exit_port, dev));
}

int exit_port_new(struct io_bus *pio, uint16_t port, struct run_wire *run, struct device **ret)
{
	static const struct device_ops device_ops = {
		.reset = exit_port_reset, .free = exit_port_free, .help = "exit port"};
	/* Wide accesses come whole: split, `out dx, eax` would be four of them. */
	static const struct io_ops io_ops = {
		.read = exit_port_read, .write = exit_port_write, .max_size = PORTS};
	struct exit_port *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->dev = (struct device){.ops = &device_ops, .id = "exit0"};
	e->region =
		(struct io_region){.ops = &io_ops, .name = "exit0", .base = port, .size = PORTS};
	e->run = run;
	r = io_bus_add(pio, &e->region);
	if (r < 0) {
		free(e);
		return r;
	}
	*ret = &e->dev;
	return 0;
}
