/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An I/O thread: a thread and the loop that it runs. Made on main while the VM is built; the thread
 * itself starts later, with the vCPUs, parked in an empty loop until work is posted.
 */
#ifndef VMM_EVENT_IO_THREAD_H
#define VMM_EVENT_IO_THREAD_H

#include "base/compiler.h"
#include "base/err.h"
#include "event/loop.h"

struct io_thread;

struct io_thread_opts {
	unsigned index; /* the thread is called "io/INDEX" */
	struct loop_opts loop;
	int cpu; /* pinned to this host processor; -1: not */
};

int io_thread_new(const struct io_thread_opts *opts, struct io_thread **ret,
		  struct err *err) must_check;

/* Makes the thread and waits until enter(), its first act (the sandbox role), has returned. 0 or
 * -errno with a message. */
struct io_thread_entry {
	int (*enter)(const struct io_thread_entry *entry, struct err *err);
};
int io_thread_start(struct io_thread *thread, const struct io_thread_entry *entry,
		    struct err *err) must_check;

struct loop *io_thread_loop(struct io_thread *thread);

/*
 * Stops the loop and joins the thread, if it ever started. From then on the caller's thread may
 * take apart what used the loop: loop_del_fd() and the like then make no system call that a role
 * lacks.
 */
void io_thread_stop(struct io_thread *thread);

/* Stops it, frees thread and loop. NULL-safe. */
struct io_thread *io_thread_free(struct io_thread *thread);

#endif
