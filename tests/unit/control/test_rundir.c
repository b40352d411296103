/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory: who has a name, what becomes of a dead one's, and what is refused. Each test
 * has a base of its own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/rundir.h"
#include "tests/unit/runtime_dir.h"

#define SECONDS(n) (UINT64_C(1000000000) * (n))

TestSuite(rundir, .init = runtime_dir_make, .fini = runtime_dir_remove);

/* A path below the base. */
static const char *at(const char *file)
{
	static char path[256];

	(void)snprintf(path, sizeof(path), "%s/vmm%s%s", runtime_dir, *file ? "/" : "", file);
	return path;
}

static void write_file(const char *file, const char *text)
{
	FILE *f = fopen(at(file), "w");

	cr_assert_not_null(f);
	cr_assert_geq(fputs(text, f), 0);
	cr_assert_eq(fclose(f), 0);
}

static bool exists(const char *file)
{
	struct stat st;

	return lstat(at(file), &st) == 0;
}

static void claim(const char *name, struct rundir *rd)
{
	struct err err = {0};

	cr_assert_eq(rundir_claim(name, rd, &err), 0, "%s", err.msg);
}

static void expect_refused(const char *name, int code, const char *words)
{
	struct rundir rd = RUNDIR_NONE;
	struct err err = {0};
	int r = rundir_claim(name, &rd, &err);

	cr_assert_eq(r, code, "%d: %s", r, err.msg);
	cr_assert(strstr(err.msg, words), "\"%s\" is not in \"%s\"", words, err.msg);
	cr_assert_eq(rd.lock_fd, -1);
}

static struct rundir_entry find(const char *name)
{
	struct rundir_entry entry;
	struct err err = {0};

	cr_assert_eq(rundir_find(name, &entry, NULL, &err), 0, "%s", err.msg);
	return entry;
}

