/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include <criterion/criterion.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/filters.h"

enum { LOCK_FAILED = 99 };

static void read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
}

struct child child_run(int (*fn)(void))
{
	struct child child = {.code = -1};
	int fds[2], status = 0;
	pid_t pid;

	cr_assert_eq(pipe(fds), 0);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		(void)dup2(fds[1], STDERR_FILENO);
		(void)close(fds[0]);
		(void)close(fds[1]);
		_exit(fn());
	}
	(void)close(fds[1]);
	read_all(fds[0], child.text, sizeof(child.text));
	(void)close(fds[0]);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		child.code = WEXITSTATUS(status);
	else
		child.sig = WTERMSIG(status);
	return child;
}

static struct {
	enum sandbox_role role;
	int (*fn)(void);
} inner;

static int run_inner(void)
{
	if (child_lock(SANDBOX_STRICT, NULL) < 0 || child_enter(SANDBOX_STRICT, inner.role) < 0)
		return LOCK_FAILED;
	return inner.fn();
}

struct child child_run_as(enum sandbox_role role, int (*fn)(void))
{
	inner.role = role;
	inner.fn = fn;
	return child_run(run_inner);
}

static int tell(int ret, const struct err *err)
{
	if (ret == 0)
		return 0;
	(void)dprintf(STDERR_FILENO, "%s\n", err->msg);
	return -1;
}

int child_lock(enum sandbox_mode mode, const char *const *unlink_paths)
{
	struct err err = {0};

	return tell(sandbox_lock_process(mode, unlink_paths, &err), &err);
}

int child_enter(enum sandbox_mode mode, enum sandbox_role role)
{
	struct err err = {0};

	return tell(sandbox_enter_role(mode, role, &err), &err);
}

void need_seccomp(void)
{
	unsigned action = SECCOMP_RET_TRAP;

	if (sandbox_programs[SANDBOX_MAIN][SANDBOX_STRICT].len == 0)
		cr_skip_test("this build has no seccomp filters (-Dseccomp=disabled)");
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0)
		cr_skip_test("this kernel has no seccomp filters");
}

void need_landlock(int abi)
{
	if (sandbox_landlock_abi() < abi)
		cr_skip_test("this kernel's Landlock is ABI %d, the test needs %d",
			     sandbox_landlock_abi(), abi);
}

#ifdef VMM_SANITIZED
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

void need_no_sanitizer(const char *why)
{
	if (SANITIZED)
		cr_skip_test("sanitized build: %s", why);
}
