/* SPDX-License-Identifier: Apache-2.0 */
/* The generated programs, run by a small interpreter: what they decide and how soon, without any
 * kernel. */
#include "child.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "sandbox/filters.h"

struct verdict {
	uint32_t action;
	unsigned steps;
};

static uint32_t load(const struct seccomp_data *data, uint32_t offset)
{
	uint32_t v;

	cr_assert_leq(offset, sizeof(*data) - sizeof(v));
	memcpy(&v, (const char *)data + offset, sizeof(v));
	return v;
}

static bool holds(const struct sock_filter *insn, uint32_t a)
{
	switch (BPF_OP(insn->code)) {
	case BPF_JEQ:
		return a == insn->k;
	case BPF_JGT:
		return a > insn->k;
	case BPF_JGE:
		return a >= insn->k;
	case BPF_JSET:
		return (a & insn->k) != 0;
	default:
		cr_assert_fail("jump %#x", insn->code);
		return false;
	}
}

/* The instructions that libseccomp and the generator use, no others. */
static struct verdict run(const struct sandbox_program *program, const struct seccomp_data *data)
{
	uint32_t a = 0;
	unsigned steps = 0;

	for (unsigned pc = 0; pc < program->len; pc++) {
		const struct sock_filter *insn = &program->insns[pc];

		steps++;
		if (BPF_CLASS(insn->code) == BPF_RET)
			return (struct verdict){insn->k, steps};
		if (BPF_CLASS(insn->code) == BPF_LD)
			a = load(data, insn->k);
		else if (insn->code == (BPF_ALU | BPF_AND | BPF_K))
			a &= insn->k;
		else if (insn->code == (BPF_JMP | BPF_JA))
			pc += insn->k;
		else if (BPF_CLASS(insn->code) == BPF_JMP)
			pc += holds(insn, a) ? insn->jt : insn->jf;
		else
			cr_assert_fail("instruction %#x", insn->code);
	}
	cr_assert_fail("fell off the end of the program");
	return (struct verdict){0, steps};
}

static struct verdict decide(enum sandbox_role role, enum sandbox_mode mode, long nr, uint64_t arg1,
			     uint64_t arg2)
{
	struct seccomp_data data = {
		.nr = (int)nr, .arch = AUDIT_ARCH_X86_64, .args = {[1] = arg1, [2] = arg2}};

	return run(&sandbox_programs[role][mode], &data);
}

static uint32_t strict(enum sandbox_role role, long nr, uint64_t arg1, uint64_t arg2)
{
	return decide(role, SANDBOX_STRICT, nr, arg1, arg2).action;
}

Test(filters, vcpu__kvm_run_is_decided_within_eight_instructions)
{
	struct verdict verdict;

	need_seccomp();
	verdict = decide(SANDBOX_VCPU, SANDBOX_STRICT, SYS_ioctl, KVM_RUN, 0);
	cr_assert_eq(verdict.action, SECCOMP_RET_ALLOW);
	cr_assert_leq(verdict.steps, 8);
}

Test(filters, vcpu__what_follows_the_quick_check_still_decides)
{
	need_seccomp();
	cr_assert_eq(strict(SANDBOX_VCPU, SYS_ioctl, KVM_IRQ_LINE, 0), SECCOMP_RET_ALLOW);
	cr_assert_eq(strict(SANDBOX_VCPU, SYS_write, 0, 0), SECCOMP_RET_ALLOW);
	cr_assert_eq(strict(SANDBOX_VCPU, SYS_ioctl, KVM_CREATE_VM, 0), SECCOMP_RET_TRAP);
}

