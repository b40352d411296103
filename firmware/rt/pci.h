/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration space of bus 0 by ports, so that no table is needed. */
#ifndef GUEST_PCI_H
#define GUEST_PCI_H

#include <stdint.h>

/* The aligned dword that reg is in; all ones where there is no function. Register 0 holds the
 * device's id above the vendor's. */
uint32_t pci_read(unsigned slot, unsigned reg);
void pci_write(unsigned slot, unsigned reg, uint32_t value);
uint8_t pci_read8(unsigned slot, unsigned reg);

/* Of a memory BAR; one that nobody has placed gets a place. */
uintptr_t pci_bar_address(unsigned slot, unsigned bar);
/* Lets the function answer at its BARs and reach memory. */
void pci_enable(unsigned slot);

#endif
