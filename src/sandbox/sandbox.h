/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock-down. Order (docs/explanation): every fd is open and one thread runs when
 * sandbox_lock_process() is called; each thread then calls sandbox_enter_role() as its first act,
 * main last. Nothing is undone later.
 *
 * Filters are allow-lists, compiled to BPF when vmm is built, from the role tables in roles/.
 * strict traps (SIGSYS; the handler names the system call and the thread on stderr and ends the
 * process with 125), log lets the call through and has the kernel log it, off installs nothing.
 * execve, ptrace and the like kill at once in strict.
 */
#ifndef VMM_SANDBOX_SANDBOX_H
#define VMM_SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

enum sandbox_mode { SANDBOX_STRICT, SANDBOX_LOG, SANDBOX_OFF };
enum sandbox_role {
	SANDBOX_MAIN,
	SANDBOX_VCPU,
	SANDBOX_WORKER, /* prefault and the like */
	SANDBOX_IO,	/* I/O threads */
	SANDBOX_ROLES
};

/*
 * Process-wide, with one thread: SIGSYS handler, no_new_privs, no capabilities (libcap-ng),
 * dumpable off, Landlock with every file system right denied but what stays open, where the kernel
 * has it (its absence is logged at info, never an error). `unlink_paths` is a NULL-terminated
 * list of files ("DIR/": directories) that are removed at the end, or NULL; Landlock knows
 * them by their directories. Files that are written later, such as the result, are open by now and
 * need no entry. 0 or -errno with a message.
 */
int sandbox_lock_process(enum sandbox_mode mode, const char *const *unlink_paths,
			 struct err *err) must_check;

/* This thread's filter. 0 or -errno with a message. */
int sandbox_enter_role(enum sandbox_mode mode, enum sandbox_role role, struct err *err) must_check;

/*
 * The broker's lock-down (broker.h), which its helpers inherit: no_new_privs, of the capabilities
 * those in `keep` (bits by number), dumpable off, and a filter that refuses (EPERM) what neither
 * has business with: other processes' memory, modules, the kernel's own doors. 0 or -errno with a
 * message.
 */
int sandbox_lock_broker(enum sandbox_mode mode, uint64_t keep, struct err *err) must_check;

/* Called by the SIGSYS handler after its message: async-signal-safe clean-up such as the terminal.
 */
void sandbox_set_death_hook(void (*hook)(void));

/* Landlock's ABI version; 0 when the kernel has none. */
int sandbox_landlock_abi(void);

#endif
