/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening unix socket on the loop: takes connections and says whether the peer may have one.
 * Out of descriptors it rests for a second, so that a client in the queue does not spin the loop.
 * Main thread.
 */
#ifndef VMM_CONTROL_LISTENER_H
#define VMM_CONTROL_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "event/loop.h"

struct listener {
	/* fd is the callee's: non-blocking, close-on-exec. allowed: the peer is allowed_uid or root
	 * (SO_PEERCRED: who it was when it connected). */
	void (*accepted)(struct listener *listener, int fd, bool allowed);
	uid_t allowed_uid;
	const char *what; /* for the log */

	/* The rest is the listener's. */
	struct loop *loop;
	struct loop_fd acceptable;
	struct loop_timer retry;
};

/* fd is borrowed, non-blocking. 0 or -errno. */
int listener_start(struct listener *listener, struct loop *loop, int fd) must_check;
/* Also of one that was never started. */
void listener_stop(struct listener *listener);

#endif
