/* SPDX-License-Identifier: Apache-2.0 */
/* The lock-down on a real kernel: each case in a process of its own. */
#include "child.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { REFUSED = 125 };

static const char *const roles[SANDBOX_ROLES] = {"main", "vcpu", "worker", "io"};

/* What glibc does unasked in any thread. */
static int ordinary_life(void)
{
	struct timespec ts;
	char *big = malloc(1 << 20), *bigger;
	char line[64];

	if (!big)
		return 1;
	memset(big, 1, 1 << 20);
	bigger = realloc(big, 8 << 20);
	free(bigger ? bigger : big);
	if (!bigger || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts))
		return 2;
	if (snprintf(line, sizeof(line), "%f", 0.5) != 8)
		return 3;
	(void)fprintf(stderr, "alive %d\n", (int)getpid());
	return 0;
}

Test(roles, ordinary_life_is_allowed)
{
	need_seccomp();
	for (int r = 0; r < SANDBOX_ROLES; r++) {
		struct child child = child_run_as((enum sandbox_role)r, ordinary_life);

		cr_assert_eq(child.code, 0, "%s: code %d signal %d: %s", roles[r], child.code,
			     child.sig, child.text);
		cr_assert(strstr(child.text, "alive"));
	}
}

struct start {
	pthread_barrier_t *parked;
	enum sandbox_role role;
};

static sem_t kicked;

static void on_kick(int sig)
{
	(void)sig;
	(void)sem_post(&kicked);
}

static void *role_thread(void *arg)
{
	struct start *start = arg;

	if (child_enter(SANDBOX_STRICT, start->role) < 0)
		_exit(98);
	(void)pthread_barrier_wait(start->parked);
	while (start->role == SANDBOX_VCPU && sem_wait(&kicked) != 0)
		;
	return ordinary_life() ? start : NULL;
}

/* The life of a VM process: lock, threads, their filters, main's filter, a kick, joins, a clean
 * exit. */
static int threads_live_and_end(void)
{
	struct sigaction action = {.sa_handler = on_kick};
	pthread_barrier_t parked;
	pthread_t vcpu, worker, io;
	struct start starts[] = {
		{&parked, SANDBOX_VCPU}, {&parked, SANDBOX_WORKER}, {&parked, SANDBOX_IO}};
	void *ret[3];

	if (child_lock(SANDBOX_STRICT, NULL) < 0 || sigaction(SIGRTMIN, &action, NULL) ||
	    pthread_barrier_init(&parked, NULL, 4) || sem_init(&kicked, 0, 0))
		return 1;
	if (pthread_create(&vcpu, NULL, role_thread, &starts[0]) ||
	    pthread_create(&worker, NULL, role_thread, &starts[1]) ||
	    pthread_create(&io, NULL, role_thread, &starts[2]))
		return 2;
	if (child_enter(SANDBOX_STRICT, SANDBOX_MAIN) < 0)
		return 3;
	(void)pthread_barrier_wait(&parked);
	if (pthread_kill(vcpu, SIGRTMIN))
		return 4;
	if (pthread_join(vcpu, &ret[0]) || pthread_join(worker, &ret[1]) ||
	    pthread_join(io, &ret[2]))
		return 5;
	return ret[0] || ret[1] || ret[2] ? 6 : 0;
}

Test(roles, threads_of_all_roles_live_are_kicked_and_end)
{
	struct child child;

	need_seccomp();
	child = child_run(threads_live_and_end);
	cr_assert_eq(child.code, 0, "code %d signal %d: %s", child.code, child.sig, child.text);
}

static int loop_fds[3];

static int loop_calls(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct rusage usage;
	uint64_t one = 1;
	char byte;

	if (epoll_ctl(loop_fds[0], EPOLL_CTL_ADD, loop_fds[1], &event))
		return 1;
	if (write(loop_fds[1], &one, sizeof(one)) != sizeof(one))
		return 2;
	if (epoll_wait(loop_fds[0], &event, 1, 1000) != 1)
		return 3;
	if (pread(loop_fds[2], &byte, 1, 0) != 1 || fcntl(loop_fds[2], F_DUPFD_CLOEXEC, 3) < 0)
		return 4;
	if (ioctl(-1, KVM_IRQ_LINE, NULL) != -1 || errno != EBADF)
		return 5;
	if (getrusage(RUSAGE_SELF, &usage) || dprintf(STDERR_FILENO, "told\n") != 5)
		return 6;
	(void)unlinkat(AT_FDCWD, "/nonexistent/socket", 0);
	return 0;
}

