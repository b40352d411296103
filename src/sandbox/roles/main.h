/* SPDX-License-Identifier: Apache-2.0 */
/* The main thread, once the VM is built: the epoll loop, character streams, signals and timers, run
 * state, reset, the result. */
#ifndef VMM_SANDBOX_ROLES_MAIN_H
#define VMM_SANDBOX_ROLES_MAIN_H

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "sandbox/roles/rule.h"

static const struct rule main_rules[] = {
	/* The loop. Its own fds exist already: no epoll_create, signalfd or eventfd. epoll_wait for
	   a kernel without epoll_pwait2. */
	ALLOW(epoll_wait),
	ALLOW(epoll_pwait2),
	ALLOW(epoll_ctl),
	ALLOW(poll),
	/* poll() goes on after a stop (SIGSTOP, a debugger). */
	ALLOW(restart_syscall),
	ALLOW(read),
	ALLOW(close),

	/* Clients of a listening socket that is there. No socket(), no connect(). */
	ALLOW(accept4),
	ALLOW(recvfrom),
	ALLOW(sendto),
	ALLOW(shutdown),
	ALLOW_WHEN(getsockopt, 2, SO_PEERCRED), /* the control sockets: who is it? */
	ALLOW(recvmsg),				/* fd.sock: descriptors by SCM_RIGHTS */
	ALLOW_FCNTL(F_DUPFD_CLOEXEC),		/* one fd to read, one to write */

	/* Descriptors that come that way: one for the console must not block, one for the log must
	   be open for writing and takes the place of the last. */
	ALLOW_FCNTL(F_GETFL),
	ALLOW_FCNTL(F_SETFL),
	ALLOW_WHEN(dup3, 2, O_CLOEXEC),

	/* The end of a unix= stream: its file goes, if it is still ours. Landlock has no right for
	   the question. */
	ALLOW(unlinkat),
	/* The state directory goes under the lock of the directory above it. */
	ALLOW_FCNTL(F_OFD_SETLK),
	ALLOW_FCNTL(F_OFD_SETLKW),
	ALLOW_WHEN(newfstatat, 3, AT_SYMLINK_NOFOLLOW),

	/* dprintf() asks for the offset and the block size of what it writes to. fstat() as glibc
	   2.33 and later spell it; with a path instead, flags is another value. */
	ALLOW(lseek),
	ALLOW(fstat),
	ALLOW_WHEN(newfstatat, 3, AT_EMPTY_PATH),

	/* The broker is reaped at the end. */
	ALLOW(wait4),

	/* The console's log of a detached VM begins anew when it is full. */
	ALLOW(ftruncate),

	/* The result. */
	ALLOW(getrusage),

	/* SIGWINCH: the size of the terminal, for a virtio console. */
	ALLOW_IOCTL(TIOCGWINSZ),

	/* Reset: memory is given back (shared memory by fallocate), and written anew from the kept
	   fds of kernel and initrd. */
	ALLOW(pread64),
	ALLOW(fallocate),

	/* Reset: interrupt controllers, routes, MSIs and doorbells. */
	ALLOW_IOCTL(KVM_IRQ_LINE),
	ALLOW_IOCTL(KVM_SET_IRQCHIP),
	ALLOW_IOCTL(KVM_SET_GSI_ROUTING),
	ALLOW_IOCTL(KVM_IRQFD),
	ALLOW_IOCTL(KVM_IOEVENTFD),
	/* Whether a driver listens to the power button. */
	ALLOW_IOCTL(KVM_GET_IRQCHIP),

	/* Reset: the state of each vCPU. */
	ALLOW_IOCTL(KVM_SET_REGS),
	ALLOW_IOCTL(KVM_SET_SREGS),
	ALLOW_IOCTL(KVM_SET_XCRS),
	ALLOW_IOCTL(KVM_SET_XSAVE),
	ALLOW_IOCTL(KVM_SET_MSRS),
	ALLOW_IOCTL(KVM_SET_LAPIC),
	ALLOW_IOCTL(KVM_SET_VCPU_EVENTS),
	ALLOW_IOCTL(KVM_SET_DEBUGREGS),
	ALLOW_IOCTL(KVM_SET_MP_STATE),

	/* A user's NMI; the guest's watchdogs are told of a pause that is over. */
	ALLOW_IOCTL(KVM_NMI),
	ALLOW_IOCTL(KVM_KVMCLOCK_CTRL),

	/* Whether a silent guest lives, or a processor has been started at all; the report on a
	   vCPU that KVM could not run. */
	ALLOW_IOCTL(KVM_GET_REGS),
	ALLOW_IOCTL(KVM_GET_SREGS),
	ALLOW_IOCTL(KVM_GET_MP_STATE),
	ALLOW_IOCTL(KVM_TRANSLATE),
};

#endif
