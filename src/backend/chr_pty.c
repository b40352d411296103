/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new pseudo-terminal. We keep its slave side open ourselves: a master without any slave reports
 * a hang-up for ever, which a level-triggered loop would spin on, and people come and go. Output
 * that nobody reads stalls like any other and is dropped when the ring is full.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>

#include "backend/chr_core.h"
#include "base/fd.h"

/* The guest does its own echo and line editing: the slave passes bytes through, until a reader sets
 * it. */
static int make_slave_raw(int slave)
{
	struct termios t;

	if (tcgetattr(slave, &t) < 0)
		return -errno;
	cfmakeraw(&t);
	return tcsetattr(slave, TCSANOW, &t) < 0 ? -errno : 0;
}

/* ptsname is what the user will open. */
static int open_pair(struct chr *chr, int master, char *ptsname, size_t len)
{
	int r;

	if (grantpt(master) < 0 || unlockpt(master) < 0)
		return -errno;
	r = ptsname_r(master, ptsname, len);
	if (r != 0)
		return -r;
	chr->slave = open(ptsname, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (chr->slave < 0)
		return -errno;
	return make_slave_raw(chr->slave);
}

static int pty_open(struct chr *chr, const char *path, struct err *err)
{
	struct chr_fd in = {.fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC),
			    .how = CHR_FD_PLAIN,
			    .owned = true};
	struct chr_fd out;
	char ptsname[64];
	int r;

	(void)path;
	if (in.fd < 0)
		return err_set(err, -errno, "%s: cannot make a pseudo-terminal: %s", chr->what,
			       strerror(errno));
	chr_in_attach(&chr->in, in);
	r = open_pair(chr, in.fd, ptsname, sizeof(ptsname));
	if (r == 0)
		r = chr_fd_dup(&in, &out);
	if (r < 0)
		return err_set(err, r, "%s: cannot set up the pseudo-terminal: %s", chr->what,
			       strerror(-r));
	chr_out_attach(&chr->out, out);
	return chr_set_description(chr, err, "pty %s", ptsname);
}

static void pty_close(struct chr *chr)
{
	chr->slave = fd_close(chr->slave);
}

const struct chr_kind_ops chr_pty_ops = {.open = pty_open, .close = pty_close};
