/* SPDX-License-Identifier: Apache-2.0 */
/* From a program's name to a process of its own, for the broker, which has one thread. */
#ifndef VMM_SANDBOX_HELPER_EXEC_H
#define VMM_SANDBOX_HELPER_EXEC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"

/* Looks in the absolute directories of PATH. 0 or -ENOENT. */
enum { HELPER_MAX_PATH = 1024 };
int helper_find_program(const char *name, char ret_path[HELPER_MAX_PATH]) must_check;

struct helper_exec {
	const char *path;
	char *const *argv;
	int socket, ready, err; /* what becomes HELPER_SOCKET_FD, HELPER_READY_FD, standard error */
	uint64_t capabilities;	/* as in struct helper_row */
	bool as_nobody;
};

/*
 * The new process leads a process group of its own, dies with the broker, has ordinary signals and
 * nothing else open. Its pid, or -errno. What fails in it is told on its standard error, and it
 * ends with 127.
 */
pid_t helper_fork_exec(const struct helper_exec *what) must_check;

#endif
