/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the ring of an io_uring loop: with the flags that this kernel knows, disabled, with an
 * empty table of registered files, restricted to what the engine does. Needs Linux 5.13 (multishot
 * poll).
 */
#ifndef VMM_EVENT_URING_SETUP_H
#define VMM_EVENT_URING_SETUP_H

#include <liburing.h>
#include <stdbool.h>

#include "base/compiler.h"
#include "base/err.h"

struct uring_setup {
	unsigned depth;	  /* requests under way at once */
	unsigned n_files; /* size of the table */
	bool polled;	  /* user space looks for completions without entering the kernel */
};

/*
 * `ret` is left disabled: the thread that calls uring_enable() is the one that may submit. From
 * then on the ring takes READ(V), WRITE(V), FSYNC, FALLOCATE, POLL_ADD and POLL_REMOVE on
 * registered files, and updates of the table. 0 or -errno with a message.
 */
int uring_setup(const struct uring_setup *setup, struct io_uring *ret, struct err *err) must_check;

/* 0 or -errno. */
int uring_enable(struct io_uring *ring) must_check;

/* Puts into words why io_uring_setup(2) or one of its kind said `error` (-errno); returns it. */
int uring_explain(int error, struct err *err);

#endif
