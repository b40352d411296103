/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/apic.h"

#include "rt/cpu.h"
#include "rt/io.h"

enum {
	MSR_APIC_BASE = 0x1b,
	MSR_X2APIC = 0x800,
	APIC_BASE_X2 = 0x400,
	APIC_BASE_ENABLE = 0x800,
	CPUID1_ECX_X2APIC = 1 << 21,
	SPURIOUS_ENABLE = 0x100,
	SPURIOUS_VECTOR = 0xff,
	ICR_PENDING = 0x1000,
	IOAPIC_MASKED = 0x10000,
	IOAPIC_FIRST_PIN = 0x10,
};

static const uintptr_t lapic_base = 0xfee00000, ioapic_base = 0xfec00000;
static bool x2apic;

void apic_init(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE;

	x2apic = cpuid(1, 0).ecx & CPUID1_ECX_X2APIC;
	wrmsr(MSR_APIC_BASE, base);
	if (x2apic)
		wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2);
	apic_write(APIC_SPURIOUS, SPURIOUS_ENABLE | SPURIOUS_VECTOR);
}

bool apic_is_x2(void)
{
	return x2apic;
}

uint32_t apic_read(enum apic_reg reg)
{
	return x2apic ? (uint32_t)rdmsr(MSR_X2APIC + reg / 16) : mmio_read32(lapic_base + reg);
}

void apic_write(enum apic_reg reg, uint32_t value)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + reg / 16, value);
	else
		mmio_write32(lapic_base + reg, value);
}

uint32_t apic_id(void)
{
	uint32_t id = apic_read(APIC_ID);

	return x2apic ? id : id >> 24;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

void apic_ipi(uint32_t id, uint32_t ipi)
{
	if (x2apic) {
		wrmsr(MSR_X2APIC + APIC_ICR / 16, (uint64_t)id << 32 | ipi);
		return;
	}
	apic_write(APIC_ICR_HIGH, id << 24);
	apic_write(APIC_ICR, ipi);
	while (apic_read(APIC_ICR) & ICR_PENDING)
		cpu_pause();
}

static void ioapic_write(unsigned reg, uint32_t value)
{
	mmio_write32(ioapic_base, reg);
	mmio_write32(ioapic_base + 0x10, value);
}

void ioapic_route(unsigned pin, uint8_t vector, uint32_t id)
{
	ioapic_write(IOAPIC_FIRST_PIN + 2 * pin + 1, id << 24);
	ioapic_write(IOAPIC_FIRST_PIN + 2 * pin, vector);
}

void ioapic_mask(unsigned pin)
{
	ioapic_write(IOAPIC_FIRST_PIN + 2 * pin, IOAPIC_MASKED);
}
