/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "kvm/x86/cpuid.h"

/* A host whose KVM lists one sub-leaf of 0xb, four caches of Intel's leaf 4, and AMD's leaves too.
 */
static struct kvm_cpuid2 *fake_supported(void)
{
	static const struct kvm_cpuid_entry2 entries[] = {
		{.function = 0x0, .eax = 0x1f},
		{.function = 0x1, .ebx = 0xff00ff00, .edx = 1u << 28},
		{.function = 0x4, .index = 0, .flags = 1, .eax = 0xfc000121},
		{.function = 0x4, .index = 1, .flags = 1, .eax = 0xfc000122},
		{.function = 0x4, .index = 2, .flags = 1, .eax = 0xfc000143},
		{.function = 0x4, .index = 3, .flags = 1, .eax = 0xfc000163},
		{.function = 0x4, .index = 4, .flags = 1, .eax = 0},
		{.function = 0x6, .eax = 0},
		{.function = 0xb, .index = 0, .flags = 1, .edx = 99},
		{.function = 0x80000001},
		{.function = 0x80000008, .ecx = 0x7007},
		{.function = 0x8000001e, .eax = 77},
	};
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + sizeof(entries));

	cpuid->nent = sizeof(entries) / sizeof(entries[0]);
	for (uint32_t i = 0; i < cpuid->nent; i++)
		cpuid->entries[i] = entries[i];
	return cpuid;
}

static struct kvm_cpuid2 *made_for(const struct cpu_topology *topology, unsigned index)
{
	struct kvm_cpuid2 *supported = fake_supported();
	struct kvm_cpuid2 *cpuid = cpuid_for_vcpu(supported, topology, index, true);

	free(supported);
	cr_assert_not_null(cpuid);
	return cpuid;
}

Test(cpuid, apic_id__leaves_gaps_where_a_count_is_no_power_of_two)
{
	struct cpu_topology t = {.sockets = 2, .cores = 3, .threads = 2};
	static const uint32_t ids[] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13};

	for (unsigned i = 0; i < 12; i++)
		cr_assert_eq(cpu_topology_apic_id(&t, i), ids[i], "vCPU %u", i);
}

Test(cpuid, topology_leaf__has_thread_core_and_end_level)
{
	struct cpu_topology t = {.sockets = 2, .cores = 3, .threads = 2};
	struct kvm_cpuid2 *c = made_for(&t, 7);
	const struct kvm_cpuid_entry2 *smt = cpuid_find(c, 0xb, 0);
	const struct kvm_cpuid_entry2 *core = cpuid_find(c, 0xb, 1);
	const struct kvm_cpuid_entry2 *end = cpuid_find(c, 0xb, 2);

	cr_assert_eq(smt->eax, 1);
	cr_assert_eq(smt->ebx, 2);
	cr_assert_eq(smt->ecx, 1 << 8);
	cr_assert_eq(smt->edx, 9, "the x2APIC id of vCPU 7");
	cr_assert_eq(core->eax, 3);
	cr_assert_eq(core->ebx, 6);
	cr_assert_eq(core->ecx, 2 << 8 | 1);
	cr_assert_eq(end->eax, 0);
	cr_assert_eq(end->ebx, 0);
	cr_assert_eq(end->ecx, 2);
	free(c);
}

Test(cpuid, leaf_1__has_apic_id_and_count_and_the_hypervisor_bits)
{
	struct cpu_topology t = {.sockets = 1, .cores = 4, .threads = 1};
	struct kvm_cpuid2 *c = made_for(&t, 3);
	const struct kvm_cpuid_entry2 *e = cpuid_find(c, 1, 0);

	cr_assert_eq(e->ebx >> 24, 3);
	cr_assert_eq(e->ebx >> 16 & 0xff, 4);
	cr_assert_eq(e->ebx & 0xffff, 0xff00, "what is not ours stays");
	cr_assert(e->ecx & 1u << 31);
	cr_assert(e->ecx & 1u << 24);
	cr_assert(e->ecx & 1u << 21);
	cr_assert(e->edx & 1u << 28);
	free(c);
}

Test(cpuid, one_cpu__is_not_hyper_threaded)
{
	struct cpu_topology t = {.sockets = 1, .cores = 1, .threads = 1};
	struct kvm_cpuid2 *c = made_for(&t, 0);

	cr_assert_eq(cpuid_find(c, 1, 0)->edx & 1u << 28, 0);
	cr_assert_eq(cpuid_find(c, 0x80000008, 0)->ecx, 0);
	free(c);
}

Test(cpuid, caches__l1_and_l2_belong_to_the_core_and_l3_to_the_package)
{
	struct cpu_topology t = {.sockets = 1, .cores = 4, .threads = 2};
	struct kvm_cpuid2 *c = made_for(&t, 0);
	static const unsigned sharing[] = {1, 1, 1, 7};

	for (unsigned i = 0; i < 4; i++) {
		uint32_t eax = cpuid_find(c, 4, i)->eax;

		cr_assert_eq(eax >> 14 & 0xfff, sharing[i], "cache %u", i);
		cr_assert_eq(eax >> 26, 3, "cache %u", i);
	}
	cr_assert_eq(cpuid_find(c, 4, 4)->eax, 0, "the end of the list stays one");
	free(c);
}

Test(cpuid, amd__topology_leaves_agree)
{
	struct cpu_topology t = {.sockets = 2, .cores = 2, .threads = 2};
	struct kvm_cpuid2 *c = made_for(&t, 6);
	const struct kvm_cpuid_entry2 *e = cpuid_find(c, 0x8000001e, 0);

	cr_assert_eq(e->eax, 6);
	cr_assert_eq(e->ebx, 1 << 8 | 3);
	cr_assert_eq(e->ecx, 1);
	cr_assert_eq(cpuid_find(c, 0x80000008, 0)->ecx, 2 << 12 | 3);
	free(c);
}

Test(cpuid, arat__is_always_there)
{
	struct cpu_topology t = {.sockets = 1, .cores = 1, .threads = 1};
	struct kvm_cpuid2 *c = made_for(&t, 0);

	cr_assert(cpuid_find(c, 6, 0)->eax & 1u << 2);
	free(c);
}
