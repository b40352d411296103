/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker and the helpers that it starts may not do: a filter stays when another program is
 * executed, and what that needs is its own business (passt has a narrow filter itself), so this one
 * is a list of what is refused, with EPERM, as helpers may try what they can do without. Mounts and
 * namespaces are not in it: helpers lock themselves in with them.
 */
#ifndef VMM_SANDBOX_ROLES_BROKER_H
#define VMM_SANDBOX_ROLES_BROKER_H

#include "sandbox/roles/rule.h"

static const int refused_calls[] = {
	/* Other processes: vmm first of all. */
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(kcmp),

	/* The kernel itself. */
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(reboot),
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(modify_ldt),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(acct),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),

	/* Keys. */
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
};

#endif
