/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run: what the guest asks for, whether it has panicked, and when all is over. What the user
 * asks for is in steer.c. Everything here is on main, except where a function says that a vCPU's
 * thread calls it; those leave a message in the mailbox and post to the loop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "machine/vm_internal.h"
#include "sandbox/sandbox.h"

/* A guest that panics goes on printing for a while. After pvpanic the trace is short of its end. */
#define QUIET_AFTER_PVPANIC_NS (500 * NS_PER_MS)
#define QUIET_AFTER_LINE_NS    (2 * NS_PER_S)
/* One that prints without end is not waited for. */
#define PATIENCE_AFTER_PVPANIC_NS (5 * NS_PER_S)
#define RESET_AGAIN_NS		  (100 * NS_PER_MS)

/* ---- on a vCPU's thread ---- */

static void on_guest_request(struct run_wire *wire, enum guest_request what, unsigned value)
{
	static const enum vm_mail mails[] = {
		[GUEST_POWER_OFF] = MAIL_POWER_OFF,
		[GUEST_RESET] = MAIL_RESET,
		[GUEST_EXIT] = MAIL_EXIT,
		[GUEST_PANICKED] = MAIL_PANICKED,
	};
	struct vm *vm = container_of(wire, struct vm, run_wire);

	if (what == GUEST_WATCHDOG) {
		vm->watchdog_action = (enum watchdog_action)value;
		loop_post(vm->loop, &vm->watchdog);
		return;
	}
	if (what == GUEST_PANICKED && value != 1) {
		log_guest("panicked and goes on with its crash kernel");
		return;
	}
	/* A guest that has panicked still has something to print. */
	if (what != GUEST_PANICKED)
		vcpus_hold(&vm->vcpus);
	mailbox_put(&vm->mailbox, mails[what], value);
	loop_post(vm->loop, &vm->mail);
}

static const struct run_wire_ops run_wire_ops = {.request = on_guest_request};

void vm_vcpu_stopped(struct vcpus *set, unsigned index, enum kvm_stop why)
{
	struct vm *vm = container_of(set, struct vm, vcpus);

	mailbox_put(&vm->mailbox, why == KVM_STOP_TRIPLE_FAULT ? MAIL_TRIPLE_FAULT : MAIL_FAILED,
		    index);
	loop_post(vm->loop, &vm->mail);
}

static void on_panic_line(struct console_watch *watch)
{
	struct vm *vm = container_of(watch, struct vm, watch);

	loop_post(vm->loop, &vm->panic);
}

/* ---- on main ---- */

void vm_set_listener(struct vm *vm, struct vm_listener *listener)
{
	vm->listener = listener;
}

void vm_emit(struct vm *vm, const struct vm_event *event)
{
	if (vm->listener)
		vm->listener->event(vm->listener, event);
}

void vm_end(struct vm *vm, enum end_reason reason)
{
	if (vm->phase == VM_ENDED)
		return;
	if (vm->phase == VM_HELD && reason != END_VMM_ERROR)
		reason = END_PANIC;
	else if (vm->timed_out && reason != END_VMM_ERROR)
		reason = END_TIMEOUT;
	vm->phase = VM_ENDED;
	vm->outcome.reason = reason;
	loop_stop(vm->loop);
}

void vm_run_on(struct vm *vm)
{
	if ((vm->phase == VM_RUNNING || vm->phase == VM_STOPPING) && mailbox_is_empty(&vm->mailbox))
		vcpus_resume(&vm->vcpus);
}

static void guest_panicked(struct vm *vm)
{
	const struct vm_event event = {
		.name = "panicked",
		.fields = {{.key = "by", .text = vm->pvpanic_ns ? "pvpanic" : "console"}}};

	loop_timer_cancel(vm->loop, &vm->quiet);
	if (vm->phase == VM_HELD || vm->phase == VM_ENDED)
		return;
	vm_emit(vm, &event);
	if (vm->config->on_panic == CONFIG_PANIC_EXIT) {
		vm_end(vm, END_PANIC);
		return;
	}
	vcpus_pause(&vm->vcpus);
	vm->phase = VM_HELD;
	log_warn("the guest panicked and is held (--on-panic wait); end it with SIGTERM or Ctrl-A "
		 "x");
}

