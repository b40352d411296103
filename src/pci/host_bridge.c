/* SPDX-License-Identifier: Apache-2.0 */
#include "pci/host_bridge.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/mutex.h"
#include "pci/bus_internal.h"
#include "pci/function.h"
#include "state/state.h"

enum {
	PORT_ADDRESS = 0xcf8, /* to 0xcff; 0xcf9 is the reset control register */
	ADDRESS_ENABLE_SHIFT = 31,
	RESET_CONTROL_OFFSET = 1,
	DATA_OFFSET = 4,
	RESET_CPU = 1 << 2,
};

/* QEMU's generic PCIe host bridge: known to every guest, and bound to by none. */
static const struct pci_identity bridge_identity = {
	.vendor = 0x1b36,
	.device = 0x0008,
	.class_code = 0x060000,
	.subsystem_vendor = 0x1af4,
	.subsystem = 0x1100,
};

struct host_bridge {
	struct device dev;
	struct pci_bus bus;
	struct io_region ports, ecam;
	struct run_wire *run;
	_Atomic uint64_t config_reads, config_writes;
	/* Under the bus's lock: */
	uint32_t address; /* the latch at 0xcf8 */
	struct pci_function self;
};

static uint32_t config_read(struct host_bridge *b, unsigned bus, unsigned devfn, unsigned offset,
			    unsigned size) REQUIRES(b->bus.lock)
{
	device_count(&b->config_reads, 1);
	return bus == 0 ? pci_bus_config_read(&b->bus, devfn, offset, size) : UINT32_MAX;
}

static void config_write(struct host_bridge *b, unsigned bus, unsigned devfn, unsigned offset,
			 unsigned size, uint32_t value) REQUIRES(b->bus.lock)
{
	device_count(&b->config_writes, 1);
	if (bus == 0)
		pci_bus_config_write(&b->bus, devfn, offset, size, value);
}

/* What the latch points at. False while its enable bit is off or the access leaves the register. */
struct target {
	unsigned bus, devfn, offset;
};

static bool decode_address(uint32_t address, unsigned low, unsigned size, struct target *ret)
{
	*ret = (struct target){
		.bus = address >> 16 & 0xff,
		.devfn = address >> 8 & 0xff,
		.offset = (address & 0xfc) + low,
	};
	return address >> ADDRESS_ENABLE_SHIFT && low + size <= 4;
}

static uint64_t ports_read(struct io_region *region, uint64_t offset, unsigned size)
{
	struct host_bridge *b = container_of(region, struct host_bridge, ports);
	uint64_t value = UINT64_MAX;
	struct target t;

	mutex_lock(&b->bus.lock);
	if (offset == 0 && size == 4)
		value = b->address;
	else if (offset == RESET_CONTROL_OFFSET && size == 1)
		value = 0;
	else if (offset >= DATA_OFFSET &&
		 decode_address(b->address, (unsigned)offset - DATA_OFFSET, size, &t))
		value = config_read(b, t.bus, t.devfn, t.offset, size);
	mutex_unlock(&b->bus.lock);
	return value;
}

static void ports_write(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	struct host_bridge *b = container_of(region, struct host_bridge, ports);
	struct target t;

	if (offset == RESET_CONTROL_OFFSET && size == 1) {
		if (value & RESET_CPU)
			run_wire_request(b->run, GUEST_RESET, 0);
		return;
	}
	mutex_lock(&b->bus.lock);
	if (offset == 0 && size == 4)
		b->address = (uint32_t)value;
	else if (offset >= DATA_OFFSET &&
		 decode_address(b->address, (unsigned)offset - DATA_OFFSET, size, &t))
		config_write(b, t.bus, t.devfn, t.offset, size, (uint32_t)value);
	mutex_unlock(&b->bus.lock);
}

static const struct io_ops ports_ops = {.read = ports_read, .write = ports_write, .max_size = 4};

