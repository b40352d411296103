/* SPDX-License-Identifier: Apache-2.0 */
/* The broker as vmm sees it, and what is left when vmm or the broker goes. */
#include "fake_helper.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

TestSuite(broker, .init = fake_begin, .fini = fake_end, .timeout = 60);

Test(broker, a_helper_is_started_and_connected)
{
	int fd;

	(void)fake_start(FAKE_ECHO, &fd);
	assert_echo(fd);
	/* Not a warning, since it came up. */
	fake_wait_for_log("vmm: fake-echo: hello\n");
	(void)fd_close(fd);
}

Test(broker, several_helpers_have_numbers_of_their_own)
{
	int a, b;
	unsigned first = fake_start(FAKE_ECHO, &a), second = fake_start(FAKE_ECHO, &b);

	cr_assert_neq(first, second);
	assert_echo(a);
	assert_echo(b);
	(void)fd_close(a);
	(void)fd_close(b);
}

Test(broker, there_is_an_end_to_their_number)
{
	int fds[16];

	for (unsigned i = 0; i < 16; i++)
		(void)fake_start(FAKE_ECHO, &fds[i]);
	cr_assert(strstr(fake_fails(FAKE_ECHO, -ENOSPC), "fake-echo can't be started"));
	for (unsigned i = 0; i < 16; i++)
		(void)fd_close(fds[i]);
}

Test(broker, a_program_that_is_not_there_is_named_with_its_package)
{
	const char *msg = fake_fails(FAKE_MISSING, -ENOENT);

	cr_assert_str_eq(msg, "fake-missing is not installed, or not in PATH: install Debian's "
			      "package fakes");
}

Test(broker, a_helper_that_fails_says_why_without_noise)
{
	cr_assert_str_eq(fake_fails(FAKE_BROKEN, -EIO),
			 "fake-broken can't be started: cannot bind; a port");
	/* It is not tried again, and its number is free. */
	cr_assert_str_eq(fake_fails(FAKE_BROKEN, -EIO),
			 "fake-broken can't be started: cannot bind; a port");
	cr_assert_eq(heard.not_restarted, 0);
}

Test(broker, a_helper_that_is_never_ready_is_given_up)
{
	cr_assert_str_eq(fake_fails(FAKE_SILENT, -ETIMEDOUT),
			 "fake-silent can't be started: still busy; it did not say within 0 s that "
			 "it is ready");
	assert_gone(fake_pid("silent.pid"));
}

Test(broker, settings_that_cannot_be_are_refused)
{
	const union helper_settings settings = {.passt.mtu = 70000};
	struct err err = {0};
	unsigned helper;
	int fd;

	cr_assert_eq(
		broker_start(broker, (enum helper_kind)FAKE_ECHO, &settings, &helper, &fd, &err),
		-EINVAL);
}

/* ---- deaths ---- */

Test(broker, a_helper_that_dies_is_started_again_and_connected_anew)
{
	int fd;
	unsigned helper = fake_start(FAKE_ECHO, &fd);

	cr_assert_eq(kill(fake_pid("echo.pid"), SIGKILL), 0);
	fake_wait(&heard.restarted, 1);
	cr_assert_eq(heard.died, 1);
	cr_assert_eq(heard.helper, helper);
	cr_assert_str_eq(heard.text, "it was ended by signal 9");
	assert_echo(heard.fd);
	cr_assert_eq(send(fd, "x", 1, MSG_NOSIGNAL) < 0 ? errno : 0, EPIPE,
		     "the old connection is over");
	(void)fd_close(fd);
}

Test(broker, a_helper_that_does_not_come_up_again_is_tried_until_it_does)
{
	int fd;

	(void)fake_start(FAKE_FLAKY, &fd);
	cr_assert_eq(write(fd, "x\n", 2), 2);
	fake_wait(&heard.not_restarted, 1);
	cr_assert_str_eq(heard.text, "not now");
	cr_assert_eq(heard.died, 1);
	fake_wait(&heard.restarted, 1);
	cr_assert_eq(heard.not_restarted, 1);
	(void)fd_close(fd);
}

Test(broker, a_helper_that_is_not_to_be_restarted_is_not)
{
	int fd, echo;

	(void)fake_start(FAKE_ONCE, &fd);
	cr_assert_eq(kill(fake_pid("once.pid"), SIGTERM), 0);
	fake_wait(&heard.died, 1);
	cr_assert_str_eq(heard.text, "it was ended by signal 15");
	/* The next to come gets its number. */
	cr_assert_eq(fake_start(FAKE_ECHO, &echo), heard.helper);
	cr_assert_eq(heard.restarted, 0);
	(void)fd_close(fd);
	(void)fd_close(echo);
}

/* ---- what it says ---- */

static unsigned lines_of_log(void)
{
	char path[128], line[512];
	unsigned n = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/log", fake_dir);
	file = fopen(path, "re");
	cr_assert(file);
	while (fgets(line, sizeof(line), file))
		n += strstr(line, "fake-loud: line") != NULL;
	(void)fclose(file);
	return n;
}

