/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console's log of a detached VM: console.log in its state directory, which lies in memory as a
 * rule, so that a guest must not make it grow for ever. When it has CONSOLE_LOG_BYTES it becomes
 * console.log.1 and begins anew: what stays is the last one to two of that size.
 *
 * Both files are opened before the lock-down; what moves is their content.
 */
#ifndef VMM_CLI_CONSOLE_LOG_H
#define VMM_CLI_CONSOLE_LOG_H

#include "backend/chr.h"
#include "base/compiler.h"
#include "base/err.h"

enum { CONSOLE_LOG_BYTES = 1 << 20 };

struct console_log {
	struct chr_limit limit;
	int fd, old_fd; /* -1: none */
};
#define CONSOLE_LOG_NONE ((struct console_log){.fd = -1, .old_fd = -1})

/* Makes both files. 0 or -errno with a message. */
int console_log_open(struct console_log *log, int dir_fd, struct err *err) must_check;
/* chr writes to log->fd: sees to its size from now on. */
void console_log_watch(struct console_log *log, struct chr *chr);
void console_log_close(struct console_log *log);

#endif
