/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for the generated filters where vmm is built with -Dseccomp=disabled. */
#include "sandbox/filters.h"

const struct sandbox_program sandbox_programs[SANDBOX_ROLES][SANDBOX_OFF] = {{{0}}};
const struct sandbox_program sandbox_broker_program = {0};
const char sandbox_call_names[] = "";
const unsigned sandbox_call_count = 0;
