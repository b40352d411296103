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

/*
 * ---- what main may do while it runs ----
 *
 * From handlers of the VM's own loop. 0, or -errno with a message: -EBUSY when the VM's state
 * doesn't allow it. Each change of state is an event.
 */

struct loop *vm_loop(struct vm *vm);

/* "running", "paused", "stopping", "panicked" (held by --on-panic wait), "ended". */
const char *vm_state(const struct vm *vm);

/*
 * Stops every vCPU; the guest's clocks run on, as those of a machine whose processors were held by
 * somebody else. Paused already, or running already, is fine and no event. What the guest had asked
 * for just before (power-off, reset, exit) is still done. --timeout goes on. -EBUSY while it is
 * stopping or held.
 */
int vm_pause(struct vm *vm, struct err *err) must_check;
int vm_resume(struct vm *vm, struct err *err) must_check;
/* Presses the power button and waits for nothing, not even for a driver to be there. A device's own
 * verb does the same without the event. */
int vm_press_power_button(struct vm *vm, struct err *err) must_check;
/*
 * Resets in place, now, whatever --on-reboot says. A paused machine stays paused, one that is held
 * after a panic runs again. -EBUSY while it is stopping; -ENOTSUP where KVM can't save a vCPU; an
 * error on the way ends the run.
 */
int vm_reset(struct vm *vm, struct err *err) must_check;
/* A non-maskable interrupt on every processor that has been started. */
int vm_nmi(struct vm *vm, struct err *err) must_check;
/*
 * The power button, and the end by force after grace_ns. A paused machine is let run for it. Asked
 * again with a shorter time, that one counts. At once when no driver listens to the button, when
 * the machine is held, or with 0. Never refused. `by` is a static word for the event ("api").
 */
int vm_stop(struct vm *vm, uint64_t grace_ns, const char *by, struct err *err) must_check;
/* Ends it now: reason "killed", exit code 137 if no signal had asked before; a held guest's reason
 * stays "panic", and after --timeout it is "timeout". Never refused. */
int vm_kill(struct vm *vm, const char *by, struct err *err) must_check;

/* Devices in their order; NULL past the last. */
struct device *vm_device(struct vm *vm, unsigned index);
struct device *vm_find_device(struct vm *vm, const char *id);
/* The stream that carries the console. */
struct chr *vm_console(struct vm *vm);
unsigned vm_n_vcpus(const struct vm *vm);
/* Exits of one vCPU by reason, as vm_exit_count(). */
const char *vm_vcpu_exit_count(struct vm *vm, unsigned vcpu, unsigned index, uint64_t *ret_count);
/* Bytes of guest memory. */
uint64_t vm_memory_size(const struct vm *vm);
unsigned vm_resets(const struct vm *vm);
/* CLOCK_MONOTONIC, 0: not yet. */
uint64_t vm_first_run_ns(struct vm *vm);
/* The console's last bytes, malloc()ed, or NULL. */
char *vm_console_tail(struct vm *vm) must_check;

/*
 * Something happened. Fields are copied by whoever keeps them.
 *
 *   started       end of vm_start()
 *   running       the vCPUs go for the first time
 *   paused resumed power_button
 *   stopping      by ("signal", "timeout", or who called vm_stop()), grace_ms; again when the time
 *                 is made shorter; 0: it is ended at once
 *   reset         number, by ("guest", "api")
 *   panicked      by ("pvpanic", "console"): concluded, not just suspected
 *   watchdog      action ("reset", "poweroff", "pause", "none"): the guest stopped feeding it
 *   ended         reason, exit_code: once, the last, at the end of vm_run()
 */
enum { VM_EVENT_FIELDS = 4 };
struct vm_event {
	const char *name; /* "paused" */
	struct {
		const char *key;  /* NULL: no more */
		const char *text; /* NULL: it is a number */
		int64_t number;
	} fields[VM_EVENT_FIELDS];
};
struct vm_listener {
	/* On main, at once; must not change the VM. */
	void (*event)(struct vm_listener *listener, const struct vm_event *event);
};
/* Borrowed; one. Before vm_start(). */
void vm_set_listener(struct vm *vm, struct vm_listener *listener);

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
