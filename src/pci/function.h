/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct pci_function: 4 KiB of configuration space and which bits of it the guest may write (PCI
 * Local Bus 3.0, chapter 6; PCI Express Base, chapter 7). A device embeds it. vCPU threads call it
 * under the host bridge's lock.
 */
#ifndef VMM_PCI_FUNCTION_H
#define VMM_PCI_FUNCTION_H

#include <stdint.h>

enum { PCI_CONFIG_SIZE = 4096 };

struct pci_function {
	uint8_t config[PCI_CONFIG_SIZE];   /* what the guest reads */
	uint8_t writable[PCI_CONFIG_SIZE]; /* 1: the guest's write reaches this bit */
	uint8_t power_on[PCI_CONFIG_SIZE]; /* config after a reset */
};

struct pci_identity {
	uint16_t vendor, device;
	uint32_t class_code; /* base class, sub-class, interface in 24 bits */
	uint16_t subsystem_vendor, subsystem;
};

/* A type 0 header without BARs, its command register writable. */
void pci_function_init(struct pci_function *f, const struct pci_identity *identity);
void pci_function_reset(struct pci_function *f);

/* size is 1, 2 or 4, and offset + size lies in the space. */
uint32_t pci_function_read(const struct pci_function *f, unsigned offset, unsigned size);
void pci_function_write(struct pci_function *f, unsigned offset, unsigned size, uint32_t value);

#endif
