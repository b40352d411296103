/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

static int new_socket(const char *what, struct err *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set(err, -errno, "%s: cannot make a unix socket: %s", what,
			       strerror(errno));
	return fd;
}

static int set_path(const char *what, const char *path, struct sockaddr_un *addr, struct err *err)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(addr->sun_path))
		return err_set(err, -ENAMETOOLONG, "%s: the socket path '%s' is too long", what,
			       path);
	memcpy(addr->sun_path, path, strlen(path));
	return 0;
}

/* Only a socket that nobody listens on may be replaced; 0 when it was removed. */
static int remove_stale(const char *what, const struct sockaddr_un *addr, struct err *err)
{
	_cleanup_close_ int probe = new_socket(what, err);
	struct stat st;

	if (probe < 0)
		return probe;
	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0
				       : err_set(err, -errno, "%s: cannot look at '%s': %s", what,
						 addr->sun_path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(
			err, -EEXIST,
			"%s: '%s' exists and is not a socket; remove it or choose another path",
			what, addr->sun_path);
	if (connect(probe, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
	    errno == ECONNREFUSED)
		return unlink(addr->sun_path) < 0
			       ? err_set(err, -errno,
					 "%s: cannot replace the stale socket '%s': %s", what,
					 addr->sun_path, strerror(errno))
			       : 0;
	return err_set(err, -EADDRINUSE,
		       "%s: another process listens on '%s'; stop it or choose another path", what,
		       addr->sun_path);
}

static int bind_private(int fd, const struct sockaddr_un *addr)
{
	/* The socket file belongs to its owner only. umask is the process's: there is one thread
	 * yet. */
	mode_t old = umask(077);
	int r = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;

	(void)umask(old);
	return r;
}

static int listen_on(const char *what, const struct sockaddr_un *addr, int backlog,
		     struct unix_listener *l, struct err *err)
{
	int r;

	l->fd = new_socket(what, err);
	if (l->fd < 0)
		return l->fd;
	r = bind_private(l->fd, addr);
	if (r == -EADDRINUSE) {
		r = remove_stale(what, addr, err);
		if (r < 0)
			return r;
		r = bind_private(l->fd, addr);
	}
	if (r == 0 && listen(l->fd, backlog) < 0)
		r = -errno;
	if (r < 0)
		return err_set(err, r, "%s: cannot listen on '%s': %s", what, addr->sun_path,
			       strerror(-r));
	return 0;
}

static int remember_file(const char *what, const char *path, struct unix_listener *l,
			 struct err *err)
{
	_cleanup_free_ char *dir = strdup(path), *base = strdup(path);
	struct stat st;

	if (!dir || !base)
		return err_set(err, -ENOMEM, "%s: out of memory", what);
	if (lstat(path, &st) == 0) {
		l->dev = st.st_dev;
		l->ino = st.st_ino;
	}
	l->dir_fd = open(dirname(dir), O_PATH | O_DIRECTORY | O_CLOEXEC);
	l->name = strdup(basename(base));
	if (l->dir_fd < 0 || !l->name)
		return err_set(err, -errno, "%s: cannot open the directory of '%s': %s", what, path,
			       strerror(errno));
	return 0;
}

int unix_listener_open(const char *what, const char *path, int backlog, struct unix_listener *ret,
		       struct err *err)
{
	struct unix_listener l = UNIX_LISTENER_NONE;
	struct sockaddr_un addr;
	int r = set_path(what, path, &addr, err);

	if (r == 0)
		r = listen_on(what, &addr, backlog, &l, err);
	if (r == 0)
		r = remember_file(what, path, &l, err);
	if (r < 0) {
		unix_listener_close(&l);
		return r;
	}
	*ret = l;
	return 0;
}

static void unlink_own(struct unix_listener *l)
{
	struct stat st;

	if (l->dir_fd < 0 || !l->name || fstatat(l->dir_fd, l->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (st.st_dev == l->dev && st.st_ino == l->ino)
		(void)unlinkat(l->dir_fd, l->name, 0);
}

void unix_listener_close(struct unix_listener *l)
{
	unlink_own(l);
	l->fd = fd_close(l->fd);
	l->dir_fd = fd_close(l->dir_fd);
	free(l->name);
	l->name = NULL;
}

/* ---- client ---- */

static int cannot_connect(const char *what, const char *path, int code, struct err *err)
{
	if (code == -ENOENT)
		return err_set(err, code,
			       "%s: there is no socket '%s'; start the side that listens first",
			       what, path);
	if (code == -ECONNREFUSED)
		return err_set(err, code,
			       "%s: nobody listens on '%s'; start the side that listens first",
			       what, path);
	if (code == -EAGAIN)
		return err_set(err, code,
			       "%s: '%s' has too many that wait to be taken; is there "
			       "another client already?",
			       what, path);
	return err_set(err, code, "%s: cannot connect to '%s': %s", what, path, strerror(-code));
}

int unix_socket_connect(const char *what, const char *path, struct err *err)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un addr;
	int r = set_path(what, path, &addr, err);

	if (r < 0)
		return r;
	r = fd = new_socket(what, err);
	if (r < 0)
		return r;
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return cannot_connect(what, path, -errno, err);
	return TAKE_FD(fd);
}
