/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables as they lie in memory (ACPI 6.3, chapter 5.2; PCI Firmware Specification 3.2 for the
 * MCFG). */
#ifndef VMM_BOOT_X86_ACPI_ABI_H
#define VMM_BOOT_X86_ACPI_ABI_H

#include <assert.h>
#include <stddef.h>

#include "base/endian.h"

#define ABI_PACKED __attribute__((packed))

/* 5.2.5.3, revision 2 */
struct acpi_rsdp {
	char signature[8]; /* "RSD PTR " */
	uint8_t checksum;  /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	le32_t rsdt;
	le32_t length;
	le64_t xsdt;
	uint8_t extended_checksum; /* of all */
	uint8_t reserved[3];
} ABI_PACKED;
static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI 6.3, table 5-27");

/* 5.2.6 */
struct acpi_header {
	char signature[4];
	le32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	le32_t oem_revision;
	char creator_id[4];
	le32_t creator_revision;
} ABI_PACKED;
static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.3, table 5-28");

/* 5.2.3.2 Generic Address Structure */
struct acpi_gas {
	uint8_t space;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size;
	le64_t address;
} ABI_PACKED;
static_assert(sizeof(struct acpi_gas) == 12, "ACPI 6.3, table 5-25");
enum { ACPI_SPACE_IO = 1, ACPI_ACCESS_BYTE = 1 };

/* 5.2.9. Of the blocks that hardware-reduced ACPI ignores only the size is kept. */
struct acpi_fadt {
	struct acpi_header header;
	le32_t facs;
	le32_t dsdt;
	uint8_t reserved44;
	uint8_t preferred_pm_profile;
	uint8_t fixed_hardware_46[63]; /* SCI, SMI, PM1, PM2, timer, GPE, C states, RTC alarm */
	le16_t iapc_boot_arch;
	uint8_t reserved111;
	le32_t flags;
	struct acpi_gas reset_reg;
	uint8_t reset_value;
	le16_t arm_boot_arch;
	uint8_t minor_version;
	le64_t x_facs;
	le64_t x_dsdt;
	uint8_t fixed_hardware_148[96]; /* X_PM1a_EVT_BLK to X_GPE1_BLK */
	struct acpi_gas sleep_control;
	struct acpi_gas sleep_status;
	char hypervisor_vendor[8];
} ABI_PACKED;
static_assert(offsetof(struct acpi_fadt, dsdt) == 40, "ACPI 6.3, table 5-33");
static_assert(offsetof(struct acpi_fadt, preferred_pm_profile) == 45, "ACPI 6.3, table 5-33");
static_assert(offsetof(struct acpi_fadt, iapc_boot_arch) == 109, "ACPI 6.3, table 5-33");
static_assert(offsetof(struct acpi_fadt, flags) == 112, "ACPI 6.3, table 5-33");
static_assert(offsetof(struct acpi_fadt, reset_reg) == 116, "ACPI 6.3, table 5-33");
static_assert(offsetof(struct acpi_fadt, reset_value) == 128, "ACPI 6.3, table 5-33");
static_assert(offsetof(struct acpi_fadt, minor_version) == 131, "ACPI 6.3, table 5-33");
static_assert(offsetof(struct acpi_fadt, x_dsdt) == 140, "ACPI 6.3, table 5-33");
static_assert(offsetof(struct acpi_fadt, sleep_control) == 244, "ACPI 6.3, table 5-33");
static_assert(offsetof(struct acpi_fadt, sleep_status) == 256, "ACPI 6.3, table 5-33");
static_assert(sizeof(struct acpi_fadt) == 276, "ACPI 6.3, table 5-33");

enum { FADT_PM_PROFILE_ENTERPRISE_SERVER = 4 };

/* table 5-34 */
enum {
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_PWR_BUTTON = 1 << 4, /* no fixed power button: a control method one, or none */
	FADT_SLP_BUTTON = 1 << 5, /* the same */
	FADT_FIX_RTC = 1 << 6,	  /* no RTC wake status in fixed registers */
	FADT_RESET_REG_SUP = 1 << 10,
	FADT_HEADLESS = 1 << 12,
	FADT_HW_REDUCED = 1 << 20,
};

/* table 5-35. Clear bits say: no 8042, MSI works, a CMOS clock is there. */
enum {
	IAPC_8042 = 1 << 1,
	IAPC_VGA_NOT_PRESENT = 1 << 2,
	IAPC_MSI_NOT_SUPPORTED = 1 << 3,
	IAPC_CMOS_RTC_NOT_PRESENT = 1 << 5,
};

/* 5.2.12 */
struct acpi_madt {
	struct acpi_header header;
	le32_t lapic_base;
	le32_t flags; /* bit 0 PCAT_COMPAT: a pair of 8259s is there */
} ABI_PACKED;
static_assert(sizeof(struct acpi_madt) == 44, "ACPI 6.3, table 5-43");

enum {
	MADT_LOCAL_APIC = 0,
	MADT_IO_APIC = 1,
	MADT_LOCAL_APIC_NMI = 4,
	MADT_LOCAL_X2APIC = 9,
	MADT_CPU_ENABLED = 1,
	MADT_ALL_PROCESSORS = 0xff,
	/* Local APIC ids from here up do not fit the short entry: 255 is the broadcast id. */
	MADT_FIRST_X2APIC_ID = 255,
};

struct madt_local_apic {
	uint8_t type, length;
	uint8_t uid;
	uint8_t apic_id;
	le32_t flags;
} ABI_PACKED;
static_assert(sizeof(struct madt_local_apic) == 8, "ACPI 6.3, table 5-46");

struct madt_io_apic {
	uint8_t type, length;
	uint8_t id;
	uint8_t reserved;
	le32_t address;
	le32_t gsi_base;
} ABI_PACKED;
static_assert(sizeof(struct madt_io_apic) == 12, "ACPI 6.3, table 5-48");

struct madt_local_apic_nmi {
	uint8_t type, length;
	uint8_t uid;
	le16_t flags;
	uint8_t lint;
} ABI_PACKED;
static_assert(sizeof(struct madt_local_apic_nmi) == 6, "ACPI 6.3, table 5-52");

struct madt_local_x2apic {
	uint8_t type, length;
	le16_t reserved;
	le32_t x2apic_id;
	le32_t flags;
	le32_t uid;
} ABI_PACKED;
static_assert(sizeof(struct madt_local_x2apic) == 16, "ACPI 6.3, table 5-57");

/* PCI Firmware Specification 3.2, table 4-2; one allocation */
struct acpi_mcfg {
	struct acpi_header header;
	uint8_t reserved[8];
	le64_t base;
	le16_t segment;
	uint8_t first_bus, last_bus;
	uint8_t reserved2[4];
} ABI_PACKED;
static_assert(sizeof(struct acpi_mcfg) == 60, "PCI Firmware Specification 3.2, 4.1.2");

#endif
