/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's fixed places: guest-physical memory, ports and interrupt lines.
 * docs/reference/machine.md is this table for people.
 */
#ifndef VMM_MACHINE_LAYOUT_H
#define VMM_MACHINE_LAYOUT_H

#include "base/checked.h"

/* RAM lies in [0, 3 GiB) and from 4 GiB up; in the hole between them: */
#define LAYOUT_HOLE_START  GIB(3)
#define LAYOUT_HOLE_END	   GIB(4)
#define LAYOUT_MMIO32_BASE LAYOUT_HOLE_START
#define LAYOUT_MMIO32_SIZE MIB(512)
#define LAYOUT_ECAM_BASE   UINT64_C(0xe0000000)
/*
 * One bus has all that this machine has. Linux looks for devices on every bus that the MCFG table
 * names, with two exits for each of 32 slots: 256 buses cost 16384 of them. The 256 MiB from the
 * base on are kept free for more.
 */
#define LAYOUT_PCI_BUSES 1
#define LAYOUT_ECAM_SIZE (LAYOUT_PCI_BUSES * MIB(1))
/* Devices on virtio-mmio, a page each: see LAYOUT_VIRTIO_MMIO_GSIS. */
#define LAYOUT_VIRTIO_MMIO_BASE 0xfeb00000u
#define LAYOUT_IOAPIC_BASE	0xfec00000u
#define LAYOUT_LAPIC_BASE	0xfee00000u

enum {
	LAYOUT_PORT_I8042_DATA = 0x60,
	LAYOUT_PORT_I8042_COMMAND = 0x64,
	LAYOUT_PORT_RTC = 0x70,
	LAYOUT_PORT_DEBUGCON = 0xe9,
	LAYOUT_PORT_EXIT = 0xf4,
	LAYOUT_PORT_COM1 = 0x3f8,
	LAYOUT_PORT_PVPANIC = 0x505,
	LAYOUT_PORT_SLEEP = 0x600,
	LAYOUT_PORT_RESET = 0x602,
	LAYOUT_PORT_GED = 0x604,

	LAYOUT_RESET_VALUE = 1,

	LAYOUT_GSI_COM1 = 4,
	LAYOUT_GSI_GED = 9,
};

/*
 * The pins that virtio-mmio devices may have: all that no device of the board has, but for 0 and 2,
 * which Linux takes for no interrupt at all on x86 (the timer's and the cascade's; valid_IRQ() in
 * drivers/acpi/resource.c). The others are as good as any: with hardware-reduced ACPI there are no
 * legacy interrupts, and this machine's clock and i8042 have none.
 */
#define LAYOUT_VIRTIO_MMIO_GSIS                                                                    \
	{                                                                                          \
		1, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23           \
	}
enum { LAYOUT_VIRTIO_MMIO_PLACES = 20 };

#endif
