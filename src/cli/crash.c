/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/crash.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "backend/chr.h"
#include "base/altstack.h"
#include "base/compiler.h"
#include "base/log.h"
#include "machine/result.h"
#include "sandbox/sandbox.h"

static atomic_int crash_result_fd = -1, crash_home_fd = -1;

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGXCPU};

static void say(const char *text)
{
	if (write(log_fd(), text, strlen(text)) < 0)
		return;
}

static void write_results(int sig)
{
	int home_fd = atomic_load(&crash_home_fd);

	result_write_crash(atomic_load(&crash_result_fd), sig);
	if (home_fd >= 0)
		(void)lseek(home_fd, 0, SEEK_SET);
	result_write_crash(home_fd, sig);
}

static void on_crash(int sig)
{
	chr_restore_terminal();
	if (sig == SIGBUS)
		say("vmm: error: the host could not give the guest's memory (out of memory, or no "
		    "huge page "
		    "left)\n");
	write_results(sig);
	/* SA_RESETHAND has put the default back: the signal ends the process when this returns. */
	(void)raise(sig);
}

/* A forbidden system call ends the process too. */
static void on_sandbox_death(void)
{
	chr_restore_terminal();
	write_results(SIGSYS);
}

void crash_install(void)
{
	struct sigaction action = {.sa_handler = on_crash,
				   .sa_flags = (int)(SA_RESETHAND | SA_ONSTACK)};

	altstack_use();
	for (size_t i = 0; i < ARRAY_SIZE(crash_signals); i++)
		(void)sigaction(crash_signals[i], &action, NULL);
	sandbox_set_death_hook(on_sandbox_death);
}

void crash_set_results(int fd, int home_fd)
{
	atomic_store(&crash_result_fd, fd);
	atomic_store(&crash_home_fd, home_fd);
}
