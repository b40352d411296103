/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack of its own for a thread's signal handlers, so that a crash by stack overflow can still
 * put the terminal back and write the result. Handlers ask for it with SA_ONSTACK.
 */
#ifndef VMM_BASE_ALTSTACK_H
#define VMM_BASE_ALTSTACK_H

/* For the calling thread, before its seccomp filter. The memory is touched only when it is needed.
 */
void altstack_use(void);

#endif
