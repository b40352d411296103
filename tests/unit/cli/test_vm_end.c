/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that look at a VM and end it, against a process that plays one: it holds the name
 * and answers as it was told before. Each test has a base of its own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/vm_set.h"
#include "control/rundir.h"
#include "machine/outcome.h"
#include "tests/unit/runtime_dir.h"

enum { ENDED_BY_REQUEST = 7, ALWAYS = 1 << 30 };

TestSuite(vm_end, .init = runtime_dir_make, .fini = runtime_dir_remove, .timeout = 60);

static const char *at(const char *file)
{
	static char path[256];

	(void)snprintf(path, sizeof(path), "%s/vmm/%s", runtime_dir, file);
	return path;
}

static void write_lock(int pid)
{
	FILE *f = fopen(at("a/lock"), "w");

	cr_assert_not_null(f);
	cr_assert_gt(fprintf(f, "%d\n", pid), 0);
	cr_assert_eq(fclose(f), 0);
}

/* ---- the VM ---- */

static void say(int fd, const char *answer)
{
	(void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
}

/* Busy for the first requests; then /v1/kill and /v1/stop end it. */
static void serve(int listener, int busy)
{
	struct pollfd poll_fd = {.fd = listener, .events = POLLIN};
	char request[1024];

	for (;; busy--) {
		int fd = poll(&poll_fd, 1, -1) > 0 ? accept(listener, NULL, NULL) : -1;
		ssize_t n = recv(fd, request, sizeof(request) - 1, 0);

		request[n > 0 ? n : 0] = '\0';
		if (busy > 0)
			say(fd, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
		else
			say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
		if (busy <= 0 && strncmp(request, "POST", 4) == 0)
			_exit(ENDED_BY_REQUEST);
		(void)close(fd);
	}
}

static void play(int busy, int ready)
{
	struct rundir *rd = malloc(sizeof(*rd));
	int listener;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!rd || rundir_claim("a", rd, NULL) < 0)
		_exit(1);
	listener = busy < 0 ? -1 : rundir_listen(rd->dir_fd, RUNDIR_SOCKET);
	(void)!write(ready, "x", 1);
	if (listener >= 0)
		serve(listener, busy);
	(void)pause();
	_exit(1);
}

/* busy -1: it has no socket. */
static pid_t start(int busy)
{
	int ready[2];
	pid_t pid;
	char c;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0)
		play(busy, ready[1]);
	(void)close(ready[1]);
	cr_assert_eq(read(ready[0], &c, 1), 1);
	(void)close(ready[0]);
	return pid;
}

/* A process that has nothing to do with it. */
static pid_t start_bystander(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)pause();
		_exit(1);
	}
	return pid;
}

static bool is_running(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) == 0;
}

