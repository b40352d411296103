/* SPDX-License-Identifier: Apache-2.0 */
#include "pci/function.h"

#include <linux/pci_regs.h>
#include <string.h>

#include "base/endian.h"

void pci_function_init(struct pci_function *f, const struct pci_identity *id)
{
	enum {
		COMMAND_WRITABLE = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				   PCI_COMMAND_INTX_DISABLE
	};

	*f = (struct pci_function){0};
	put_le16(f->power_on + PCI_VENDOR_ID, id->vendor);
	put_le16(f->power_on + PCI_DEVICE_ID, id->device);
	put_le32(f->power_on + PCI_CLASS_REVISION, id->class_code << 8);
	put_le16(f->power_on + PCI_SUBSYSTEM_VENDOR_ID, id->subsystem_vendor);
	put_le16(f->power_on + PCI_SUBSYSTEM_ID, id->subsystem);
	put_le16(f->writable + PCI_COMMAND, COMMAND_WRITABLE);
	pci_function_reset(f);
}

void pci_function_reset(struct pci_function *f)
{
	memcpy(f->config, f->power_on, sizeof(f->config));
}

uint32_t pci_function_read(const struct pci_function *f, unsigned offset, unsigned size)
{
	return (uint32_t)get_le_n(f->config + offset, size);
}

void pci_function_write(struct pci_function *f, unsigned offset, unsigned size, uint32_t value)
{
	uint32_t mask = (uint32_t)get_le_n(f->writable + offset, size);
	uint32_t old = (uint32_t)get_le_n(f->config + offset, size);

	put_le_n(f->config + offset, size, (old & ~mask) | (value & mask));
}
