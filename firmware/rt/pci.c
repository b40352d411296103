/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/pci.h"

#include "abi.h"

#include "rt/io.h"

enum { COMMAND = 0x04, BAR0 = 0x10, COMMAND_MEMORY_AND_MASTER = 6 };

uint32_t pci_read(unsigned slot, unsigned reg)
{
	outl(VMM_PCI_ADDR_PORT, 0x80000000 | slot << 11 | (reg & 0xfc));
	return inl(VMM_PCI_DATA_PORT);
}

void pci_write(unsigned slot, unsigned reg, uint32_t value)
{
	outl(VMM_PCI_ADDR_PORT, 0x80000000 | slot << 11 | (reg & 0xfc));
	outl(VMM_PCI_DATA_PORT, value);
}

uint8_t pci_read8(unsigned slot, unsigned reg)
{
	return (uint8_t)(pci_read(slot, reg) >> (reg % 4 * 8));
}

uintptr_t pci_bar_address(unsigned slot, unsigned bar)
{
	enum { FIRST_PLACE = 0xd8000000u, STEP = 0x100000 };
	unsigned reg = BAR0 + bar * 4;
	uint32_t low = pci_read(slot, reg);

	if ((low & ~0xfu) == 0 && (low & 4 ? pci_read(slot, reg + 4) : 0) == 0) {
		pci_write(slot, reg, FIRST_PLACE + (slot * 6 + bar) * STEP);
		low = pci_read(slot, reg);
	}
	return (low & ~0xfu) | (low & 4 ? (uint64_t)pci_read(slot, reg + 4) << 32 : 0);
}

void pci_enable(unsigned slot)
{
	pci_write(slot, COMMAND, pci_read(slot, COMMAND) | COMMAND_MEMORY_AND_MASTER);
}
