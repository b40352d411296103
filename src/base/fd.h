/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors: whole reads and writes, eventfds. All return 0 or -errno unless said otherwise.
 */
#ifndef VMM_BASE_FD_H
#define VMM_BASE_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"

/* Closes fd unless it is -1 and returns -1. Keeps errno. */
int fd_close(int fd);

/* Reads exactly len bytes at offset; a file that ends before is -ENODATA. */
int fd_pread_full(int fd, void *buf, size_t len, uint64_t offset) must_check;

/* Writes all of buf, waiting as long as it takes: not for descriptors that a stalled reader can
 * block. */
int fd_write_full(int fd, const void *buf, size_t len) must_check;

int fd_set_nonblock(int fd) must_check;

/* A counter eventfd, non-blocking and close-on-exec; returns the fd or -errno. */
int eventfd_new(void) must_check;
void eventfd_kick(int fd);

#endif
