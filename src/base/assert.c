/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"

#include "base/log.h"

_Noreturn void assert_failed(const char *what, const char *file, int line)
{
	log_error("a bug in vmm: %s does not hold at %s:%d; please report it with the command line",
		  what, file, line);
	__builtin_trap();
}
