/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's own side: what the forked process does until vmm goes. */
#ifndef VMM_SANDBOX_BROKER_PROCESS_H
#define VMM_SANDBOX_BROKER_PROCESS_H

#include "sandbox/helpers.h"
#include "sandbox/sandbox.h"

enum { BROKER_MAX_HELPERS = 16 };

/* In the child of fork(). sock is its end; everything else that is open is closed. */
_Noreturn void broker_process(int sock, enum sandbox_mode mode, const struct helper_row *table,
			      unsigned n_rows);

#endif
