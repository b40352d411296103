/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "kvm/vcpu_internal.h"

static int set_cpuid(struct kvm_vcpu *vcpu, const struct cpu_topology *topology, struct err *err)
{
	_cleanup_free_ struct kvm_cpuid2 *cpuid = cpuid_for_vcpu(
		vcpu->vm->cpuid, topology, vcpu->index, vcpu->vm->host->tsc_deadline);

	if (!cpuid)
		return err_set(err, -ENOMEM, "out of memory");
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
		return err_set(err, -errno, "KVM_SET_CPUID2: %s", strerror(errno));
	return 0;
}

static int set_up(struct kvm_vcpu *vcpu, const struct cpu_topology *topology, struct err *err)
{
	uint32_t id = cpu_topology_apic_id(topology, vcpu->index);
	void *run;
	int r;

	vcpu->fd = ioctl(vcpu->vm->fd, KVM_CREATE_VCPU, (unsigned long)id);
	if (vcpu->fd < 0)
		return err_set(err, -errno, "KVM_CREATE_VCPU %u: %s", vcpu->index, strerror(errno));
	run = mmap(NULL, (size_t)vcpu->vm->host->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu->fd, 0);
	if (run == MAP_FAILED)
		return err_set(err, -errno, "mmap of vCPU %u: %s", vcpu->index, strerror(errno));
	vcpu->run = run;
	r = set_cpuid(vcpu, topology, err);
	if (r < 0)
		return r;
	vcpu_init_msrs(vcpu);
	return 0;
}

int kvm_vcpu_new(struct kvm_vm *vm, const struct cpu_topology *topology, unsigned index,
		 struct kvm_vcpu **ret, struct err *err)
{
	struct kvm_vcpu *vcpu = calloc(1, sizeof(*vcpu));
	int r;

	if (!vcpu)
		return err_set(err, -ENOMEM, "out of memory");
	vcpu->vm = vm;
	vcpu->index = index;
	vcpu->fd = -1;
	r = set_up(vcpu, topology, err);
	if (r < 0) {
		(void)kvm_vcpu_free(vcpu);
		return r;
	}
	*ret = vcpu;
	return 0;
}

struct kvm_vcpu *kvm_vcpu_free(struct kvm_vcpu *vcpu)
{
	if (!vcpu)
		return NULL;
	if (vcpu->run)
		(void)munmap(vcpu->run, (size_t)vcpu->vm->host->run_size);
	(void)fd_close(vcpu->fd);
	(void)vcpu_state_free(vcpu->saved);
	free(vcpu);
	return NULL;
}

static int kick_signal(void)
{
	return SIGRTMIN;
}

static void on_kick(int sig)
{
	(void)sig; /* its arrival is all: KVM_RUN returns EINTR */
}

void kvm_vcpu_set_up_kick_signal(void)
{
	struct sigaction action = {.sa_handler = on_kick};

	(void)sigaction(kick_signal(), &action, NULL);
}

void kvm_vcpu_bind_thread(struct kvm_vcpu *vcpu)
{
	vcpu->thread = pthread_self();
	atomic_store(&vcpu->bound, true);
}

void kvm_vcpu_unbind_thread(struct kvm_vcpu *vcpu)
{
	atomic_store(&vcpu->bound, false);
}

/*
 * immediate_exit first, then the signal: a thread on its way into KVM_RUN sees the flag, one that
 * is inside gets the signal. KVM reads the flag after it has set up signal delivery, so neither is
 * missed (Documentation/virt/kvm/api.rst, immediate_exit).
 */
void kvm_vcpu_kick(struct kvm_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (atomic_load(&vcpu->bound) && !pthread_equal(vcpu->thread, pthread_self()))
		(void)pthread_kill(vcpu->thread, kick_signal());
}

static void do_io(struct kvm_run *run, const struct io_bus *ports)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned size = run->io.size;

	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			(void)io_bus_write(ports, run->io.port, size, data);
		else
			(void)io_bus_read(ports, run->io.port, size, data);
	}
}

static void do_mmio(struct kvm_run *run, const struct io_bus *memory)
{
	if (run->mmio.is_write)
		(void)io_bus_write(memory, run->mmio.phys_addr, run->mmio.len, run->mmio.data);
	else
		(void)io_bus_read(memory, run->mmio.phys_addr, run->mmio.len, run->mmio.data);
}

