/* SPDX-License-Identifier: Apache-2.0 */
/* The body of every answer that says no. */
#ifndef VMM_CONTROL_REFUSAL_H
#define VMM_CONTROL_REFUSAL_H

#include "base/compiler.h"

/* {"code", "message", "where", "hint"} and a newline, malloc()ed; NULL when memory is out. where
 * and hint may be NULL, and are null then. */
char *refusal_json(const char *code, const char *message, const char *where,
		   const char *hint) must_check;
/* "too_large" for 413. */
const char *refusal_code(int status);

#endif
