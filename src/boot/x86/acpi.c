/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hardware-reduced ACPI (ACPI 6.3, 3.11.1): no FACS, no fixed PM blocks, no SCI. Sleep and reset go
 * through the registers that the FADT names, events through the generic event device of the DSDT.
 */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "boot/x86/acpi_abi.h"
#include "boot/x86/layout.h"
#include "boot/x86/tables.h"

enum { SLEEP_STATUS_OFFSET = 1, TABLE_ALIGN = 16, ECAM_BUS_SHIFT = 20 };

/* Guest memory that tables are laid into, one behind the other. */
struct area {
	uint8_t *host;
	uint64_t gpa;
	size_t size, used;
	bool failed;
};

/* Where the next table goes, and how much there is. */
static uint8_t *area_next(struct area *area, size_t *ret_room)
{
	size_t at = (size_t)align_up(area->used, TABLE_ALIGN);

	if (at > area->size)
		at = area->size;
	area->used = at;
	*ret_room = area->size - at;
	return area->host + at;
}

/* `len` zeroed bytes for a table, or NULL. */
static void *area_take(struct area *area, size_t len, uint64_t *ret_gpa)
{
	size_t room;
	uint8_t *at = area_next(area, &room);

	if (area->failed || len > room) {
		area->failed = true;
		return NULL;
	}
	*ret_gpa = area->gpa + area->used;
	area->used += len;
	memset(at, 0, len);
	return at;
}

/* What makes all bytes sum up to 0. */
static uint8_t checksum(const void *table, size_t len)
{
	const uint8_t *bytes = table;
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return (uint8_t)-sum;
}

/* Last step of each table: the header, its checksum included. */
static void finish(struct acpi_header *header, const char signature[static 4], uint8_t revision,
		   size_t len)
{
	memcpy(header->signature, signature, sizeof(header->signature));
	header->length = le32_make((uint32_t)len);
	header->revision = revision;
	header->checksum = 0;
	memcpy(header->oem_id, "VMM   ", sizeof(header->oem_id));
	memcpy(header->oem_table_id, "VMM     ", sizeof(header->oem_table_id));
	memcpy(header->oem_table_id + 4, signature, sizeof(header->signature));
	header->oem_revision = le32_make(1);
	memcpy(header->creator_id, "VMM ", sizeof(header->creator_id));
	header->creator_revision = le32_make(1);
	header->checksum = checksum(header, len);
}

static uint64_t put_dsdt(struct area *area, const struct boot_platform *platform)
{
	size_t room;
	uint8_t *at = area_next(area, &room);
	struct aml aml = {.buf = at, .cap = room};
	struct acpi_header header = {0};
	uint64_t gpa = 0;

	aml_bytes(&aml, &header, sizeof(header));
	dsdt_build(platform, &aml);
	if (aml.failed) {
		area->failed = true;
		return 0;
	}
	gpa = area->gpa + area->used;
	area->used += aml.len;
	/* Revision 2: integers have 64 bits. */
	finish((struct acpi_header *)(void *)at, "DSDT", 2, aml.len);
	return gpa;
}

static struct acpi_gas io_byte(uint16_t port)
{
	return (struct acpi_gas){
		.space = ACPI_SPACE_IO,
		.bit_width = 8,
		.access_size = ACPI_ACCESS_BYTE,
		.address = le64_make(port),
	};
}

static uint64_t put_fadt(struct area *area, const struct boot_platform *platform, uint64_t dsdt)
{
	uint64_t gpa = 0;
	struct acpi_fadt *fadt = area_take(area, sizeof(*fadt), &gpa);

	if (!fadt)
		return 0;
	fadt->dsdt = le32_make((uint32_t)dsdt);
	fadt->x_dsdt = le64_make(dsdt);
	fadt->preferred_pm_profile = FADT_PM_PROFILE_ENTERPRISE_SERVER;
	fadt->iapc_boot_arch = le16_make(IAPC_VGA_NOT_PRESENT |
					 (platform->rtc_port ? 0 : IAPC_CMOS_RTC_NOT_PRESENT));
	fadt->flags =
		le32_make(FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON |
			  FADT_FIX_RTC | FADT_RESET_REG_SUP | FADT_HEADLESS | FADT_HW_REDUCED);
	fadt->reset_reg = io_byte(platform->reset_port);
	fadt->reset_value = platform->reset_value;
	fadt->minor_version = 3;
	fadt->sleep_control = io_byte(platform->sleep_port);
	fadt->sleep_status = io_byte((uint16_t)(platform->sleep_port + SLEEP_STATUS_OFFSET));
	finish(&fadt->header, "FACP", 6, sizeof(*fadt));
	return gpa;
}

