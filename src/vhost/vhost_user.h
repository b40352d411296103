/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user front end: a struct vhost_dev whose back end is a process behind a unix socket. It
 * connects, or listens for the back end to connect; what is under way survives the back end, which
 * may leave and come back at any time.
 */
#ifndef VMM_VHOST_VHOST_USER_H
#define VMM_VHOST_VHOST_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "vhost/vhost_dev.h"

struct vhost_user_setup {
	const char *what;      /* for messages: "--vhost-user=/run/blk.sock"; borrowed */
	const char *path;      /* of the socket; borrowed */
	bool server;	       /* listen there and let the back end connect */
	uint64_t wait_ns;      /* how long vhost_user_open() waits for a back end */
	uint64_t reconnect_ns; /* between two tries; 0: one that has left stays away */
	/* What the device's configuration space may be long, most wanted first, up to a 0; its
	 * first may be 0: the configuration is not the back end's to say. */
	const uint16_t *config_sizes;
	/* Readable: whoever started this wants to wait no longer. Borrowed, not read; 0: none. */
	int cancel_fd;
};

/*
 * Connects and asks what the back end can; waits for that, at most wait_ns. Main, before anything
 * else runs. 0, or -errno with a message that says what to do.
 */
int vhost_user_open(const struct vhost_user_setup *setup, struct vhost_dev **ret,
		    struct err *err) must_check;

#endif
