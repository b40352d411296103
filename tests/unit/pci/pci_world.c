/* SPDX-License-Identifier: Apache-2.0 */
#include "pci_world.h"

#include <criterion/criterion.h>
#include <linux/pci_regs.h>

#include "base/endian.h"
#include "pci/host_bridge.h"
#include "state/state.h"

void pci_world_init(struct pci_world *w)
{
	struct pci_host_bridge_wiring wiring = {
		.ports = &w->ports,
		.memory = &w->memory,
		.run = &w->run.wire,
		.ecam_base = ECAM,
		.ecam_size = 256 << 20,
		.mmio32 = {MMIO32, MMIO32_SIZE},
		.mmio64 = {MMIO64, MMIO64_SIZE},
	};

	*w = (struct pci_world){0};
	fake_run_init(&w->run);
	cr_assert_eq(pci_host_bridge_new(&wiring, &w->bus, &w->bridge), 0);
}

void pci_world_done(struct pci_world *w)
{
	w->bridge = device_free(w->bridge);
}

uint32_t pci_world_in(struct pci_world *w, uint16_t port, unsigned size)
{
	uint32_t v = 0;

	cr_assert(io_bus_read(&w->ports, port, size, &v));
	return v;
}

void pci_world_out(struct pci_world *w, uint16_t port, unsigned size, uint32_t value)
{
	cr_assert(io_bus_write(&w->ports, port, size, &value));
}

static uint64_t ecam(unsigned slot, unsigned offset)
{
	return ECAM + (slot << 15) + offset;
}

uint64_t pci_world_config(struct pci_world *w, unsigned slot, unsigned offset, unsigned size)
{
	return pci_world_load(w, ecam(slot, offset), size);
}

void pci_world_set_config(struct pci_world *w, unsigned slot, unsigned offset, unsigned size,
			  uint64_t value)
{
	pci_world_store(w, ecam(slot, offset), size, value);
}

uint64_t pci_world_load(struct pci_world *w, uint64_t address, unsigned size)
{
	uint8_t bytes[8];

	(void)io_bus_read(&w->memory, address, size, bytes);
	return get_le_n(bytes, size);
}

void pci_world_store(struct pci_world *w, uint64_t address, unsigned size, uint64_t value)
{
	uint8_t bytes[8];

	put_le_n(bytes, size, value);
	(void)io_bus_write(&w->memory, address, size, bytes);
}

unsigned pci_world_capability(struct pci_world *w, unsigned slot, uint8_t id)
{
	unsigned at;

	if (!(pci_world_config(w, slot, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST))
		return 0;
	at = (unsigned)pci_world_config(w, slot, PCI_CAPABILITY_LIST, 1);
	for (unsigned i = 0; at && i < 48; i++) {
		cr_assert(at >= 0x40 && at % 4 == 0, "a capability at %#x", at);
		if (pci_world_config(w, slot, at, 1) == id)
			return at;
		at = (unsigned)pci_world_config(w, slot, at + PCI_CAP_LIST_NEXT, 1);
	}
	cr_assert_eq(at, 0, "the list of capabilities has no end");
	return 0;
}

/* ---- the probe ---- */

static void probe_moved(struct pci_function *f, unsigned bar, bool decodes, uint64_t base)
{
	struct pci_probe *p = container_of(f, struct pci_probe, f);

	p->moves++;
	p->bar = bar;
	p->decodes = decodes;
	p->base = base;
}

static uint64_t probe_read(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size)
{
	struct pci_probe *p = container_of(f, struct pci_probe, f);

	p->reads++;
	p->bar = bar;
	p->offset = offset;
	p->size = size;
	return p->tag;
}

static void probe_write(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size,
			uint64_t value)
{
	struct pci_probe *p = container_of(f, struct pci_probe, f);

	p->writes++;
	p->bar = bar;
	p->offset = offset;
	p->size = size;
	p->value = value;
}

static void probe_flr(struct pci_function *f)
{
	container_of(f, struct pci_probe, f)->flrs++;
}

static void probe_config_read(struct pci_function *f, unsigned offset, unsigned size)
{
	(void)offset;
	(void)size;
	container_of(f, struct pci_probe, f)->config_reads++;
}

static void probe_config_written(struct pci_function *f, unsigned offset, unsigned size)
{
	struct pci_probe *p = container_of(f, struct pci_probe, f);

	p->config_writes++;
	p->offset = offset;
	p->size = size;
}

static const struct pci_function_ops probe_ops = {
	.config_read = probe_config_read,
	.config_written = probe_config_written,
	.bar_moved = probe_moved,
	.bar_read = probe_read,
	.bar_write = probe_write,
	.flr = probe_flr,
};

void pci_probe_init(struct pci_probe *p, unsigned tag, unsigned index, const struct pci_bar *layout,
		    uint64_t base)
{
	static const struct pci_identity identity = {.vendor = 0x1af4,
						     .device = 0x1042,
						     .class_code = 0x010000,
						     .subsystem_vendor = 0x1af4,
						     .subsystem = 0x1042,
						     .revision = 1};

	*p = (struct pci_probe){.tag = tag};
	pci_function_init(&p->f, &identity, &probe_ops);
	pci_function_add_bar(&p->f, index, layout, base);
}

/* ---- state ---- */

int pci_world_carry(void (*save)(void *from, struct state_writer *w), void *from,
		    void (*load)(void *to, struct state_reader *r), void *to)
{
	struct state_writer *w;
	struct state_reader *r;
	struct err err = {0};
	const void *bytes;
	size_t len;
	int result;

	cr_assert_eq(state_writer_new(&w), 0);
	state_begin(w, "f", "test", 1);
	save(from, w);
	state_end(w);
	cr_assert_eq(state_finish(w, &bytes, &len), 0);
	cr_assert_eq(state_reader_new(bytes, len, &r, &err), 0, "%s", err.msg);
	cr_assert_eq(state_open(r, "f", "test", 1, &err), 0, "%s", err.msg);
	load(to, r);
	result = state_close(r, &err);
	(void)state_reader_free(r);
	(void)state_writer_free(w);
	return result;
}