static size_t madt_cpu_size(uint32_t apic_id)
{
	return apic_id < MADT_FIRST_X2APIC_ID ? sizeof(struct madt_local_apic)
					      : sizeof(struct madt_local_x2apic);
}

static uint8_t *put_madt_cpu(uint8_t *at, uint32_t uid, uint32_t apic_id)
{
	const struct madt_local_apic small = {
		.type = MADT_LOCAL_APIC,
		.length = sizeof(small),
		.uid = (uint8_t)uid,
		.apic_id = (uint8_t)apic_id,
		.flags = le32_make(MADT_CPU_ENABLED),
	};
	const struct madt_local_x2apic large = {
		.type = MADT_LOCAL_X2APIC,
		.length = sizeof(large),
		.x2apic_id = le32_make(apic_id),
		.flags = le32_make(MADT_CPU_ENABLED),
		.uid = le32_make(uid),
	};
	size_t size = madt_cpu_size(apic_id);

	memcpy(at, size == sizeof(small) ? (const void *)&small : &large, size);
	return at + size;
}

/* The IOAPIC and the local APICs share one space of 8-bit ids. 255 is broadcast. */
static uint8_t free_apic_id(const struct boot_platform *platform)
{
	bool taken[MADT_FIRST_X2APIC_ID] = {false};
	uint8_t id = 0;

	for (unsigned i = 0; i < platform->n_cpus; i++) {
		if (platform->apic_ids[i] < ARRAY_SIZE(taken))
			taken[platform->apic_ids[i]] = true;
	}
	while (id < ARRAY_SIZE(taken) - 1 && taken[id])
		id++;
	return id;
}

static uint64_t put_madt(struct area *area, const struct boot_platform *platform)
{
	const struct madt_io_apic io_apic = {
		.type = MADT_IO_APIC,
		.length = sizeof(io_apic),
		.id = free_apic_id(platform),
		.address = le32_make(platform->ioapic_base),
		.gsi_base = le32_make(0),
	};
	const struct madt_local_apic_nmi nmi = {
		.type = MADT_LOCAL_APIC_NMI,
		.length = sizeof(nmi),
		.uid = MADT_ALL_PROCESSORS,
		.lint = 1,
	};
	size_t len = sizeof(struct acpi_madt) + sizeof(io_apic) + sizeof(nmi);
	struct acpi_madt *madt;
	uint64_t gpa = 0;
	uint8_t *at;

	for (unsigned i = 0; i < platform->n_cpus; i++)
		len += madt_cpu_size(platform->apic_ids[i]);
	madt = area_take(area, len, &gpa);
	if (!madt)
		return 0;
	madt->lapic_base = le32_make(platform->lapic_base);
	at = (uint8_t *)(madt + 1);
	for (unsigned i = 0; i < platform->n_cpus; i++)
		at = put_madt_cpu(at, i, platform->apic_ids[i]);
	memcpy(at, &io_apic, sizeof(io_apic));
	memcpy(at + sizeof(io_apic), &nmi, sizeof(nmi));
	finish(&madt->header, "APIC", 5, len);
	return gpa;
}

static uint64_t put_mcfg(struct area *area, const struct boot_platform *platform)
{
	uint64_t gpa = 0;
	struct acpi_mcfg *mcfg = area_take(area, sizeof(*mcfg), &gpa);

	if (!mcfg)
		return 0;
	mcfg->base = le64_make(platform->ecam_base);
	mcfg->last_bus = (uint8_t)((platform->ecam_size >> ECAM_BUS_SHIFT) - 1);
	finish(&mcfg->header, "MCFG", 1, sizeof(*mcfg));
	return gpa;
}

