/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of machine/ share about a VM. Nothing outside this room includes it. */
#ifndef VMM_MACHINE_VM_INTERNAL_H
#define VMM_MACHINE_VM_INTERNAL_H

#include "boot/boot.h"
#include "bus/device.h"
#include "bus/io_bus.h"
#include "bus/wires.h"
#include "devices/serial16550.h"
#include "event/loop.h"
#include "kvm/vm.h"
#include "machine/console_watch.h"
#include "machine/mailbox.h"
#include "machine/vcpus.h"
#include "machine/vm.h"
#include "mm/ram.h"

enum { VM_MAX_DEVICES = 16 };

enum vm_phase {
	VM_RUNNING,
	VM_STOPPING, /* the power button was pressed; a deadline runs */
	VM_HELD,     /* panicked with --on-panic wait: parked for inspection */
	VM_ENDED,
};

struct vm {
	const struct vm_config *config;
	struct vm_resources *res;
	struct kvm_vm *kvm;
	struct mm_ram *ram;
	struct mm_map map;
	struct cpu_topology topology;
	struct vcpus vcpus;
	struct boot_platform platform;
	uint32_t apic_ids[CONFIG_MAX_CPUS];

	struct io_bus ports, memory;
	struct run_wire run_wire;
	struct device *devices[VM_MAX_DEVICES];
	unsigned n_devices;
	struct device *power_management;
	struct serial16550_tap tap; /* feeds the watch */
	struct console_watch watch;

	struct loop *loop;
	struct loop_fd signals;
	struct loop_work mail;	/* the mailbox has something */
	struct loop_work panic; /* a panic line was seen */
	struct mailbox mailbox;
	struct loop_timer timeout; /* --timeout */
	struct loop_timer grace;   /* after the power button */
	struct loop_timer quiet;   /* a panicked guest's console has been silent */
	struct chr_keys keys;

	enum vm_phase phase;
	uint64_t pvpanic_ns; /* when the guest said so by pvpanic; 0: it did not */
	bool timed_out;
	unsigned resets;
	struct outcome outcome;
	struct err run_err;
	char *failure; /* what kvm_vcpu_explain() said */
};

/* The chr that ttyS0 talks to. */
static inline struct chr *vm_serial_chr(const struct vm *vm)
{
	return vm->res->serial ? vm->res->serial : vm->res->console;
}

/* The configured topology as KVM's room names it. */
static inline struct cpu_topology vm_topology(const struct vm_config *config)
{
	struct config_topology t = config_topology(config);

	return (struct cpu_topology){.sockets = t.sockets, .cores = t.cores, .threads = t.threads};
}

/* devices.c: makes every device of the table. */
int vm_add_devices(struct vm *vm, struct err *err) must_check;

/* reset.c: kernel, initrd and tables into memory, and the boot vCPU to their entry. */
int vm_load_guest(struct vm *vm, struct err *err) must_check;
/* The machine into its power-on state, guest loaded anew. All vCPUs parked. */
int vm_reset_in_place(struct vm *vm, struct err *err) must_check;

/* run.c: wires and the loop's sources. */
void vm_run_init(struct vm *vm);
void vm_run_done(struct vm *vm);
void vm_vcpu_stopped(struct vcpus *set, unsigned index, enum kvm_stop why);

#endif
