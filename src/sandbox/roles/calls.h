/* SPDX-License-Identifier: Apache-2.0 */
/* Calls by what they reach into, for the lists of what nobody may do. */
#ifndef VMM_SANDBOX_ROLES_CALLS_H
#define VMM_SANDBOX_ROLES_CALLS_H

#include "sandbox/roles/rule.h"

/* Other processes. */
#define CALLS_INTO_PROCESSES                                                                       \
	SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),                 \
		SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp)

/* The kernel itself. */
#define CALLS_INTO_KERNEL                                                                          \
	SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module),                    \
		SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(bpf),                    \
		SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(reboot),                \
		SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(modify_ldt)

#define CALLS_FOR_KEYS SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key)

#endif
