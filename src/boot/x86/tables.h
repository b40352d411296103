/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables that describe the platform to the guest: ACPI from BIOS_START, SMBIOS from
 * SMBIOS_START. They are built in place, in guest memory.
 */
#ifndef VMM_BOOT_X86_TABLES_H
#define VMM_BOOT_X86_TABLES_H

#include "boot/aml.h"
#include "boot/boot.h"

/*
 * ACPI: RSDP (at BIOS_START exactly), XSDT, DSDT, FADT, MADT, MCFG. -ENOSPC when they do not fit,
 * -EINVAL for a platform that tables cannot describe; both with a message.
 */
int acpi_build(const struct boot_platform *platform, const struct mm_map *ram, gpa_t *ret_rsdp,
	       struct err *err) must_check;

/* The body of the DSDT, without the table's header. */
void dsdt_build(const struct boot_platform *platform, struct aml *aml);

/* SMBIOS 3.0: entry point at SMBIOS_START, structures behind it. */
int smbios_build(const struct boot_platform *platform, const struct mm_map *ram,
		 struct err *err) must_check;

/* Code at the reset vector, ffff:0000, that writes the reset register. 0, or -EFAULT with a
 * message. */
int reset_vector_build(const struct boot_platform *platform, const struct mm_map *ram,
		       struct err *err) must_check;

#endif
