/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/chr_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"

/*
 * What a blocking descriptor is given after poll() found it writable. A pipe then has a free page;
 * a terminal only says that it has some room, so the piece is small.
 */
enum { POLLED_PIECE = 128 };

/* Opening the multiplexer anew would make a new pseudo-terminal instead of giving this one again.
 */
static bool is_ptmx(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(5, 2);
}

struct chr_fd chr_fd_inherit(int fd, int flags)
{
	struct stat st;
	char path[32];
	int again;

	if (fstat(fd, &st) < 0)
		return CHR_FD_NONE;
	if (S_ISSOCK(st.st_mode))
		return (struct chr_fd){.fd = fd, .how = CHR_FD_SOCKET};
	/* A regular file never waits, and opened anew it would have an offset of its own. */
	if (S_ISREG(st.st_mode))
		return (struct chr_fd){.fd = fd, .how = CHR_FD_PLAIN};
	if (S_ISFIFO(st.st_mode) || (isatty(fd) && !is_ptmx(&st))) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		again = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (again >= 0)
			return (struct chr_fd){.fd = again, .how = CHR_FD_PLAIN, .owned = true};
	}
	return (struct chr_fd){.fd = fd, .how = CHR_FD_POLL};
}

static bool set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

struct chr_fd chr_fd_adopt(int fd)
{
	struct chr_fd ret = {.fd = fd, .how = CHR_FD_POLL, .owned = true};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return ret;
	if (S_ISSOCK(st.st_mode))
		ret.how = CHR_FD_SOCKET;
	else if (S_ISREG(st.st_mode) || set_nonblock(fd))
		ret.how = CHR_FD_PLAIN;
	return ret;
}

int chr_fd_dup(const struct chr_fd *fd, struct chr_fd *ret)
{
	int copy = fcntl(fd->fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return -errno;
	*ret = (struct chr_fd){.fd = copy, .how = fd->how, .owned = true};
	return 0;
}

void chr_fd_close(struct chr_fd *fd)
{
	if (fd->owned)
		fd_close(fd->fd);
	*fd = CHR_FD_NONE;
}

static bool is_ready(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, 0) > 0;
}

static ssize_t result(ssize_t n)
{
	if (n >= 0)
		return n;
	return errno == EINTR ? -EAGAIN : -errno;
}

ssize_t chr_fd_read(const struct chr_fd *fd, void *buf, size_t n)
{
	if (fd->how == CHR_FD_SOCKET)
		return result(recv(fd->fd, buf, n, MSG_DONTWAIT));
	if (fd->how == CHR_FD_POLL && !is_ready(fd->fd, POLLIN))
		return -EAGAIN;
	return result(read(fd->fd, buf, n));
}

ssize_t chr_fd_write(const struct chr_fd *fd, const void *buf, size_t n)
{
	if (fd->how == CHR_FD_SOCKET)
		return result(send(fd->fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL));
	if (fd->how == CHR_FD_POLL) {
		if (!is_ready(fd->fd, POLLOUT))
			return -EAGAIN;
		n = MIN(n, (size_t)POLLED_PIECE);
	}
	return result(write(fd->fd, buf, n));
}
