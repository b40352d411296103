/* SPDX-License-Identifier: Apache-2.0 */
/* The bus as the host bridge sees it, which embeds it. */
#ifndef VMM_PCI_BUS_INTERNAL_H
#define VMM_PCI_BUS_INTERNAL_H

#include "base/mutex.h"
#include "bus/io_bus.h"
#include "pci/bus.h"
#include "pci/function.h"

struct pci_bus_window {
	struct io_region region;
	struct pci_bus *bus;
};

struct pci_bus {
	/* Constant while the machine runs: */
	struct pci_window windows[PCI_WINDOWS]; /* below 4 GiB first */
	struct pci_bus_window regions[PCI_WINDOWS];
	struct pci_function *slots[PCI_BUS_SLOTS]; /* function 0 of each; 0: the bridge itself */
	uint64_t next_place;			   /* free from here on in the first window */

	struct mutex lock; /* all configuration space, and so where BARs decode */
};

/* Regions are put on `memory` for the windows that there are. 0 or -errno. */
int pci_bus_init(struct pci_bus *bus, struct pci_function *bridge, struct io_bus *memory,
		 const struct pci_window windows[PCI_WINDOWS]) must_check;

/* size is 1, 2 or 4 and the access lies in the function's 4 KiB. All ones where no function is. */
uint32_t pci_bus_config_read(struct pci_bus *bus, unsigned devfn, unsigned offset, unsigned size)
	REQUIRES(bus->lock);
void pci_bus_config_write(struct pci_bus *bus, unsigned devfn, unsigned offset, unsigned size,
			  uint32_t value) REQUIRES(bus->lock);

#endif
