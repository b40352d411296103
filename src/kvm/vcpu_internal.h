/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_KVM_VCPU_INTERNAL_H
#define VMM_KVM_VCPU_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "kvm/vcpu.h"
#include "kvm/vm_internal.h"

struct vcpu_state; /* x86/state.c */

struct kvm_vcpu {
	struct kvm_vm *vm;
	unsigned index;
	int fd;
	struct kvm_run *run;
	int run_errno; /* of a KVM_RUN that failed */
	pthread_t thread;
	atomic_bool bound;
	uint64_t exits[KVM_EXIT_REASONS];
	struct vcpu_state *saved;
};

struct vcpu_state *vcpu_state_free(struct vcpu_state *state);
/* KVM_GET_MSRS or KVM_SET_MSRS of one. 0, -EINVAL when KVM doesn't know it, -errno. */
int vcpu_msr(const struct kvm_vcpu *vcpu, unsigned long request,
	     struct kvm_msr_entry *entry) must_check;
/* The MSRs that firmware would have set. */
void vcpu_init_msrs(struct kvm_vcpu *vcpu);

#endif
