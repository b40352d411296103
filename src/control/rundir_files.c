/* SPDX-License-Identifier: Apache-2.0 */
/* The files and sockets inside a state directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "control/rundir.h"

enum { LISTEN_BACKLOG = 64, CONNECT_TIMEOUT_S = 5 };

int rundir_open(int dir_fd, const char *file)
{
	/* O_NONBLOCK: a FIFO is refused and not waited for. */
	_cleanup_close_ int fd =
		openat(dir_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? TAKE_FD(fd) : -EINVAL;
}

int rundir_read_fd(int fd, size_t max, char **ret)
{
	_cleanup_free_ char *buf = malloc(max + 1);
	struct stat st;
	off_t at;
	ssize_t n = 1;
	size_t len = 0;

	if (!buf)
		return -ENOMEM;
	if (fstat(fd, &st) < 0)
		return -errno;
	at = st.st_size > (off_t)max ? st.st_size - (off_t)max : 0;
	while (len < max && n != 0) {
		n = pread(fd, buf + len, max - len, at + (off_t)len);
		if (n < 0 && errno != EINTR)
			return -errno;
		len += n > 0 ? (size_t)n : 0;
	}
	buf[len] = '\0';
	*ret = TAKE_PTR(buf);
	return 0;
}

int rundir_read(int dir_fd, const char *file, size_t max, char **ret)
{
	_cleanup_close_ int fd = rundir_open(dir_fd, file);

	return fd < 0 ? fd : rundir_read_fd(fd, max, ret);
}

/* An address has room for 107 bytes, a path for 4095: the descriptor stands for the directory. */
static int socket_address(int dir_fd, const char *file, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	return snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", dir_fd, file) <
			       (int)sizeof(ret->sun_path)
		       ? 0
		       : -ENAMETOOLONG;
}

static int set_send_timeout(int fd, time_t seconds)
{
	struct timeval tv = {.tv_sec = seconds};

	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0 ? -errno : 0;
}

int rundir_connect(int dir_fd, const char *file)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	struct stat st;
	int r;

	if (fd < 0 || fstatat(dir_fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	r = socket_address(dir_fd, file, &address);
	/* A VM that stands still takes no connections, and its queue may be full. */
	if (r == 0)
		r = set_send_timeout(fd, CONNECT_TIMEOUT_S);
	if (r == 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		r = errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (r == 0)
		r = set_send_timeout(fd, 0);
	return r < 0 ? r : TAKE_FD(fd);
}

int rundir_listen(int dir_fd, const char *file)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;
	mode_t old;
	int r;

	if (fd < 0)
		return -errno;
	r = socket_address(dir_fd, file, &address);
	if (r < 0)
		return r;
	old = umask(0177);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		r = -errno;
	(void)umask(old);
	if (r == 0 && listen(fd, LISTEN_BACKLOG) < 0)
		r = -errno;
	return r < 0 ? r : TAKE_FD(fd);
}