static void vcpu_failed(struct vm *vm, unsigned index)
{
	struct str text = {0};

	vcpus_pause(&vm->vcpus);
	kvm_vcpu_explain(vm->vcpus.threads[index].vcpu, &vm->map, &text);
	free(vm->failure);
	vm->failure = str_steal(&text);
	(void)err_set(&vm->run_err, -EIO, "%.*s", vm->failure ? (int)strcspn(vm->failure, "\n") : 0,
		      vm->failure ? vm->failure : "");
	vm_end(vm, END_VMM_ERROR);
}

/* What other processors asked for before they had stopped is the old boot's business. */
static bool forget_old_boot(struct vm *vm)
{
	struct letter letter;

	vcpus_pause(&vm->vcpus);
	letter = mailbox_take(&vm->mailbox);
	loop_work_cancel(vm->loop, &vm->panic);
	loop_timer_cancel(vm->loop, &vm->quiet);
	console_watch_restart(&vm->watch);
	vm->pvpanic_ns = 0;
	if (letter.what == MAIL_FAILED)
		vcpu_failed(vm, letter.value);
	return letter.what != MAIL_FAILED;
}

/* The old guest stands still; stopping and the control socket work as ever. */
static void reset_later(struct vm *vm, const char *by)
{
	if (vm->phase != VM_RESETTING)
		log_warn("%s; the guest is reset when they have", vm->run_err.msg);
	vm->run_err = (struct err){0};
	vm->phase = VM_RESETTING;
	vm->reset_by = by;
	loop_timer_arm(vm->loop, &vm->reset_again, RESET_AGAIN_NS);
}

static void on_reset_again(struct loop_timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, reset_again);

	(void)vm_restart(vm, vm->reset_by);
}

bool vm_restart(struct vm *vm, const char *by)
{
	int r;

	if (!forget_old_boot(vm))
		return false;
	r = vm_reset_in_place(vm, &vm->run_err);
	if (r == -ETIMEDOUT) {
		reset_later(vm, by);
		return true;
	}
	if (r < 0) {
		vm_end(vm, END_VMM_ERROR);
		return false;
	}
	if (vm->phase == VM_HELD || vm->phase == VM_RESETTING)
		vm->phase = VM_RUNNING;
	vm->resets++;
	log_info("the guest was reset; this was reset number %u", vm->resets);
	vm_emit(vm, &(struct vm_event){.name = "reset",
				       .fields = {{.key = "number", .number = vm->resets},
						  {.key = "by", .text = by}}});
	vm_run_on(vm);
	return true;
}

static bool panic_seen(struct vm *vm)
{
	return vm->pvpanic_ns || console_watch_panic_seen(&vm->watch);
}

static void reset_or_end(struct vm *vm, const char *by, enum end_reason reason)
{
	if (panic_seen(vm))
		guest_panicked(vm);
	else if (vm->config->on_reboot == CONFIG_REBOOT_RESTART &&
		 (vm->phase == VM_RUNNING || vm->phase == VM_PAUSED))
		(void)vm_restart(vm, by);
	else
		vm_end(vm, reason);
}

static void guest_triple_fault(struct vm *vm)
{
	if (panic_seen(vm))
		guest_panicked(vm);
	else
		vm_end(vm, END_TRIPLE_FAULT);
}

static void on_pvpanic(struct vm *vm)
{
	if (vm->pvpanic_ns)
		return;
	vm->pvpanic_ns = clock_now_ns();
	loop_timer_arm(vm->loop, &vm->quiet, QUIET_AFTER_PVPANIC_NS);
}

