/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane of one VM: the sockets in its state directory, events, and the API over them.
 * Main thread; everything runs on the VM's own loop.
 */
#ifndef VMM_CONTROL_CONTROL_H
#define VMM_CONTROL_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "config/config.h"
#include "control/rundir.h"
#include "machine/vm.h"

struct control;

struct control_options {
	const struct vm_config *config; /* borrowed, name set */
	const struct rundir *rundir;	/* borrowed; NULL: no sockets, events to a file only */
	int events_fd;			/* that of --events fd:N, by control_take_fd(); else -1 */
	bool detached;
	uint64_t start_ns, start_unix_ms; /* of the process, CLOCK_MONOTONIC and wall clock */
};

/*
 * The descriptor of --events fd:N, checked and duplicated out of the way; *ret is -1 for anything
 * else. Before vmm has opened anything itself, else N might be one of its own.
 */
int control_take_fd(const char *events, int *ret, struct err *err) must_check;

/* Before the lock-down: makes the sockets and opens the file of --events. 0 or -errno with a
 * message. */
int control_open(const struct control_options *options, struct control **ret,
		 struct err *err) must_check;
/* Between vm_new() and vm_start(): takes connections from the VM's loop and hears its events. */
int control_start(struct control *control, struct vm *vm, struct err *err) must_check;
/* After vm_run(), before vm_free(): what waits is written out for at most a moment, clients are let
 * go. */
void control_stop(struct control *control);
struct control *control_free(struct control *control);

#endif
