/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the user asks for, by signal, key, time limit or control socket: stop, pause, resume, reset,
 * power button, NMI. All on main.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "devices/acpi_pm.h"
#include "machine/layout.h"
#include "machine/vm_internal.h"

#define TIMEOUT_GRACE_NS (2 * NS_PER_S)
/* Longer than a disk takes that is well, and less than clients wait for an answer (5 s). */
#define PAUSE_PATIENCE_NS (4 * NS_PER_S)

/* For a phase in which something can't be done: what, and why not. */
static int busy(enum vm_phase phase, const char *what, struct err *err)
{
	static const char *const reasons[] = {
		[VM_RUNNING] = "it is running",
		[VM_PAUSED] = "it is paused",
		[VM_STOPPING] = "it is stopping; the guest was told to power off",
		[VM_RESETTING] = "it is being reset, and waits for the host; see its log",
		[VM_HELD] = "the guest panicked and is held (--on-panic wait); reset or end it",
		[VM_ENDED] = "it has ended",
	};

	return err_set(err, -EBUSY, "the VM can't be %s: %s", what, reasons[phase]);
}

/* ---- pause and resume ---- */

int vm_pause(struct vm *vm, struct err *err)
{
	int r;

	if (vm->phase == VM_PAUSED)
		return 0;
	if (vm->phase != VM_RUNNING)
		return busy(vm->phase, "paused", err);
	/* What a vCPU asked for on its way is in the mailbox, whose work is posted. */
	vcpus_pause(&vm->vcpus);
	r = vm_quiesce_devices(vm, PAUSE_PATIENCE_NS, err);
	if (r < 0) {
		vm_resume_devices(vm);
		vm_run_on(vm);
		return r;
	}
	vm->phase = VM_PAUSED;
	vm_silence_paused(vm);
	log_info("the VM was paused");
	vm_emit(vm, &(struct vm_event){.name = "paused"});
	return 0;
}

static void end_pause(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpus.n; i++)
		kvm_vcpu_was_paused(vm->vcpus.threads[i].vcpu);
	vm->phase = VM_RUNNING;
	vm_silence_resumed(vm);
	vm_resume_devices(vm);
	log_info("the VM was resumed");
	vm_emit(vm, &(struct vm_event){.name = "resumed"});
	vm_run_on(vm);
}

int vm_resume(struct vm *vm, struct err *err)
{
	if (vm->phase == VM_HELD || vm->phase == VM_ENDED)
		return busy(vm->phase, "resumed", err);
	if (vm->phase == VM_PAUSED)
		end_pause(vm);
	return 0;
}

/* ---- stop ---- */

static void tell_stopping(struct vm *vm, const char *by, uint64_t grace_ns)
{
	vm_emit(vm, &(struct vm_event){.name = "stopping",
				       .fields = {{.key = "by", .text = by},
						  {.key = "grace_ms",
						   .number = (int64_t)(grace_ns / NS_PER_MS)}}});
}

static void press_power_button(struct vm *vm)
{
	acpi_pm_press_power_button(vm->power_management);
	vm_emit(vm, &(struct vm_event){.name = "power_button"});
}

/*
 * Presses the power button and gives the guest `grace_ns`; at once when no driver listens. Asked a
 * second time, it ends the run.
 */
static void ask_to_stop(struct vm *vm, uint64_t grace_ns, const char *by)
{
	bool listening = (vm->phase == VM_RUNNING || vm->phase == VM_PAUSED) &&
			 kvm_vm_gsi_enabled(vm->kvm, LAYOUT_GSI_GED);

	if (vm->phase == VM_ENDED)
		return;
	if (!listening || grace_ns == 0) {
		tell_stopping(vm, by, 0);
		vm_end(vm, vm->timed_out ? END_TIMEOUT : END_KILLED);
		return;
	}
	if (vm->phase == VM_PAUSED)
		end_pause(vm);
	tell_stopping(vm, by, grace_ns);
	vm->phase = VM_STOPPING;
	press_power_button(vm);
	loop_timer_arm(vm->loop, &vm->grace, grace_ns);
}

static void on_grace(struct loop_timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, grace);

	vm_end(vm, END_KILLED);
}

/* The button is pressed already: what is left of the time, and no more than this. */
static void shorten_grace(struct vm *vm, uint64_t grace_ns, const char *by)
{
	uint64_t now = clock_now_ns();
	uint64_t left = vm->grace.deadline_ns > now ? vm->grace.deadline_ns - now : 0;

	if (grace_ns >= left)
		return;
	tell_stopping(vm, by, grace_ns);
	loop_timer_arm(vm->loop, &vm->grace, grace_ns);
}

static void on_timeout(struct loop_timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, timeout);

	vm->timed_out = true;
	if (vm->phase == VM_STOPPING)
		shorten_grace(vm, TIMEOUT_GRACE_NS, "timeout");
	else
		ask_to_stop(vm, MIN(TIMEOUT_GRACE_NS, vm->config->stop_timeout_ns), "timeout");
}