Test(rundir, a_claim_makes_private_directories_and_is_listed_as_alive)
{
	struct rundir_entry *list;
	struct rundir rd;
	struct stat st;
	unsigned n;

	claim("a", &rd);
	cr_assert_str_eq(rd.path, at("a"));
	cr_assert_eq(stat(at(""), &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0700);
	cr_assert_eq(stat(at("a"), &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0700);
	cr_assert_eq(rundir_list(&list, &n, NULL), 0);
	cr_assert_eq(n, 1);
	cr_assert_str_eq(list[0].name, "a");
	cr_assert(list[0].alive);
	cr_assert_eq(list[0].pid, getpid());
	free(list);
}

Test(rundir, descriptors_are_not_inherited_by_programs)
{
	struct rundir rd;

	claim("a", &rd);
	cr_assert(fcntl(rd.base_fd, F_GETFD) & FD_CLOEXEC);
	cr_assert(fcntl(rd.dir_fd, F_GETFD) & FD_CLOEXEC);
	cr_assert(fcntl(rd.lock_fd, F_GETFD) & FD_CLOEXEC);
	cr_assert(fcntl(rd.base_lock_fd, F_GETFD) & FD_CLOEXEC);
}

Test(rundir, a_living_name_is_never_taken_over)
{
	char pid[32];
	struct rundir rd;

	claim("a", &rd);
	write_file("a/control.sock", "in use");
	(void)snprintf(pid, sizeof(pid), "process %d", (int)getpid());
	expect_refused("a", -EEXIST, pid);
	expect_refused("a", -EEXIST, "--name");
	cr_assert(exists("a/control.sock"));
	cr_assert(find("a").alive);
}

Test(rundir, what_a_dead_one_left_is_replaced)
{
	struct rundir rd, next;

	claim("a", &rd);
	write_file("a/result.json", "{}");
	write_file("a/control.sock", "");
	rundir_release(&rd);
	cr_assert_not(find("a").alive);
	cr_assert_eq(find("a").pid, getpid());
	claim("a", &next);
	cr_assert_not(exists("a/result.json"));
	cr_assert_not(exists("a/control.sock"));
	cr_assert(find("a").alive);
}

Test(rundir, files_of_others_in_a_dead_directory_stay_and_hinder_nobody)
{
	struct rundir rd;
	struct err err = {0};

	claim("a", &rd);
	write_file("a/notes", "mine");
	rundir_release(&rd);
	claim("a", &rd);
	cr_assert(exists("a/notes"));
	cr_assert(find("a").alive);
	rundir_release(&rd);
	cr_assert_eq(rundir_remove_dead("a", &err), -ENOTEMPTY);
	cr_assert(strstr(err.msg, "a/notes"), "%s", err.msg);
	cr_assert(exists("a/notes"));
}

Test(rundir, a_wrong_name_is_refused)
{
	char longest[RUNDIR_NAME_LEN], too_long[RUNDIR_NAME_LEN + 1];
	struct rundir rd;

	expect_refused("", -EINVAL, "letters");
	expect_refused("a/b", -EINVAL, "letters");
	expect_refused("..", -EINVAL, "letters");
	expect_refused(".lock", -EINVAL, "letters");
	expect_refused("-f", -EINVAL, "letters");
	expect_refused("a b", -EINVAL, "letters");
	memset(too_long, 'x', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	expect_refused(too_long, -EINVAL, "63");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	claim(longest, &rd);
	cr_assert_str_eq(find(longest).name, longest);
}

Test(rundir, names_of_its_own_never_collide)
{
	struct rundir first, second;
	char name[RUNDIR_NAME_LEN];

	claim(NULL, &first);
	claim(NULL, &second);
	(void)snprintf(name, sizeof(name), "vm-%d", (int)getpid());
	cr_assert_str_eq(first.name, name);
	(void)snprintf(name, sizeof(name), "vm-%d-2", (int)getpid());
	cr_assert_str_eq(second.name, name);
	cr_assert(find(first.name).alive);
	cr_assert(find(second.name).alive);
}

Test(rundir, a_base_that_others_can_write_to_is_refused)
{
	cr_assert_eq(mkdir(at(""), 0700), 0);
	cr_assert_eq(chmod(at(""), 0770), 0);
	expect_refused("a", -EPERM, "mode 770");
	cr_assert_eq(chmod(at(""), 0702), 0);
	expect_refused("a", -EPERM, "chmod 700");
	cr_assert_not(exists("a"));
}

Test(rundir, a_base_of_another_user_is_refused)
{
	if (geteuid() != 0)
		cr_skip("only root can give a directory away");
	cr_assert_eq(mkdir(at(""), 0700), 0);
	cr_assert_eq(chown(at(""), 65534, 65534), 0);
	expect_refused("a", -EPERM, "another user");
}

Test(rundir, a_base_that_is_a_symbolic_link_is_refused)
{
	char target[128];

	(void)snprintf(target, sizeof(target), "%s/elsewhere", runtime_dir);
	cr_assert_eq(mkdir(target, 0700), 0);
	cr_assert_eq(symlink(target, at("")), 0);
	expect_refused("a", -ENOTDIR, "is not a directory");
}

Test(rundir, a_name_that_is_a_symbolic_link_is_not_followed)
{
	struct rundir_entry entry;
	struct rundir rd;
	char target[128];
	struct err err = {0};

	claim("other", &rd);
	(void)snprintf(target, sizeof(target), "%s/elsewhere", runtime_dir);
	cr_assert_eq(mkdir(target, 0700), 0);
	cr_assert_eq(symlink(target, at("a")), 0);
	write_file("a/result.json", "precious");
	expect_refused("a", -ENOTDIR, "a is not a directory");
	cr_assert(exists("a/result.json"));
	cr_assert_eq(rundir_find("a", &entry, NULL, &err), -ENOTDIR);
	cr_assert_eq(rundir_remove_dead("a", NULL), -ENOTDIR);
	cr_assert(exists("a/result.json"));
}

Test(rundir, a_directory_of_a_vm_that_others_can_write_to_is_refused)
{
	struct rundir rd;

	claim("a", &rd);
	rundir_release(&rd);
	cr_assert_eq(chmod(at("a"), 0777), 0);
	expect_refused("a", -EPERM, "mode 777");
}

Test(rundir, the_base_is_that_of_the_user)
{
	char *path = malloc(RUNDIR_PATH_LEN);

	cr_assert_eq(rundir_base(path, NULL), 0);
	cr_assert_str_eq(path, at(""));
	cr_assert_eq(setenv("XDG_RUNTIME_DIR", "relative", 1), 0);
	if (geteuid() == 0) {
		cr_assert_eq(rundir_base(path, NULL), 0);
		cr_assert_str_eq(path, "/run/vmm");
		cr_assert_eq(chown(runtime_dir, 65534, 65534), 0);
		cr_assert_eq(setenv("XDG_RUNTIME_DIR", runtime_dir, 1), 0);
		cr_assert_eq(rundir_base(path, NULL), 0);
		cr_assert_str_eq(path, "/run/vmm");
	} else {
		struct err err = {0};

		cr_assert_eq(rundir_base(path, &err), -ENOENT);
		cr_assert(strstr(err.msg, "XDG_RUNTIME_DIR"));
	}
	free(path);
}

Test(rundir, without_a_base_the_list_is_empty_and_nothing_is_made)
{
	struct rundir_entry *list, entry;
	struct err err = {0};
	unsigned n = 7;

	cr_assert_eq(rundir_list(&list, &n, NULL), 0);
	cr_assert_eq(n, 0);
	free(list);
	cr_assert_eq(rundir_find("a", &entry, NULL, &err), -ENOENT);
	cr_assert(strstr(err.msg, "there is no VM named \"a\""), "%s", err.msg);
	cr_assert_eq(rundir_remove_dead("a", NULL), -ENOENT);
	cr_assert_not(exists(""));
}

Test(rundir, a_name_that_is_not_there_gets_the_nearest_one)
{
	struct rundir_entry entry;
	struct err err = {0}, again = {0};
	struct rundir rd;

	claim("build-server", &rd);
	cr_assert_eq(rundir_find("biuld-server", &entry, NULL, &err), -ENOENT);
	cr_assert(strstr(err.msg, "did you mean \"build-server\"?"), "%s", err.msg);
	cr_assert_eq(rundir_find("../vmm", &entry, NULL, &again), -ENOENT);
	cr_assert(strstr(again.msg, "there is no VM"), "%s", again.msg);
}

Test(rundir, the_list_is_sorted_and_has_no_other_files)
{
	struct rundir_entry *list;
	struct rundir c, a, b;
	unsigned n;

	claim("c", &c);
	claim("a", &a);
	claim("b", &b);
	rundir_release(&b);
	write_file("file", "");
	cr_assert_eq(rundir_list(&list, &n, NULL), 0);
	cr_assert_eq(n, 3);
	cr_assert_str_eq(list[0].name, "a");
	cr_assert_str_eq(list[1].name, "b");
	cr_assert_str_eq(list[2].name, "c");
	cr_assert(list[0].alive);
	cr_assert_not(list[1].alive);
	free(list);
}

Test(rundir, removing_takes_all_that_is_vmms_and_the_name_is_free_at_once)
{
	struct rundir rd, next;

	claim("a", &rd);
	write_file("a/control.sock", "");
	write_file("a/fd.sock", "");
	write_file("a/config.json", "");
	write_file("a/result.json", "");
	write_file("a/vmm.log", "");
	write_file("a/console.log", "");
	write_file("a/console.log.1", "");
	rundir_remove(&rd);
	cr_assert_not(exists("a"));
	claim("a", &next);
	/* A second time, it is the other one's. */
	rundir_remove(&rd);
	cr_assert(exists("a/lock"));
	rundir_release(&rd);
	cr_assert(find("a").alive);
}

Test(rundir, a_living_one_is_not_removed_from_outside)
{
	struct err err = {0};
	struct rundir rd;

	claim("a", &rd);
	write_file("a/result.json", "");
	cr_assert_eq(rundir_remove_dead("a", &err), -EBUSY);
	cr_assert(strstr(err.msg, "running"), "%s", err.msg);
	cr_assert(exists("a/result.json"));
	rundir_release(&rd);
	cr_assert_eq(rundir_remove_dead("a", &err), 0);
	cr_assert_not(exists("a"));
}

/* ---- more than one process ---- */

/* Runs body in a child; the pipes tell when it is ready and when it may go on. */
struct child {
	pid_t pid;
	int go;
};

static void tell(int fd)
{
	cr_assert_eq(write(fd, "x", 1), 1);
}

static void await(int fd)
{
	char c;

	cr_assert_eq(read(fd, &c, 1), 1);
}

/* A child that does not outlive a test that failed. */
static pid_t fork_child(void)
{
	pid_t pid = fork();

	if (pid == 0)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/* A child that holds what it got from its parent until it is told to end. */
static struct child hold_in_child(bool write_pid, const struct rundir *rd)
{
	int go[2], ready[2];
	struct child child;
	char c;

	cr_assert_eq(pipe(go), 0);
	cr_assert_eq(pipe(ready), 0);
	child.pid = fork_child();
	if (child.pid == 0) {
		if (write_pid && rundir_write_pid(rd, NULL) < 0)
			_exit(1);
		(void)!write(ready[1], "x", 1);
		_exit(read(go[0], &c, 1) == 1 ? 0 : 1);
	}
	await(ready[0]);
	child.go = go[1];
	return child;
}

static void end(struct child child)
{
	tell(child.go);
	cr_assert_eq(waitpid(child.pid, NULL, 0), child.pid);
}

Test(rundir, a_fork_takes_the_lock_along)
{
	struct rundir rd;
	struct child child;

	claim("a", &rd);
	child = hold_in_child(true, &rd);
	rundir_release(&rd);
	cr_assert(find("a").alive);
	cr_assert_eq(find("a").pid, child.pid);
	expect_refused("a", -EEXIST, "running");
	end(child);
	cr_assert_not(find("a").alive);
}

Test(rundir, a_killed_one_is_dead_and_its_name_usable)
{
	struct rundir rd;
	struct child child;

	claim("a", &rd);
	child = hold_in_child(true, &rd);
	rundir_release(&rd);
	cr_assert_eq(kill(child.pid, SIGKILL), 0);
	cr_assert_eq(waitpid(child.pid, NULL, 0), child.pid);
	cr_assert_not(find("a").alive);
	claim("a", &rd);
}

Test(rundir, waiting_ends_with_the_last_process_that_holds_it)
{
	struct rundir_entry entry;
	struct rundir rd;
	struct child child;
	int dir_fd;

	claim("a", &rd);
	/* The id in the file is that of this process, which lives on. */
	child = hold_in_child(false, &rd);
	cr_assert_eq(rundir_find("a", &entry, &dir_fd, NULL), 0);
	cr_assert_eq(rundir_wait_dead(dir_fd, 1, NULL), -ETIMEDOUT);
	rundir_release(&rd);
	cr_assert_eq(rundir_wait_dead(dir_fd, 1, NULL), -ETIMEDOUT);
	tell(child.go);
	cr_assert_eq(rundir_wait_dead(dir_fd, SECONDS(60), NULL), 0);
}

Test(rundir, waiting_for_a_dead_one_does_not_wait_for_the_next)
{
	struct rundir_entry entry;
	struct rundir rd, next;
	int dir_fd;

	claim("a", &rd);
	cr_assert_eq(rundir_find("a", &entry, &dir_fd, NULL), 0);
	rundir_remove(&rd);
	rundir_release(&rd);
	claim("a", &next);
	cr_assert_eq(rundir_wait_dead(dir_fd, 0, NULL), 0);
}

Test(rundir, of_many_that_want_one_name_one_gets_it, .timeout = 60)
{
	enum { ROUNDS = 25, CHILDREN = 6 };
	struct rundir dead;

	for (unsigned round = 0; round < ROUNDS; round++) {
		int start[2], go[2], won = 0;
		pid_t pids[CHILDREN];
		char answers[CHILDREN];

		claim("a", &dead);
		rundir_release(&dead);
		cr_assert_eq(pipe(start), 0);
		cr_assert_eq(pipe(go), 0);
		for (unsigned i = 0; i < CHILDREN; i++) {
			pids[i] = fork_child();
			if (pids[i] == 0) {
				struct rundir *rd = malloc(sizeof(*rd));
				char c;

				(void)close(start[1]);
				(void)!read(start[0], &c, 1); /* end of file: all begin at once */
				c = rundir_claim("a", rd, NULL) == 0 ? 'w' : 'l';
				(void)!write(go[1], &c, 1);
				(void)pause();
			}
		}
		(void)close(start[1]);
		for (unsigned i = 0; i < CHILDREN; i++) {
			cr_assert_eq(read(go[0], &answers[i], 1), 1);
			won += answers[i] == 'w';
		}
		cr_expect_eq(won, 1);
		cr_expect(find("a").alive);
		for (unsigned i = 0; i < CHILDREN; i++) {
			(void)kill(pids[i], SIGKILL);
			(void)waitpid(pids[i], NULL, 0);
		}
		(void)close(start[0]);
		(void)close(go[0]);
		(void)close(go[1]);
	}
}

/* A claim's directory is in place and complete, whatever removes the dead ones meanwhile. */
Test(rundir, a_claim_and_a_removal_do_not_mix, .timeout = 60)
{
	enum { ROUNDS = 300 };
	struct rundir rd;
	pid_t remover;

	claim("a", &rd);
	rundir_release(&rd);
	remover = fork_child();
	if (remover == 0)
		for (;;)
			if (rundir_remove_dead("a", NULL) == -ENOMEM)
				_exit(1);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct stat by_name, by_fd;

		claim("a", &rd);
		cr_assert_eq(stat(at("a"), &by_name), 0);
		cr_assert_eq(fstat(rd.dir_fd, &by_fd), 0);
		cr_assert_eq(by_name.st_ino, by_fd.st_ino);
		cr_assert(exists("a/lock"));
		cr_assert(find("a").alive);
		rundir_release(&rd);
	}
	cr_assert_eq(kill(remover, SIGKILL), 0);
	cr_assert_eq(waitpid(remover, NULL, 0), remover);
}

/* ---- files and sockets ---- */

Test(rundir, a_file_is_read_whole_or_its_end)
{
	struct rundir rd;
	char *text;

	claim("a", &rd);
	write_file("a/result.json", "0123456789");
	cr_assert_eq(rundir_read(rd.dir_fd, RUNDIR_RESULT, 100, &text), 0);
	cr_assert_str_eq(text, "0123456789");
	free(text);
	cr_assert_eq(rundir_read(rd.dir_fd, RUNDIR_RESULT, 4, &text), 0);
	cr_assert_str_eq(text, "6789");
	free(text);
	cr_assert_eq(rundir_read(rd.dir_fd, RUNDIR_LOG, 4, &text), -ENOENT);
}

Test(rundir, links_and_pipes_are_not_read, .timeout = 20)
{
	struct rundir rd;
	char *text;

	claim("a", &rd);
	cr_assert_eq(symlink("/etc/hostname", at("a/vmm.log")), 0);
	cr_assert_eq(mkfifo(at("a/console.log"), 0600), 0);
	cr_assert_eq(rundir_read(rd.dir_fd, RUNDIR_LOG, 100, &text), -ELOOP);
	cr_assert_eq(rundir_read(rd.dir_fd, RUNDIR_CONSOLE, 100, &text), -EINVAL);
}

Test(rundir, a_socket_is_private_and_its_path_as_long_as_it_likes)
{
	char deep[300];
	struct rundir rd;
	struct stat st;
	int listener, client, server;
	char c = 0;

	(void)snprintf(deep, sizeof(deep), "%s/%0150d", runtime_dir, 0);
	cr_assert_eq(mkdir(deep, 0700), 0);
	cr_assert_eq(setenv("XDG_RUNTIME_DIR", deep, 1), 0);
	(void)umask(0);
	claim("a", &rd);
	listener = rundir_listen(rd.dir_fd, RUNDIR_SOCKET);
	cr_assert_geq(listener, 0);
	cr_assert_eq(fstatat(rd.dir_fd, RUNDIR_SOCKET, &st, 0), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(umask(0), 0);
	cr_assert(fcntl(listener, F_GETFL) & O_NONBLOCK);
	client = rundir_connect(rd.dir_fd, RUNDIR_SOCKET);
	cr_assert_geq(client, 0);
	cr_assert_not(fcntl(client, F_GETFL) & O_NONBLOCK);
	server = accept(listener, NULL, NULL);
	cr_assert_geq(server, 0);
	cr_assert_eq(write(client, "x", 1), 1);
	cr_assert_eq(read(server, &c, 1), 1);
	cr_assert_eq(c, 'x');
}

Test(rundir, what_is_no_socket_is_not_connected_to)
{
	struct rundir rd;
	int listener;

	claim("a", &rd);
	cr_assert_eq(rundir_connect(rd.dir_fd, RUNDIR_SOCKET), -ENOENT);
	write_file("a/control.sock", "");
	cr_assert_eq(rundir_connect(rd.dir_fd, RUNDIR_SOCKET), -ENOTSOCK);
	listener = rundir_listen(rd.dir_fd, RUNDIR_FD_SOCKET);
	cr_assert_geq(listener, 0);
	cr_assert_eq(close(listener), 0);
	cr_assert_eq(rundir_connect(rd.dir_fd, RUNDIR_FD_SOCKET), -ECONNREFUSED);
}

static void make_dead(const char *name, bool detached)
{
	char file[64];

	(void)snprintf(file, sizeof(file), "%s", name);
	cr_assert_eq(mkdir(at(file), 0700), 0);
	(void)snprintf(file, sizeof(file), "%s/lock", name);
	write_file(file, "1\n");
	(void)snprintf(file, sizeof(file), "%s/console.log", name);
	if (detached)
		write_file(file, "");
}

Test(rundir, a_sweep_takes_dead_ones_that_nobody_named_and_no_others)
{
	struct rundir rd, alive;

	claim("a", &rd);
	claim("vm-77", &alive);
	make_dead("vm-11", false);
	make_dead("vm-12", true);
	make_dead("vm-x1", false);
	make_dead("web", false);
	rundir_sweep(3600);
	cr_expect(exists("vm-11"), "it is not old enough");
	rundir_sweep(0);
	cr_expect_not(exists("vm-11"));
	cr_expect(exists("vm-12") && exists("vm-x1") && exists("web"));
	cr_expect(exists("a") && exists("vm-77"), "a living one is gone");
	rundir_release(&rd);
	rundir_release(&alive);
}

Test(rundir, a_sweep_takes_second_names_of_its_own_too)
{
	struct rundir rd;

	claim("a", &rd);
	make_dead("vm-11-2", false);
	make_dead("vm-11-3", true);
	make_dead("vm-11-", false);
	make_dead("vm-11-x", false);
	make_dead("vm-11-2-3", false);
	make_dead("vm--2", false);
	rundir_sweep(0);
	cr_expect_not(exists("vm-11-2"));
	cr_expect(exists("vm-11-3") && exists("vm-11-") && exists("vm-11-x"));
	cr_expect(exists("vm-11-2-3") && exists("vm--2"));
}

Test(rundir, a_name_of_its_own_leaves_what_a_dead_one_left)
{
	char name[RUNDIR_NAME_LEN], result[128];
	struct rundir dead, rd;

	claim(NULL, &dead);
	(void)snprintf(result, sizeof(result), "%s/result.json", dead.name);
	write_file(result, "{}");
	rundir_release(&dead);
	claim(NULL, &rd);
	(void)snprintf(name, sizeof(name), "vm-%d-2", (int)getpid());
	cr_expect_str_eq(rd.name, name);
	cr_expect(exists(result), "the result of the dead one is gone");
}

/* ---- when it can't be told whether one lives ---- */

static void limit_descriptors(rlim_t n)
{
	struct rlimit limit;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = n;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Each step with one descriptor more: every open() of theirs fails once. */
static void with_few_descriptors(void (*step)(void), const char *file)
{
	struct rlimit old;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (rlim_t n = 0; n < 24; n++) {
		limit_descriptors(n);
		step();
		limit_descriptors(old.rlim_cur);
		cr_assert(exists(file), "with %d descriptors: the living one's is gone", (int)n);
	}
}

static void claim_taken(void)
{
	struct rundir rd = RUNDIR_NONE;

	cr_expect_lt(rundir_claim("vm-77", &rd, NULL), 0);
}

static void remove_taken(void)
{
	cr_expect_lt(rundir_remove_dead("vm-77", NULL), 0);
}

static void sweep_all(void)
{
	rundir_sweep(0);
}

static void list_taken(void)
{
	struct rundir_entry *list;
	unsigned n;

	if (rundir_list(&list, &n, NULL) < 0)
		return;
	cr_expect_eq(n, 1);
	cr_expect(n == 1 && list[0].alive);
	free(list);
}

static void find_taken(void)
{
	struct rundir_entry entry;

	cr_expect(rundir_find("vm-77", &entry, NULL, NULL) < 0 || entry.alive);
}

Test(rundir, with_few_descriptors_a_living_one_is_never_removed)
{
	struct child child;
	struct rundir rd;

	claim("vm-77", &rd);
	child = hold_in_child(true, &rd);
	rundir_release(&rd);
	with_few_descriptors(claim_taken, "vm-77/lock");
	with_few_descriptors(remove_taken, "vm-77/lock");
	with_few_descriptors(sweep_all, "vm-77/lock");
	with_few_descriptors(list_taken, "vm-77/lock");
	with_few_descriptors(find_taken, "vm-77/lock");
	cr_expect(find("vm-77").alive);
	end(child);
}

/* A link in place of the lock can't be opened, by root neither. */
Test(rundir, one_whose_lock_cant_be_asked_is_alive_and_stays)
{
	struct rundir_entry *list;
	struct err err = {0};
	struct rundir rd;
	unsigned n;
	int dir_fd;

	claim("vm-12", &rd);
	rundir_release(&rd);
	cr_assert_eq(chdir(at("vm-12")), 0);
	cr_assert_eq(rename("lock", "result.json"), 0);
	cr_assert_eq(symlink("result.json", "lock"), 0);
	cr_assert_eq(chdir("/"), 0);
	expect_refused("vm-12", -ELOOP, "can't tell whether the VM \"vm-12\" runs");
	cr_expect_eq(rundir_remove_dead("vm-12", &err), -ELOOP);
	cr_expect(strstr(err.msg, "can't tell"), "%s", err.msg);
	rundir_sweep(0);
	cr_expect(exists("vm-12/result.json") && exists("vm-12/lock"));
	cr_assert_eq(rundir_list(&list, &n, NULL), 0);
	cr_assert_eq(n, 1);
	cr_expect(list[0].alive);
	free(list);
	dir_fd = open(at("vm-12"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_expect_eq(rundir_wait_dead(dir_fd, SECONDS(1), NULL), -ELOOP);
	cr_assert_eq(unlink(at("vm-12/lock")), 0);
	cr_expect_eq(rundir_remove_dead("vm-12", NULL), 0);
}

/* ---- the process ---- */

Test(rundir, waiting_does_not_depend_on_the_id_in_the_file)
{
	struct rundir_entry entry;
	struct child child;
	struct rundir rd;
	int dir_fd;

	claim("a", &rd);
	cr_assert_eq(rundir_find("a", &entry, &dir_fd, NULL), 0);
	child = hold_in_child(true, &rd);
	rundir_release(&rd);
	write_file("a/lock", "1\n");
	cr_expect_eq(rundir_wait_dead(dir_fd, 1, NULL), -ETIMEDOUT);
	tell(child.go);
	cr_expect_eq(rundir_wait_dead(dir_fd, SECONDS(60), NULL), 0);
}

Test(rundir, the_process_is_the_one_that_listens_even_if_it_stands_still)
{
	int dir_fd, pidfd, ready[2];
	struct rundir_entry entry;
	struct err err = {0};
	struct rundir rd;
	pid_t child, pid = 0;

	claim("a", &rd);
	cr_assert_eq(rundir_find("a", &entry, &dir_fd, NULL), 0);
	cr_expect_eq(rundir_open_process(dir_fd, &pid, &err), -ENOENT);
	cr_expect(strstr(err.msg, "control.sock"), "%s", err.msg);
	cr_assert_eq(pipe(ready), 0);
	child = fork_child();
	if (child == 0) {
		if (rundir_listen(rd.dir_fd, RUNDIR_SOCKET) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		(void)pause();
	}
	await(ready[0]);
	cr_assert_eq(kill(child, SIGSTOP), 0);
	pidfd = rundir_open_process(dir_fd, &pid, NULL);
	cr_assert_geq(pidfd, 0);
	cr_expect_eq(pid, child);
	cr_expect(fcntl(pidfd, F_GETFD) & FD_CLOEXEC);
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, NULL, 0), child);
	cr_expect_eq(rundir_open_process(dir_fd, &pid, NULL), -ECONNREFUSED);
}
