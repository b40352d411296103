/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of kvm/ share about a VM. */
#ifndef VMM_KVM_VM_INTERNAL_H
#define VMM_KVM_VM_INTERNAL_H

#include <linux/kvm.h>

#include "base/mutex.h"
#include "kvm/vm.h"

struct kvm_line {
	struct irq_line line;
	struct kvm_vm *vm;
	unsigned gsi;
};

/* PIC master, PIC slave, IOAPIC */
enum { IRQCHIPS = 3 };

struct kvm_vm {
	const struct kvm_host *host;
	int fd;
	struct kvm_line lines[KVM_VM_GSIS];
	struct kvm_irqchip power_on[IRQCHIPS];
	struct kvm_cpuid2 *cpuid; /* what KVM supports; x86/cpuid.c makes each vCPU's own from it */
};

#endif
