/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ways into PCI configuration space show the same: for each function of bus 0 the header by
 * ports 0xcf8/0xcfc and by the memory that the MCFG table names.
 */
#include "rt/pci.h"

#include "rt/acpi.h"
#include "rt/guest.h"
#include "rt/io.h"
#include "rt/mem.h"
#include "rt/print.h"

enum {
	MCFG_BASE = 44,
	MCFG_FIRST_BUS = 54,
	MCFG_LAST_BUS = 55,
	HEADER_SIZE = 64,
	NO_DEVICE = 0xffff
};

static uint32_t by_memory(uint64_t base, unsigned slot, unsigned reg)
{
	return mmio_read32(base + ((uint64_t)slot << 15) + reg);
}

static bool compare(uint64_t base, unsigned slot)
{
	uint32_t id = pci_read(slot, 0);

	if (!guest_check(by_memory(base, slot, 0) == id, "both ways give the same vendor"))
		return false;
	if ((id & NO_DEVICE) == NO_DEVICE)
		return true;
	print("pci 0:%x.0 %04x:%04x class %06x\n", slot, id & 0xffff, id >> 16,
	      pci_read(slot, 8) >> 8);
	for (unsigned reg = 0; reg < HEADER_SIZE; reg += 4)
		if (!guest_check(pci_read(slot, reg) == by_memory(base, slot, reg),
				 "both ways give the same header"))
			return false;
	return true;
}

int guest_main(const struct pvh_start_info *info)
{
	const struct acpi_rsdp *rsdp;
	const struct acpi_header *mcfg;
	uint64_t base;
	bool ok;

	guest_init(info);
	rsdp = acpi_rsdp(info);
	mcfg = rsdp ? acpi_find(rsdp, "MCFG") : NULL;
	if (!guest_check(mcfg, "there is an MCFG"))
		return guest_finish("pci", false);
	memcpy(&base, (const char *)mcfg + MCFG_BASE, sizeof(base));
	print("ecam %lx buses %u to %u\n", base, ((const uint8_t *)mcfg)[MCFG_FIRST_BUS],
	      ((const uint8_t *)mcfg)[MCFG_LAST_BUS]);
	ok = guest_check((pci_read(0, 0) & NO_DEVICE) != NO_DEVICE,
			 "there is a host bridge at 0:0.0");
	for (unsigned slot = 0; slot < 32; slot++)
		ok &= compare(base, slot);
	return guest_finish("pci", ok);
}
