/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/console_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "control/rundir.h"

static int create(int dir_fd, const char *file, struct err *err)
{
	int fd = openat(dir_fd, file,
			O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? err_set(err, -errno, "--detach: %s: %s", file, strerror(errno)) : fd;
}

int console_log_open(struct console_log *log, int dir_fd, struct err *err)
{
	log->fd = create(dir_fd, RUNDIR_CONSOLE, err);
	if (log->fd < 0)
		return log->fd;
	log->old_fd = create(dir_fd, RUNDIR_CONSOLE_OLD, err);
	return log->old_fd < 0 ? log->old_fd : 0;
}

static int move_content(int from, int to)
{
	char piece[2048];
	off_t at = 0;
	ssize_t n;

	if (ftruncate(to, 0) < 0)
		return -errno;
	while ((n = pread(from, piece, sizeof(piece), at)) > 0) {
		int r = fd_write_full(to, piece, (size_t)n);

		if (r < 0)
			return r;
		at += n;
	}
	return n < 0 || ftruncate(from, 0) < 0 ? -errno : 0;
}

static void on_limit(struct chr_limit *limit)
{
	struct console_log *log = container_of(limit, struct console_log, limit);
	int r = move_content(log->fd, log->old_fd);

	if (r < 0)
		log_warn("the console's log can't be moved to " RUNDIR_CONSOLE_OLD ": %s",
			 strerror(-r));
}

void console_log_watch(struct console_log *log, struct chr *chr)
{
	log->limit = (struct chr_limit){.bytes = CONSOLE_LOG_BYTES, .reached = on_limit};
	chr_set_limit(chr, &log->limit);
}

void console_log_close(struct console_log *log)
{
	log->fd = fd_close(log->fd);
	log->old_fd = fd_close(log->old_fd);
}
