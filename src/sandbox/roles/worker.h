/* SPDX-License-Identifier: Apache-2.0 */
/* A helper thread that touches memory and reports: prefault and the like. */
#ifndef VMM_SANDBOX_ROLES_WORKER_H
#define VMM_SANDBOX_ROLES_WORKER_H

#include <sys/mman.h>

#include "sandbox/roles/rule.h"

static const struct rule worker_rules[] = {
	ALLOW_MADVISE(MADV_HUGEPAGE),
	ALLOW_MADVISE(MADV_POPULATE_READ),
	ALLOW_MADVISE(MADV_POPULATE_WRITE),
};

#endif
