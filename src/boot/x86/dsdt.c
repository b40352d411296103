/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DSDT: one PCIe host bridge, the legacy devices, the generic event device. The ASL of each
 * part stands above the function that writes it.
 */
#include "base/checked.h"
#include "boot/x86/layout.h"
#include "boot/x86/tables.h"

enum {
	PCI_CONFIG_PORT = 0xcf8,
	PCI_CONFIG_LEN = 8,
	/* I/O BARs: above the configuration ports, where no fixed port of \_SB lies. */
	PCI_IO_BASE = 0x1000,
	PCI_IO_LEN = 0xf000,
	UART_LEN = 8,
	RTC_LEN = 2,
	SLEEP_LEN = 2,	    /* control and status */
	DEVICE_WORKS = 0xf, /* _STA: present, enabled, shown, functioning */
	S5_SLP_TYP = 5,
	GED_POWER_BUTTON = 1 << 0,
	NOTIFY_BUTTON_PRESSED = 0x80,
	OSC_UNKNOWN_UUID = 1 << 2,
	OSC_UNKNOWN_REVISION = 1 << 3,
};

/* Each of CreateDWordField's operands: buffer, index, name. */
static void create_dword(struct aml *aml, enum aml_op buffer, uint64_t index, const char *name)
{
	aml_op(aml, AML_CREATE_DWORD);
	aml_op(aml, buffer);
	aml_int(aml, index);
	aml_path(aml, name);
}

/* name |= bits */
static void or_into(struct aml *aml, const char *name, uint64_t bits)
{
	aml_op(aml, AML_OR);
	aml_path(aml, name);
	aml_int(aml, bits);
	aml_path(aml, name);
}

/*
 * PCI Firmware Specification 3.2, 4.5.1. The firmware wants to keep no feature for itself, so
 *whatever the system asks for (CDW3) is granted as it stands.
 *
 *	Method (_OSC, 4) {
 *		CreateDWordField (Arg3, 0, CDW1)
 *		If (Arg0 == ToUUID ("33db4d5b-...")) {
 *			If (!(Arg1 == 1)) { CDW1 |= 8 }
 *		} Else { CDW1 |= 4 }
 *		Return (Arg3)
 *	}
 */
static void put_pci_osc(struct aml *aml)
{
	size_t method = aml_method_begin(aml, "_OSC", 4, false);
	size_t block, inner;

	create_dword(aml, AML_ARG3, 0, "CDW1");
	block = aml_if_begin(aml);
	aml_op(aml, AML_LEQUAL);
	aml_op(aml, AML_ARG0);
	aml_uuid(aml, "33db4d5b-1ff7-401c-9657-7441c03dd766");
	inner = aml_if_begin(aml);
	aml_op(aml, AML_LNOT);
	aml_op(aml, AML_LEQUAL);
	aml_op(aml, AML_ARG1);
	aml_int(aml, 1);
	or_into(aml, "CDW1", OSC_UNKNOWN_REVISION);
	aml_end(aml, inner);
	aml_end(aml, block);
	block = aml_else_begin(aml);
	or_into(aml, "CDW1", OSC_UNKNOWN_UUID);
	aml_end(aml, block);
	aml_op(aml, AML_RETURN);
	aml_op(aml, AML_ARG3);
	aml_end(aml, method);
}

static void put_pci_crs(struct aml *aml, const struct boot_platform *platform)
{
	struct aml_crs crs;

	aml_crs_init(&crs);
	aml_crs_bus_window(&crs, 0, (uint16_t)(platform->ecam_size / MIB(1)));
	aml_crs_io(&crs, PCI_CONFIG_PORT, PCI_CONFIG_LEN);
	aml_crs_io_window(&crs, PCI_IO_BASE, PCI_IO_LEN);
	aml_crs_memory32_window(&crs, (uint32_t)platform->mmio32_base,
				(uint32_t)platform->mmio32_size);
	if (platform->mmio64_size)
		aml_crs_memory64_window(&crs, platform->mmio64_base, platform->mmio64_size);
	aml_name_crs(aml, &crs);
}

/* No _PRT: devices behind this bridge interrupt by MSI only. */
static void put_pci(struct aml *aml, const struct boot_platform *platform)
{
	size_t device = aml_device_begin(aml, "PCI0");

	aml_name_eisa_id(aml, "_HID", "PNP0A08");
	aml_name_eisa_id(aml, "_CID", "PNP0A03");
	aml_name_int(aml, "_SEG", 0);
	aml_name_int(aml, "_BBN", 0);
	aml_name_int(aml, "_UID", 0);
	put_pci_crs(aml, platform);
	put_pci_osc(aml);
	aml_end(aml, device);
}

/*
 * What no driver claims but nothing else may use: the ECAM (PCI Firmware Specification 3.2, 4.1.2)
 * and the power management ports.
 */
static void put_motherboard(struct aml *aml, const struct boot_platform *platform)
{
	size_t device = aml_device_begin(aml, "MBRS");
	struct aml_crs crs;

	aml_name_eisa_id(aml, "_HID", "PNP0C02");
	aml_name_int(aml, "_UID", 0);
	aml_crs_init(&crs);
	if (range_inside(platform->ecam_base, platform->ecam_size, 0, LOW_4G))
		aml_crs_memory32(&crs, (uint32_t)platform->ecam_base,
				 (uint32_t)platform->ecam_size);
	else
		aml_crs_memory64(&crs, platform->ecam_base, platform->ecam_size);
	aml_crs_io(&crs, platform->sleep_port, SLEEP_LEN);
	aml_crs_io(&crs, platform->reset_port, 1);
	if (platform->ged_port)
		aml_crs_io(&crs, platform->ged_port, 1);
	aml_name_crs(aml, &crs);
	aml_end(aml, device);
}

