/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that fills the guest's memory before the VM starts (prefault=on). */
#ifndef VMM_SANDBOX_ROLES_WORKER_H
#define VMM_SANDBOX_ROLES_WORKER_H

#include <sys/mman.h>

#include "sandbox/roles/rule.h"

static const struct rule worker_rules[] = {
	ALLOW_MADVISE(MADV_POPULATE_WRITE),
};

#endif
