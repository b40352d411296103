/* SPDX-License-Identifier: Apache-2.0 */
/* Standard input is the slave of a pseudo-terminal whose master the test holds: the user's
 * keyboard. */
#include "chr_world.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "backend/chr_tty.h"
#include "base/clock.h"

static struct receiver r;
static struct keyboard k;
static int user; /* the master */
static struct termios before;

static void set_up(void)
{
	int slave;

	world_set_up();
	receiver_init(&r);
	keyboard_init(&k);
	cr_assert_eq(openpty(&user, &slave, NULL, NULL, NULL), 0);
	cr_assert_eq(dup2(slave, STDIN_FILENO), STDIN_FILENO);
	cr_assert_eq(dup2(slave, STDOUT_FILENO), STDOUT_FILENO);
	close(slave);
	cr_assert_eq(tcgetattr(STDIN_FILENO, &before), 0);
}

static void tear_down(void)
{
	close(user);
	world_tear_down();
}

TestSuite(chr_tty, .init = set_up, .fini = tear_down, .timeout = 60);

static struct chr *start(void)
{
	struct chr *chr = world_open("stdio");
	struct err err = {0};

	chr_set_rx(chr, &r.rx);
	chr_set_keys(chr, &k.keys);
	cr_assert_eq(chr_start(chr, world_loop, &err), 0, "%s", err.msg);
	return chr;
}

static void type(const char *text)
{
	cr_assert_eq(write(user, text, strlen(text)), (ssize_t)strlen(text));
}

static struct termios now(void)
{
	struct termios t;

	cr_assert_eq(tcgetattr(STDIN_FILENO, &t), 0);
	return t;
}

static void assert_as_before(void)
{
	struct termios t = now();

	cr_assert_eq(t.c_lflag, before.c_lflag);
	cr_assert_eq(t.c_iflag, before.c_iflag);
	cr_assert_eq(t.c_oflag, before.c_oflag);
	cr_assert_eq(t.c_cflag, before.c_cflag);
}

Test(chr_tty, opening_leaves_the_terminal_and_starting_makes_it_raw)
{
	struct chr *chr = world_open("stdio");

	assert_as_before();
	cr_assert_not(chr_is_raw(chr));
	cr_assert_eq(chr_start(chr, world_loop, NULL), 0);
	cr_assert(chr_is_raw(chr));
	cr_assert_eq(now().c_lflag & (ICANON | ECHO | ISIG | IEXTEN), 0);
	cr_assert_eq(now().c_iflag & (IXON | ICRNL), 0);
	cr_assert_eq(now().c_oflag, before.c_oflag, "a bare newline still begins a line");
	chr_free(chr);
	assert_as_before();
	cr_assert_not(chr_tty_is_raw());
}

Test(chr_tty, restoring_works_from_a_signal_handler_and_twice)
{
	struct chr *chr = start();

	chr_restore_terminal();
	assert_as_before();
	cr_assert_not(chr_is_raw(chr));
	chr_restore_terminal();
	chr_free(chr);
	assert_as_before();
}

Test(chr_tty, control_keys_reach_the_guest)
{
	struct chr *chr = start();

	type("a\r\x03\x04\x1a\x13\x11");
	receiver_wait_bytes(&r, 7);
	cr_assert_arr_eq(r.buf, "a\r\x03\x04\x1a\x13\x11", 7);
	chr_free(chr);
}

Test(chr_tty, escape_gives_keys_and_a_literal)
{
	struct chr *chr = start();

	type("1\x01x2\x01"
	     "a3\x01h4\x01\x01"
	     "5");
	receiver_wait_bytes(&r, 7);
	cr_assert_arr_eq(r.buf,
			 "12\x01"
			 "34\x01"
			 "5",
			 7);
	cr_assert_eq(k.n, 2);
	cr_assert_arr_eq(k.pressed, "xh", 2);
	chr_free(chr);
}

Test(chr_tty, escape_split_between_two_reads_is_one)
{
	struct chr *chr = start();

	type("a\x01");
	receiver_wait_bytes(&r, 1);
	world_run_for(5 * NS_PER_MS);
	cr_assert_eq(k.n, 0);
	type("xb");
	receiver_wait_bytes(&r, 2);
	cr_assert_eq(k.n, 1);
	chr_free(chr);
}

Test(chr_tty, escape_works_while_the_guest_does_not_listen)
{
	static char paste[4096];
	struct chr *chr;

	memset(paste, 'p', sizeof(paste) - 1);
	r.room = 0;
	chr = start();
	/* More than the buffer holds: the surplus is dropped, the keys are not. */
	for (int i = 0; i < 20; i++) {
		type(paste);
		type("\x01x");
		keyboard_wait(&k, 1);
		k.n = 0;
	}
	r.room = SIZE_MAX;
	chr_rx_resume(chr);
	world_run_for(20 * NS_PER_MS);
	cr_assert_geq(r.n, 60000);
	cr_assert_lt(r.n, 20 * sizeof(paste));
	cr_assert_eq(r.eofs, 0);
	chr_free(chr);
}

Test(chr_tty, output_reaches_the_terminal)
{
	static struct reader reader;
	struct chr *chr = start();

	reader_start(&reader, user);
	cr_assert_eq(chr_write(chr, "hi\n", 3), 3);
	reader_wait_bytes(&reader, 4);
	cr_assert_arr_eq(reader.buf, "hi\r\n", 4);
	reader_stop(&reader);
	chr_free(chr);
}

Test(chr_tty, flags_of_the_shared_terminal_are_left_alone)
{
	struct chr *chr = start();

	type("x");
	receiver_wait_bytes(&r, 1);
	cr_assert_eq(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK, 0);
	cr_assert_eq(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK, 0);
	chr_free(chr);
}

Test(chr_tty, terminal_that_hangs_up_ends_the_input)
{
	struct chr *chr = start();

	close(user);
	receiver_wait_eof(&r);
	cr_assert_lt(world_run_for(30 * NS_PER_MS), 15 * NS_PER_MS);
	chr_free(chr);
	user = -1;
}

Test(chr_tty, terminal_whose_reader_stopped_stalls_nothing)
{
	struct chr *chr = start();
	static char text[4096];
	size_t taken = 0;

	memset(text, 't', sizeof(text));
	for (int i = 0; i < 100; i++) {
		taken += chr_write(chr, text, sizeof(text));
		world_run_for(NS_PER_MS / 10);
	}
	cr_assert_lt(taken, 100 * sizeof(text));
	cr_assert_eq(chr_stats(chr).dropped, 100 * sizeof(text) - taken);
	chr_free(chr); /* and does not wait either */
}
