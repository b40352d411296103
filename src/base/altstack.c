/* SPDX-License-Identifier: Apache-2.0 */
#include "base/altstack.h"

#include <signal.h>
#include <stddef.h>

#include "base/compiler.h"

/* AMX state alone takes 11 KiB of a signal frame. */
enum { ALTSTACK_BYTES = 64 << 10 };

void altstack_use(void)
{
	static _Thread_local char stack[ALTSTACK_BYTES];
	stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};

	/* AddressSanitizer gives each thread one of its own, and takes it back at the end. */
	if (!BUILT_WITH_ASAN)
		(void)sigaltstack(&ss, NULL);
}
