/* SPDX-License-Identifier: Apache-2.0 */
/* The main thread: the epoll loop, character streams, signals and timers, run state, reset, the
 * result. */
#ifndef VMM_SANDBOX_ROLES_MAIN_H
#define VMM_SANDBOX_ROLES_MAIN_H

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "sandbox/roles/rule.h"

static const struct rule main_rules[] = {
	/* The loop. Its own fds exist already: no epoll_create, timerfd_create, signalfd or
	   eventfd. */
	ALLOW(epoll_wait),
	ALLOW(epoll_pwait),
	ALLOW(epoll_pwait2),
	ALLOW(epoll_ctl),
	ALLOW(poll),
	ALLOW(ppoll),
	ALLOW(timerfd_settime),
	ALLOW(timerfd_gettime),
	ALLOW(close),

	/* Character streams; clients of a listening socket that is there. No socket(), no
	   connect(). */
	ALLOW(readv),
	ALLOW(writev),
	ALLOW(accept4),
	ALLOW(recvfrom),
	ALLOW(recvmsg),
	ALLOW(sendto),
	ALLOW(sendmsg),
	ALLOW(shutdown),
	ALLOW(unlink),
	ALLOW(unlinkat),
	/* Whether the socket's file is still ours before it is unlinked; Landlock has no right for
	   it. */
	ALLOW_WHEN(newfstatat, 3, AT_SYMLINK_NOFOLLOW),
	ALLOW_IOCTL(TIOCGWINSZ),
	ALLOW_IOCTL(FIONREAD),
	ALLOW_FCNTL(F_DUPFD_CLOEXEC), /* a client of a unix= stream: one fd to read, one to write */
	ALLOW_FCNTL(F_GETFD),
	ALLOW_FCNTL(F_SETFD),

	/* The result and the log: files that are open. */
	ALLOW(pwrite64),
	ALLOW(lseek),
	ALLOW(ftruncate),
	ALLOW(fsync),
	ALLOW(fdatasync),

	/* Reset rewrites RAM from the kernel's and initrd's kept fds; memory is given back and
	   taken anew. */
	ALLOW(pread64),
	ALLOW(preadv),
	ALLOW(fallocate),
	ALLOW_MADVISE(MADV_REMOVE),
	ALLOW_MADVISE(MADV_HUGEPAGE),
	ALLOW_MADVISE(MADV_NOHUGEPAGE),
	ALLOW_MADVISE(MADV_POPULATE_READ),
	ALLOW_MADVISE(MADV_POPULATE_WRITE),

	/* The VM as a whole. */
	ALLOW_IOCTL(KVM_SET_USER_MEMORY_REGION),
	ALLOW_IOCTL(KVM_GET_DIRTY_LOG),
	ALLOW_IOCTL(KVM_GET_IRQCHIP),
	ALLOW_IOCTL(KVM_SET_IRQCHIP),
	ALLOW_IOCTL(KVM_GET_PIT2),
	ALLOW_IOCTL(KVM_SET_PIT2),
	ALLOW_IOCTL(KVM_GET_CLOCK),
	ALLOW_IOCTL(KVM_SET_CLOCK),
	ALLOW_IOCTL(KVM_CHECK_EXTENSION),
};

#endif
