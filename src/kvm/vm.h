/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct kvm_vm: one KVM virtual machine: memory slots, the in-kernel interrupt controllers, GSI
 * routes.
 *
 * GSI n is pin n of the one IOAPIC, 0 to 23; the 8259 pair that KVM brings along is wired to
 * nothing. MSIs have the GSIs from 24 up. Made and freed on main; interrupt lines may be set from
 * any thread.
 */
#ifndef VMM_KVM_VM_H
#define VMM_KVM_VM_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/err.h"
#include "bus/wires.h"
#include "kvm/host.h"
#include "mm/map.h"

struct kvm_vm;

enum { KVM_VM_GSIS = 24 };

/* host is borrowed and outlives the VM. 0 or -errno with a message. */
int kvm_vm_new(const struct kvm_host *host, struct kvm_vm **ret, struct err *err) must_check;
struct kvm_vm *kvm_vm_free(struct kvm_vm *vm);

/* One memory slot per region of the map. Once, before the first vCPU runs. */
int kvm_vm_set_memory(struct kvm_vm *vm, const struct mm_map *map, struct err *err) must_check;

/* One more slot. Before the first vCPU runs. ro: the guest's writes go nowhere. */
int kvm_vm_add_memory(struct kvm_vm *vm, const struct mm_region *region, bool ro,
		      struct err *err) must_check;

/* Bits of a guest-physical address. */
unsigned kvm_vm_physical_bits(const struct kvm_vm *vm);

/* The wire of a GSI, owned by the VM. */
struct irq_line *kvm_vm_irq_line(struct kvm_vm *vm, unsigned gsi);

/*
 * Makes the wires of bus/wires.h; owned by the VM, and so is what it makes. All eventfds are opened
 * while the machine is built; after that its wires only use KVM_IRQFD, KVM_IOEVENTFD,
 * KVM_SET_GSI_ROUTING, and read and write eventfds.
 */
struct wire_maker *kvm_vm_wires(struct kvm_vm *vm);

/* True when the guest has unmasked the IOAPIC pin, which is to say that a driver has asked for it.
 */
bool kvm_vm_gsi_enabled(const struct kvm_vm *vm, unsigned gsi);

/* Interrupt controllers, lines and routes as they were when the VM was made: all MSIs are masked
 * and forget what is pending, doorbells stay. No vCPU may run. */
int kvm_vm_reset(struct kvm_vm *vm) must_check;

#endif
