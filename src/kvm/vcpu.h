/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct kvm_vcpu: one virtual CPU and its exits.
 *
 * Made, saved, restored and freed on main; kvm_vcpu_run() belongs to the vCPU's thread. State may
 * be touched by main only while that thread is parked outside kvm_vcpu_run(). kvm_vcpu_kick() is
 * for any thread.
 */
#ifndef VMM_KVM_VCPU_H
#define VMM_KVM_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/text.h"
#include "bus/io_bus.h"
#include "kvm/vm.h"
#include "kvm/x86/cpuid.h"
#include "mm/map.h"

struct kvm_vcpu;

/* How the boot vCPU starts: see struct boot_entry in boot/boot.h, of which this is KVM's half. */
struct kvm_entry {
	bool long_mode; /* else 32-bit protected mode without paging */
	uint64_t rip, rsp, rsi, rbx, cr3;
	uint64_t gdt;
	uint16_t gdt_limit;
};

enum kvm_stop {
	KVM_STOP_KICKED,       /* somebody wants this thread; pending accesses are complete */
	KVM_STOP_TRIPLE_FAULT, /* KVM_EXIT_SHUTDOWN */
	KVM_STOP_FAILED,       /* KVM gave up: kvm_vcpu_explain() says why */
};

enum { KVM_EXIT_REASONS = 48 };

int kvm_vcpu_new(struct kvm_vm *vm, const struct cpu_topology *topology, unsigned index,
		 struct kvm_vcpu **ret, struct err *err) must_check;
struct kvm_vcpu *kvm_vcpu_free(struct kvm_vcpu *vcpu);

/* For the boot vCPU; the others wait for INIT and SIPI. */
int kvm_vcpu_set_entry(struct kvm_vcpu *vcpu, const struct kvm_entry *entry,
		       struct err *err) must_check;

/*
 * Saves the whole state that a reset has to bring back, before the first run; restore writes it
 * again. An MSR that KVM doesn't let through is left out. 0 or -errno.
 */
int kvm_vcpu_save(struct kvm_vcpu *vcpu) must_check;
int kvm_vcpu_restore(struct kvm_vcpu *vcpu) must_check;

/* The thread that will run it; kicks go there. Blocks nothing. */
void kvm_vcpu_bind_thread(struct kvm_vcpu *vcpu);
void kvm_vcpu_unbind_thread(struct kvm_vcpu *vcpu);
/* The signal that interrupts KVM_RUN; installs its empty handler. Once, before threads. */
void kvm_vcpu_set_up_kick_signal(void);

/* Runs the guest and answers its accesses from the two buses until something else happens. */
enum kvm_stop kvm_vcpu_run(struct kvm_vcpu *vcpu, const struct io_bus *ports,
			   const struct io_bus *memory);

/*
 * Makes kvm_vcpu_run() return KVM_STOP_KICKED, now or when it is entered next. On the vCPU's own
 * thread (from a device's write) it stops the guest right after the access.
 */
void kvm_vcpu_kick(struct kvm_vcpu *vcpu);

/* True while the guest waits in HLT with interrupts on, as an idle system does. Parked thread only.
 */
bool kvm_vcpu_is_idle(struct kvm_vcpu *vcpu);
/* False for an application processor that waits for INIT or SIPI. Parked thread only. */
bool kvm_vcpu_is_started(struct kvm_vcpu *vcpu);

/* Queues a non-maskable interrupt. Parked thread only. 0 or -errno. */
int kvm_vcpu_nmi(struct kvm_vcpu *vcpu) must_check;
/*
 * Before a vCPU goes on that its user had stopped: by kvmclock the guest's watchdogs hear of it and
 * don't take the pause for a hang. Parked thread only.
 */
void kvm_vcpu_was_paused(struct kvm_vcpu *vcpu);

/* Exits by KVM exit reason since the start; reads are racy by design. */
uint64_t kvm_vcpu_exits(const struct kvm_vcpu *vcpu, unsigned reason);
/* "io", "mmio", "hlt", ... or NULL for a number without a name. */
const char *kvm_exit_name(unsigned reason);

/* One readable block about the last stop: reason, registers, instruction bytes, what it likely
 * means here. */
void kvm_vcpu_explain(struct kvm_vcpu *vcpu, const struct mm_map *map, struct str *out);

#endif
