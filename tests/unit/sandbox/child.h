/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a function in a process of its own, since nothing of the lock-down can be undone. */
#ifndef VMM_TESTS_UNIT_SANDBOX_CHILD_H
#define VMM_TESTS_UNIT_SANDBOX_CHILD_H

#include "base/compiler.h"
#include "sandbox/sandbox.h"

struct child {
	int code;	 /* exit code, -1 when a signal ended it */
	int sig;	 /* the signal, 0 when it exited */
	char text[4096]; /* what it wrote to stderr */
};

/* Forks, calls fn, exits with its result. */
struct child child_run(int (*fn)(void));

/* The same with the process locked and the role entered first, strictly; 99 when that fails. */
struct child child_run_as(enum sandbox_role role, int (*fn)(void));

/* For use inside a child: 0, or -1 after the message was written to stderr. */
int child_lock(enum sandbox_mode mode, const char *const *unlink_paths) must_check;
int child_enter(enum sandbox_mode mode, enum sandbox_role role) must_check;

/* Ends the test as skipped where the kernel or the build has no seccomp filters, or has an older
 * Landlock. */
void need_seccomp(void);
void need_landlock(int abi);
/* Likewise in sanitized builds, whose filters allow more. */
void need_no_sanitizer(const char *why);

#endif
