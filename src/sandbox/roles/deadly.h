/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that no bug of ours makes, only an attacker: they end the process at once, without a signal
 * handler that the attacker's code could have replaced.
 */
#ifndef VMM_SANDBOX_ROLES_DEADLY_H
#define VMM_SANDBOX_ROLES_DEADLY_H

#include "sandbox/roles/calls.h"

static const int deadly_calls[] = {
	/* Other programs, other processes. */
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	CALLS_INTO_PROCESSES,

	CALLS_INTO_KERNEL,

	/* Mounts, namespaces, roots. */
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(fsopen),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fsmount),
	SCMP_SYS(fspick),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(open_by_handle_at),

	/* Keys and identities. */
	CALLS_FOR_KEYS,
	SCMP_SYS(setuid),
	SCMP_SYS(setgid),
	SCMP_SYS(setreuid),
	SCMP_SYS(setregid),
	SCMP_SYS(setresuid),
	SCMP_SYS(setresgid),
	SCMP_SYS(setgroups),
	SCMP_SYS(capset),
};

#endif
