/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs that work for this VM beside it, by the broker (sandbox/broker.h), which is there
 * only when one is needed. Main.
 *
 * Before the lock-down: vm_helpers_new() and vm_helpers_start(). With the VM comes the device
 * "broker0", which counts what happens to them; a death and a new start are events.
 */
#ifndef VMM_MACHINE_HELPERS_H
#define VMM_MACHINE_HELPERS_H

#include "base/compiler.h"
#include "base/err.h"
#include "config/config.h"
#include "sandbox/helpers.h"

struct vm_helpers;

/* Who uses a helper. */
struct vm_helper_user;
struct vm_helper_user_ops {
	/* It was started again: its new connection, the callee's to close. On main's loop. */
	void (*connected)(struct vm_helper_user *user, int fd);
};
struct vm_helper_user {
	const struct vm_helper_user_ops *ops;
	const char *device; /* whose helper it is: "net0" */
	const char *name;   /* the program's: set by vm_helpers_start() */
	unsigned failures;  /* to start it again, in a row */
};

/* Forks the broker. 0 or -errno with a message. */
int vm_helpers_new(const struct vm_config *config, struct vm_helpers **ret,
		   struct err *err) must_check;
/* Starts one, for a user that lives as long as the helpers. *ret_fd is its connection. 0 or -errno
 * with a message. */
int vm_helpers_start(struct vm_helpers *helpers, enum helper_kind kind,
		     const union helper_settings *settings, struct vm_helper_user *user,
		     int *ret_fd, struct err *err) must_check;
/* Ends them all and waits for that. NULL-safe, returns NULL. */
struct vm_helpers *vm_helpers_free(struct vm_helpers *helpers);

#endif