/* How many of KVM's requests, but KVM_RUN, the role may make: those that vmm uses, and others. */
static unsigned kvm_requests_allowed(enum sandbox_role role)
{
	static const unsigned long requests[] = {
		KVM_GET_REGS,	     KVM_SET_REGS,	  KVM_GET_SREGS,
		KVM_SET_SREGS,	     KVM_GET_SREGS2,	  KVM_SET_SREGS2,
		KVM_GET_FPU,	     KVM_SET_FPU,	  KVM_GET_XSAVE,
		KVM_SET_XSAVE,	     KVM_GET_XCRS,	  KVM_SET_XCRS,
		KVM_GET_MSRS,	     KVM_SET_MSRS,	  KVM_GET_LAPIC,
		KVM_SET_LAPIC,	     KVM_GET_MP_STATE,	  KVM_SET_MP_STATE,
		KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, KVM_GET_DEBUGREGS,
		KVM_SET_DEBUGREGS,   KVM_GET_TSC_KHZ,	  KVM_SET_TSC_KHZ,
		KVM_KVMCLOCK_CTRL,   KVM_TRANSLATE,	  KVM_NMI,
		KVM_IRQ_LINE,	     KVM_IRQ_LINE_STATUS, KVM_SIGNAL_MSI,
		KVM_IRQFD,	     KVM_IOEVENTFD,	  KVM_SET_GSI_ROUTING,
		KVM_GET_IRQCHIP,     KVM_SET_IRQCHIP,	  KVM_GET_PIT2,
		KVM_SET_PIT2,	     KVM_GET_CLOCK,	  KVM_SET_CLOCK,
		KVM_GET_DIRTY_LOG,   KVM_CHECK_EXTENSION, KVM_SET_USER_MEMORY_REGION,
		KVM_SET_CPUID2,	     KVM_CREATE_VM,	  KVM_CREATE_VCPU,
		KVM_CREATE_DEVICE,   KVM_SET_GUEST_DEBUG, KVM_SET_SIGNAL_MASK,
	};
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		n += strict(role, SYS_ioctl, requests[i], 0) == SECCOMP_RET_ALLOW;
	return n;
}

static void assert_requests(enum sandbox_role role, const unsigned long *requests, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(strict(role, SYS_ioctl, requests[i], 0), SECCOMP_RET_ALLOW, "%#lx",
			     requests[i]);
	cr_assert_eq(kvm_requests_allowed(role), n, "no others");
}

Test(filters, vcpu__makes_no_other_kvm_request_than_run_and_those_of_interrupts_and_doorbells)
{
	static const unsigned long requests[] = {KVM_IRQ_LINE, KVM_IRQFD, KVM_SET_GSI_ROUTING,
						 KVM_IOEVENTFD};

	need_seccomp();
	assert_requests(SANDBOX_VCPU, requests, ARRAY_SIZE(requests));
}

Test(filters, main__makes_the_kvm_requests_of_reset_reports_and_steering_only)
{
	static const unsigned long requests[] = {
		/* reset */
		KVM_SET_REGS, KVM_SET_SREGS, KVM_SET_XCRS, KVM_SET_XSAVE, KVM_SET_MSRS,
		KVM_SET_LAPIC, KVM_SET_VCPU_EVENTS, KVM_SET_DEBUGREGS, KVM_SET_MP_STATE,
		KVM_IRQ_LINE, KVM_SET_IRQCHIP, KVM_SET_GSI_ROUTING, KVM_IRQFD, KVM_IOEVENTFD,
		/* reports and questions */
		KVM_GET_REGS, KVM_GET_SREGS, KVM_TRANSLATE, KVM_GET_MP_STATE, KVM_GET_IRQCHIP,
		/* steering */
		KVM_NMI, KVM_KVMCLOCK_CTRL};

	need_seccomp();
	assert_requests(SANDBOX_MAIN, requests, ARRAY_SIZE(requests));
}

Test(filters, io__sets_interrupt_lines_only)
{
	static const unsigned long requests[] = {KVM_IRQ_LINE};

	need_seccomp();
	assert_requests(SANDBOX_IO, requests, ARRAY_SIZE(requests));
}

Test(filters, worker__makes_no_kvm_request)
{
	need_seccomp();
	assert_requests(SANDBOX_WORKER, NULL, 0);
}

static void assert_all_trap(enum sandbox_role role, const long *calls, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(strict(role, calls[i], 0, 0), SECCOMP_RET_TRAP, "call %ld", calls[i]);
}

Test(filters, main__asks_a_socket_for_its_peer_only)
{
	need_seccomp();
	cr_assert_eq(strict(SANDBOX_MAIN, SYS_getsockopt, SOL_SOCKET, SO_PEERCRED),
		     SECCOMP_RET_ALLOW);
	cr_assert_eq(strict(SANDBOX_MAIN, SYS_getsockopt, SOL_SOCKET, SO_PEERSEC),
		     SECCOMP_RET_TRAP);
}

