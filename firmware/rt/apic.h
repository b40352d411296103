/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC of the calling processor, as x2APIC where CPUID has it, else memory-mapped; and
 * the one I/O APIC. Intel SDM volume 3, "Advanced Programmable Interrupt Controller"; 82093AA.
 */
#ifndef GUEST_APIC_H
#define GUEST_APIC_H

#include <stdbool.h>
#include <stdint.h>

/* Offsets of the memory-mapped form; x2APIC has them at MSR 0x800 + offset / 16. */
enum apic_reg {
	APIC_ID = 0x20,
	APIC_EOI = 0xb0,
	APIC_SPURIOUS = 0xf0,
	APIC_ICR = 0x300,
	APIC_ICR_HIGH = 0x310,
	APIC_LVT_TIMER = 0x320,
	APIC_TIMER_INITIAL = 0x380,
	APIC_TIMER_CURRENT = 0x390,
	APIC_TIMER_DIVIDE = 0x3e0,
};

enum apic_ipi {
	IPI_FIXED = 0x4000, /* + vector */
	IPI_INIT = 0x4500,
	IPI_STARTUP = 0x4600, /* + page number */
	IPI_SELF = 0x40000,   /* or one of these instead of an id */
	IPI_ALL_BUT_SELF = 0xc0000,
};

/* Each processor calls it once. */
void apic_init(void);
bool apic_is_x2(void);
uint32_t apic_id(void);
uint32_t apic_read(enum apic_reg reg);
void apic_write(enum apic_reg reg, uint32_t value);
void apic_eoi(void);
void apic_ipi(uint32_t id, uint32_t ipi);

/* Edge-triggered, active high, to one processor, unmasked. */
void ioapic_route(unsigned pin, uint8_t vector, uint32_t id);
void ioapic_mask(unsigned pin);

#endif
