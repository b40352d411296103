/* SPDX-License-Identifier: Apache-2.0 */
/* Where state directories are, the files and sockets in one, and the process behind them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "control/rundir.h"

enum { LISTEN_BACKLOG = 64, CONNECT_TIMEOUT_S = 5 };

static bool is_own_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* Root may have inherited the variable of the user who became root: then it is not root's. */
static bool is_usable_runtime_dir(const char *path)
{
	return path && *path == '/' && (geteuid() != 0 || is_own_directory(path));
}

int rundir_base(char *buf, struct err *err)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n;

	if (is_usable_runtime_dir(runtime))
		n = snprintf(buf, RUNDIR_PATH_LEN, "%s/vmm", runtime);
	else if (geteuid() == 0)
		n = snprintf(buf, RUNDIR_PATH_LEN, "/run/vmm");
	else
		return err_set(err, -ENOENT,
			       "there is no place for the state of VMs: $XDG_RUNTIME_DIR is %s; "
			       "set it to a directory that only you can write to",
			       runtime && *runtime ? "no absolute path" : "not set");
	if (n < 0 || n >= RUNDIR_PATH_LEN)
		return err_set(err, -ENAMETOOLONG, "$XDG_RUNTIME_DIR is too long");
	return 0;
}

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

/* The kernel has noted who listens, and says it as our PID namespace counts: 0 if it is not in it.
 */
int rundir_open_process(int dir_fd, pid_t *ret_pid, struct err *err)
{
	_cleanup_close_ int fd = rundir_connect(dir_fd, RUNDIR_SOCKET);
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);
	int pidfd;

	if (fd < 0)
		return err_set(err, fd, RUNDIR_SOCKET ": %s", strerror(-fd));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return err_set(err, -errno, RUNDIR_SOCKET ": SO_PEERCRED: %s", strerror(errno));
	if (peer.pid <= 0)
		return err_set(err, -ESRCH, "its process is not in this PID namespace");
	pidfd = pidfd_open(peer.pid, 0);
	if (pidfd < 0)
		return err_set(err, -errno, "process %d: %s", (int)peer.pid, strerror(errno));
	*ret_pid = peer.pid;
	return pidfd;
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
