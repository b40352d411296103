/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a thread that made a call its filter doesn't allow: a message, the death hook, exit
 * code 125. */
#ifndef VMM_SANDBOX_SIGSYS_H
#define VMM_SANDBOX_SIGSYS_H

#include "base/compiler.h"

/* Process-wide. 0 or -errno. */
int sigsys_install(void) must_check;

/*
 * Names this thread for the message, with its role, and unblocks SIGSYS in it: a blocked SIGSYS
 * would end the process without a word. `role` stays valid for ever.
 */
void sigsys_enter_thread(const char *role);

#endif
