/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/chr_fd.h"
#include "base/fd.h"

static int fds[2];

static void set_up(void)
{
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
}

TestSuite(chr_fd, .init = set_up, .timeout = 30);

/* What is left when a descriptor cannot be opened anew, as after a change of user. */
Test(chr_fd, blocking_pipe_is_never_waited_for)
{
	struct chr_fd in = {.fd = fds[0], .how = CHR_FD_POLL},
		      out = {.fd = fds[1], .how = CHR_FD_POLL};
	char buf[256] = {0};
	ssize_t n, total = 0;

	cr_assert_eq(chr_fd_read(&in, buf, sizeof(buf)), -EAGAIN);
	while ((n = chr_fd_write(&out, buf, sizeof(buf))) > 0)
		total += n;
	cr_assert_eq(n, -EAGAIN);
	cr_assert_geq(total, 4096);
	cr_assert_gt(chr_fd_read(&in, buf, sizeof(buf)), 0);
	close(fds[1]);
	while ((n = chr_fd_read(&in, buf, sizeof(buf))) > 0)
		;
	cr_assert_eq(n, 0, "the end of the pipe");
}

Test(chr_fd, blocking_terminal_with_output_stopped_is_never_waited_for)
{
	struct chr_fd out = {.how = CHR_FD_POLL};
	char buf[256];
	int master, n = 0;

	memset(buf, 'x', sizeof(buf));
	cr_assert_eq(openpty(&master, &out.fd, NULL, NULL, NULL), 0);
	while (chr_fd_write(&out, buf, sizeof(buf)) > 0)
		cr_assert_lt(n++, 1000000);
	cr_assert_eq(chr_fd_write(&out, buf, sizeof(buf)), -EAGAIN);
	close(out.fd);
	close(master);
}

Test(chr_fd, inherited_pipe_is_opened_anew_without_blocking)
{
	struct chr_fd in = chr_fd_inherit(fds[0], O_RDONLY);
	char c;

	cr_assert_neq(in.fd, fds[0]);
	cr_assert(in.owned);
	cr_assert_eq(chr_fd_read(&in, &c, 1), -EAGAIN);
	cr_assert_eq(write(fds[1], "x", 1), 1);
	cr_assert_eq(chr_fd_read(&in, &c, 1), 1);
	cr_assert_eq(fcntl(in.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	chr_fd_close(&in);
	cr_assert_eq(in.fd, -1);
}

Test(chr_fd, master_of_a_pseudo_terminal_is_not_opened_anew)
{
	int master, slave;
	struct chr_fd in;
	char c;

	cr_assert_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	in = chr_fd_inherit(master, O_RDONLY);
	cr_assert_eq(in.fd, master, "it would be another pseudo-terminal");
	cr_assert_eq(chr_fd_read(&in, &c, 1), -EAGAIN);
	cr_assert_eq(write(slave, "y", 1), 1);
	cr_assert_eq(chr_fd_read(&in, &c, 1), 1);
	cr_assert_eq(c, 'y');
	chr_fd_close(&in);
	cr_assert_geq(fcntl(master, F_GETFD), 0, "borrowed, so not closed");
}

/* ---- adopted ---- */

static void fill_until_it_would_wait(const struct chr_fd *out)
{
	char buf[1000];
	unsigned n = 0;
	ssize_t r;

	/* Line feeds: a terminal makes two bytes of each, more than it said it had room for. */
	memset(buf, '\n', sizeof(buf));
	while ((r = chr_fd_write(out, buf, sizeof(buf))) > 0)
		cr_assert_lt(n++, 1000000);
	cr_assert_eq(r, -EAGAIN);
}

Test(chr_fd, adopted_terminal_that_nobody_reads_is_never_waited_for)
{
	struct chr_fd out;
	int master, slave;
	char c;

	cr_assert_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	out = chr_fd_adopt(slave);
	cr_assert_eq(out.how, CHR_FD_PLAIN);
	cr_assert_eq(chr_fd_read(&out, &c, 1), -EAGAIN);
	fill_until_it_would_wait(&out);
	chr_fd_close(&out);
	cr_assert_eq(fcntl(slave, F_GETFD), -1, "it was ours");
	close(master);
}

Test(chr_fd, adopted_master_whose_terminal_nobody_reads_is_never_waited_for)
{
	struct chr_fd out;
	int master, slave;
	char c;

	cr_assert_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	out = chr_fd_adopt(master);
	cr_assert_eq(chr_fd_read(&out, &c, 1), -EAGAIN);
	fill_until_it_would_wait(&out);
	chr_fd_close(&out);
	close(slave);
}

Test(chr_fd, adopted_pipe_that_nobody_reads_is_never_waited_for)
{
	struct chr_fd in = chr_fd_adopt(fds[0]), out = chr_fd_adopt(fds[1]);
	char c;

	cr_assert_eq(in.how, CHR_FD_PLAIN);
	cr_assert_eq(out.how, CHR_FD_PLAIN);
	cr_assert_eq(chr_fd_read(&in, &c, 1), -EAGAIN);
	fill_until_it_would_wait(&out);
	chr_fd_close(&in);
	cr_assert_eq(chr_fd_write(&out, "x", 1), -EPIPE);
	chr_fd_close(&out);
}

Test(chr_fd, adopted_socket_keeps_its_flags)
{
	struct chr_fd out;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	out = chr_fd_adopt(pair[0]);
	cr_assert_eq(out.how, CHR_FD_SOCKET);
	cr_assert_eq(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0);
	fill_until_it_would_wait(&out);
	chr_fd_close(&out);
	close(pair[1]);
}

Test(chr_fd, closed_descriptor_is_none)
{
	close(fds[0]);
	cr_assert_eq(chr_fd_inherit(fds[0], O_RDONLY).fd, -1);
}
