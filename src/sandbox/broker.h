/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker: a small process beside vmm that keeps what vmm gives up with its lock-down, the right
 * to start programs, and uses it for nothing but the helpers of helpers.h. It owns them: each in a
 * process group of its own, watched, started again after a death, their standard error made lines
 * of vmm's log. When vmm goes, however it goes, the socket between the two closes, and the broker
 * ends all helpers and itself.
 *
 * This is vmm's side. Main only. The broker is forked before the lock-down and before KVM's VM is
 * there, while the process has one thread; a configuration that needs no helper has no broker.
 */
#ifndef VMM_SANDBOX_BROKER_H
#define VMM_SANDBOX_BROKER_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/err.h"
#include "sandbox/helpers.h"
#include "sandbox/sandbox.h"

struct broker;

/* What happens to helpers after their start. Texts are borrowed for the call. */
struct broker_listener;
struct broker_listener_ops {
	/* "it was ended by signal 9" */
	void (*died)(struct broker_listener *listener, unsigned helper, const char *how);
	/* Its new connection, the callee's to close. */
	void (*restarted)(struct broker_listener *listener, unsigned helper, int fd);
	/* It will be tried again. */
	void (*not_restarted)(struct broker_listener *listener, unsigned helper, const char *why);
};
struct broker_listener {
	const struct broker_listener_ops *ops;
};

/* table (helper_table, or a test's own) and listener are borrowed for ever. 0 or -errno with a
 * message. */
int broker_new(enum sandbox_mode mode, const struct helper_row *table, unsigned n_rows,
	       struct broker_listener *listener, struct broker **ret, struct err *err) must_check;

/*
 * Starts a helper and waits until it is ready. *ret_fd is its connection, close-on-exec, the
 * caller's; *ret_helper its number. -errno with a message: that of the helper itself, or how to get
 * it (-ENOENT) when it isn't installed.
 */
int broker_start(struct broker *broker, enum helper_kind kind,
		 const union helper_settings *settings, unsigned *ret_helper, int *ret_fd,
		 struct err *err) must_check;

/* To be watched for EPOLLIN. */
int broker_fd(const struct broker *broker);
/* Takes what the broker has said, without waiting: logs the helpers' lines, tells the listener.
 * -EPIPE when the broker has gone, which is logged: then there is nothing to watch any more. */
int broker_read(struct broker *broker) must_check;

/* Ends all helpers and the broker, and waits for that. Also after the lock-down. Returns NULL. */
struct broker *broker_free(struct broker *broker);

#endif
