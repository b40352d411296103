/* SPDX-License-Identifier: Apache-2.0 */
/* vmm_assert: for our own bugs only, kept in release builds. Never on a value that a guest can
 * choose. */
#ifndef VMM_BASE_ASSERT_H
#define VMM_BASE_ASSERT_H

#include "base/compiler.h"

_Noreturn void assert_failed(const char *what, const char *file, int line);

#define vmm_assert(cond)                                                                           \
	do {                                                                                       \
		if (!(cond))                                                                       \
			assert_failed(#cond, __FILE__, __LINE__);                                  \
	} while (0)

#endif
