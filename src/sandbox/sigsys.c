/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything the handler reaches is async-signal-safe: thread-local storage of an executable is at
 * a fixed offset, the names of the system calls are one constant array, and the message is put
 * together by hand.
 */
#include "sandbox/sigsys.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

#include "sandbox/filters.h"
#include "sandbox/sandbox.h"

enum { EXIT_VMM_ERROR = 125 };

static _Thread_local const char *thread_role = "none";
static _Thread_local char thread_name[16] = "?"; /* what PR_GET_NAME gives at most */

static _Atomic(void (*)(void)) death_hook;

void sandbox_set_death_hook(void (*hook)(void))
{
	atomic_store(&death_hook, hook);
}

/* One line, put together without stdio. What doesn't fit is cut. */
struct line {
	char buf[512];
	size_t len;
};

static void add(struct line *line, const char *text)
{
	for (; *text && line->len < sizeof(line->buf); text++)
		line->buf[line->len++] = *text;
}

static void add_number(struct line *line, uint64_t n, unsigned base)
{
	char digits[24];
	size_t i = sizeof(digits) - 1;

	digits[i] = '\0';
	do {
		digits[--i] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n);
	add(line, base == 16 ? "0x" : "");
	add(line, digits + i);
}

static const char *call_name(unsigned nr)
{
	const char *name = sandbox_call_names;

	if (nr >= sandbox_call_count)
		return "unknown";
	for (; nr; nr--)
		name += strlen(name) + 1;
	return *name ? name : "unknown";
}

static void add_args(struct line *line, const ucontext_t *context)
{
	static const int registers[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10};

	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		add(line, i ? ", " : "(");
		add_number(line, (uint64_t)context->uc_mcontext.gregs[registers[i]], 16);
	}
	add(line, ", ...)");
}

static void write_message(const siginfo_t *info, const ucontext_t *context)
{
	struct line line = {.len = 0};

	add(&line, "vmm: error: sandbox: thread ");
	add(&line, thread_name);
	add(&line, " (role ");
	add(&line, thread_role);
	add(&line, ") made the system call ");
	add(&line, call_name((unsigned)info->si_syscall));
	add(&line, " (number ");
	add_number(&line, (unsigned)info->si_syscall, 10);
	add(&line, ", arch ");
	add_number(&line, info->si_arch, 16);
	add(&line, "), which this role does not allow: ");
	add(&line, call_name((unsigned)info->si_syscall));
	add_args(&line, context);
	add(&line, "; please report it; --sandbox log lets such calls through and logs them, "
		   "--sandbox off turns the sandbox off\n");
	/* Nowhere to report a message that can't be written. */
	if (write(STDERR_FILENO, line.buf, line.len) < 0)
		return;
}

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	void (*hook)(void) = atomic_load(&death_hook);

	(void)sig;
	write_message(info, context);
	if (hook)
		hook();
	_exit(EXIT_VMM_ERROR);
}

int sigsys_install(void)
{
	struct sigaction action = {.sa_flags = SA_SIGINFO};

	action.sa_sigaction = on_sigsys;
	(void)sigfillset(&action.sa_mask);
	return sigaction(SIGSYS, &action, NULL) == 0 ? 0 : -errno;
}

void sigsys_enter_thread(const char *role)
{
	sigset_t set;

	thread_role = role;
	(void)prctl(PR_GET_NAME, thread_name);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGSYS);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
