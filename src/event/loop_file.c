/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to files as blocking system calls: all of them with epoll, with io_uring those that the
 * kernel would not do asynchronously. */
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "event/loop_internal.h"

static ssize_t call(const struct loop_io *io, int fd)
{
	switch (io->op) {
	case LOOP_IO_READV:
		return preadv(fd, io->iov, (int)io->n_iov, (off_t)io->offset);
	case LOOP_IO_WRITEV:
		return pwritev(fd, io->iov, (int)io->n_iov, (off_t)io->offset);
	case LOOP_IO_FDATASYNC:
		return fdatasync(fd);
	case LOOP_IO_FALLOCATE:
		return fallocate(fd, io->mode, (off_t)io->offset, (off_t)io->len);
	}
	return -1;
}

int loop_file_do(const struct loop_io *io, int fd)
{
	ssize_t n;

	do
		n = call(io, fd);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int)n;
}
