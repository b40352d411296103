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

/*
 * An MSI: a GSI of its own, which has a route and an irqfd only while it is not masked. While it
 * is, its eventfd gathers what is raised.
 */
struct kvm_message {
	struct msi_route route;
	struct kvm_vm *vm;
	uint32_t gsi;
	/* Of the owner: */
	bool through; /* the irqfd is assigned */
	bool held;    /* pending, and read from the eventfd already */
	/* Under the wires' lock: */
	bool routed;
	uint64_t address;
	uint32_t data;
};

struct kvm_bell {
	struct doorbell bell;
	struct kvm_vm *vm;
	bool attached;
	struct kvm_ioeventfd at; /* as KVM has it while attached */
};

struct kvm_wires {
	struct wire_maker maker;
	/* Grow while the machine is built: */
	struct kvm_message **msis;
	struct kvm_bell **bells;
	unsigned n_msis, n_bells, n_edges;
	int edges[KVM_VM_GSIS];

	struct mutex lock; /* leaf: the routes of all GSIs, which KVM takes only together */
	struct kvm_irq_routing *routing; /* room for each GSI there is */
};

/* PIC master, PIC slave, IOAPIC */
enum { IRQCHIPS = 3 };

struct kvm_vm {
	const struct kvm_host *host;
	int fd;
	unsigned n_slots; /* of memory */
	struct kvm_line lines[KVM_VM_GSIS];
	struct kvm_wires wires;
	struct kvm_irqchip power_on[IRQCHIPS];
	struct kvm_cpuid2 *cpuid; /* what KVM supports; x86/cpuid.c makes each vCPU's own from it */
};

/* Assigns the eventfd to the GSI, or takes it off with KVM_IRQFD_FLAG_DEASSIGN. 0 or -errno. */
int kvm_vm_irqfd(const struct kvm_vm *vm, int fd, uint32_t gsi, uint32_t flags) must_check;

/* msi.c: all routes, those of the IOAPIC's pins included. 0 or -errno. */
int kvm_msi_init(struct kvm_vm *vm) must_check;
int kvm_msi_new(struct wire_maker *maker, struct msi_route **ret) must_check;
/* All MSIs masked and forgotten, routes for the pins only. */
int kvm_msi_reset(struct kvm_vm *vm) must_check;
void kvm_msi_done(struct kvm_vm *vm);

/* wires.c. init: once the interrupt controllers are there. done: after the VM's own descriptor is
 * closed, which takes all eventfds out of KVM; also when init never came. */
int kvm_wires_init(struct kvm_vm *vm) must_check;
void kvm_wires_done(struct kvm_vm *vm);

#endif
