/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts: ten ticks of the local APIC's timer in one-shot mode, ten in TSC-deadline mode where
 * CPUID has it, asleep in between, and an IPI to itself by id and by shorthand.
 */
#include "rt/apic.h"
#include "rt/cpu.h"
#include "rt/guest.h"
#include "rt/idt.h"
#include "rt/print.h"

enum {
	VECTOR_TIMER = 0x30,
	VECTOR_SELF = 0x31,
	N_TICKS = 10,
	LVT_TSC_DEADLINE = 2 << 17,
	DIVIDE_BY_1 = 0xb,
	MSR_TSC_DEADLINE = 0x6e0,
	CPUID1_ECX_TSC_DEADLINE = 1 << 24,
	COUNT = 200000,
	TSC_STEP = 1000000,
};

static volatile unsigned ticks, ipis;

static void on_tick(struct trap_frame *frame)
{
	(void)frame;
	ticks++;
	apic_eoi();
}

static void on_self(struct trap_frame *frame)
{
	(void)frame;
	ipis++;
	apic_eoi();
}

static void wait_for(const volatile unsigned *counter, unsigned value)
{
	while (*counter < value)
		irq_wait();
}

static bool one_shot(void)
{
	ticks = 0;
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
	apic_write(APIC_LVT_TIMER, VECTOR_TIMER);
	for (unsigned i = 1; i <= N_TICKS; i++) {
		apic_write(APIC_TIMER_INITIAL, COUNT);
		wait_for(&ticks, i);
	}
	print("one-shot ticks %u\n", ticks);
	return guest_check(ticks == N_TICKS && apic_read(APIC_TIMER_CURRENT) == 0,
			   "one-shot timer stands at 0 after its tick");
}

static bool tsc_deadline(void)
{
	uint64_t deadline = 0;

	if (!(cpuid(1, 0).ecx & CPUID1_ECX_TSC_DEADLINE)) {
		print("tsc-deadline absent\n");
		return true;
	}
	ticks = 0;
	apic_write(APIC_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR_TIMER);
	for (unsigned i = 1; i <= N_TICKS; i++) {
		deadline = rdtsc() + TSC_STEP;
		wrmsr(MSR_TSC_DEADLINE, deadline);
		wait_for(&ticks, i);
		if (!guest_check(rdtsc() >= deadline, "no tick before its deadline"))
			return false;
	}
	print("tsc-deadline ticks %u\n", ticks);
	return guest_check(ticks == N_TICKS, "one tick for each deadline");
}

static bool self_ipi(void)
{
	apic_ipi(apic_id(), IPI_FIXED | VECTOR_SELF);
	wait_for(&ipis, 1);
	apic_ipi(0, IPI_FIXED | IPI_SELF | VECTOR_SELF);
	wait_for(&ipis, 2);
	print("self ipis %u\n", ipis);
	return true;
}

int guest_main(const struct pvh_start_info *info)
{
	bool ok;

	guest_init(info);
	apic_init();
	idt_set(VECTOR_TIMER, on_tick);
	idt_set(VECTOR_SELF, on_self);
	print("apic %s id %u\n", apic_is_x2() ? "x2apic" : "xapic", apic_id());
	ok = one_shot();
	ok &= tsc_deadline();
	ok &= self_ipi();
	return guest_finish("timer", ok);
}
