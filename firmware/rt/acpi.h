/* SPDX-License-Identifier: Apache-2.0 */
/* Finds and reads ACPI tables. ACPI 6.5, chapter 5. */
#ifndef GUEST_ACPI_H
#define GUEST_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rt/pvh.h"

struct __attribute__((packed)) acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision, creator, creator_revision;
};

_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.5, 5.2.6");

struct acpi_rsdp;

/* The start info's, or by the search below 1 MiB that the standard gives (5.2.5.1). NULL: none or
 * bad sum. */
const struct acpi_rsdp *acpi_rsdp(const struct pvh_start_info *info);
/* Calls visit for each table of the XSDT (or RSDT) and for the DSDT; returns the number, -1 for a
 * bad XSDT. */
int acpi_each(const struct acpi_rsdp *rsdp, void (*visit)(const struct acpi_header *table));
/* NULL when there is none. */
const struct acpi_header *acpi_find(const struct acpi_rsdp *rsdp, const char signature[4]);
/* All bytes add up to zero. */
bool acpi_sum_ok(const void *bytes, size_t n);

/* The ids of the enabled processors in the MADT, the first max of them; returns how many there are.
 */
unsigned acpi_cpus(const struct acpi_header *madt, uint32_t *ids, unsigned max);

#endif
