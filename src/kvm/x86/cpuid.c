/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/x86/cpuid.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/checked.h"

enum {
	LEAF_BASIC = 0x1,
	LEAF_CACHE = 0x4,
	LEAF_POWER = 0x6,
	LEAF_TOPOLOGY = 0xb,
	LEAF_TOPOLOGY_V2 = 0x1f,
};
#define LEAF_AMD_FEATURES 0x80000001u
#define LEAF_AMD_L1	  0x80000005u
#define LEAF_AMD_SIZES	  0x80000008u
#define LEAF_AMD_CACHE	  0x8000001du
#define LEAF_AMD_TOPOLOGY 0x8000001eu

#define ECX_X2APIC	 (1u << 21)
#define ECX_TSC_DEADLINE (1u << 24)
#define ECX_HYPERVISOR	 (1u << 31)
#define EDX_HTT		 (1u << 28)
#define EAX_ARAT	 (1u << 2)
#define ECX_CMP_LEGACY	 (1u << 1)

/* Bits that n different numbers take. */
static unsigned bits_for(unsigned n)
{
	return n <= 1 ? 0 : 32 - (unsigned)__builtin_clz(n - 1);
}

struct shifts {
	unsigned core, package; /* where in the APIC id the core and the package begin */
};

static struct shifts shifts_of(const struct cpu_topology *t)
{
	unsigned core = bits_for(t->threads);

	return (struct shifts){.core = core, .package = core + bits_for(t->cores)};
}

uint32_t cpu_topology_apic_id(const struct cpu_topology *t, unsigned index)
{
	struct shifts s = shifts_of(t);
	unsigned thread = index % t->threads;
	unsigned core = index / t->threads % t->cores;
	unsigned socket = index / t->threads / t->cores;

	return socket << s.package | core << s.core | thread;
}

static size_t cpuid_bytes(uint32_t n)
{
	return sizeof(struct kvm_cpuid2) + n * sizeof(struct kvm_cpuid_entry2);
}

bool cpuid_host_has_virtualization(void)
{
	enum { ECX_VMX = 1 << 5, ECX_SVM = 1 << 2 };
	uint32_t eax, ebx, ecx, edx;

	if (__get_cpuid(LEAF_BASIC, &eax, &ebx, &ecx, &edx) && (ecx & ECX_VMX))
		return true;
	return __get_cpuid(LEAF_AMD_FEATURES, &eax, &ebx, &ecx, &edx) && (ecx & ECX_SVM);
}

/*
 * Before 6.2, KVM leaves AMD's L1 leaf empty, and a guest without L1 caches shows none at all. The
 * host's own is what newer ones pass.
 */
static void fill_amd_l1(struct kvm_cpuid2 *cpuid)
{
	struct kvm_cpuid_entry2 *l1 = cpuid_find(cpuid, LEAF_AMD_L1, 0);

	if (l1 && !l1->eax && !l1->ebx && !l1->ecx && !l1->edx)
		__cpuid(LEAF_AMD_L1, l1->eax, l1->ebx, l1->ecx, l1->edx);
}

int cpuid_supported(int kvm_fd, struct kvm_cpuid2 **ret)
{
	for (uint32_t room = 128; room <= 4096; room *= 2) {
		struct kvm_cpuid2 *cpuid = calloc(1, cpuid_bytes(room));
		int e;

		if (!cpuid)
			return -ENOMEM;
		cpuid->nent = room;
		if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) == 0) {
			fill_amd_l1(cpuid);
			*ret = cpuid;
			return 0;
		}
		e = errno;
		free(cpuid);
		if (e != E2BIG)
			return -e;
	}
	return -E2BIG;
}

struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];
		bool indexed = e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

		if (e->function == function && (!indexed || e->index == index))
			return e;
	}
	return NULL;
}

struct vcpu_view {
	const struct cpu_topology *t;
	struct shifts s;
	uint32_t apic_id;
	bool tsc_deadline;
};

static void set_field(uint32_t *reg, unsigned low, unsigned width, uint32_t value)
{
	uint32_t mask = (uint32_t)((UINT64_C(1) << width) - 1) << low;

	*reg = (*reg & ~mask) | (value << low & mask);
}

static void patch_basic(struct kvm_cpuid_entry2 *e, const struct vcpu_view *v)
{
	unsigned logical = v->t->cores * v->t->threads;

	set_field(&e->ebx, 24, 8, v->apic_id);
	set_field(&e->ebx, 16, 8, MIN(1u << v->s.package, 255u));
	e->ecx |= ECX_HYPERVISOR | ECX_X2APIC;
	if (v->tsc_deadline)
		e->ecx |= ECX_TSC_DEADLINE;
	e->edx = logical > 1 ? e->edx | EDX_HTT : e->edx & ~EDX_HTT;
}