/* ECAM: bus in [27:20], device and function in [19:12], register in [11:0]. */
static uint64_t ecam_read(struct io_region *region, uint64_t offset, unsigned size)
{
	struct host_bridge *b = container_of(region, struct host_bridge, ecam);
	uint32_t value;

	if ((offset & 4095) + size > PCI_CONFIG_SIZE)
		return UINT64_MAX;
	mutex_lock(&b->bus.lock);
	value = config_read(b, (unsigned)(offset >> 20), offset >> 12 & 0xff, offset & 4095, size);
	mutex_unlock(&b->bus.lock);
	return value;
}

static void ecam_write(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	struct host_bridge *b = container_of(region, struct host_bridge, ecam);

	if ((offset & 4095) + size > PCI_CONFIG_SIZE)
		return;
	mutex_lock(&b->bus.lock);
	config_write(b, (unsigned)(offset >> 20), offset >> 12 & 0xff, offset & 4095, size,
		     (uint32_t)value);
	mutex_unlock(&b->bus.lock);
}

static const struct io_ops ecam_ops = {.read = ecam_read, .write = ecam_write, .max_size = 4};

static void bridge_reset(struct device *dev)
{
	struct host_bridge *b = container_of(dev, struct host_bridge, dev);

	mutex_lock(&b->bus.lock);
	b->address = 0;
	pci_function_reset(&b->self);
	mutex_unlock(&b->bus.lock);
}

static void bridge_save(struct device *dev, struct state_writer *w)
{
	struct host_bridge *b = container_of(dev, struct host_bridge, dev);

	mutex_lock(&b->bus.lock);
	state_put_u32(w, b->address);
	pci_function_save(&b->self, w);
	mutex_unlock(&b->bus.lock);
}

static void bridge_load(struct device *dev, struct state_reader *r)
{
	struct host_bridge *b = container_of(dev, struct host_bridge, dev);

	mutex_lock(&b->bus.lock);
	b->address = state_get_u32(r);
	pci_function_load(&b->self, r);
	mutex_unlock(&b->bus.lock);
}

static void bridge_free(struct device *dev)
{
	free(container_of(dev, struct host_bridge, dev));
}

static const struct device_stat stats[] = {
	DEVICE_STAT(struct host_bridge, config_reads, "reads of configuration space"),
	DEVICE_STAT(struct host_bridge, config_writes, "writes of configuration space"),
};

static const struct device_ops bridge_ops = {.reset = bridge_reset,
					     .free = bridge_free,
					     .save = bridge_save,
					     .load = bridge_load,
					     .state_type = "pci-host-bridge",
					     .state_version = 1,
					     .help = "PCIe host bridge",
					     .stats = stats,
					     .n_stats = ARRAY_SIZE(stats)};

static int put_on_buses(struct host_bridge *b, const struct pci_host_bridge_wiring *wiring)
{
	const struct pci_window windows[PCI_WINDOWS] = {wiring->mmio32, wiring->mmio64};
	int r;

	b->ports = (struct io_region){
		.ops = &ports_ops, .name = "pci-config-ports", .base = PORT_ADDRESS, .size = 8};
	b->ecam = (struct io_region){.ops = &ecam_ops,
				     .name = "pci-ecam",
				     .base = wiring->ecam_base,
				     .size = wiring->ecam_size};
	r = io_bus_add(wiring->ports, &b->ports);
	if (r == 0)
		r = io_bus_add(wiring->memory, &b->ecam);
	return r < 0 ? r : pci_bus_init(&b->bus, &b->self, wiring->memory, windows);
}

int pci_host_bridge_new(const struct pci_host_bridge_wiring *wiring, struct pci_bus **ret_bus,
			struct device **ret)
{
	struct host_bridge *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->dev = (struct device){.ops = &bridge_ops, .id = "pci0"};
	b->run = wiring->run;
	pci_function_init(&b->self, &bridge_identity, NULL);
	r = put_on_buses(b, wiring);
	if (r < 0) {
		free(b);
		return r;
	}
	*ret_bus = &b->bus;
	*ret = &b->dev;
	return 0;
}
