/* SPDX-License-Identifier: Apache-2.0 */
/* A host bridge with its bus, as a guest's accesses reach it. */
#ifndef VMM_TESTS_UNIT_PCI_WORLD_H
#define VMM_TESTS_UNIT_PCI_WORLD_H

#include "bus/device.h"
#include "bus/io_bus.h"
#include "pci/bus.h"
#include "pci/function.h"
#include "tests/fakes/fakes.h"

#define ECAM	    UINT64_C(0xe0000000)
#define MMIO32	    UINT64_C(0xc0000000)
#define MMIO32_SIZE UINT64_C(0x20000000)
#define MMIO64	    UINT64_C(0x300000000000)
#define MMIO64_SIZE UINT64_C(0x100000000000)

struct pci_world {
	struct io_bus ports, memory;
	struct fake_run run;
	struct device *bridge;
	struct pci_bus *bus;
};

void pci_world_init(struct pci_world *w);
void pci_world_done(struct pci_world *w);

/* Port accesses; somebody has to answer. */
uint32_t pci_world_in(struct pci_world *w, uint16_t port, unsigned size);
void pci_world_out(struct pci_world *w, uint16_t port, unsigned size, uint32_t value);

/* Configuration space of function 0 of a slot by ECAM; size 1 to 8. */
uint64_t pci_world_config(struct pci_world *w, unsigned slot, unsigned offset, unsigned size);
void pci_world_set_config(struct pci_world *w, unsigned slot, unsigned offset, unsigned size,
			  uint64_t value);

/* Memory; all ones where nobody answers. */
uint64_t pci_world_load(struct pci_world *w, uint64_t address, unsigned size);
void pci_world_store(struct pci_world *w, uint64_t address, unsigned size, uint64_t value);

/* Offset of a capability in configuration space, found as a guest does; 0: there is none. */
unsigned pci_world_capability(struct pci_world *w, unsigned slot, uint8_t id);

/* A function with one BAR that answers with its tag and remembers what it was asked. */
struct pci_probe {
	struct pci_function f;
	unsigned tag;
	unsigned moves, reads, writes, flrs, config_reads, config_writes;
	bool decodes; /* as bar_moved said last */
	uint64_t base, offset, value;
	unsigned bar, size;
};
struct pci_bar; /* layout of BAR `index`, at base after a reset */
void pci_probe_init(struct pci_probe *p, unsigned tag, unsigned index, const struct pci_bar *layout,
		    uint64_t base);

/* The state of `from` goes into `to`, through a file: save and load are the two halves. Returns
 * what the reader said at the end. */
struct state_writer;
struct state_reader;
int pci_world_carry(void (*save)(void *from, struct state_writer *w), void *from,
		    void (*load)(void *to, struct state_reader *r), void *to);

#endif
