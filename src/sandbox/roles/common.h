/* SPDX-License-Identifier: Apache-2.0 */
/* What every thread may do: what glibc calls unasked, and what the handlers for a crash need on any
 * thread. */
#ifndef VMM_SANDBOX_ROLES_COMMON_H
#define VMM_SANDBOX_ROLES_COMMON_H

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>

#include "sandbox/roles/rule.h"

static const struct rule common_rules[] = {
	/* Eventfds, and log lines. */
	ALLOW(read),
	ALLOW(write),

	/* Locks, joins, barriers. The kick of a vCPU, raise() and abort() are tgkill(); the pid
	   can't be known when the filter is built, so Landlock's signal scope keeps it inside (ABI
	   6). */
	ALLOW(futex),
	ALLOW(getpid),
	ALLOW(gettid),
	ALLOW(tgkill),
	ALLOW(rt_sigaction),
	ALLOW(rt_sigprocmask),
	ALLOW(rt_sigreturn),
	ALLOW(restart_syscall),
	ALLOW(sched_yield),
	ALLOW(exit),
	ALLOW(exit_group),

	/* Clocks: the vDSO answers most, but falls back to the calls where the TSC can't be used.
	 */
	ALLOW(clock_gettime),
	ALLOW(clock_nanosleep),
	ALLOW(gettimeofday),
	ALLOW(nanosleep),
	ALLOW(getrusage),

	/* malloc, thread stacks. No page is ever executable that was not at the start. */
	ALLOW_NOEXEC(mmap, 2),
	ALLOW_NOEXEC(mprotect, 2),
	ALLOW(mremap),
	ALLOW(munmap),
	ALLOW(brk),
	ALLOW(getrandom),
	ALLOW_MADVISE(MADV_DONTNEED),
	ALLOW_MADVISE(MADV_FREE),

	/* fstat() as glibc 2.33 and later spell it. With a path instead, flags is another value. */
	ALLOW(fstat),
	ALLOW_WHEN(newfstatat, 3, AT_EMPTY_PATH),

	/* A crash puts the terminal back, whichever thread it happens on. Not TIOCSTI: it types for
	   the user. */
	ALLOW_IOCTL(TCGETS),
	ALLOW_IOCTL(TCSETS),
	ALLOW_IOCTL(TCSETSW),
	ALLOW_IOCTL(TCSETSF),
	ALLOW_FCNTL(F_GETFL),
	ALLOW_FCNTL(F_SETFL),
};

#endif
