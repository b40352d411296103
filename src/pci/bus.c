/* SPDX-License-Identifier: Apache-2.0 */
#include "pci/bus.h"

#include <errno.h>
#include <linux/pci.h>

#include "base/checked.h"
#include "pci/bus_internal.h"

void pci_bus_lock(struct pci_bus *bus) NO_THREAD_SAFETY_CHECK
{
	mutex_lock(&bus->lock);
}

void pci_bus_unlock(struct pci_bus *bus) NO_THREAD_SAFETY_CHECK
{
	mutex_unlock(&bus->lock);
}

/* ---- configuration space ---- */

static struct pci_function *function_at(const struct pci_bus *bus, unsigned devfn)
{
	return PCI_FUNC(devfn) == 0 ? bus->slots[PCI_SLOT(devfn)] : NULL;
}

uint32_t pci_bus_config_read(struct pci_bus *bus, unsigned devfn, unsigned offset, unsigned size)
{
	struct pci_function *f = function_at(bus, devfn);

	return f ? pci_function_read(f, offset, size) : UINT32_MAX;
}

void pci_bus_config_write(struct pci_bus *bus, unsigned devfn, unsigned offset, unsigned size,
			  uint32_t value)
{
	struct pci_function *f = function_at(bus, devfn);

	if (f)
		pci_function_write(f, offset, size, value);
}

/* ---- memory ---- */

struct target {
	struct pci_function *f;
	unsigned bar;
	uint64_t offset;
};

static bool find_in(struct pci_function *f, uint64_t addr, unsigned size, struct target *ret)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *bar = &f->bars[i];

		if (bar->decodes && range_inside(addr, size, bar->base, bar->size)) {
			*ret = (struct target){.f = f, .bar = i, .offset = addr - bar->base};
			return true;
		}
	}
	return false;
}

/*
 * The BAR that all of the access lies in. Where a guest has put several over each other, the lowest
 * slot has it. The lock is dropped before the access is made: a BAR that moves away meanwhile still
 * gets it, as it would on a real bus, and functions live as long as the bus.
 */
static bool find(struct pci_bus *bus, uint64_t addr, unsigned size, struct target *ret)
{
	bool found = false;

	mutex_lock(&bus->lock);
	for (unsigned slot = 0; slot < PCI_BUS_SLOTS && !found; slot++)
		found = bus->slots[slot] && find_in(bus->slots[slot], addr, size, ret);
	mutex_unlock(&bus->lock);
	return found && ret->f->ops;
}

static uint64_t window_read(struct io_region *region, uint64_t offset, unsigned size)
{
	struct pci_bus_window *w = container_of(region, struct pci_bus_window, region);
	struct target t;

	if (!find(w->bus, region->base + offset, size, &t) || !t.f->ops->bar_read)
		return UINT64_MAX;
	return t.f->ops->bar_read(t.f, t.bar, t.offset, size);
}

static void window_write(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_bus_window *w = container_of(region, struct pci_bus_window, region);
	struct target t;

	if (find(w->bus, region->base + offset, size, &t) && t.f->ops->bar_write)
		t.f->ops->bar_write(t.f, t.bar, t.offset, size, value);
}

static const struct io_ops window_ops = {.read = window_read, .write = window_write, .max_size = 8};

/* ---- building ---- */

int pci_bus_init(struct pci_bus *bus, struct pci_function *bridge, struct io_bus *memory,
		 const struct pci_window windows[PCI_WINDOWS])
{
	static const char *const names[PCI_WINDOWS] = {"pci-mmio32", "pci-mmio64"};

	*bus = (struct pci_bus){.slots = {bridge}, .next_place = windows[0].base};
	mutex_init(&bus->lock);
	for (unsigned i = 0; i < PCI_WINDOWS; i++) {
		int r;

		bus->windows[i] = windows[i];
		bus->regions[i] = (struct pci_bus_window){.bus = bus,
							  .region = {.ops = &window_ops,
								     .name = names[i],
								     .base = windows[i].base,
								     .size = windows[i].size}};
		r = windows[i].size ? io_bus_add(memory, &bus->regions[i].region) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int pci_bus_attach(struct pci_bus *bus, unsigned slot, struct pci_function *f)
{
	if (slot == 0 || slot >= PCI_BUS_SLOTS)
		return -EINVAL;
	if (bus->slots[slot])
		return -EBUSY;
	f->windows = bus->windows;
	bus->slots[slot] = f;
	return 0;
}

uint64_t pci_bus_place(struct pci_bus *bus, uint64_t size)
{
	const struct pci_window *w = &bus->windows[0];
	uint64_t at = align_up(bus->next_place, size);

	if (at < bus->next_place || !range_inside(at, size, w->base, w->size))
		return 0;
	bus->next_place = at + size;
	return at;
}
