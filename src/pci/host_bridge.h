/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCIe host bridge: bus 0 with its 256 functions, of which 00:00.0 is the bridge itself;
 * configuration space by ECAM (PCI Express Base, 7.2.2) and by ports 0xcf8 and 0xcfc (PCI Local
 * Bus 3.0, 3.2.2.3.2); and the reset control register 0xcf9 that chipsets put between them.
 */
#ifndef VMM_PCI_HOST_BRIDGE_H
#define VMM_PCI_HOST_BRIDGE_H

#include <stdint.h>

#include "base/compiler.h"
#include "bus/device.h"
#include "bus/io_bus.h"
#include "bus/wires.h"
#include "pci/bus.h"
#include "pci/function.h"

struct pci_host_bridge_wiring {
	struct io_bus *ports, *memory;
	struct run_wire *run; /* hears of a reset by 0xcf9 */
	uint64_t ecam_base, ecam_size;
	/* Windows for BARs, which the ACPI tables tell the guest; size 0: none. */
	struct pci_window mmio32, mmio64;
};

/* Puts itself on both buses. Main, while the machine is built. The bus behind it lives as long as
 * the bridge. 0 or -errno. */
int pci_host_bridge_new(const struct pci_host_bridge_wiring *wiring, struct pci_bus **ret_bus,
			struct device **ret) must_check;

#endif
