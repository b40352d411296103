/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/text.h"
#include "control/rundir.h"
#include "machine/outcome.h"

/* The first byte of what the child sends. */
enum { READY = '+', FAILED = '-' };

static int exit_status(int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	(void)fprintf(stderr, "vmm: error: the VM's process was ended by signal %d\n",
		      WTERMSIG(status));
	return EXIT_VMM_ERROR;
}

/* What the child says, until it says no more. */
static char *listen_to(int fd)
{
	struct str text = {0};
	char piece[512];
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			str_addn(&text, piece, (size_t)n);
	return str_steal(&text);
}

static int parent(pid_t child, int fd)
{
	char *said = listen_to(fd);
	int status = 0;

	if (said && *said == READY) {
		(void)printf("%s", said + 1);
		status = fflush(stdout) == 0 ? 0 : EXIT_VMM_ERROR;
		free(said);
		return status;
	}
	if (said && *said == FAILED)
		(void)fprintf(stderr, "vmm: error: %s", said + 1);
	free(said);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return exit_status(status);
}

/* Everything but the standard three, the pipe to the parent, and keep_fd. */
static void close_others(const struct detach *detach)
{
	unsigned a = (unsigned)detach->ready_fd, b = a, from = STDERR_FILENO + 1;

	if (detach->keep_fd > STDERR_FILENO)
		b = (unsigned)detach->keep_fd;
	for (unsigned next = MIN(a, b); from <= MAX(a, b); next = MAX(a, b)) {
		if (next > from)
			(void)close_range(from, next - 1, 0);
		from = next + 1;
	}
	(void)close_range(from, ~0u, 0);
}

int detach_fork(struct detach *detach, int *ret_status, struct err *err)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, -errno, "--detach: pipe: %s", strerror(errno));
	(void)fflush(NULL);
	child = fork();
	if (child < 0) {
		int error = errno;

		(void)fd_close(fds[0]);
		(void)fd_close(fds[1]);
		return err_set(err, -error, "--detach: fork: %s", strerror(error));
	}
	if (child > 0) {
		(void)fd_close(fds[1]);
		*ret_status = parent(child, fds[0]);
		(void)fd_close(fds[0]);
		return 1;
	}
	(void)setsid();
	detach->ready_fd = fds[1];
	close_others(detach);
	return 0;
}

/*
 * Input that never comes and never ends: /dev/null would tell the guest at once that its input is
 * over. The other end of the pipe stays open as long as the process.
 */
static int silence_input(struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0 || dup2(fds[0], STDIN_FILENO) < 0)
		return err_set(err, -errno, "--detach: standard input: %s", strerror(errno));
	(void)fd_close(fds[0]);
	return 0;
}

int detach_streams(int out_fd, struct err *err)
{
	int r = silence_input(err);

	if (r == 0 && dup2(out_fd, STDOUT_FILENO) < 0)
		r = err_set(err, -errno, "--detach: standard output: %s", strerror(errno));
	return r;
}

int detach_errors_open(struct detach *detach, int dir_fd, struct err *err)
{
	detach->log_fd = openat(dir_fd, RUNDIR_LOG,
				O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	if (detach->log_fd < 0)
		return err_set(err, -errno, "--detach: " RUNDIR_LOG ": %s", strerror(errno));
	return 0;
}

int detach_errors(struct detach *detach, struct err *err)
{
	if (dup2(detach->log_fd, STDERR_FILENO) < 0)
		return err_set(err, -errno, "--detach: " RUNDIR_LOG ": %s", strerror(errno));
	detach->log_fd = fd_close(detach->log_fd);
	detach->told = true;
	return 0;
}

static void say(struct detach *detach, char what, const char *text)
{
	/* Nobody is there to hear it if the parent has gone. */
	if (detach->ready_fd >= 0)
		(void)dprintf(detach->ready_fd, "%c%s\n", what, text);
	detach->ready_fd = fd_close(detach->ready_fd);
}

void detach_ready(struct detach *detach, const char *name)
{
	say(detach, READY, name);
}

void detach_failed(struct detach *detach, const char *text)
{
	if (detach->told)
		say(detach, FAILED, text);
	detach->ready_fd = fd_close(detach->ready_fd);
}