static void finish(pid_t pid)
{
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

static int run(const char *name, int (*command)(const struct cli_options *options))
{
	const struct cli_command row = {.name = name, .run = command};
	const char *words[] = {"a"};
	const struct cli_options options = {.command = &row, .words = words, .n_words = 1};

	return command(&options);
}

static struct vm_ref open_a(void)
{
	struct err err = {0};
	struct vm_ref vm;

	cr_assert_eq(vm_ref_open("a", &vm, &err), 0, "%s", err.msg);
	return vm;
}

/* ---- by force ---- */

Test(vm_end, force_takes_the_process_that_listens_and_not_the_number_in_the_file)
{
	pid_t vm_pid = start(0), bystander = start_bystander();
	struct err err = {0};
	struct vm_ref vm;
	int status = 0;

	write_lock(bystander);
	vm = open_a();
	cr_assert_eq(kill(vm_pid, SIGSTOP), 0);
	cr_expect_eq(vm_ref_sigkill(&vm, &err), 0, "%s", err.msg);
	cr_expect_eq(rundir_wait_dead(vm.dir_fd, UINT64_C(1000000000), NULL), 0);
	cr_expect(is_running(bystander), "the wrong process was killed");
	(void)kill(vm_pid, SIGKILL);
	cr_assert_eq(waitpid(vm_pid, &status, 0), vm_pid);
	cr_expect(WIFSIGNALED(status));
	vm_ref_done(&vm);
	finish(bystander);
}

Test(vm_end, force_is_refused_where_the_process_cant_be_found)
{
	pid_t vm_pid = start(-1), bystander = start_bystander();
	struct err err = {0};
	struct vm_ref vm;

	write_lock(bystander);
	vm = open_a();
	cr_expect_lt(vm_ref_sigkill(&vm, &err), 0);
	cr_expect(strstr(err.msg, "its process can't be found"), "%s", err.msg);
	cr_expect(is_running(vm_pid) && is_running(bystander));
	vm_ref_done(&vm);
	finish(bystander);
	finish(vm_pid);
}

Test(vm_end, force_spares_another_one_of_the_name)
{
	pid_t vm_pid = start(0);
	struct vm_ref vm = open_a();
	struct err err = {0};

	vm.entry.pid = vm_pid + 1;
	cr_expect_eq(vm_ref_sigkill(&vm, &err), -ESRCH);
	cr_expect(strstr(err.msg, "another one"), "%s", err.msg);
	cr_expect(is_running(vm_pid));
	vm_ref_done(&vm);
	finish(vm_pid);
}

Test(vm_end, force_does_nothing_to_a_dead_one)
{
	pid_t vm_pid = start(0);
	struct vm_ref vm = open_a();

	finish(vm_pid);
	cr_expect_eq(vm_ref_sigkill(&vm, NULL), 0);
	vm_ref_done(&vm);
}

Test(vm_end, one_whose_lock_cant_be_asked_counts_as_alive)
{
	pid_t vm_pid = start(0);
	struct vm_ref vm = open_a();
	struct err err = {0};

	cr_assert_eq(chdir(at("a")), 0);
	cr_assert_eq(rename("lock", "vmm.log"), 0);
	cr_assert_eq(symlink("vmm.log", "lock"), 0);
	cr_assert_eq(chdir("/"), 0);
	cr_expect(vm_ref_is_alive(&vm));
	cr_expect_lt(vm_ref_sigkill(&vm, &err), 0);
	cr_expect(strstr(err.msg, "can't tell"), "%s", err.msg);
	cr_expect(is_running(vm_pid));
	vm_ref_done(&vm);
	finish(vm_pid);
}

/* ---- a busy one ---- */

static void expect_ended_by_request(pid_t pid)
{
	int status = 0;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == ENDED_BY_REQUEST,
		  "wait status %#x: not by the request", status);
}

Test(vm_end, kill_asks_a_busy_one_again_before_it_uses_force)
{
	pid_t vm_pid = start(3);

	cr_expect_eq(run("kill", cli_kill), 0);
	expect_ended_by_request(vm_pid);
}

Test(vm_end, stop_asks_a_busy_one_again)
{
	pid_t vm_pid = start(3);

	cr_expect_eq(run("stop", cli_stop), 0);
	expect_ended_by_request(vm_pid);
}

Test(vm_end, kill_uses_force_on_one_that_stays_busy)
{
	pid_t vm_pid = start(ALWAYS);
	int status = 0;

	cr_expect_eq(run("kill", cli_kill), 0);
	cr_assert_eq(waitpid(vm_pid, &status, 0), vm_pid);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

Test(vm_end, stop_gives_up_on_one_that_stays_busy_and_leaves_it_alone)
{
	pid_t vm_pid = start(ALWAYS);

	cr_expect_eq(run("stop", cli_stop), EXIT_VMM_ERROR);
	cr_expect(is_running(vm_pid));
	finish(vm_pid);
}

Test(vm_end, status_says_that_a_busy_one_runs)
{
	pid_t vm_pid = start(ALWAYS);

	cr_expect_eq(run("status", cli_status), 0);
	finish(vm_pid);
}

Test(vm_end, status_of_one_that_answers_and_of_a_dead_one)
{
	pid_t vm_pid = start(0);

	cr_expect_eq(run("status", cli_status), 4); /* it does not say its state */
	finish(vm_pid);
	cr_expect_eq(run("status", cli_status), 3);
}