static uint64_t put_xsdt(struct area *area, const uint64_t *tables, size_t n)
{
	size_t len = sizeof(struct acpi_header) + n * sizeof(le64_t);
	uint64_t gpa = 0;
	struct acpi_header *xsdt = area_take(area, len, &gpa);

	if (!xsdt)
		return 0;
	for (size_t i = 0; i < n; i++)
		put_le64((uint8_t *)(xsdt + 1) + i * sizeof(le64_t), tables[i]);
	finish(xsdt, "XSDT", 1, len);
	return gpa;
}

static void put_rsdp(struct acpi_rsdp *rsdp, uint64_t xsdt)
{
	memcpy(rsdp->signature, "RSD PTR ", sizeof(rsdp->signature));
	memcpy(rsdp->oem_id, "VMM   ", sizeof(rsdp->oem_id));
	rsdp->revision = 2;
	rsdp->length = le32_make(sizeof(*rsdp));
	rsdp->xsdt = le64_make(xsdt);
	rsdp->checksum = checksum(rsdp, offsetof(struct acpi_rsdp, length));
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
}

/* All tables; area.failed says whether they fitted. Returns the RSDP's address. */
static uint64_t put_all(struct area *area, const struct boot_platform *platform)
{
	uint64_t gpa = 0, tables[3], dsdt;
	struct acpi_rsdp *rsdp = area_take(area, sizeof(*rsdp), &gpa);

	dsdt = put_dsdt(area, platform);
	tables[0] = put_fadt(area, platform, dsdt);
	tables[1] = put_madt(area, platform);
	tables[2] = put_mcfg(area, platform);
	if (rsdp)
		put_rsdp(rsdp, put_xsdt(area, tables, ARRAY_SIZE(tables)));
	return gpa;
}

static int check_virtio_mmio(const struct boot_platform *platform, struct err *err)
{
	enum { NAMES = 100 };

	if (platform->n_virtio_mmio > NAMES)
		return err_set(err, -EINVAL,
			       "ACPI tables: %u devices on virtio-mmio; %d have names",
			       platform->n_virtio_mmio, NAMES);
	for (unsigned i = 0; i < platform->n_virtio_mmio; i++) {
		const struct boot_virtio_mmio *at = &platform->virtio_mmio[i];

		if (at->size == 0 || !range_inside(at->base, at->size, 0, LOW_4G))
			return err_set(err, -EINVAL, "ACPI tables: virtio-mmio device %u at %#x", i,
				       at->base);
	}
	return 0;
}

static int check_platform(const struct boot_platform *platform, struct err *err)
{
	uint64_t buses = platform->ecam_size >> ECAM_BUS_SHIFT;
	uint64_t end;

	if (platform->n_cpus == 0)
		return err_set(err, -EINVAL, "ACPI tables: a machine without CPUs");
	if (buses == 0 || buses > 256)
		return err_set(
			err, -EINVAL,
			"ACPI tables: ECAM of %llu bytes: it is 1 MiB for each of 1 to 256 buses",
			(unsigned long long)platform->ecam_size);
	if (platform->mmio32_size == 0 ||
	    !range_inside(platform->mmio32_base, platform->mmio32_size, 0, LOW_4G) ||
	    ckd_add(&end, platform->mmio64_base, platform->mmio64_size) ||
	    ckd_add(&end, platform->ecam_base, platform->ecam_size))
		return err_set(err, -EINVAL, "ACPI tables: a PCI window lies outside its space");
	return check_virtio_mmio(platform, err);
}

int acpi_build(const struct boot_platform *platform, const struct mm_map *ram, gpa_t *ret_rsdp,
	       struct err *err)
{
	struct area area = {.gpa = BIOS_START, .size = SMBIOS_START - BIOS_START};
	int ret = check_platform(platform, err);
	uint64_t rsdp;

	if (ret < 0)
		return ret;
	area.host = mm_map_host(ram, GPA(area.gpa), area.size);
	if (!area.host)
		return err_set(err, -EFAULT, "ACPI tables: no memory at %#x", BIOS_START);
	rsdp = put_all(&area, platform);
	if (area.failed)
		return err_set(err, -ENOSPC,
			       "ACPI tables for %u CPUs do not fit the %zu bytes there are: use "
			       "fewer CPUs",
			       platform->n_cpus, area.size);
	*ret_rsdp = GPA(rsdp);
	return 0;
}