Test(filters, main__changes_the_descriptors_that_it_is_given_and_copies_them)
{
	static const uint64_t commands[] = {F_GETFL, F_SETFL, F_DUPFD_CLOEXEC};

	need_seccomp();
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		cr_assert_eq(strict(SANDBOX_MAIN, SYS_fcntl, commands[i], 0), SECCOMP_RET_ALLOW);
	cr_assert_eq(strict(SANDBOX_MAIN, SYS_dup3, 0, O_CLOEXEC), SECCOMP_RET_ALLOW);
	cr_assert_eq(strict(SANDBOX_MAIN, SYS_dup3, 0, 0), SECCOMP_RET_TRAP, "it would be kept");
	cr_assert_eq(strict(SANDBOX_MAIN, SYS_fcntl, F_SETOWN, 0), SECCOMP_RET_TRAP);
	cr_assert_eq(strict(SANDBOX_WORKER, SYS_fcntl, F_SETFL, 0), SECCOMP_RET_TRAP);
	cr_assert_eq(strict(SANDBOX_VCPU, SYS_fcntl, F_SETFL, 0), SECCOMP_RET_TRAP);
}

Test(filters, main__what_vmm_never_calls_traps)
{
	static const long calls[] = {
		SYS_epoll_pwait, SYS_ppoll,    SYS_timerfd_settime, SYS_timerfd_gettime,
		SYS_readv,	 SYS_preadv,   SYS_pwrite64,	    SYS_recvmmsg,
		SYS_sendmsg,	 SYS_unlink,   SYS_rename,	    SYS_fsync,
		SYS_fdatasync,	 SYS_truncate, SYS_gettimeofday,    SYS_rt_sigtimedwait,
		SYS_signalfd4,	 SYS_eventfd2, SYS_timerfd_create,  SYS_memfd_create,
	};

	need_seccomp();
	assert_all_trap(SANDBOX_MAIN, calls, ARRAY_SIZE(calls));
	cr_assert_eq(strict(SANDBOX_MAIN, SYS_madvise, 0, MADV_DONTNEED), SECCOMP_RET_ALLOW);
}

Test(filters, io__what_vmm_never_calls_traps)
{
	static const long calls[] = {
		SYS_io_uring_setup, SYS_epoll_create1, SYS_eventfd2,   SYS_signalfd4, SYS_unlinkat,
		SYS_dup3,	    SYS_getsockopt,    SYS_setsockopt, SYS_ftruncate, SYS_fsync,
		SYS_splice,	    SYS_sendmmsg,      SYS_recvmmsg,   SYS_accept,    SYS_poll,
	};

	need_seccomp();
	assert_all_trap(SANDBOX_IO, calls, ARRAY_SIZE(calls));
	cr_assert_eq(strict(SANDBOX_IO, SYS_fcntl, F_SETFL, 0), SECCOMP_RET_TRAP);
}

Test(filters, only_io__connects_and_to_unix_sockets_only)
{
	struct seccomp_data data = {.nr = SYS_socket, .arch = AUDIT_ARCH_X86_64};
	const struct sandbox_program *io = &sandbox_programs[SANDBOX_IO][SANDBOX_STRICT];

	need_seccomp();
	for (unsigned family = AF_UNSPEC; family < AF_MAX; family++) {
		data.args[0] = family;
		cr_assert_eq(run(io, &data).action,
			     family == AF_UNIX ? SECCOMP_RET_ALLOW : SECCOMP_RET_TRAP);
	}
	for (int role = 0; role < SANDBOX_ROLES; role++)
		cr_assert_eq(strict((enum sandbox_role)role, SYS_connect, 0, 0),
			     role == SANDBOX_IO ? SECCOMP_RET_ALLOW : SECCOMP_RET_TRAP);
}

Test(filters, only_io__uses_a_ring)
{
	static const long calls[] = {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register};

	need_seccomp();
	assert_all_trap(SANDBOX_MAIN, calls, ARRAY_SIZE(calls));
	assert_all_trap(SANDBOX_VCPU, calls, ARRAY_SIZE(calls));
	assert_all_trap(SANDBOX_WORKER, calls, ARRAY_SIZE(calls));
}

Test(filters, vcpu_and_worker__wait_for_no_fd_and_touch_no_file)
{
	static const long calls[] = {
		SYS_epoll_wait, SYS_epoll_pwait2,    SYS_epoll_ctl, SYS_poll,
		SYS_accept4,	SYS_recvfrom,	     SYS_sendto,    SYS_pread64,
		SYS_unlinkat,	SYS_fallocate,	     SYS_fsync,	    SYS_ftruncate,
		SYS_shutdown,	SYS_rt_sigtimedwait,
	};

	need_seccomp();
	assert_all_trap(SANDBOX_VCPU, calls, ARRAY_SIZE(calls));
	assert_all_trap(SANDBOX_WORKER, calls, ARRAY_SIZE(calls));
}