Test(roles, main__loop_and_stream_calls_are_allowed)
{
	struct child child;

	need_seccomp();
	loop_fds[0] = epoll_create1(EPOLL_CLOEXEC);
	loop_fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop_fds[2] = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	child = child_run_as(SANDBOX_MAIN, loop_calls);
	cr_assert_eq(child.code, 0, "code %d signal %d: %s", child.code, child.sig, child.text);
}

static int vcpu_calls(void)
{
	static const unsigned long requests[] = {KVM_RUN, KVM_IRQ_LINE, KVM_IOEVENTFD, KVM_IRQFD,
						 KVM_SET_GSI_ROUTING};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		if (ioctl(-1, requests[i], NULL) != -1 || errno != EBADF)
			return 1;
	}
	return 0;
}

Test(roles, vcpu__kvm_requests_are_allowed)
{
	struct child child;

	need_seccomp();
	child = child_run_as(SANDBOX_VCPU, vcpu_calls);
	cr_assert_eq(child.code, 0, "code %d signal %d: %s", child.code, child.sig, child.text);
}

static int read_registers(void)
{
	return ioctl(-1, KVM_GET_REGS, NULL);
}

Test(denied, vcpu__state_of_a_vcpu_traps)
{
	struct child child;

	need_seccomp();
	child = child_run_as(SANDBOX_VCPU, read_registers);
	cr_assert_eq(child.code, REFUSED, "code %d signal %d", child.code, child.sig);
	cr_assert(strstr(child.text, "system call ioctl"), "%s", child.text);
}

static int rename_thread(void)
{
	(void)prctl(PR_SET_NAME, "too late");
	return 0;
}

static int named_thread_makes_socket(void)
{
	(void)prctl(PR_SET_NAME, "vcpu/3");
	if (child_lock(SANDBOX_STRICT, NULL) < 0 || child_enter(SANDBOX_STRICT, SANDBOX_VCPU) < 0)
		return 1;
	(void)socket(AF_UNIX, SOCK_STREAM, 0);
	return 0;
}

Test(denied, message_names_call_thread_role_and_remedy)
{
	struct child child;

	need_seccomp();
	child = child_run(named_thread_makes_socket);
	cr_assert_eq(child.code, REFUSED, "code %d signal %d", child.code, child.sig);
	cr_assert(strstr(child.text, "thread vcpu/3 (role vcpu)"), "%s", child.text);
	cr_assert(strstr(child.text, "system call socket (number 41"), "%s", child.text);
	cr_assert(strstr(child.text, "socket(0x1, 0x1, 0x0"), "%s", child.text);
	cr_assert(strstr(child.text, "--sandbox log"), "%s", child.text);
	cr_assert_eq(child.text[strlen(child.text) - 1], '\n');
}

/* TCP: an I/O thread may connect unix sockets. */
static int make_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0;
}

Test(denied, every_role_traps_with_125)
{
	need_seccomp();
	for (int r = 0; r < SANDBOX_ROLES; r++) {
		struct child child = child_run_as((enum sandbox_role)r, make_socket);

		cr_assert_eq(child.code, REFUSED, "%s: code %d signal %d", roles[r], child.code,
			     child.sig);
		cr_assert(strstr(child.text, "socket"));
	}
}

static int all_signals_blocked(void)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, NULL);
	if (child_lock(SANDBOX_STRICT, NULL) < 0 || child_enter(SANDBOX_STRICT, SANDBOX_VCPU) < 0)
		return 1;
	return make_socket();
}

Test(denied, thread_with_all_signals_blocked_still_tells)
{
	struct child child;

	need_seccomp();
	child = child_run(all_signals_blocked);
	cr_assert_eq(child.code, REFUSED, "code %d signal %d", child.code, child.sig);
	cr_assert(strstr(child.text, "socket"));
}

static void hook(void)
{
	(void)!write(STDERR_FILENO, "HOOK", 4);
}

static int trap_with_hook(void)
{
	sandbox_set_death_hook(hook);
	return make_socket();
}

Test(denied, death_hook_runs_after_the_message)
{
	struct child child;

	need_seccomp();
	child = child_run_as(SANDBOX_MAIN, trap_with_hook);
	cr_assert_eq(child.code, REFUSED);
	cr_assert(strstr(child.text, "\nHOOK"), "%s", child.text);
}

static int map_executable(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	       MAP_FAILED;
}

static int wrong_request(void)
{
	return ioctl(0, TIOCSTI, "x");
}

static int run_program(void)
{
	char *argv[] = {NULL};

	return execve("/bin/true", argv, argv);
}

static int old_call(void)
{
#ifdef __x86_64__
	long ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "0"(20L) : "memory");
#endif
	return 77;
}

