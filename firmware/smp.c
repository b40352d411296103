/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts all processors of the MADT, counts them, then wakes all of them at once by one broadcast
 * and counts again. cpus=N is how many there must be. With race=1 all of them reset the machine at
 * once instead, with spin=1 all of them loop for ever.
 */
#include "rt/smp.h"

#include "rt/apic.h"
#include "rt/args.h"
#include "rt/guest.h"
#include "rt/idt.h"
#include "rt/print.h"
#include "rt/ways.h"

enum { VECTOR_CALL = 0x42 };

static uint32_t ids[SMP_MAX];
static uint32_t n_answers;

static void on_ap(unsigned number)
{
	ids[number] = apic_id();
}

static void on_call(struct trap_frame *frame)
{
	(void)frame;
	__atomic_fetch_add(&n_answers, 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

static void on_reset_call(struct trap_frame *frame)
{
	(void)frame;
	ways_reset_acpi();
}

static void reset_by_all(void)
{
	print("racing\n");
	idt_set(VECTOR_CALL, on_reset_call);
	apic_ipi(0, IPI_FIXED | IPI_ALL_BUT_SELF | VECTOR_CALL);
	ways_reset_acpi();
}

static _Noreturn void spin(void)
{
	for (;;)
		__asm__ volatile("1: jmp 1b" : : : "memory");
}

static void on_spin_call(struct trap_frame *frame)
{
	(void)frame;
	spin();
}

static void spin_all(void)
{
	idt_set(VECTOR_CALL, on_spin_call);
	apic_ipi(0, IPI_FIXED | IPI_ALL_BUT_SELF | VECTOR_CALL);
	print("ready\n");
	spin();
}

static bool call_all(unsigned n)
{
	idt_set(VECTOR_CALL, on_call);
	apic_ipi(0, IPI_FIXED | IPI_ALL_BUT_SELF | VECTOR_CALL);
	return smp_wait(&n_answers, n - 1);
}

int guest_main(const struct pvh_start_info *info)
{
	unsigned listed = 0, started, expected;
	bool ok;

	guest_init(info);
	apic_init();
	ids[0] = apic_id();
	started = smp_start(info, on_ap, &listed);
	expected = (unsigned)args_number("cpus", listed);
	for (unsigned i = 0; i < started; i++)
		print("cpu %u apic %u\n", i, ids[i]);
	print("cpus listed %u started %u\n", listed, started);
	ok = guest_check(listed == expected, "the MADT lists as many processors as asked for");
	ok &= guest_check(started == expected, "each processor came up");
	if (ok && args_number("race", 0))
		reset_by_all();
	if (ok && args_number("spin", 0))
		spin_all();
	ok = ok && guest_check(call_all(started), "each processor answered the broadcast");
	print("answers %u\n", n_answers);
	return guest_finish("smp", ok);
}