Test(filters, vcpu__reads_eventfds_only_and_closes_nothing)
{
	static const long calls[] = {SYS_read, SYS_close, SYS_fstat, SYS_lseek, SYS_getrusage};

	need_no_sanitizer("a sanitizer's runtime reads files");
	need_seccomp();
	assert_all_trap(SANDBOX_VCPU, calls, ARRAY_SIZE(calls));
	assert_all_trap(SANDBOX_WORKER, calls, ARRAY_SIZE(calls));
	cr_assert_eq(strict(SANDBOX_VCPU, SYS_read, 0, 8), SECCOMP_RET_ALLOW);
	cr_assert_eq(strict(SANDBOX_VCPU, SYS_read, 0, 4096), SECCOMP_RET_TRAP);
}

Test(filters, madvise__each_role_has_its_own_advice)
{
	need_no_sanitizer("a sanitizer's runtime gives any advice");
	need_seccomp();
	cr_assert_eq(strict(SANDBOX_WORKER, SYS_madvise, 0, MADV_POPULATE_WRITE),
		     SECCOMP_RET_ALLOW);
	cr_assert_eq(strict(SANDBOX_MAIN, SYS_madvise, 0, MADV_POPULATE_WRITE), SECCOMP_RET_TRAP);
	cr_assert_eq(strict(SANDBOX_VCPU, SYS_madvise, 0, MADV_POPULATE_WRITE), SECCOMP_RET_TRAP);
	cr_assert_eq(strict(SANDBOX_IO, SYS_madvise, 0, MADV_POPULATE_WRITE), SECCOMP_RET_ALLOW);
	cr_assert_eq(strict(SANDBOX_IO, SYS_madvise, 0, MADV_REMOVE), SECCOMP_RET_ALLOW);
	cr_assert_eq(strict(SANDBOX_IO, SYS_madvise, 0, MADV_FREE), SECCOMP_RET_ALLOW);
	for (int r = 0; r < SANDBOX_ROLES; r++)
		cr_assert_eq(strict((enum sandbox_role)r, SYS_madvise, 0, MADV_HUGEPAGE),
			     SECCOMP_RET_TRAP);
}

Test(filters, only_vcpu_may_run_a_vcpu)
{
	need_seccomp();
	cr_assert_eq(strict(SANDBOX_MAIN, SYS_ioctl, KVM_RUN, 0), SECCOMP_RET_TRAP);
	cr_assert_eq(strict(SANDBOX_WORKER, SYS_ioctl, KVM_RUN, 0), SECCOMP_RET_TRAP);
	cr_assert_eq(strict(SANDBOX_IO, SYS_ioctl, KVM_RUN, 0), SECCOMP_RET_TRAP);
}

Test(filters, ioctl__request_is_compared_in_its_low_half_only)
{
	need_seccomp();
	cr_assert_eq(strict(SANDBOX_MAIN, SYS_ioctl, UINT64_C(0xffffffff00000000) | TCGETS, 0),
		     SECCOMP_RET_ALLOW);
	cr_assert_eq(strict(SANDBOX_MAIN, SYS_ioctl, TIOCSTI, 0), SECCOMP_RET_TRAP);
}

Test(filters, every_role_can_put_the_terminal_back_and_say_why_it_dies)
{
	need_seccomp();
	for (int role = 0; role < SANDBOX_ROLES; role++) {
		cr_assert_eq(strict((enum sandbox_role)role, SYS_ioctl, TCSETS, 0),
			     SECCOMP_RET_ALLOW);
		cr_assert_eq(strict((enum sandbox_role)role, SYS_writev, 0, 0), SECCOMP_RET_ALLOW,
			     "glibc says why it aborts");
	}
}

Test(filters, no_role_maps_executable_memory)
{
	need_seccomp();
	for (int r = 0; r < SANDBOX_ROLES; r++) {
		enum sandbox_role role = (enum sandbox_role)r;

		cr_assert_eq(strict(role, SYS_mmap, 0, PROT_READ | PROT_WRITE), SECCOMP_RET_ALLOW);
		cr_assert_eq(strict(role, SYS_mmap, 0, PROT_READ | PROT_EXEC), SECCOMP_RET_TRAP);
		cr_assert_eq(strict(role, SYS_mprotect, 0, PROT_NONE), SECCOMP_RET_ALLOW);
		cr_assert_eq(strict(role, SYS_mprotect, 0, PROT_EXEC), SECCOMP_RET_TRAP);
		cr_assert_eq(strict(role, SYS_pkey_mprotect, 0, PROT_READ), SECCOMP_RET_TRAP);
	}
}