/*
 * Leaves 4 and 0x8000001d: EAX[25:14] is the number of ids that share the cache, less one. Levels 1
 * and 2 belong to a core, level 3 to the package. Leaf 4 also has the core ids of the package in
 * EAX[31:26].
 */
static void patch_cache(struct kvm_cpuid_entry2 *e, const struct vcpu_view *v)
{
	unsigned type = e->eax & 0x1f, level = e->eax >> 5 & 7;
	uint32_t sharing = 1u << (level >= 3 ? v->s.package : v->s.core);

	if (type == 0)
		return;
	set_field(&e->eax, 14, 12, sharing - 1);
	if (e->function == LEAF_CACHE)
		set_field(&e->eax, 26, 6, MIN((1u << (v->s.package - v->s.core)) - 1, 63u));
}

/* Leaves 0xb and 0x1f: level 0 is the thread, level 1 the core, and the next says that there is no
 * more. */
static void patch_topology(struct kvm_cpuid_entry2 *e, const struct vcpu_view *v)
{
	enum { TYPE_SMT = 1, TYPE_CORE = 2 };

	e->eax = e->ebx = 0;
	e->ecx = e->index & 0xff;
	e->edx = v->apic_id;
	if (e->index == 0) {
		e->eax = v->s.core;
		e->ebx = v->t->threads;
		e->ecx |= TYPE_SMT << 8;
	} else if (e->index == 1) {
		e->eax = v->s.package;
		e->ebx = v->t->threads * v->t->cores;
		e->ecx |= TYPE_CORE << 8;
	}
}

static void patch_amd_topology(struct kvm_cpuid_entry2 *e, const struct vcpu_view *v)
{
	e->eax = v->apic_id;
	e->ebx = (v->t->threads - 1) << 8 | (v->apic_id >> v->s.core & 0xff);
	e->ecx = v->apic_id >> v->s.package & 0xff; /* one node a package */
}

static void patch_entry(struct kvm_cpuid_entry2 *e, const struct vcpu_view *v)
{
	unsigned logical = v->t->cores * v->t->threads;

	switch (e->function) {
	case LEAF_BASIC:
		patch_basic(e, v);
		break;
	case LEAF_CACHE:
	case LEAF_AMD_CACHE:
		patch_cache(e, v);
		break;
	case LEAF_POWER:
		e->eax |= EAX_ARAT;
		e->ecx &= ~(1u << 3); /* no energy-performance bias to set */
		break;
	case LEAF_TOPOLOGY:
	case LEAF_TOPOLOGY_V2:
		patch_topology(e, v);
		break;
	case LEAF_AMD_FEATURES:
		e->ecx = logical > 1 ? e->ecx | ECX_CMP_LEGACY : e->ecx & ~ECX_CMP_LEGACY;
		break;
	case LEAF_AMD_SIZES:
		e->ecx = (logical > 1) ? v->s.package << 12 | (MIN(logical, 256u) - 1) : 0;
		break;
	case LEAF_AMD_TOPOLOGY:
		patch_amd_topology(e, v);
		break;
	default:
		break;
	}
}

/*
 * KVM may list fewer sub-leaves of the topology leaves than there are levels. All three are made
 * here, so that a guest that walks them finds the end.
 */
static void add_topology_levels(struct kvm_cpuid2 *cpuid, uint32_t function)
{
	if (!cpuid_find(cpuid, function, 0))
		return;
	for (uint32_t index = 0; index < 3; index++) {
		struct kvm_cpuid_entry2 *e = cpuid_find(cpuid, function, index);

		if (!e)
			e = &cpuid->entries[cpuid->nent++];
		*e = (struct kvm_cpuid_entry2){.function = function,
					       .index = index,
					       .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX};
	}
}

struct kvm_cpuid2 *cpuid_for_vcpu(const struct kvm_cpuid2 *supported,
				  const struct cpu_topology *topology, unsigned index,
				  bool tsc_deadline)
{
	enum { ROOM_FOR_LEVELS = 6 };
	struct kvm_cpuid2 *cpuid = calloc(1, cpuid_bytes(supported->nent + ROOM_FOR_LEVELS));
	struct vcpu_view view = {
		.t = topology,
		.s = shifts_of(topology),
		.apic_id = cpu_topology_apic_id(topology, index),
		.tsc_deadline = tsc_deadline,
	};

	if (!cpuid)
		return NULL;
	memcpy(cpuid, supported, cpuid_bytes(supported->nent));
	add_topology_levels(cpuid, LEAF_TOPOLOGY);
	add_topology_levels(cpuid, LEAF_TOPOLOGY_V2);
	for (uint32_t i = 0; i < cpuid->nent; i++)
		patch_entry(&cpuid->entries[i], &view);
	return cpuid;
}