Test(broker, a_loud_helper_is_cut_short_and_never_blocked)
{
	char word[5];
	int fd;

	(void)fake_start(FAKE_LOUD, &fd);
	cr_assert_eq(write(fd, "x\n", 2), 2);
	/* Nobody reads from the broker here. */
	cr_assert_eq(recv(fd, word, sizeof(word), MSG_WAITALL), 5);
	cr_assert_eq(write(fd, "x\n", 2), 2);
	fake_wait(&heard.died, 1);
	cr_assert_gt(lines_of_log(), 0);
	cr_assert_lt(lines_of_log(), 500);
	fake_wait_for_log(" more lines)\n");
	(void)fd_close(fd);
}

/* ---- the end ---- */

Test(broker, the_end_takes_the_stubborn_with_it)
{
	int fd, pid;

	(void)fake_start(FAKE_STUBBORN, &fd);
	pid = fake_pid("stubborn.pid");
	broker = broker_free(broker);
	assert_gone(pid);
	(void)fd_close(fd);
}

Test(broker, the_end_takes_descendants_with_it_wherever_they_are)
{
	int fd, near, far;

	(void)fake_start(FAKE_FAMILY, &fd);
	near = fake_pid("near.pid");
	far = fake_pid("far.pid");
	broker = broker_free(broker);
	assert_gone(near);
	assert_gone(far);
	(void)fd_close(fd);
}

/* The test as a stand-in for init: waitpid() without children left is the event. */
Test(broker, nothing_is_left_of_a_vmm_that_is_killed)
{
	int ready[2], near, far, stubborn;
	char byte;
	pid_t vmm;

	broker = broker_free(broker);
	cr_assert_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	cr_assert_eq(pipe(ready), 0);
	vmm = fork();
	if (vmm == 0) {
		struct err err = {0};
		int fd;

		if (broker_new(SANDBOX_STRICT, fake_table, FAKES, &heard.listener, &broker, &err))
			_exit(1);
		(void)fake_start(FAKE_FAMILY, &fd);
		(void)fake_start(FAKE_STUBBORN, &fd);
		(void)fake_pid("far.pid");
		if (write(ready[1], "x", 1) == 1)
			(void)pause();
		_exit(1);
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	near = fake_pid("near.pid");
	far = fake_pid("far.pid");
	stubborn = fake_pid("stubborn.pid");
	cr_assert_eq(kill(vmm, SIGKILL), 0);
	while (waitpid(-1, NULL, 0) > 0)
		;
	assert_gone(near);
	assert_gone(far);
	assert_gone(stubborn);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

/* The test is the broker's only parent, so its one child is the broker. */
static pid_t broker_pid(void)
{
	char path[64];
	int pid = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	file = fopen(path, "re");
	cr_assert(file);
	cr_assert_eq(fscanf(file, "%d", &pid), 1);
	(void)fclose(file);
	return pid;
}

Test(broker, a_broker_that_is_killed_takes_its_helpers_with_it_and_is_missed)
{
	struct pollfd gone = {.fd = broker_fd(broker), .events = POLLIN};
	char byte;
	int fd, r;

	(void)fake_start(FAKE_ECHO, &fd);
	cr_assert_eq(kill(broker_pid(), SIGKILL), 0);
	/* The helper's end of its connection closes with it. */
	cr_assert_eq(read(fd, &byte, 1), 0);
	while ((r = broker_read(broker)) == 0)
		cr_assert_eq(poll(&gone, 1, -1), 1);
	cr_assert_eq(r, -EPIPE);
	cr_assert_eq(broker_fd(broker), -1);
	cr_assert_eq(broker_read(broker), -EPIPE, "and it is told once");
	(void)fd_close(fd);
}

/* ---- what a helper is ---- */

Test(broker, a_helper_has_nothing_of_vmms_but_its_connection)
{
	char text[256];
	int fd;

	cr_assert_eq(setenv("SECRET", "x", 1), 0);
	(void)fake_start(FAKE_CURIOUS, &fd);
	fake_wait_for_log("fake-curious: that is all");
	fake_wait_for_log("NoNewPrivs: 1\n");
	/* 5 is that of ls itself. */
	fake_wait_for_log("fds 0 1 2 3 4 5\n");
	fake_wait_for_log("SigIgn: 0000000000000000\n");
	fake_wait_for_log("SigBlk: 0000000000000000\n");
	(void)snprintf(text, sizeof(text), "environment PATH=%s:relative:/usr/bin:/bin LC_ALL=C\n",
		       fake_dir);
	fake_wait_for_log(text);
	(void)fd_close(fd);
}

Test(broker, a_helper_of_root_is_nobody_with_what_it_was_left)
{
	int fd;

	if (geteuid() != 0)
		cr_skip_test("not root");
	(void)fake_start(FAKE_CURIOUS, &fd);
	fake_wait_for_log("uid 65534 groups 65534\n");
	fake_wait_for_log("CapAmb: 0000000000000400\n");
	(void)fd_close(fd);
}
