/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of machine/ share about a VM. Nothing outside this room includes it. */
#ifndef VMM_MACHINE_VM_INTERNAL_H
#define VMM_MACHINE_VM_INTERNAL_H

#include <sys/ioctl.h>

#include "boot/boot.h"
#include "bus/device.h"
#include "bus/io_bus.h"
#include "bus/wires.h"
#include "devices/serial16550.h"
#include "devices/virtio_console.h"
#include "event/io_thread.h"
#include "event/loop.h"
#include "kvm/vm.h"
#include "machine/console_watch.h"
#include "machine/layout.h"
#include "machine/mailbox.h"
#include "machine/vcpus.h"
#include "machine/vm.h"
#include "mm/discard.h"
#include "mm/ram.h"
#include "pci/bus.h"
#include "virtio/virtio.h"

/* Those of the board, and one in each slot of the PCI bus but the host bridge's. */
enum { VM_MAX_DEVICES = 48, VM_MAX_SLOTS = 31 };

enum vm_phase {
	VM_RUNNING,
	VM_PAUSED,    /* by the user: parked until resumed */
	VM_STOPPING,  /* the power button was pressed; a deadline runs */
	VM_RESETTING, /* as soon as the host has ended the old guest's requests */
	VM_HELD,      /* panicked with --on-panic wait: parked for inspection */
	VM_ENDED,
};

struct vm {
	const struct vm_config *config;
	struct vm_resources *res;
	struct kvm_vm *kvm;
	struct mm_ram *ram;
	struct mm_map ram_map;	  /* what the guest boots with */
	struct mm_map map;	  /* that, and memory that devices bring along */
	struct mm_ram *pluggable; /* virtio-mem's region; NULL: none */
	gpa_t pluggable_gpa;
	gpa_t pmem_gpa[CONFIG_MAX_ELEMENTS];
	struct mm_discard_ledger discards;
	struct cpu_topology topology;
	struct vcpus vcpus;
	struct boot_platform platform;
	uint32_t apic_ids[CONFIG_MAX_CPUS];

	struct io_bus ports, memory;
	struct run_wire run_wire;
	struct device *devices[VM_MAX_DEVICES];
	unsigned n_devices;
	struct device *power_management;
	struct pci_bus *pci; /* the host bridge's */
	struct io_thread *io_threads[CONFIG_MAX_IOTHREADS];
	struct loop *io_loops[CONFIG_MAX_IOTHREADS];
	unsigned n_io_threads;
	unsigned n_slots; /* taken, of PCI or of virtio-mmio */
	char ids[VM_MAX_SLOTS][CONFIG_ID_LEN];
	/* n_slots of them are in use with --transport mmio. */
	struct boot_virtio_mmio virtio_mmio[LAYOUT_VIRTIO_MMIO_PLACES];
	struct serial16550_tap tap;	   /* feeds the watch */
	struct virtio_console_tap hvc_tap; /* likewise */
	struct virtio_dev *virtio_console; /* NULL: none */
	struct console_watch watch;

	struct loop *loop;
	struct loop_fd signals;
	struct loop_work mail;	/* the mailbox has something */
	struct loop_work panic; /* a panic line was seen */
	struct loop_work watchdog;
	enum watchdog_action watchdog_action; /* of that */
	struct mailbox mailbox;
	struct loop_timer timeout;     /* --timeout */
	struct loop_timer grace;       /* after the power button */
	struct loop_timer reset_again; /* VM_RESETTING */
	const char *reset_by;
	struct loop_timer quiet; /* a panicked guest's console has been silent */
	struct chr_keys keys;

	enum vm_phase phase;
	struct vm_listener *listener; /* NULL: nobody, or it has heard the last event */
	uint64_t pvpanic_ns;	      /* when the guest said so by pvpanic; 0: it did not */
	uint64_t paused_ns;	      /* the last pause; 0: never */
	int save_error; /* 0: the vCPUs' power-on state is saved, so that a reset can be done */
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

static inline struct chr *vm_console_chr(const struct vm *vm)
{
	return vm_console_stream(vm->config, vm->res);
}

/* The configured topology as KVM's room names it. */
static inline struct cpu_topology vm_topology(const struct vm_config *config)
{
	struct config_topology t = config_topology(config);

	return (struct cpu_topology){.sockets = t.sockets, .cores = t.cores, .threads = t.threads};
}

/* devices.c: makes every device of the table. */
int vm_add_devices(struct vm *vm, struct err *err) must_check;

/* memory.c: RAM, its places, and what devices add to it. */
int vm_add_memory(struct vm *vm, struct err *err) must_check;

/* io_threads.c: threads and loops are made, started, stopped and, when the devices are gone, freed.
 */
int vm_add_io_threads(struct vm *vm, struct err *err) must_check;
int vm_start_io_threads(struct vm *vm, struct err *err) must_check;
void vm_stop_io_threads(struct vm *vm);
void vm_free_io_threads(struct vm *vm);

/* virtio_devices.c: what the configuration asks for, each with its transport. */
bool vm_has_virtio_devices(const struct vm_config *config);
int vm_add_virtio_devices(struct vm *vm, struct err *err) must_check;

/* helpers.c: the programs of vm->res are watched from now on; there may be none. */
int vm_add_helpers(struct vm *vm, struct err *err) must_check;

/* quiesce.c: devices come to rest, vCPUs parked, and go on. -ETIMEDOUT with the device's name: one
 * did not, and vm_resume_devices() is to be called in the end all the same. */
int vm_quiesce_devices(struct vm *vm, uint64_t patience_ns, struct err *err) must_check;
void vm_resume_devices(struct vm *vm);

/* devices.c: in the slot behind those of the virtio devices. */
int vm_add_watchdog(struct vm *vm, struct err *err) must_check;

/* reset.c: kernel, initrd and tables into memory, and the boot vCPU to their entry. */
int vm_load_guest(struct vm *vm, struct err *err) must_check;
/* The machine into its power-on state, guest loaded anew. All vCPUs parked. -ETIMEDOUT: a device's
 * requests to the host have not come back; nothing is reset, to be called again. */
int vm_reset_in_place(struct vm *vm, struct err *err) must_check;

/* run.c: what the guest asks for, and the end of the run. */
void vm_run_init(struct vm *vm);
void vm_vcpu_stopped(struct vcpus *set, unsigned index, enum kvm_stop why);
void vm_emit(struct vm *vm, const struct vm_event *event);
/* The first end counts. */
void vm_end(struct vm *vm, enum end_reason reason);
/*
 * After the vCPUs were parked for a moment or for a pause: they go on, unless the VM is not to run,
 * or one of them has asked for something that is still in the mailbox. What is done about that
 * decides then.
 */
void vm_run_on(struct vm *vm);
/* Does what the vCPUs asked for, if anything. */
void vm_read_mail(struct vm *vm);
/* Resets in place; a paused machine stays paused, a held one runs. False: it failed, and the run
 * has ended. */
bool vm_restart(struct vm *vm, const char *by);
/* Around a pause, whose time is no silence of the guest's. */
void vm_silence_paused(struct vm *vm);
void vm_silence_resumed(struct vm *vm);

/* steer.c: what the user asks for. */
void vm_steer_init(struct vm *vm);
int vm_steer_start(struct vm *vm, struct err *err) must_check;
void vm_steer_done(struct vm *vm);
/* Of standard input; zeros when that is no terminal. */
struct winsize vm_terminal_size(void);

#endif
