/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the AddressSanitizer runtime adds, in sanitized builds only: reading /proc/self (Landlock
 * leaves /proc readable there), its locks, its signal stacks, and the leak check at the exit, which
 * stops the threads with ptrace from a process of its own.
 */
#ifndef VMM_SANDBOX_ROLES_SANITIZER_H
#define VMM_SANDBOX_ROLES_SANITIZER_H

#include <sched.h>
#include <sys/prctl.h>

#include "sandbox/roles/rule.h"

static const struct rule sanitizer_rules[] = {
	ALLOW(open),
	ALLOW(openat),
	ALLOW(read),
	ALLOW(close),
	ALLOW(stat),
	ALLOW(fstat),
	ALLOW(newfstatat),
	ALLOW(getdents),
	ALLOW(getdents64),
	ALLOW(readlink),
	ALLOW(lseek),
	ALLOW(pipe),
	ALLOW(pipe2),
	ALLOW(madvise),
	ALLOW(getrusage),
	ALLOW(sched_yield),
	ALLOW(nanosleep),
	ALLOW(clock_nanosleep),
	ALLOW(restart_syscall),
	ALLOW(sigaltstack),
	ALLOW(sched_getaffinity),
	ALLOW(getrlimit),
	ALLOW(prlimit64),
	ALLOW_WHEN(prctl, 0, PR_GET_DUMPABLE),
	ALLOW_WHEN(prctl, 0, PR_SET_DUMPABLE),
	ALLOW_WHEN(prctl, 0, PR_SET_PTRACER),
	ALLOW_WHEN(prctl, 0, PR_SET_PDEATHSIG),
	ALLOW_WHEN(prctl, 0, PR_SET_NAME),
	ALLOW_WHEN(prctl, 0, PR_GET_NAME),
	ALLOW_MASKED(clone, 0, CLONE_VM | CLONE_UNTRACED, CLONE_VM | CLONE_UNTRACED),
	ALLOW(ptrace),
	ALLOW(getppid),
	ALLOW(wait4),
	ALLOW(kill),
};

#endif