Test(denied, executable_mapping_traps)
{
	struct child child;

	need_seccomp();
	child = child_run_as(SANDBOX_VCPU, map_executable);
	cr_assert_eq(child.code, REFUSED);
	cr_assert(strstr(child.text, "system call mmap"), "%s", child.text);
}

Test(denied, ioctl_outside_the_list_traps)
{
	struct child child;

	need_seccomp();
	child = child_run_as(SANDBOX_MAIN, wrong_request);
	cr_assert_eq(child.code, REFUSED);
	cr_assert(strstr(child.text, "ioctl(0x0, 0x5412"), "%s", child.text);
}

Test(denied, prctl_traps)
{
	struct child child;

	need_no_sanitizer("a sanitizer's runtime uses prctl");
	need_seccomp();
	child = child_run_as(SANDBOX_WORKER, rename_thread);
	cr_assert_eq(child.code, REFUSED);
}

Test(denied, execve_kills)
{
	need_seccomp();
	for (int r = 0; r < SANDBOX_ROLES; r++)
		cr_assert_eq(child_run_as((enum sandbox_role)r, run_program).sig, SIGSYS);
}

Test(denied, i386_call_kills)
{
	struct child child = child_run(old_call);

	need_seccomp();
	if (child.code != 77)
		cr_skip_test("this kernel has no 32-bit system calls");
	cr_assert_eq(child_run_as(SANDBOX_MAIN, old_call).sig, SIGSYS);
}

static int abort_in_role(void)
{
	abort();
}

Test(roles, abort_still_ends_by_sigabrt)
{
	need_seccomp();
	for (int r = 0; r < SANDBOX_ROLES; r++) {
		struct child child = child_run_as((enum sandbox_role)r, abort_in_role);

		cr_assert_eq(child.sig, SIGABRT, "%s: code %d: %s", roles[r], child.code,
			     child.text);
	}
}

static int logged(void)
{
	if (child_lock(SANDBOX_LOG, NULL) < 0 || child_enter(SANDBOX_LOG, SANDBOX_VCPU) < 0)
		return 1;
	if (socket(AF_UNIX, SOCK_STREAM, 0) < 0 || open("/etc/passwd", O_RDONLY) < 0)
		return 2;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_SECCOMP) != 2)
		return 3;
	return 0;
}

Test(modes, log_lets_everything_through_but_keeps_no_new_privs)
{
	struct child child;

	need_seccomp();
	child = child_run(logged);
	cr_assert_eq(child.code, 0, "code %d signal %d: %s", child.code, child.sig, child.text);
}

static int switched_off(void)
{
	if (child_lock(SANDBOX_OFF, NULL) < 0 || child_enter(SANDBOX_OFF, SANDBOX_MAIN) < 0)
		return 1;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) || prctl(PR_GET_SECCOMP) ||
	    !prctl(PR_GET_DUMPABLE))
		return 2;
	return open("/etc/passwd", O_RDONLY) < 0 ? 3 : 0;
}

Test(modes, off_changes_nothing)
{
	struct child child = child_run(switched_off);

	cr_assert_eq(child.code, 0, "code %d: %s", child.code, child.text);
}

/* Locks and prints its own status: the file is opened before, since nothing opens after. */
static int locked_status(void)
{
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	char buf[4096];
	ssize_t n;

	if (fd < 0 || child_lock(SANDBOX_STRICT, NULL) < 0)
		return 1;
	n = read(fd, buf, sizeof(buf));
	if (n <= 0 || write(STDERR_FILENO, buf, (size_t)n) != n)
		return 2;
	return prctl(PR_GET_DUMPABLE);
}