void vm_read_mail(struct vm *vm)
{
	struct letter letter = mailbox_take(&vm->mailbox);

	if (letter.panicked)
		on_pvpanic(vm);
	switch (letter.what) {
	case MAIL_NONE:
	case MAIL_PANICKED:
		break;
	case MAIL_FAILED:
		vcpu_failed(vm, letter.value);
		break;
	case MAIL_EXIT:
		vm->outcome.guest_exit = (int)letter.value;
		vm_end(vm, END_EXIT);
		break;
	case MAIL_POWER_OFF:
		if (vm->pvpanic_ns)
			guest_panicked(vm);
		else
			vm_end(vm, END_POWEROFF);
		break;
	case MAIL_TRIPLE_FAULT:
		guest_triple_fault(vm);
		break;
	case MAIL_RESET:
		reset_or_end(vm, "guest", END_REBOOT);
		break;
	}
}

static void on_mail(struct loop_work *work)
{
	vm_read_mail(container_of(work, struct vm, mail));
}

static void on_panic_work(struct loop_work *work)
{
	struct vm *vm = container_of(work, struct vm, panic);

	if (!vm->pvpanic_ns)
		loop_timer_arm(vm->loop, &vm->quiet, QUIET_AFTER_LINE_NS);
}

/*
 * A panicked kernel without panic= spins, or halts with interrupts off. A vCPU that waits in HLT
 * with them on belongs to a system that lives, and only showed somebody an old log.
 */
static bool guest_is_alive(struct vm *vm)
{
	bool alive = false;

	vcpus_pause(&vm->vcpus);
	for (unsigned i = 0; i < vm->vcpus.n && !alive; i++)
		alive = kvm_vcpu_is_idle(vm->vcpus.threads[i].vcpu);
	/* A vCPU that asked for something stays parked until its mail has been read. */
	if (!mailbox_is_empty(&vm->mailbox))
		return true;
	vm_run_on(vm);
	return alive;
}

/* While the machine is paused on_quiet() does nothing; afterwards a whole window of silence is to
 * come, and no more of the patience is used up. */
void vm_silence_paused(struct vm *vm)
{
	vm->paused_ns = clock_now_ns();
}

void vm_silence_resumed(struct vm *vm)
{
	uint64_t now = clock_now_ns();

	/* What the guest said just before the pause may have been read during it. */
	if (vm->pvpanic_ns)
		vm->pvpanic_ns += now - MAX(vm->paused_ns, vm->pvpanic_ns);
	if (panic_seen(vm))
		loop_timer_arm(vm->loop, &vm->quiet,
			       vm->pvpanic_ns ? QUIET_AFTER_PVPANIC_NS : QUIET_AFTER_LINE_NS);
}

static void on_quiet(struct loop_timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, quiet);
	uint64_t window = vm->pvpanic_ns ? QUIET_AFTER_PVPANIC_NS : QUIET_AFTER_LINE_NS;
	uint64_t first, last, now, silent;
	bool waited_enough;

	if ((vm->phase != VM_RUNNING && vm->phase != VM_STOPPING) || !panic_seen(vm))
		return;
	console_watch_times(&vm->watch, &first, &last);
	now = clock_now_ns();
	silent = now - last;
	waited_enough = vm->pvpanic_ns && now - vm->pvpanic_ns >= PATIENCE_AFTER_PVPANIC_NS;
	if (silent < window && !waited_enough)
		loop_timer_arm(vm->loop, timer, window - silent);
	else if (!vm->pvpanic_ns && guest_is_alive(vm))
		loop_timer_arm(vm->loop, timer, window);
	else
		guest_panicked(vm);
}

/* Of the timer that found out nothing is left on the stack: the device may be reset. A guest that
 * is held feeds nothing, and is kept for a look. */
