/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock, by its three system calls: the process gives up opening anything by path, TCP ports,
 * and signals and abstract sockets across its border, as far as the kernel's version of Landlock
 * knows them. Before the threads start; no_new_privs is set.
 */
#ifndef VMM_SANDBOX_LANDLOCK_H
#define VMM_SANDBOX_LANDLOCK_H

#include "base/compiler.h"
#include "base/err.h"

/*
 * `unlink_paths` as in sandbox_lock_process(). 0, also where the kernel has no Landlock (a line
 * in the log at info says so), or -errno with a message.
 */
int landlock_restrict(const char *const *unlink_paths, struct err *err) must_check;

#endif
