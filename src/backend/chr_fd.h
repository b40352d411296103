/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file descriptor that is never waited for, whatever it is. Descriptors that we inherit share
 * their open file description with other processes (the shell, the next command of a pipe), so
 * O_NONBLOCK is never set on one: a terminal or a pipe is opened anew through /proc/self/fd, a
 * socket is asked per call with MSG_DONTWAIT, and where opening anew is refused each small access
 * is preceded by poll(2). One that we were given on purpose gets O_NONBLOCK, which its giver's
 * copies then have, too: poll(2) says that a terminal or a pipe has room for something, and
 * write(2) waits all the same when it has less than that.
 */
#ifndef VMM_BACKEND_CHR_FD_H
#define VMM_BACKEND_CHR_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/compiler.h"

enum chr_fd_how {
	CHR_FD_PLAIN,  /* has O_NONBLOCK, or is a regular file */
	CHR_FD_SOCKET, /* MSG_DONTWAIT */
	CHR_FD_POLL,   /* blocking: poll first, then little at a time */
};

struct chr_fd {
	int fd; /* -1: none */
	enum chr_fd_how how;
	bool owned;
};

#define CHR_FD_NONE ((struct chr_fd){.fd = -1})

/*
 * Makes inherited descriptor `fd` usable; flags is O_RDONLY or O_WRONLY. Opens by path, so before
 * the lock-down. A descriptor that is not open gives CHR_FD_NONE.
 */
struct chr_fd chr_fd_inherit(int fd, int flags);
/*
 * A descriptor that we were given and own: O_NONBLOCK is set on it, unless it is a socket or a
 * regular file. Opens nothing, so also after the lock-down.
 */
struct chr_fd chr_fd_adopt(int fd);
/* A second descriptor for the same stream, so that both directions can be watched apart. */
int chr_fd_dup(const struct chr_fd *fd, struct chr_fd *ret) must_check;
void chr_fd_close(struct chr_fd *fd);

/* Bytes moved, 0 for the end of input, -EAGAIN when it would wait, or another -errno. */
ssize_t chr_fd_read(const struct chr_fd *fd, void *buf, size_t n);
ssize_t chr_fd_write(const struct chr_fd *fd, const void *buf, size_t n);

#endif
