/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/i8042.h"

#include <errno.h>
#include <stdlib.h>

#include "bus/device.h"
#include "bus/io_bus.h"
#include "bus/wires.h"

enum { DATA_PORT = 0x60, COMMAND_PORT = 0x64, PULSE_RESET = 0xfe };

struct i8042 {
	struct device dev;
	struct io_region data, command; /* apart: port 0x61 between them is another device's */
	struct run_wire *run;
	_Atomic uint64_t reset_pulses;
};

static uint64_t read_nothing(struct io_region *region, uint64_t offset, unsigned size)
{
	(void)region;
	(void)offset;
	(void)size;
	return 0;
}

static void write_data(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	(void)region;
	(void)offset;
	(void)size;
	(void)value;
}

static void write_command(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *k = container_of(region, struct i8042, command);

	(void)offset;
	(void)size;
	if (value != PULSE_RESET)
		return;
	device_count(&k->reset_pulses, 1);
	run_wire_request(k->run, GUEST_RESET, 0);
}

static void i8042_reset(struct device *dev)
{
	(void)dev;
}

static void i8042_free(struct device *dev)
{
	free(container_of(dev, struct i8042, dev));
}

static const struct device_stat stats[] = {
	DEVICE_STAT(struct i8042, reset_pulses, "how often the guest pulsed the reset line"),
};

int i8042_new(struct io_bus *pio, struct run_wire *run, struct device **ret)
{
	static const struct device_ops device_ops = {
		.reset = i8042_reset,
		.free = i8042_free,
		.help = "keyboard controller, for its reset line",
		.stats = stats,
		.n_stats = ARRAY_SIZE(stats)};
	static const struct io_ops data_ops = {.read = read_nothing, .write = write_data};
	static const struct io_ops command_ops = {.read = read_nothing, .write = write_command};
	struct i8042 *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	k->dev = (struct device){.ops = &device_ops, .id = "i8042"};
	k->data = (struct io_region){
		.ops = &data_ops, .name = "i8042 data", .base = DATA_PORT, .size = 1};
	k->command = (struct io_region){
		.ops = &command_ops, .name = "i8042 command", .base = COMMAND_PORT, .size = 1};
	k->run = run;
	r = io_bus_add(pio, &k->command);
	if (r == 0)
		r = io_bus_add(pio, &k->data);
	if (r < 0) {
		free(k);
		return r;
	}
	*ret = &k->dev;
	return 0;
}