static void put_serial(struct aml *aml, const struct boot_platform *platform)
{
	size_t device = aml_device_begin(aml, "COM1");
	struct aml_crs crs;

	aml_name_eisa_id(aml, "_HID", "PNP0501");
	aml_name_int(aml, "_UID", 1);
	aml_crs_init(&crs);
	aml_crs_io(&crs, platform->serial_port, UART_LEN);
	aml_crs_edge_irq(&crs, platform->serial_gsi);
	aml_name_crs(aml, &crs);
	aml_end(aml, device);
}

static void put_rtc(struct aml *aml, const struct boot_platform *platform)
{
	size_t device = aml_device_begin(aml, "RTC");
	struct aml_crs crs;

	aml_name_eisa_id(aml, "_HID", "PNP0B00");
	aml_crs_init(&crs);
	aml_crs_io(&crs, platform->rtc_port, RTC_LEN);
	if (platform->rtc_gsi)
		aml_crs_edge_irq(&crs, platform->rtc_gsi);
	aml_name_crs(aml, &crs);
	aml_end(aml, device);
}

static void put_pvpanic(struct aml *aml, const struct boot_platform *platform)
{
	size_t device = aml_device_begin(aml, "PEVT");
	struct aml_crs crs;

	aml_name_string(aml, "_HID", "QEMU0001");
	aml_name_int(aml, "_STA", DEVICE_WORKS);
	aml_crs_init(&crs);
	aml_crs_io(&crs, platform->pvpanic_port, 1);
	aml_name_crs(aml, &crs);
	aml_end(aml, device);
}

/*
 * The id that Linux's driver knows; a device is numbered by its place here.
 *
 *	Device (VM07) {
 *		Name (_HID, "LNRO0005")
 *		Name (_UID, 7)
 *		Name (_CRS, ResourceTemplate () {
 *			Memory32Fixed (ReadWrite, ...)
 *			Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { ... }
 *		})
 *	}
 */
static void put_virtio_mmio(struct aml *aml, const struct boot_platform *platform, unsigned i)
{
	const char name[] = {'V', 'M', (char)('0' + i / 10), (char)('0' + i % 10), 0};
	const struct boot_virtio_mmio *at = &platform->virtio_mmio[i];
	size_t device = aml_device_begin(aml, name);
	struct aml_crs crs;

	aml_name_string(aml, "_HID", "LNRO0005");
	aml_name_int(aml, "_UID", i);
	aml_crs_init(&crs);
	aml_crs_memory32(&crs, at->base, at->size);
	aml_crs_edge_irq(&crs, at->gsi);
	aml_name_crs(aml, &crs);
	aml_end(aml, device);
}

static void put_power_button(struct aml *aml)
{
	size_t device = aml_device_begin(aml, "PWRB");

	aml_name_eisa_id(aml, "_HID", "PNP0C0C");
	aml_end(aml, device);
}

/*
 * ACPI 6.3, 5.6.9.2. Reading the port takes all pending events, so they are read once into a local.
 *
 *	Method (_EVT, 1, Serialized) {
 *		Local0 = PEND
 *		If (Local0 & 1) { Notify (\_SB.PWRB, 0x80) }
 *	}
 */
static void put_ged_evt(struct aml *aml)
{
	size_t method = aml_method_begin(aml, "_EVT", 1, true);
	size_t block;

	aml_op(aml, AML_STORE);
	aml_path(aml, "PEND");
	aml_op(aml, AML_LOCAL0);
	block = aml_if_begin(aml);
	aml_op(aml, AML_AND);
	aml_op(aml, AML_LOCAL0);
	aml_int(aml, GED_POWER_BUTTON);
	aml_no_target(aml);
	aml_op(aml, AML_NOTIFY);
	aml_path(aml, "\\_SB.PWRB");
	aml_int(aml, NOTIFY_BUTTON_PRESSED);
	aml_end(aml, block);
	aml_end(aml, method);
}

static void put_ged(struct aml *aml, const struct boot_platform *platform)
{
	size_t device = aml_device_begin(aml, "GED");
	struct aml_crs crs;

	aml_name_string(aml, "_HID", "ACPI0013");
	aml_name_int(aml, "_UID", 0);
	aml_crs_init(&crs);
	aml_crs_edge_irq(&crs, platform->ged_gsi);
	aml_name_crs(aml, &crs);
	aml_io_region(aml, "GEDR", platform->ged_port, 1);
	aml_byte_field(aml, "GEDR", "PEND");
	put_ged_evt(aml);
	aml_end(aml, device);
}

/* Name (_S5, Package { 5, 5, 0, 0 }): ACPI 6.3, 7.4.2 */
static void put_s5(struct aml *aml)
{
	size_t package;

	aml_name(aml, "\\_S5");
	package = aml_package_begin(aml, 4);
	aml_int(aml, S5_SLP_TYP);
	aml_int(aml, S5_SLP_TYP);
	aml_int(aml, 0);
	aml_int(aml, 0);
	aml_end(aml, package);
}

void dsdt_build(const struct boot_platform *platform, struct aml *aml)
{
	size_t sb = aml_scope_begin(aml, "\\_SB");

	put_pci(aml, platform);
	put_motherboard(aml, platform);
	if (platform->serial_port)
		put_serial(aml, platform);
	if (platform->rtc_port)
		put_rtc(aml, platform);
	if (platform->pvpanic_port)
		put_pvpanic(aml, platform);
	for (unsigned i = 0; i < platform->n_virtio_mmio; i++)
		put_virtio_mmio(aml, platform, i);
	if (platform->ged_port) {
		put_power_button(aml);
		put_ged(aml, platform);
	}
	aml_end(aml, sb);
	put_s5(aml);
}
