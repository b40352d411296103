/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each processor says of itself, for the host to check. A line for each leaf and subleaf:
 *   cpuid CPU LEAF SUBLEAF EAX EBX ECX EDX     (all but CPU hexadecimal)
 * and "cpu CPU apic ID" first; the numbers of the processors are in the order of their start.
 */
#include <stddef.h>

#include "rt/apic.h"
#include "rt/cpu.h"
#include "rt/guest.h"
#include "rt/print.h"
#include "rt/smp.h"

static const struct {
	uint32_t leaf;
	unsigned n_subleaves;
} leaves[] = {
	{0x0, 1},	 {0x1, 1},	  {0x4, 5},	   {0xb, 3},	    {0x1f, 3},
	{0x80000000, 1}, {0x80000008, 1}, {0x8000001d, 5}, {0x8000001e, 1},
};

static struct {
	uint32_t apic_id;
	struct cpuid_regs regs[21];
} found[SMP_MAX];

static void ask(unsigned number)
{
	size_t n = 0;

	found[number].apic_id = apic_id();
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
		for (unsigned k = 0; k < leaves[i].n_subleaves; k++)
			found[number].regs[n++] = cpuid(leaves[i].leaf, k);
}

/* Leaves past the highest one give what the highest gives, which would only confuse. */
static bool leaf_there(const struct cpuid_regs *regs, uint32_t leaf)
{
	enum { HIGHEST_BASIC = 0, HIGHEST_EXTENDED = 13 }; /* places in regs[] */

	return leaf <= regs[leaf < 0x80000000 ? HIGHEST_BASIC : HIGHEST_EXTENDED].eax;
}

static void report(unsigned number)
{
	const struct cpuid_regs *regs = found[number].regs;
	size_t n = 0;

	print("cpu %u apic %u\n", number, found[number].apic_id);
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
		for (unsigned k = 0; k < leaves[i].n_subleaves; k++, n++)
			if (leaf_there(regs, leaves[i].leaf))
				print("cpuid %u %x %x %x %x %x %x\n", number, leaves[i].leaf, k,
				      regs[n].eax, regs[n].ebx, regs[n].ecx, regs[n].edx);
}

int guest_main(const struct pvh_start_info *info)
{
	unsigned listed = 0, started;

	guest_init(info);
	apic_init();
	ask(0);
	started = smp_start(info, ask, &listed);
	for (unsigned i = 0; i < started; i++)
		report(i);
	return guest_finish("cpuid", guest_check(started == listed, "each processor came up"));
}
