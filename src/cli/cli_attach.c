/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm attach`: the terminal as one more reader and writer of a VM's console. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/chr.h"
#include "backend/chr_tty.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "cli/attach_keys.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/vm_set.h"
#include "machine/outcome.h"

enum { INPUT_LEN = 1024, OUTPUT_LEN = 16 << 10 };

struct attach {
	const struct vm_ref *vm;
	int fd;	       /* the console */
	int signal_fd; /* job control, on a terminal; else -1 */
	bool raw;      /* stdin is a terminal, and its keys are the guest's */
	bool input;    /* there is more of it */
	bool over;     /* the VM has closed the console */
	struct attach_keys keys;
	char pending[INPUT_LEN]; /* typed, and not taken yet */
	size_t from, to;
	char output[OUTPUT_LEN];
};

/* ---- the terminal, put back on every way out ---- */

static void on_fatal(int sig)
{
	chr_restore_terminal();
	/* SA_RESETHAND has put the default back: the signal ends the process when this returns. */
	(void)raise(sig);
}

static void catch_fatal_signals(void)
{
	static const int fatal[] = {SIGTERM, SIGHUP,  SIGINT, SIGQUIT, SIGPIPE,
				    SIGABRT, SIGSEGV, SIGBUS, SIGFPE,  SIGILL};
	struct sigaction action = {.sa_handler = on_fatal, .sa_flags = (int)SA_RESETHAND};

	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		(void)sigaction(fatal[i], &action, NULL);
}

/* Stopped from outside: the terminal is the shell's until we go on. */
static int open_job_signals(void)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTSTP);
	(void)sigaddset(&set, SIGCONT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static void on_job_signal(const struct attach *attach)
{
	struct signalfd_siginfo info;

	while (read(attach->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGTSTP) {
			chr_restore_terminal();
			(void)raise(SIGSTOP);
		}
		if (chr_tty_raw() < 0)
			return;
	}
}

static int take_terminal(struct attach *attach, struct err *err)
{
	if (!chr_tty_remember(STDIN_FILENO))
		return err_set(err, -EPERM,
			       "the terminal is another job's: bring this one to the foreground, "
			       "or use --no-input");
	catch_fatal_signals();
	attach->signal_fd = open_job_signals();
	if (attach->signal_fd < 0 || chr_tty_raw() < 0)
		return err_set(err, -EIO, "can't put the terminal into raw mode");
	attach->raw = true;
	return 0;
}

/* ---- bytes both ways ---- */

/* Standard output may be non-blocking, by somebody who shares it. */
static int write_out(const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t written = write(STDOUT_FILENO, bytes, n);
		struct pollfd poll_out = {.fd = STDOUT_FILENO, .events = POLLOUT};

		if (written < 0 && errno == EAGAIN)
			(void)poll(&poll_out, 1, -1);
		else if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			bytes += written;
			n -= (size_t)written;
		}
	}
	return 0;
}

static int from_guest(struct attach *attach)
{
	ssize_t n = recv(attach->fd, attach->output, sizeof(attach->output), MSG_DONTWAIT);

	if (n > 0)
		return write_out(attach->output, (size_t)n);
	/* A VM that is killed resets the connection. */
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		attach->over = true;
	return 0;
}

static void show_help(struct attach *attach)
{
	attach->keys.help = false;
	(void)fprintf(stderr, "\nvmm: Ctrl-A d detaches, Ctrl-A a sends one Ctrl-A, Ctrl-A h "
			      "shows this\n");
}

static void from_user(struct attach *attach)
{
	ssize_t n = read(STDIN_FILENO, attach->pending, sizeof(attach->pending));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		/* No more input; the output goes on. */
		attach->input = false;
		return;
	}
	attach->from = 0;
	attach->to = (size_t)n;
	if (attach->raw)
		attach->to = attach_keys_filter(&attach->keys, attach->pending, (size_t)n);
	if (attach->keys.help)
		show_help(attach);
}

static void to_guest(struct attach *attach)
{
	ssize_t n = send(attach->fd, attach->pending + attach->from, attach->to - attach->from,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0)
		attach->from += (size_t)n;
	else if (errno != EAGAIN && errno != EINTR)
		attach->from = attach->to; /* the end is seen when reading */
}

static bool has_pending(const struct attach *attach)
{
	return attach->from < attach->to;
}

static int turn(struct attach *attach)
{
	enum { CONSOLE, USER, SIGNALS, N };
	bool ask = attach->input && !has_pending(attach);
	struct pollfd fds[N] = {
		[CONSOLE] = {.fd = attach->fd,
			     .events = (short)(POLLIN | (has_pending(attach) ? POLLOUT : 0))},
		[USER] = {.fd = ask ? STDIN_FILENO : -1, .events = POLLIN},
		[SIGNALS] = {.fd = attach->signal_fd, .events = POLLIN},
	};
	int r = 0;

	if (poll(fds, N, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (fds[SIGNALS].revents)
		on_job_signal(attach);
	if (fds[CONSOLE].revents & (POLLIN | POLLHUP | POLLERR))
		r = from_guest(attach);
	if (fds[USER].revents)
		from_user(attach);
	if (has_pending(attach))
		to_guest(attach);
	return r;
}

/* ---- the command ---- */

static void say_end(const struct vm_ref *vm, bool detached)
{
	/* The guest's last line may have no end. */
	const char *fresh = isatty(STDOUT_FILENO) ? "\n" : "", *name = vm->entry.name;
	char text[64];
	json_t *result;

	if (detached) {
		(void)fprintf(stderr, "%svmm: detached from \"%s\", which goes on\n", fresh, name);
		return;
	}
	if (rundir_wait_dead(vm->dir_fd, NS_PER_S, NULL) < 0) {
		(void)fprintf(stderr, "%svmm: the VM \"%s\" closed its console, and goes on\n",
			      fresh, name);
		return;
	}
	result = vm_ref_result(vm);
	(void)fprintf(stderr, "%svmm: the VM \"%s\" has ended: %s\n", fresh, name,
		      vm_result_text(result, text, sizeof(text)));
	json_decref(result);
}

static int talk(struct attach *attach, const struct client_reply *reply, struct err *err)
{
	int r = isatty(STDIN_FILENO) ? take_terminal(attach, err) : 0;

	if (r < 0)
		return r;
	if (attach->raw)
		(void)fprintf(stderr, "vmm: attached to \"%s\"; Ctrl-A d detaches\n",
			      attach->vm->entry.name);
	r = reply->body ? write_out(reply->body, reply->len) : 0;
	while (r == 0 && !attach->over && !attach->keys.detach)
		r = turn(attach);
	chr_restore_terminal();
	if (r < 0)
		return err_set(err, r, "standard output: %s", strerror(-r));
	say_end(attach->vm, attach->keys.detach);
	return 0;
}

static int attach_both_ways(const struct vm_ref *vm, struct err *err)
{
	const struct client_request request = {
		.method = "GET", .target = "/v1/console", .upgrade = true};
	_cleanup_free_ struct attach *attach = calloc(1, sizeof(*attach)); /* large for a stack */
	struct client_reply reply = {.fd = -1};
	int r = attach ? client_do(vm->dir_fd, &request, &reply, err)
		       : err_set(err, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	attach->vm = vm;
	attach->signal_fd = -1;
	attach->input = true;
	attach->fd = reply.fd;
	r = talk(attach, &reply, err);
	free(reply.body);
	(void)fd_close(attach->signal_fd);
	(void)fd_close(reply.fd);
	return r;
}

static bool take_output(void *arg, const char *bytes, size_t n)
{
	int *result = arg;

	*result = write_out(bytes, n);
	return *result == 0;
}

static int attach_output(const struct vm_ref *vm, struct err *err)
{
	int written = 0, r;
	const struct client_request request = {
		.method = "GET", .target = "/v1/console", .sink = take_output, .arg = &written};
	struct client_reply reply;

	r = client_do(vm->dir_fd, &request, &reply, err);
	if (r == 0)
		free(reply.body);
	if (written < 0)
		return err_set(err, written, "standard output: %s", strerror(-written));
	if (r == 0 || r == -ECONNRESET) {
		say_end(vm, false);
		r = 0;
	}
	return r;
}

int cli_attach(const struct cli_options *options)
{
	struct err err = {0};
	struct vm_ref vm;
	int r;

	if (vm_set_only_alive(options, &vm) < 0)
		return EXIT_VMM_ERROR;
	r = option_given(options, OPTION_NO_INPUT) ? attach_output(&vm, &err)
						   : attach_both_ways(&vm, &err);
	vm_ref_done(&vm);
	return r < 0 ? vm_tell_error(options, err.msg) : 0;
}
