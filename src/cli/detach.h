/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vmm run --detach`: the process forks before it opens anything, the child becomes the VM, and the
 * parent waits until the guest runs, so that its exit status says whether the start went well.
 *
 * Standard input and output leave the caller at once, standard error only when the machine is
 * built: what is wrong with a start is told where the user is. After that it goes to the VM's log,
 * and the one last message of a start that fails goes through the pipe to the parent.
 */
#ifndef VMM_CLI_DETACH_H
#define VMM_CLI_DETACH_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/err.h"

struct detach {
	int ready_fd; /* the child's end of the pipe; -1: not detached, or already let go */
	int keep_fd;  /* of the caller's descriptors beyond 2, the one that the VM keeps; -1 */
	int log_fd;   /* the VM's log, until it is standard error; -1 */
	bool told;    /* standard error is not the caller's any more */
};
#define DETACH_NONE ((struct detach){.ready_fd = -1, .keep_fd = -1, .log_fd = -1})

/* Forks. In the child, which lets go of what the caller had open (a lock, a pipe): 0. In the
 * parent: 1, once the child runs or has failed, with vmm's exit status. -errno with a message. */
int detach_fork(struct detach *detach, int *ret_status, struct err *err) must_check;

/* The child: standard input from nothing, output to out_fd (borrowed). */
int detach_streams(int out_fd, struct err *err) must_check;
/* Standard error to vmm's log, in two steps: the file before the lock-down, the change when the
 * machine is built and before main enters its role. */
int detach_errors_open(struct detach *detach, int dir_fd, struct err *err) must_check;
int detach_errors(struct detach *detach, struct err *err) must_check;

/* The guest runs: the parent prints the name and ends. */
void detach_ready(struct detach *detach, const char *name);
/* The start has failed: the parent prints the text, if nobody else has shown it to the user. */
void detach_failed(struct detach *detach, const char *text);

#endif
