/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run state: what the guest asks for, what the user asks for, and when the run is over.
 * Everything here is on main, except where a function says that a vCPU's thread calls it; those
 * leave a message in the mailbox and post to the loop.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "devices/acpi_pm.h"
#include "machine/layout.h"
#include "machine/vm_internal.h"
#include "sandbox/sandbox.h"

/* A guest that panics goes on printing for a while. After pvpanic the trace is short of its end. */
#define QUIET_AFTER_PVPANIC_NS (500 * NS_PER_MS)
#define QUIET_AFTER_LINE_NS    (2 * NS_PER_S)
#define TIMEOUT_GRACE_NS       (2 * NS_PER_S)

/* ---- on a vCPU's thread ---- */

static void mail_request(struct vm_mailbox *box, enum guest_request what, unsigned value)
{
	mutex_lock(&box->lock);
	switch (what) {
	case GUEST_POWER_OFF:
		box->power_off = true;
		break;
	case GUEST_RESET:
		box->reset = true;
		break;
	case GUEST_EXIT:
		if (!box->exit)
			box->exit_code = value;
		box->exit = true;
		break;
	case GUEST_PANICKED:
		box->panicked = true;
		break;
	}
	mutex_unlock(&box->lock);
}

static void on_guest_request(struct run_wire *wire, enum guest_request what, unsigned value)
{
	struct vm *vm = container_of(wire, struct vm, run_wire);

	if (what == GUEST_PANICKED && value != 1) {
		log_guest("panicked and goes on with its crash kernel");
		return;
	}
	/* A guest that has panicked still has something to print. */
	if (what != GUEST_PANICKED)
		vcpus_hold(&vm->vcpus);
	mail_request(&vm->mailbox, what, value);
	loop_post(vm->loop, &vm->mail);
}

static const struct run_wire_ops run_wire_ops = {.request = on_guest_request};

void vm_vcpu_stopped(struct vcpus *set, unsigned index, enum kvm_stop why)
{
	struct vm *vm = container_of(set, struct vm, vcpus);

	mutex_lock(&vm->mailbox.lock);
	if (why == KVM_STOP_TRIPLE_FAULT) {
		vm->mailbox.triple_fault = true;
	} else if (!vm->mailbox.failed) {
		vm->mailbox.failed = true;
		vm->mailbox.failed_vcpu = index;
	}
	mutex_unlock(&vm->mailbox.lock);
	loop_post(vm->loop, &vm->mail);
}

static void on_panic_line(struct console_watch *watch)
{
	struct vm *vm = container_of(watch, struct vm, watch);

	loop_post(vm->loop, &vm->panic);
}

/* ---- on main ---- */

static void end(struct vm *vm, enum end_reason reason)
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

static void guest_panicked(struct vm *vm)
{
	loop_timer_cancel(vm->loop, &vm->quiet);
	if (vm->config->on_panic == CONFIG_PANIC_EXIT) {
		end(vm, END_PANIC);
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
	end(vm, END_VMM_ERROR);
}

static void restart(struct vm *vm)
{
	vcpus_pause(&vm->vcpus);
	loop_timer_cancel(vm->loop, &vm->quiet);
	if (vm_reset_in_place(vm, &vm->run_err) < 0) {
		end(vm, END_VMM_ERROR);
		return;
	}
	console_watch_restart(&vm->watch);
	vm->pvpanic_seen = false;
	vm->resets++;
	log_info("the guest was reset, for the %u. time", vm->resets);
	vcpus_resume(&vm->vcpus);
}

static bool panic_seen(struct vm *vm)
{
	return vm->pvpanic_seen || console_watch_panic_seen(&vm->watch);
}

static void guest_reset(struct vm *vm)
{
	if (panic_seen(vm))
		guest_panicked(vm);
	else if (vm->config->on_reboot == CONFIG_REBOOT_RESTART && vm->phase == VM_RUNNING)
		restart(vm);
	else
		end(vm, END_REBOOT);
}

static void guest_triple_fault(struct vm *vm)
{
	if (panic_seen(vm))
		guest_panicked(vm);
	else
		end(vm, END_TRIPLE_FAULT);
}

static void on_mail(struct loop_work *work)
{
	struct vm *vm = container_of(work, struct vm, mail);
	struct vm_mailbox *box = &vm->mailbox, got;

	mutex_lock(&box->lock);
	got = *box;
	box->power_off = box->reset = box->exit = box->panicked = box->failed = box->triple_fault =
		false;
	mutex_unlock(&box->lock);
	if (got.panicked && !vm->pvpanic_seen) {
		vm->pvpanic_seen = true;
		loop_timer_arm(vm->loop, &vm->quiet, QUIET_AFTER_PVPANIC_NS);
	}
	if (got.failed)
		vcpu_failed(vm, got.failed_vcpu);
	else if (got.exit) {
		vm->outcome.guest_exit = (int)got.exit_code;
		end(vm, END_EXIT);
	} else if (got.power_off)
		end(vm, END_POWEROFF);
	else if (got.triple_fault)
		guest_triple_fault(vm);
	else if (got.reset)
		guest_reset(vm);
}

static void on_panic_work(struct loop_work *work)
{
	struct vm *vm = container_of(work, struct vm, panic);

	if (!vm->pvpanic_seen)
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
	vcpus_resume(&vm->vcpus);
	return alive;
}

static void on_quiet(struct loop_timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, quiet);
	uint64_t window = vm->pvpanic_seen ? QUIET_AFTER_PVPANIC_NS : QUIET_AFTER_LINE_NS;
	uint64_t first, last, silent;

	if (vm->phase != VM_RUNNING && vm->phase != VM_STOPPING)
		return;
	console_watch_times(&vm->watch, &first, &last);
	silent = clock_now_ns() - last;
	if (silent < window)
		loop_timer_arm(vm->loop, timer, window - silent);
	else if (!vm->pvpanic_seen && guest_is_alive(vm))
		loop_timer_arm(vm->loop, timer, window);
	else
		guest_panicked(vm);
}