static void on_watchdog(struct loop_work *work)
{
	static const char *const names[] = {
		[WATCHDOG_RESET] = "reset",
		[WATCHDOG_POWEROFF] = "poweroff",
		[WATCHDOG_PAUSE] = "pause",
		[WATCHDOG_NONE] = "none",
	};
	struct vm *vm = container_of(work, struct vm, watchdog);
	enum watchdog_action action = vm->watchdog_action;
	struct err err = {0};

	if (vm->phase == VM_RESETTING || vm->phase == VM_HELD || vm->phase == VM_ENDED)
		return;
	log_guest("its watchdog has expired; action: %s", names[action]);
	vm_emit(vm, &(struct vm_event){.name = "watchdog",
				       .fields = {{.key = "action", .text = names[action]}}});
	if (action == WATCHDOG_RESET)
		reset_or_end(vm, "watchdog", END_WATCHDOG);
	else if (action == WATCHDOG_POWEROFF)
		vm_end(vm, END_WATCHDOG);
	else if (action == WATCHDOG_PAUSE && vm_pause(vm, &err) < 0)
		log_warn("the watchdog could not pause the VM: %s", err.msg);
}

void vm_run_init(struct vm *vm)
{
	vm->watchdog.run = on_watchdog;
	vm->run_wire.ops = &run_wire_ops;
	mailbox_init(&vm->mailbox);
	console_watch_init(&vm->watch, on_panic_line);
	vm->mail.run = on_mail;
	vm->panic.run = on_panic_work;
	vm->quiet.fired = on_quiet;
	vm->reset_again.fired = on_reset_again;
	vm->outcome.guest_exit = -1;
}

static int enter_vcpu_role(struct vcpus *set, struct err *err)
{
	struct vm *vm = container_of(set, struct vm, vcpus);

	return sandbox_enter_role(vm_sandbox_mode(vm->config), SANDBOX_VCPU, err);
}

static int start_stream(struct vm *vm, struct chr *chr, struct err *err)
{
	if (!chr)
		return 0;
	chr_set_keys(chr, &vm->keys);
	return chr_start(chr, vm->loop, err);
}

static int start_streams(struct vm *vm, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; i < vm_n_streams(vm->res) && r == 0; i++)
		r = start_stream(vm, vm_stream(vm->res, i), err);
	return r;
}

int vm_start(struct vm *vm, struct err *err)
{
	int r;

	kvm_vcpu_set_up_kick_signal();
	vm->vcpus.enter = enter_vcpu_role;
	r = vm_steer_start(vm, err);
	if (r == 0)
		r = start_streams(vm, err);
	if (r == 0)
		r = vm_start_io_threads(vm, err);
	if (r == 0)
		r = vcpus_start(&vm->vcpus, err);
	if (r == 0)
		r = sandbox_enter_role(vm_sandbox_mode(vm->config), SANDBOX_MAIN, err);
	if (r == 0)
		vm_emit(vm, &(struct vm_event){.name = "started"});
	return r;
}

/* The last word: nothing is told after it. */
static void tell_end(struct vm *vm, const struct outcome *outcome)
{
	const struct vm_event event = {
		.name = "ended",
		.fields = {{.key = "reason", .text = outcome_reason_name(outcome->reason)},
			   {.key = "exit_code", .number = outcome_exit_code(outcome)}}};

	vm->phase = VM_ENDED;
	vm_emit(vm, &event);
	vm->listener = NULL;
}

int vm_run(struct vm *vm, struct outcome *ret, struct err *err)
{
	int r;

	if (vm->config->timeout_ns)
		loop_timer_arm(vm->loop, &vm->timeout, vm->config->timeout_ns);
	/* Queues on it are nobody else's while there are vCPUs. */
	loop_claim(vm->loop);
	vcpus_resume(&vm->vcpus);
	vm_emit(vm, &(struct vm_event){.name = "running"});
	r = loop_run(vm->loop);
	vcpus_stop(&vm->vcpus);
	loop_release(vm->loop);
	if (r < 0)
		vm->outcome.reason = END_VMM_ERROR;
	tell_end(vm, &vm->outcome);
	if (r < 0)
		return err_set(err, r, "the main loop failed: %s", strerror(-r));
	*ret = vm->outcome;
	if (vm->outcome.reason == END_VMM_ERROR)
		return err_set(err, vm->run_err.code ? vm->run_err.code : -EIO, "%s",
			       vm->run_err.msg);
	return 0;
}
