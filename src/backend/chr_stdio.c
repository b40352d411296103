/* SPDX-License-Identifier: Apache-2.0 */
/* Standard input and output, whatever they are: a terminal, a pipe, a file, a socket, /dev/null,
 * closed. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "backend/chr_core.h"
#include "backend/chr_tty.h"
#include "base/log.h"

/* Two streams that both read standard input would share its bytes at random. */
static atomic_flag stdio_taken = ATOMIC_FLAG_INIT;

static int stdio_open(struct chr *chr, const char *path, struct err *err)
{
	struct chr_fd in, out;

	(void)path;
	if (atomic_flag_test_and_set(&stdio_taken))
		return err_set(err, -EBUSY,
			       "%s: standard input and output are taken by another stream; give "
			       "one of the two "
			       "file=PATH, pty, unix=PATH or none",
			       chr->what);
	chr->has_stdio = true;
	in = chr_fd_inherit(STDIN_FILENO, O_RDONLY);
	out = chr_fd_inherit(STDOUT_FILENO, O_WRONLY);
	chr_in_attach(&chr->in, in);
	if (out.fd < 0)
		chr_out_kill(&chr->out);
	else
		chr_out_attach(&chr->out, out);
	if (in.fd >= 0 && isatty(in.fd)) {
		chr->has_terminal = chr_tty_remember(in.fd);
		chr->in.terminal = chr->has_terminal;
		/* Reading from the background would stop the process (SIGTTIN). */
		if (!chr->has_terminal) {
			log_info("%s: in the background of the terminal, no input is read from it",
				 chr->what);
			chr_in_attach(&chr->in, CHR_FD_NONE);
		}
	}
	return chr_set_description(chr, err, "standard input and output");
}

static int stdio_start(struct chr *chr, struct err *err)
{
	int r = chr->has_terminal ? chr_tty_raw() : 0;

	if (r < 0)
		return err_set(err, r, "%s: cannot put the terminal into raw mode: %s", chr->what,
			       strerror(-r));
	return 0;
}

static void stdio_close(struct chr *chr)
{
	if (chr->has_terminal)
		chr_tty_forget();
	if (chr->has_stdio)
		atomic_flag_clear(&stdio_taken);
}

const struct chr_kind_ops chr_stdio_ops = {
	.open = stdio_open, .start = stdio_start, .close = stdio_close};
