/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/helper_exec.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "sandbox/helpers.h"

enum { NOBODY = 65534, CANNOT_EXECUTE = 127 };

/* ---- the program ---- */

static const char *search_path(void)
{
	const char *path = getenv("PATH");

	return path ? path : "/usr/local/bin:/usr/bin:/bin";
}

int helper_find_program(const char *name, char ret_path[HELPER_MAX_PATH])
{
	const char *at = search_path();

	while (*at) {
		size_t len = strcspn(at, ":");

		if (*at == '/' && len + strlen(name) + 2 <= HELPER_MAX_PATH) {
			(void)snprintf(ret_path, HELPER_MAX_PATH, "%.*s/%s", (int)len, at, name);
			if (access(ret_path, X_OK) == 0)
				return 0;
		}
		at += len + (at[len] == ':');
	}
	return -ENOENT;
}

/* ---- in the child; each returns 0 or -errno ---- */

/* Source and target numbers may be the same ones, crosswise: they meet far above first. */
static int place_descriptors(const struct helper_exec *what)
{
	enum { ABOVE = 16 };
	int socket = fcntl(what->socket, F_DUPFD_CLOEXEC, ABOVE);
	int ready = fcntl(what->ready, F_DUPFD_CLOEXEC, ABOVE);

	/* 0 and 1 are the broker's, and lead nowhere. */
	if (socket < 0 || ready < 0 || dup2(what->err, STDERR_FILENO) < 0 ||
	    dup2(socket, HELPER_SOCKET_FD) < 0 || dup2(ready, HELPER_READY_FD) < 0 ||
	    close_range(HELPER_FDS, ~0u, 0) < 0)
		return -errno;
	return 0;
}

static void ordinary_signals(void)
{
	sigset_t none;

	/* Those that can't be changed, and those that are glibc's, refuse. */
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A user namespace may not know the user nobody, nor allow groups to be changed: root there is not
 * the host's. */
static int become_nobody(void)
{
	if (geteuid() != 0)
		return 0;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return -errno;
	if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return errno == EINVAL ? 0 : -errno;
	return 0;
}

/* Ambient ones are the only ones that a program without privileges of its own keeps. */
static int keep_capabilities(uint64_t wanted)
{
	if (capng_get_caps_process() != 0)
		return -EIO;
	for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (!capng_have_capability(CAPNG_PERMITTED, cap))
			wanted &= ~(UINT64_C(1) << cap);
	capng_clear(CAPNG_SELECT_CAPS);
	for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (wanted >> cap & 1)
			(void)capng_update(CAPNG_ADD,
					   CAPNG_PERMITTED | CAPNG_EFFECTIVE | CAPNG_INHERITABLE,
					   cap);
	if (capng_apply(CAPNG_SELECT_CAPS) != 0)
		return -EPERM;
	for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (wanted >> cap & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return -errno;
	return 0;
}

/* After the change of user, which would forget it. */
static int die_with(pid_t broker)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	return getppid() == broker ? 0 : -ESRCH;
}

/* What vmm's user has set is not for a helper. */
static void execute(const struct helper_exec *what)
{
	const char *path = search_path();

	if (clearenv() == 0 && setenv("PATH", path, 1) == 0 && setenv("LC_ALL", "C", 1) == 0)
		(void)execv(what->path, what->argv);
}

static _Noreturn void child(const struct helper_exec *what, pid_t broker)
{
	int r = setpgid(0, 0) < 0 ? -errno : 0;

	if (r == 0)
		r = place_descriptors(what);
	ordinary_signals();
	if (r == 0 && what->as_nobody)
		r = become_nobody();
	if (r == 0)
		r = keep_capabilities(what->capabilities);
	if (r == 0)
		r = die_with(broker);
	if (r == 0) {
		execute(what);
		r = -errno;
	}
	(void)dprintf(STDERR_FILENO, "%s can't be executed: %s\n", what->path, strerror(-r));
	_exit(CANNOT_EXECUTE);
}

pid_t helper_fork_exec(const struct helper_exec *what)
{
	pid_t broker = getpid(), pid = fork();

	if (pid == 0)
		child(what, broker);
	return pid < 0 ? -errno : pid;
}
