/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker and the helpers that it starts may not do: a filter stays when another program is
 * executed, and what that needs is its own business (passt has a narrow filter itself), so this one
 * is a list of what is refused, with EPERM, as helpers may try what they can do without. Mounts and
 * namespaces are not in it: helpers lock themselves in with them.
 */
#ifndef VMM_SANDBOX_ROLES_BROKER_H
#define VMM_SANDBOX_ROLES_BROKER_H

#include "sandbox/roles/calls.h"

static const int refused_calls[] = {
	CALLS_INTO_PROCESSES, /* vmm first of all */
	CALLS_INTO_KERNEL,

	/* The host's clock and swap. */
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(acct),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),

	CALLS_FOR_KEYS,
};

#endif
