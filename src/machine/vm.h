/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct vm: the machine put together from configuration and opened resources, and its run state.
 * Main thread. The order of calls is the start order of docs/explanation/house.md:
 *
 *   vm_new()        KVM's VM, memory, devices, kernel loaded
 *   vm_start()      threads made, parked, each in its sandbox role
 *   vm_run()        until the guest or the user ends it
 *   vm_free()
 */
#ifndef VMM_MACHINE_VM_H
#define VMM_MACHINE_VM_H

#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "config/config.h"
#include "machine/outcome.h"
#include "machine/resources.h"
#include "sandbox/sandbox.h"

struct vm;

/*
 * config and res are borrowed and outlive the VM. Signals that vmm handles must be blocked in the
 * calling thread (vm_block_signals). 0 or -errno with a message; what was made is freed.
 */
int vm_new(const struct vm_config *config, struct vm_resources *res, struct vm **ret,
	   struct err *err) must_check;
struct vm *vm_free(struct vm *vm);

/* Blocks TERM, HUP, INT, QUIT for signalfd; ignores PIPE, USR1 and what else would end vmm. First
 * thing in the process, before any thread.
 */
void vm_block_signals(void);

/* The configured --sandbox as the sandbox room names it. */
enum sandbox_mode vm_sandbox_mode(const struct vm_config *config);

int vm_start(struct vm *vm, struct err *err) must_check;

/* Runs the guest. 0 with the outcome, or -errno with a message when vmm itself failed. */
int vm_run(struct vm *vm, struct outcome *ret, struct err *err) must_check;

/* What the run was like, for the result; after vm_run(). Strings are malloc()ed, or NULL. */
struct vm_report {
	uint64_t first_run_ns, first_console_ns; /* CLOCK_MONOTONIC, 0: never */
	unsigned resets;
	char *console_tail, *panic_text;
	char *failure; /* a vCPU that KVM gave up on, as a block of lines */
	uint64_t console_written, console_dropped; /* bytes */
};
void vm_report(struct vm *vm, struct vm_report *ret);
void vm_report_done(struct vm_report *report);

/* Exits of all vCPUs by reason. NULL name: no more; index counts from 0. */
const char *vm_exit_count(struct vm *vm, unsigned index, uint64_t *ret_count);

#endif
