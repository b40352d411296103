/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest and vmm agree on beyond the published standards: I/O ports and the bytes that go
 * through them. The only header that firmware/ and src/ share. Also read by the assembler, so that
 * it holds macros only.
 *
 * Guests that use nothing else run unchanged under
 *   qemu-system-x86_64 -M microvm -device isa-debug-exit,iobase=0xf4,iosize=4
 * where the exit port ends QEMU with 2N+1 instead of N.
 */
#ifndef VMM_FIRMWARE_ABI_H
#define VMM_FIRMWARE_ABI_H

/* Exit port. A one-byte write of N ends the VM; vmm exits with N, reason "exit". Never read. */
#define VMM_EXIT_PORT 0xf4

/* COM1, a 16550 with the console on it. Edge-triggered, active high. */
#define VMM_COM1_PORT 0x3f8
#define VMM_COM1_GSI  4

/* Debug console: each byte written comes out as it is; a read gives VMM_DEBUGCON_MAGIC when it is
 * there. */
#define VMM_DEBUGCON_PORT  0xe9
#define VMM_DEBUGCON_MAGIC 0xe9

/* CMOS RTC: index and data. Its interrupt is edge-triggered, active high. */
#define VMM_RTC_INDEX_PORT 0x70
#define VMM_RTC_DATA_PORT  0x71
#define VMM_RTC_GSI	   8

/* i8042: nothing but the CPU reset line, pulsed by this command. */
#define VMM_I8042_DATA_PORT 0x60
#define VMM_I8042_CMD_PORT  0x64
#define VMM_I8042_CMD_RESET 0xfe

/* PCI configuration mechanism #1; the reset control register lies inside its address port, one byte
 * wide. */
#define VMM_PCI_ADDR_PORT    0xcf8
#define VMM_PCI_DATA_PORT    0xcfc
#define VMM_RESET_CTRL_PORT  0xcf9
#define VMM_RESET_CTRL_RESET 0x06

/* pvpanic: a read gives the events that vmm understands, a write reports one. */
#define VMM_PVPANIC_PORT	0x505
#define VMM_PVPANIC_PANICKED	0x01
#define VMM_PVPANIC_CRASHLOADED 0x02

/*
 * Power management, one byte each. Sleep control and status as in ACPI 6.5, 4.8.3.7
 * (hardware-reduced): the machine goes off when SLP_EN is written together with the type of S5. The
 * reset register resets on VMM_RESET_VALUE (ACPI 6.5, 4.8.3.6). The event byte of the generic event
 * device gives the pending events and clears them; its GSI is edge-triggered, active high.
 */
#define VMM_SLEEP_CONTROL_PORT	   0x600
#define VMM_SLEEP_STATUS_PORT	   0x601
#define VMM_RESET_PORT		   0x602
#define VMM_GED_PORT		   0x604
#define VMM_SLEEP_EN		   0x20
#define VMM_SLEEP_TYPE_SHIFT	   2
#define VMM_SLEEP_TYPE_S5	   5
#define VMM_RESET_VALUE		   0x01
#define VMM_GED_EVENT_POWER_BUTTON 0x01
#define VMM_GED_GSI		   9

/*
 * A serial port can't say that its input is at an end, so that vmm sends this byte (Ctrl-D) once
 * when the piped standard input ends; a terminal line discipline in the guest turns it into an end
 * of file.
 */
#define VMM_CONSOLE_EOT 0x04

/* What vmm looks for on the console to know a panic of Linux, where a line of printk's begins. */
#define VMM_PANIC_TEXT "Kernel panic - not syncing"

#endif