/* KVM_RUN came back with an error: true when the guest may simply go on. */
static bool interrupted(struct kvm_vcpu *vcpu, enum kvm_stop *ret)
{
	switch (errno) {
	case EINTR:
		if (!__atomic_exchange_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST))
			return true;
		*ret = KVM_STOP_KICKED;
		return false;
	case EAGAIN: /* an application processor that INIT or SIPI has just moved on */
		return true;
	default:
		vcpu->run_errno = errno;
		*ret = KVM_STOP_FAILED;
		return false;
	}
}

/* This thread alone counts, so the addition need not be atomic; main reads meanwhile. */
static void count_exit(struct kvm_vcpu *vcpu, uint32_t reason)
{
	uint64_t *counter = &vcpu->exits[MIN(reason, KVM_EXIT_REASONS - 1u)];

	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

enum kvm_stop kvm_vcpu_run(struct kvm_vcpu *vcpu, const struct io_bus *ports,
			   const struct io_bus *memory)
{
	struct kvm_run *run = vcpu->run;
	enum kvm_stop stop;

	for (;;) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
			if (interrupted(vcpu, &stop))
				continue;
			return stop;
		}
		count_exit(vcpu, run->exit_reason);
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			do_io(run, ports);
			break;
		case KVM_EXIT_MMIO:
			do_mmio(run, memory);
			break;
		case KVM_EXIT_INTR:
		case KVM_EXIT_IRQ_WINDOW_OPEN:
			break;
		case KVM_EXIT_SHUTDOWN:
			return KVM_STOP_TRIPLE_FAULT;
		default:
			return KVM_STOP_FAILED;
		}
	}
}

bool kvm_vcpu_is_idle(struct kvm_vcpu *vcpu)
{
	enum { RFLAGS_IF = 1 << 9 };
	struct kvm_mp_state state;
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_MP_STATE, &state) < 0 || state.mp_state != KVM_MP_STATE_HALTED)
		return false;
	return ioctl(vcpu->fd, KVM_GET_REGS, &regs) == 0 && (regs.rflags & RFLAGS_IF);
}

bool kvm_vcpu_is_started(struct kvm_vcpu *vcpu)
{
	struct kvm_mp_state state;

	return ioctl(vcpu->fd, KVM_GET_MP_STATE, &state) == 0 &&
	       state.mp_state != KVM_MP_STATE_UNINITIALIZED &&
	       state.mp_state != KVM_MP_STATE_INIT_RECEIVED;
}

int kvm_vcpu_nmi(struct kvm_vcpu *vcpu)
{
	return ioctl(vcpu->fd, KVM_NMI, 0) < 0 ? -errno : 0;
}

void kvm_vcpu_was_paused(struct kvm_vcpu *vcpu)
{
	/* EINVAL: this guest has no kvmclock, and nobody to be told. */
	if (ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0) < 0 && errno != EINVAL)
		log_debug("vCPU %u: KVM_KVMCLOCK_CTRL: %s", vcpu->index, strerror(errno));
}

uint64_t kvm_vcpu_exits(const struct kvm_vcpu *vcpu, unsigned reason)
{
	return __atomic_load_n(&vcpu->exits[reason], __ATOMIC_RELAXED);
}

const char *kvm_exit_name(unsigned reason)
{
	static const char *const names[KVM_EXIT_REASONS] = {
		[KVM_EXIT_UNKNOWN] = "unknown",
		[KVM_EXIT_EXCEPTION] = "exception",
		[KVM_EXIT_IO] = "io",
		[KVM_EXIT_HYPERCALL] = "hypercall",
		[KVM_EXIT_DEBUG] = "debug",
		[KVM_EXIT_HLT] = "hlt",
		[KVM_EXIT_MMIO] = "mmio",
		[KVM_EXIT_IRQ_WINDOW_OPEN] = "irq_window",
		[KVM_EXIT_SHUTDOWN] = "shutdown",
		[KVM_EXIT_FAIL_ENTRY] = "fail_entry",
		[KVM_EXIT_INTR] = "intr",
		[KVM_EXIT_INTERNAL_ERROR] = "internal_error",
		[KVM_EXIT_SYSTEM_EVENT] = "system_event",
		[KVM_EXIT_IOAPIC_EOI] = "ioapic_eoi",
		[KVM_EXIT_X86_RDMSR] = "rdmsr",
		[KVM_EXIT_X86_WRMSR] = "wrmsr",
	};

	return reason < KVM_EXIT_REASONS ? names[reason] : NULL;
}
