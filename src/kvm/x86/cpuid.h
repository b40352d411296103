/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID: what KVM supports, made into the leaves of one vCPU: topology, cache sharing, APIC id, and
 * what the in-kernel APIC adds. Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E. Pure but for
 * cpuid_supported().
 */
#ifndef VMM_KVM_X86_CPUID_H
#define VMM_KVM_X86_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* vCPU i is thread i % threads of core i / threads % cores of its socket. */
struct cpu_topology {
	unsigned sockets, cores, threads; /* each at least 1 */
};

/* APIC ids keep a power of two per level, so they have gaps where a count is none. */
uint32_t cpu_topology_apic_id(const struct cpu_topology *topology, unsigned index);

/* VT-x or AMD-V on this host's processor; without them its KVM is software. */
bool cpuid_host_has_virtualization(void);

/* KVM_GET_SUPPORTED_CPUID with as much room as it takes; free() it. 0 or -errno. */
int cpuid_supported(int kvm_fd, struct kvm_cpuid2 **ret) must_check;

/* A copy of `supported` for vCPU `index`; free() it. NULL when out of memory. */
struct kvm_cpuid2 *cpuid_for_vcpu(const struct kvm_cpuid2 *supported,
				  const struct cpu_topology *topology, unsigned index,
				  bool tsc_deadline) must_check;

struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index);

#endif