int vm_stop(struct vm *vm, uint64_t grace_ns, const char *by, struct err *err)
{
	(void)err; /* a stop is never refused */
	if (vm->phase == VM_STOPPING && grace_ns > 0)
		shorten_grace(vm, grace_ns, by);
	else
		ask_to_stop(vm, grace_ns, by);
	return 0;
}

int vm_kill(struct vm *vm, const char *by, struct err *err)
{
	return vm_stop(vm, 0, by, err);
}

/* ---- buttons ---- */

int vm_press_power_button(struct vm *vm, struct err *err)
{
	if (vm->phase == VM_HELD || vm->phase == VM_ENDED)
		return busy(vm->phase, "told by its power button", err);
	press_power_button(vm);
	return 0;
}

int vm_reset(struct vm *vm, struct err *err)
{
	if (vm->save_error)
		return err_set(err, -ENOTSUP,
			       "the VM can't be reset: this host's KVM can't save a vCPU: %s",
			       strerror(-vm->save_error));
	/* What the guest asked for before the user did comes first: it may be its end. */
	vcpus_pause(&vm->vcpus);
	vm_read_mail(vm);
	if (vm->phase == VM_ENDED)
		return busy(VM_ENDED, "reset", err);
	/* The time of a guest that panicked on its way down and is held runs on, too. */
	if (vm->phase == VM_STOPPING || vm->grace.deadline_ns) {
		vm_run_on(vm);
		return busy(VM_STOPPING, "reset", err);
	}
	if (vm->phase == VM_RESETTING)
		return 0;
	if (!vm_restart(vm, "api"))
		return err_set(err, -EIO, "the VM could not be reset and has ended: %s",
			       vm->run_err.msg);
	return 0;
}

static int nmi_to_all(struct vm *vm)
{
	int r = 0;

	for (unsigned i = 0; i < vm->vcpus.n && r == 0; i++) {
		struct kvm_vcpu *vcpu = vm->vcpus.threads[i].vcpu;

		if (kvm_vcpu_is_started(vcpu))
			r = kvm_vcpu_nmi(vcpu);
	}
	return r;
}

int vm_nmi(struct vm *vm, struct err *err)
{
	int r;

	if (vm->phase == VM_HELD || vm->phase == VM_RESETTING || vm->phase == VM_ENDED)
		return busy(vm->phase, "interrupted", err);
	vcpus_pause(&vm->vcpus);
	r = nmi_to_all(vm);
	vm_run_on(vm);
	return r < 0 ? err_set(err, r, "KVM_NMI: %s", strerror(-r)) : 0;
}

/* ---- signals and keys ---- */

struct winsize vm_terminal_size(void)
{
	struct winsize size = {0};

	(void)ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
	return size;
}

static void terminal_resized(struct vm *vm)
{
	struct winsize size = vm_terminal_size();

	if (vm->virtio_console && size.ws_col)
		virtio_console_resize(vm->virtio_console, size.ws_col, size.ws_row);
}

static void on_signal(struct loop_fd *source, uint32_t events)
{
	struct vm *vm = container_of(source, struct vm, signals);
	struct chr *chr = vm_console_chr(vm);
	struct signalfd_siginfo info;

	(void)events;
	if (read(source->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH) {
		terminal_resized(vm);
		return;
	}
	/* With a raw terminal Ctrl-C is the guest's, and an INT from elsewhere is not for us. */
	if (info.ssi_signo == SIGINT && chr && chr_is_raw(chr))
		return;
	if (vm->outcome.signal == 0)
		vm->outcome.signal = (int)info.ssi_signo;
	ask_to_stop(vm, vm->config->stop_timeout_ns, "signal");
}

static void on_key(struct chr_keys *keys, char key)
{
	struct vm *vm = container_of(keys, struct vm, keys);

	if (key == 'x')
		vm_end(vm, END_QUIT);
	else
		(void)dprintf(STDERR_FILENO,
			      "\r\nCtrl-A x quits, Ctrl-A a sends Ctrl-A, Ctrl-A h shows this\r\n");
}

static void stop_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGHUP);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGQUIT);
	(void)sigaddset(set, SIGWINCH);
}

void vm_block_signals(void)
{
	/* Their default would end vmm without a word. */
	static const int ignored[] = {SIGPIPE, SIGXFSZ,	  SIGUSR1, SIGUSR2,
				      SIGALRM, SIGVTALRM, SIGPROF, SIGIO};
	sigset_t set;

	stop_signals(&set);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
}

int vm_steer_start(struct vm *vm, struct err *err)
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

void vm_steer_init(struct vm *vm)
{
	vm->timeout.fired = on_timeout;
	vm->grace.fired = on_grace;
	vm->signals = (struct loop_fd){.fd = -1, .ready = on_signal};
	vm->keys.pressed = on_key;
}

void vm_steer_done(struct vm *vm)
{
	if (vm->loop)
		loop_del_fd(vm->loop, &vm->signals);
	vm->signals.fd = fd_close(vm->signals.fd);
}