Test(filters, no_role_makes_threads_processes_or_sockets)
{
	static const long calls[] = {SYS_clone, SYS_clone3, SYS_vfork, SYS_socket,
				     SYS_bind,	SYS_listen, SYS_chmod, SYS_renameat};

	need_seccomp();
	for (int r = 0; r < SANDBOX_ROLES; r++) {
		for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
			cr_assert_eq(strict((enum sandbox_role)r, calls[i], 0, 0), SECCOMP_RET_TRAP,
				     "role %d, call %ld", r, calls[i]);
	}
}

Test(filters, no_role_forks)
{
	need_seccomp();
	for (int r = 0; r < SANDBOX_ROLES; r++) {
		uint32_t action = strict((enum sandbox_role)r, SYS_fork, 0, 0);

		/* A sanitizer's runtime tries to start a symbolizer, and can do without. */
		cr_assert(action == SECCOMP_RET_TRAP || action == (SECCOMP_RET_ERRNO | EPERM));
	}
}

Test(filters, no_role_opens_a_path)
{
	need_no_sanitizer("a sanitizer's runtime opens files");
	need_seccomp();
	for (int r = 0; r < SANDBOX_ROLES; r++) {
		cr_assert_eq(strict((enum sandbox_role)r, SYS_open, 0, 0), SECCOMP_RET_TRAP);
		cr_assert_eq(strict((enum sandbox_role)r, SYS_openat, 0, 0), SECCOMP_RET_TRAP);
		cr_assert_eq(strict((enum sandbox_role)r, SYS_openat2, 0, 0), SECCOMP_RET_TRAP);
	}
}

Test(filters, deadly_calls_kill_the_process_in_strict)
{
	static const long calls[] = {SYS_execve,      SYS_execveat, SYS_process_vm_readv,
				     SYS_init_module, SYS_bpf,	    SYS_userfaultfd,
				     SYS_mount,	      SYS_keyctl,   SYS_kexec_load};

	need_seccomp();
	for (int r = 0; r < SANDBOX_ROLES; r++) {
		for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
			cr_assert_eq(strict((enum sandbox_role)r, calls[i], 0, 0),
				     SECCOMP_RET_KILL_PROCESS, "role %d, call %ld", r, calls[i]);
	}
}

Test(filters, log_allows_or_logs_every_call)
{
	need_seccomp();
	for (int r = 0; r < SANDBOX_ROLES; r++) {
		for (long nr = 0; nr < 512; nr++) {
			uint32_t action =
				decide((enum sandbox_role)r, SANDBOX_LOG, nr, 0, 0).action;

			cr_assert(action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG,
				  "role %d, call %ld: %#x", r, nr, action);
		}
	}
}

Test(filters, other_architectures_and_x32_kill_the_process)
{
	struct seccomp_data data = {.nr = SYS_read, .arch = AUDIT_ARCH_I386};

	need_seccomp();
	for (int r = 0; r < SANDBOX_ROLES; r++) {
		data.arch = AUDIT_ARCH_I386;
		cr_assert_eq(run(&sandbox_programs[r][SANDBOX_STRICT], &data).action,
			     SECCOMP_RET_KILL_PROCESS);
		cr_assert_eq(strict((enum sandbox_role)r, SYS_read | 0x40000000, 0, 0),
			     SECCOMP_RET_KILL_PROCESS);
	}
}

Test(filters, programs_stay_small)
{
	for (int r = 0; r < SANDBOX_ROLES; r++)
		cr_assert_leq(sandbox_programs[r][SANDBOX_STRICT].len, 256);
}

static const char *name_of(unsigned nr)
{
	const char *name = sandbox_call_names;

	cr_assert_lt(nr, sandbox_call_count);
	for (; nr; nr--)
		name += strlen(name) + 1;
	return name;
}

Test(filters, names_are_at_their_numbers)
{
	need_seccomp();
	cr_assert_str_eq(name_of(SYS_read), "read");
	cr_assert_str_eq(name_of(SYS_openat), "openat");
	cr_assert_str_eq(name_of(SYS_close_range), "close_range");
}
