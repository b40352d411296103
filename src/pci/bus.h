/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct pci_bus: bus 0 behind the host bridge: functions by slot, and the memory windows in which
 * their BARs lie. Each window is one region of the memory bus, and an access is passed on to the
 * BAR that decodes there now, so that a guest may move BARs while vCPUs run.
 */
#ifndef VMM_PCI_BUS_H
#define VMM_PCI_BUS_H

#include <stdint.h>

#include "base/compiler.h"
#include "pci/function.h"

struct pci_bus;

enum { PCI_BUS_SLOTS = 32 };

/*
 * Puts the function into a slot (function 0 of it), 1 to 31; 0 is the bridge's. Borrowed, until the
 * bus is freed. Main, while the machine is built. -EBUSY when the slot is taken, -EINVAL past the
 * last.
 */
int pci_bus_attach(struct pci_bus *bus, unsigned slot, struct pci_function *f) must_check;

/* Room for a BAR of this size (a power of two) in the window below 4 GiB, for its power-on place,
 * as firmware would choose it. 0: there is none. Main, while the machine is built. */
uint64_t pci_bus_place(struct pci_bus *bus, uint64_t size);

/* The bus's lock, for what a transport's own threads change in configuration space. Order: it comes
 * before a device's own. */
void pci_bus_lock(struct pci_bus *bus);
void pci_bus_unlock(struct pci_bus *bus);

#endif
