/* SPDX-License-Identifier: Apache-2.0 */
/* What every thread may do: log, wake others, what glibc calls unasked, and what the handlers for a
 * crash need on any thread. */
#ifndef VMM_SANDBOX_ROLES_COMMON_H
#define VMM_SANDBOX_ROLES_COMMON_H

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>

#include "sandbox/roles/rule.h"

static const struct rule common_rules[] = {
	/* Eventfds, log lines, the crash handler's result; glibc's own last words before abort().
	 */
	ALLOW(write),
	ALLOW(writev),

	/* Locks and joins. The kick of a vCPU, raise() and abort() are tgkill(); the pid can't be
	   known when the filter is built, so Landlock's signal scope keeps it inside (ABI 6). */
	ALLOW(futex),
	ALLOW(getpid),
	ALLOW(gettid),
	ALLOW(tgkill),
	ALLOW(rt_sigaction),
	ALLOW(rt_sigprocmask),
	ALLOW(rt_sigreturn),
	ALLOW(exit),
	ALLOW(exit_group),

	/* The vDSO answers, but falls back to the call where the TSC can't be used. */
	ALLOW(clock_gettime),

	/* malloc; the stack of a thread that ends. No page is ever executable that was not at the
	   start. */
	ALLOW_NOEXEC(mmap, 2),
	ALLOW_NOEXEC(mprotect, 2),
	ALLOW(mremap),
	ALLOW(munmap),
	ALLOW(brk),
	ALLOW(getrandom),
	ALLOW_MADVISE(MADV_DONTNEED),

	/* tcsetattr(): a crash puts the terminal back, whichever thread it happens on. Not TIOCSTI:
	   it types for the user. */
	ALLOW_IOCTL(TCGETS),
	ALLOW_IOCTL(TCSETS),
};

#endif