/*
 * Presses the power button and gives the guest `grace_ns`; at once when no driver listens. Asked a
 * second time, it ends the run.
 */
static void ask_to_stop(struct vm *vm, uint64_t grace_ns)
{
	bool listening = vm->phase == VM_RUNNING && kvm_vm_gsi_enabled(vm->kvm, LAYOUT_GSI_GED);

	if (!listening || grace_ns == 0) {
		end(vm, vm->timed_out ? END_TIMEOUT : END_KILLED);
		return;
	}
	vm->phase = VM_STOPPING;
	acpi_pm_press_power_button(vm->power_management);
	loop_timer_arm(vm->loop, &vm->grace, grace_ns);
}

static void on_grace(struct loop_timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, grace);

	end(vm, END_KILLED);
}

static void on_timeout(struct loop_timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, timeout);

	vm->timed_out = true;
	ask_to_stop(vm, MIN(TIMEOUT_GRACE_NS, vm->config->stop_timeout_ns));
}

static void on_signal(struct loop_fd *source, uint32_t events)
{
	struct vm *vm = container_of(source, struct vm, signals);
	struct chr *chr = vm_serial_chr(vm);
	struct signalfd_siginfo info;

	(void)events;
	if (read(source->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	/* With a raw terminal Ctrl-C is the guest's, and an INT from elsewhere is not for us. */
	if (info.ssi_signo == SIGINT && chr && chr_is_raw(chr))
		return;
	if (vm->outcome.signal == 0)
		vm->outcome.signal = (int)info.ssi_signo;
	ask_to_stop(vm, vm->config->stop_timeout_ns);
}

static void on_key(struct chr_keys *keys, char key)
{
	struct vm *vm = container_of(keys, struct vm, keys);

	if (key == 'x')
		end(vm, END_QUIT);
	else
		(void)dprintf(STDERR_FILENO,
			      "\r\nCtrl-A x quits, Ctrl-A a sends Ctrl-A, Ctrl-A h shows this\r\n");
}

void vm_run_init(struct vm *vm)
{
	vm->run_wire.ops = &run_wire_ops;
	mutex_init(&vm->mailbox.lock);
	console_watch_init(&vm->watch, on_panic_line);
	vm->mail.run = on_mail;
	vm->panic.run = on_panic_work;
	vm->timeout.fired = on_timeout;
	vm->grace.fired = on_grace;
	vm->quiet.fired = on_quiet;
	vm->signals = (struct loop_fd){.fd = -1, .ready = on_signal};
	vm->keys.pressed = on_key;
	vm->outcome.guest_exit = -1;
}

void vm_run_done(struct vm *vm)
{
	if (vm->loop)
		loop_del_fd(vm->loop, &vm->signals);
	vm->signals.fd = fd_close(vm->signals.fd);
}

static void stop_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGHUP);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGQUIT);
}

void vm_block_signals(void)
{
	/* Their default would end vmm without a word. */
	static const int ignored[] = {SIGPIPE,	 SIGUSR1, SIGUSR2, SIGALRM,
				      SIGVTALRM, SIGPROF, SIGIO};
	sigset_t set;

	stop_signals(&set);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
}

static int watch_signals(struct vm *vm, struct err *err)
{
	sigset_t set;
	int r;

	stop_signals(&set);
	vm->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (vm->signals.fd < 0)
		return err_set(err, -errno, "signalfd: %s", strerror(errno));
	r = loop_add_fd(vm->loop, &vm->signals, EPOLLIN);
	return r < 0 ? err_set(err, r, "signalfd: %s", strerror(-r)) : 0;
}

static int enter_vcpu_role(struct vcpus *set, struct err *err)
{
	struct vm *vm = container_of(set, struct vm, vcpus);

	return sandbox_enter_role(vm_sandbox_mode(vm->config), SANDBOX_VCPU, err);
}

int vm_start(struct vm *vm, struct err *err)
{
	struct chr *const streams[] = {vm->res->console, vm->res->serial, vm->res->debugcon};
	int r;

	kvm_vcpu_set_up_kick_signal();
	vm->vcpus.enter = enter_vcpu_role;
	r = watch_signals(vm, err);
	for (size_t i = 0; i < ARRAY_SIZE(streams) && r == 0; i++)
		if (streams[i]) {
			chr_set_keys(streams[i], &vm->keys);
			r = chr_start(streams[i], vm->loop, err);
		}
	if (r == 0)
		r = vcpus_start(&vm->vcpus, err);
	if (r == 0)
		r = sandbox_enter_role(vm_sandbox_mode(vm->config), SANDBOX_MAIN, err);
	return r;
}

int vm_run(struct vm *vm, struct outcome *ret, struct err *err)
{
	int r;

	if (vm->config->timeout_ns)
		loop_timer_arm(vm->loop, &vm->timeout, vm->config->timeout_ns);
	vcpus_resume(&vm->vcpus);
	r = loop_run(vm->loop);
	vcpus_stop(&vm->vcpus);
	if (r < 0)
		return err_set(err, r, "the main loop failed: %s", strerror(-r));
	*ret = vm->outcome;
	if (vm->outcome.reason == END_VMM_ERROR)
		return err_set(err, vm->run_err.code ? vm->run_err.code : -EIO, "%s",
			       vm->run_err.msg);
	return 0;
}
