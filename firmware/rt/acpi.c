/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/acpi.h"

#include "rt/mem.h"

enum {
	RSDP_V1_SIZE = 20,
	FADT_DSDT = 40,
	FADT_X_DSDT = 140,
	MADT_FIRST = 44,
	MADT_LOCAL_APIC = 0,
	MADT_LOCAL_X2APIC = 9,
	MADT_ENABLED = 1,
};

struct __attribute__((packed)) acpi_rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t checksum2, reserved[3];
};

bool acpi_sum_ok(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *p++);
	return sum == 0;
}

static const void *at(uint64_t pa)
{
	return (const void *)(uintptr_t)pa;
}

static uint64_t read_le(const void *from, size_t n)
{
	uint64_t value = 0;

	memcpy(&value, from, n);
	return value;
}

static bool rsdp_ok(const struct acpi_rsdp *rsdp)
{
	return !memcmp(rsdp->signature, "RSD PTR ", 8) && acpi_sum_ok(rsdp, RSDP_V1_SIZE) &&
	       (rsdp->revision < 2 || acpi_sum_ok(rsdp, rsdp->length));
}

const struct acpi_rsdp *acpi_rsdp(const struct pvh_start_info *info)
{
	if (info->rsdp)
		return rsdp_ok(at(info->rsdp)) ? at(info->rsdp) : NULL;
	for (uint64_t pa = 0xe0000; pa < 0x100000; pa += 16)
		if (rsdp_ok(at(pa)))
			return at(pa);
	return NULL;
}

static const struct acpi_header *dsdt_of(const struct acpi_header *fadt)
{
	const char *bytes = (const char *)fadt;
	uint64_t pa = 0;

	if (fadt->length >= FADT_X_DSDT + 8)
		pa = read_le(bytes + FADT_X_DSDT, 8);
	return at(pa ? pa : read_le(bytes + FADT_DSDT, 4));
}

/* Table number i, counting the DSDT right after the FADT; NULL behind the last. */
static const struct acpi_header *table(const struct acpi_rsdp *rsdp, unsigned i)
{
	bool wide = rsdp->revision >= 2 && rsdp->xsdt;
	size_t size = wide ? 8 : 4;
	const struct acpi_header *root = at(wide ? rsdp->xsdt : rsdp->rsdt);
	size_t n = (root->length - sizeof(*root)) / size;
	const char *entries = (const char *)(root + 1);

	for (size_t k = 0; k < n; k++) {
		const struct acpi_header *found = at(read_le(entries + k * size, size));

		if (i-- == 0)
			return found;
		if (!memcmp(found->signature, "FACP", 4) && i-- == 0)
			return dsdt_of(found);
	}
	return NULL;
}

static bool root_ok(const struct acpi_rsdp *rsdp)
{
	bool wide = rsdp->revision >= 2 && rsdp->xsdt;
	const struct acpi_header *root = at(wide ? rsdp->xsdt : rsdp->rsdt);

	return !memcmp(root->signature, wide ? "XSDT" : "RSDT", 4) &&
	       acpi_sum_ok(root, root->length);
}

int acpi_each(const struct acpi_rsdp *rsdp, void (*visit)(const struct acpi_header *table))
{
	const struct acpi_header *found;
	int n = 0;

	if (!root_ok(rsdp))
		return -1;
	for (; (found = table(rsdp, (unsigned)n)); n++)
		visit(found);
	return n;
}

const struct acpi_header *acpi_find(const struct acpi_rsdp *rsdp, const char signature[4])
{
	const struct acpi_header *found;

	if (!root_ok(rsdp))
		return NULL;
	for (unsigned i = 0; (found = table(rsdp, i)); i++)
		if (!memcmp(found->signature, signature, 4))
			return found;
	return NULL;
}

unsigned acpi_cpus(const struct acpi_header *madt, uint32_t *ids, unsigned max)
{
	const uint8_t *p = (const uint8_t *)madt + MADT_FIRST;
	const uint8_t *end = (const uint8_t *)madt + madt->length;
	unsigned n = 0;

	for (; p + 2 <= end && p[1] >= 2; p += p[1]) {
		bool xapic = p[0] == MADT_LOCAL_APIC && (p[4] & MADT_ENABLED);
		bool x2apic = p[0] == MADT_LOCAL_X2APIC && (p[8] & MADT_ENABLED);

		if (!xapic && !x2apic)
			continue;
		if (n < max)
			ids[n] = xapic ? p[3] : (uint32_t)read_le(p + 4, 4);
		n++;
	}
	return n;
}