static int locked_status_as_nobody(void)
{
	if (setgroups(0, NULL) || setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		return 3;
	return locked_status();
}

static void check_status(const struct child *child)
{
	cr_assert_eq(child->code, 0, "code %d: %s", child->code, child->text);
	cr_assert(strstr(child->text, "NoNewPrivs:\t1\n"), "%s", child->text);
	cr_assert(strstr(child->text, "CapInh:\t0000000000000000\n"), "%s", child->text);
	cr_assert(strstr(child->text, "CapPrm:\t0000000000000000\n"), "%s", child->text);
	cr_assert(strstr(child->text, "CapEff:\t0000000000000000\n"), "%s", child->text);
	cr_assert(strstr(child->text, "CapAmb:\t0000000000000000\n"), "%s", child->text);
}

Test(lock, process_has_no_capabilities_and_no_new_privs)
{
	struct child child = child_run(locked_status);

	check_status(&child);
	if (geteuid() == 0)
		cr_assert(strstr(child.text, "CapBnd:\t0000000000000000\n"), "%s", child.text);
}

Test(lock, ordinary_user_has_nothing_to_drop_and_locks_all_the_same)
{
	struct child child;

	if (geteuid() != 0)
		cr_skip_test("becoming another user needs root; as it is, all tests run as an "
			     "ordinary user");
	child = child_run(locked_status_as_nobody);
	check_status(&child);
}

static int open_passwd(void)
{
	if (child_lock(SANDBOX_STRICT, NULL) < 0)
		return 99;
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
}

Test(landlock, nothing_opens_by_path)
{
	need_landlock(1);
	cr_assert_eq(child_run(open_passwd).code, EACCES);
}

static char dir[] = "/tmp/vmm-test-XXXXXX";
static char inside[sizeof(dir) + 8];

static int use_unlink_path(void)
{
	const char *const paths[] = {inside, NULL};

	if (child_lock(SANDBOX_STRICT, paths) < 0)
		return 1;
	if (open(inside, O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
		return 2;
	if (open(inside, O_WRONLY | O_CLOEXEC) >= 0 || errno != EACCES)
		return 3;
	if (unlink(inside))
		return 4;
	if (open(inside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) >= 0 || errno != EACCES)
		return 5;
	if (mknod(inside, S_IFSOCK | 0600, 0) == 0 || errno != EACCES)
		return 6;
	return 0;
}

Test(landlock, unlink_path_can_be_unlinked_but_not_read_written_or_made)
{
	struct child child;

	need_landlock(1);
	cr_assert(mkdtemp(dir));
	(void)snprintf(inside, sizeof(inside), "%s/socket", dir);
	cr_assert_eq(mknod(inside, S_IFREG | 0600, 0), 0);
	child = child_run(use_unlink_path);
	(void)unlink(inside);
	(void)rmdir(dir);
	cr_assert_eq(child.code, 0, "code %d: %s", child.code, child.text);
}

static int truncate_unlink_path(void)
{
	const char *const paths[] = {inside, NULL};

	if (child_lock(SANDBOX_STRICT, paths) < 0)
		return 99;
	return truncate(inside, 0) ? errno : 0;
}

Test(landlock, unlink_path_can_not_be_truncated)
{
	struct child child;

	need_landlock(3);
	cr_assert(mkdtemp(dir));
	(void)snprintf(inside, sizeof(inside), "%s/socket", dir);
	cr_assert_eq(mknod(inside, S_IFREG | 0600, 0), 0);
	child = child_run(truncate_unlink_path);
	(void)unlink(inside);
	(void)rmdir(dir);
	cr_assert_eq(child.code, EACCES, "code %d: %s", child.code, child.text);
}

static int missing_directory(void)
{
	const char *const paths[] = {"/nonexistent/dir/socket", NULL};

	return child_lock(SANDBOX_STRICT, paths) < 0 ? 42 : 0;
}

Test(landlock, unlink_path_in_a_missing_directory_is_named)
{
	struct child child;

	need_landlock(1);
	child = child_run(missing_directory);
	cr_assert_eq(child.code, 42);
	cr_assert(strstr(child.text, "/nonexistent/dir/socket"), "%s", child.text);
}

static int bind_tcp(void)
{
	struct sockaddr sa = {.sa_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 98;
	if (child_lock(SANDBOX_STRICT, NULL) < 0)
		return 99;
	return bind(fd, &sa, sizeof(sa)) ? errno : 0;
}

Test(landlock, tcp_ports_are_refused)
{
	struct child child;

	need_landlock(4);
	child = child_run(bind_tcp);
	if (child.code == 98)
		cr_skip_test("this host has no IPv4");
	cr_assert_eq(child.code, EACCES);
}

static int signal_parent(void)
{
	if (child_lock(SANDBOX_STRICT, NULL) < 0)
		return 99;
	return kill(getppid(), 0) ? errno : 0;
}

Test(landlock, signals_stay_inside)
{
	need_landlock(6);
	cr_assert_eq(child_run(signal_parent).code, EPERM);
}

static int role_without_lock(void)
{
	return child_enter(SANDBOX_STRICT, SANDBOX_VCPU) < 0 ? 42 : 0;
}

static int role_without_lock_as_nobody(void)
{
	if (geteuid() == 0 && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		return 3;
	return role_without_lock();
}

Test(roles, filter_without_the_lock_is_an_error_with_a_message)
{
	struct child child;

	need_seccomp();
	child = child_run(role_without_lock_as_nobody);
	cr_assert_eq(child.code, 42);
	cr_assert(strstr(child.text, "seccomp filter of role vcpu"), "%s", child.text);
}
