/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix stream sockets by path, as listener or client. Opening is for main, before the process is
 * locked down; descriptors are non-blocking and close-on-exec. `what` names the option in messages.
 */
#ifndef VMM_BACKEND_UNIX_SOCKET_H
#define VMM_BACKEND_UNIX_SOCKET_H

#include <sys/types.h>

#include "base/compiler.h"
#include "base/err.h"

/* A listening socket, and what is needed to remove its file at the end, wherever the process then
 * lives. */
struct unix_listener {
	int fd, dir_fd;
	char *name; /* within dir_fd */
	dev_t dev;
	ino_t ino;
};
#define UNIX_LISTENER_NONE ((struct unix_listener){.fd = -1, .dir_fd = -1})

/* The file belongs to its owner only. A stale socket file (nobody listens) is replaced, a live one
 * is not. 0 or -errno with a message; then *ret is as it was. */
int unix_listener_open(const char *what, const char *path, int backlog, struct unix_listener *ret,
		       struct err *err) must_check;
/* Removes the file if it is still ours: somebody may have put another one in its place. */
void unix_listener_close(struct unix_listener *l);

/* The connected descriptor, or -errno with a message that says what to do. */
int unix_socket_connect(const char *what, const char *path, struct err *err) must_check;

#endif
