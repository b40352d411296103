/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/chr_tty.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <termios.h>
#include <unistd.h>

#include "backend/chr.h"

/* raw is set after the rest and cleared before: a handler that sees it sees the rest too. */
static struct {
	int fd;
	struct termios saved;
	atomic_bool raw;
} tty = {.fd = -1};

bool chr_tty_remember(int fd)
{
	pid_t foreground = tcgetpgrp(fd);

	/* -1: not our controlling terminal, so there is no job control to respect. */
	if ((foreground >= 0 && foreground != getpgrp()) || tcgetattr(fd, &tty.saved) < 0)
		return false;
	tty.fd = fd;
	return true;
}

int chr_tty_raw(void)
{
	struct termios raw = tty.saved;
	tcflag_t oflag = raw.c_oflag;

	cfmakeraw(&raw);
	raw.c_oflag = oflag;
	/* First the flag: dying between the two must not leave the terminal raw. */
	atomic_store(&tty.raw, true);
	/* Not TCSADRAIN: with output stopped by Ctrl-S it would wait for ever. */
	if (tcsetattr(tty.fd, TCSANOW, &raw) < 0) {
		atomic_store(&tty.raw, false);
		return -errno;
	}
	return 0;
}

bool chr_tty_is_raw(void)
{
	return atomic_load(&tty.raw);
}

void chr_restore_terminal(void)
{
	int saved_errno = errno;
	sigset_t ttou, old;

	if (!atomic_exchange(&tty.raw, false))
		return;
	/* We may have been sent to the background since; blocked, SIGTTOU lets the change through.
	 */
	(void)sigemptyset(&ttou);
	(void)sigaddset(&ttou, SIGTTOU);
	(void)pthread_sigmask(SIG_BLOCK, &ttou, &old);
	(void)tcsetattr(tty.fd, TCSANOW, &tty.saved);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = saved_errno;
}

void chr_tty_forget(void)
{
	chr_restore_terminal();
	tty.fd = -1;
}
