/* SPDX-License-Identifier: Apache-2.0 */
#include "chr_world.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/chr_in.h"
#include "base/clock.h"

static struct receiver r;

static void set_up(void)
{
	world_set_up();
	receiver_init(&r);
}

TestSuite(chr_in, .init = set_up, .fini = world_tear_down, .timeout = 60);

static void put(int fd, const char *text)
{
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void assert_got(const char *text)
{
	receiver_wait_bytes(&r, strlen(text));
	cr_assert_arr_eq(r.buf, text, strlen(text));
}

Test(chr_in, piped_bytes_then_end_of_file_exactly_once)
{
	int in = world_pipe_as_stdin();
	struct chr *chr = world_start("stdio", &r.rx);

	put(in, "one ");
	assert_got("one ");
	put(in, "two\n");
	close(in);
	receiver_wait_eof(&r);
	cr_assert_eq(r.n_at_eof, 8);
	cr_assert_eq(chr_stats(chr).received, 8);
	chr_rx_resume(chr);
	world_run_for(10 * NS_PER_MS);
	cr_assert_eq(r.eofs, 1);
	chr_free(chr);
}

Test(chr_in, pipe_closed_before_the_start_is_read_to_its_end)
{
	int in = world_pipe_as_stdin();
	struct chr *chr;

	put(in, "all there is");
	close(in);
	chr = world_start("stdio", &r.rx);
	receiver_wait_eof(&r);
	cr_assert_eq(r.n_at_eof, 12);
	chr_free(chr);
}

Test(chr_in, fifo_whose_writer_left_ends)
{
	char path[128];
	struct chr *chr;
	int writer;

	(void)snprintf(path, sizeof(path), "%s/fifo", world_dir());
	cr_assert_eq(mkfifo(path, 0600), 0);
	world_move_fd(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), STDIN_FILENO);
	writer = open(path, O_WRONLY | O_CLOEXEC);
	put(writer, "x");
	close(writer);
	chr = world_start("stdio", &r.rx);
	receiver_wait_eof(&r);
	cr_assert_eq(r.n_at_eof, 1);
	chr_free(chr);
}

Test(chr_in, dev_null_is_the_end_at_once)
{
	struct chr *chr;

	world_move_fd(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
	chr = world_start("stdio", &r.rx);
	receiver_wait_eof(&r);
	cr_assert_eq(r.n, 0);
	cr_assert_lt(world_run_for(30 * NS_PER_MS), 15 * NS_PER_MS,
		     "and is not read again and again");
	cr_assert_eq(r.eofs, 1);
	chr_free(chr);
}

Test(chr_in, closed_stdin_is_no_input_and_no_end)
{
	struct chr *chr;

	close(STDIN_FILENO);
	chr = world_start("stdio", &r.rx);
	world_run_for(10 * NS_PER_MS);
	cr_assert_eq(r.eofs + r.calls, 0);
	chr_free(chr);
}

/* ---- flow control ---- */

struct resumer {
	struct loop_timer timer;
	struct chr *chr;
	size_t step;
};

static void give_room(struct loop_timer *timer)
{
	struct resumer *s = container_of(timer, struct resumer, timer);

	if (r.room == 0) {
		r.room = s->step;
		chr_rx_resume(s->chr);
	}
	loop_timer_arm(world_loop, timer, 10 * NS_PER_US);
}

/* Everything arrives in order through a receiver that takes a few bytes at a time. */
static void drip(struct chr *chr, const char *text, size_t n)
{
	struct resumer s = {.timer.fired = give_room, .chr = chr, .step = 16};

	loop_timer_arm(world_loop, &s.timer, 0);
	receiver_wait_bytes(&r, n);
	receiver_wait_eof(&r);
	loop_timer_cancel(world_loop, &s.timer);
	cr_assert_eq(r.n_at_eof, n);
	cr_assert_arr_eq(r.buf, text, n);
}

static char *numbers(size_t n)
{
	char *text = malloc(n + 16);

	cr_assert_not_null(text);
	for (size_t at = 0; at < n; at += 8)
		(void)snprintf(text + at, 16, "%07zu\n", at);
	return text;
}

Test(chr_in, regular_file_is_read_as_the_receiver_takes_it)
{
	size_t n = 40000;
	char *text = numbers(n), path[128];
	struct chr *chr;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/in", world_dir());
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(write(fd, "skip", 4), 4);
	cr_assert_eq(write(fd, text, n), (ssize_t)n);
	cr_assert_eq(lseek(fd, 4, SEEK_SET), 4);
	world_move_fd(fd, STDIN_FILENO);
	r.room = 0;
	chr = world_start("stdio", &r.rx);
	drip(chr, text, n);
	chr_free(chr);
	free(text);
}

Test(chr_in, receiver_that_refuses_is_left_alone_and_the_sender_stops)
{
	int in = world_pipe_as_stdin();
	size_t n = 20000;
	char *text = numbers(n);
	struct chr *chr;
	unsigned calls;

	r.room = 3;
	chr = world_start("stdio", &r.rx);
	cr_assert_eq(write(in, text, n), (ssize_t)n);
	receiver_wait_bytes(&r, 3);
	calls = r.calls;
	cr_assert_lt(world_run_for(50 * NS_PER_MS), 25 * NS_PER_MS,
		     "no spinning on a pipe that is not wanted");
	cr_assert_eq(r.calls, calls, "fewer than given means: not again before resume");
	cr_assert_leq(chr_stats(chr).received, CHR_IN_PIECE);
	close(in);
	r.room = 0;
	drip(chr, text, n);
	chr_free(chr);
	free(text);
}

Test(chr_in, refused_bytes_come_before_the_end)
{
	int in = world_pipe_as_stdin();
	struct chr *chr;

	r.room = 2;
	chr = world_start("stdio", &r.rx);
	put(in, "abcd");
	close(in);
	receiver_wait_bytes(&r, 2);
	world_run_for(5 * NS_PER_MS);
	cr_assert_eq(r.eofs, 0);
	r.room = 100;
	chr_rx_resume(chr);
	receiver_wait_eof(&r);
	cr_assert_eq(r.n_at_eof, 4);
	chr_free(chr);
}

Test(chr_in, input_waits_for_a_receiver)
{
	int in = world_pipe_as_stdin();
	struct chr *chr = world_start("stdio", NULL);

	put(in, "early");
	close(in);
	world_run_for(5 * NS_PER_MS);
	chr_set_rx(chr, &r.rx);
	receiver_wait_eof(&r);
	cr_assert_eq(r.n_at_eof, 5);
	chr_free(chr);
}

/* ---- other descriptors ---- */

Test(chr_in, ctrl_a_in_a_pipe_is_a_byte_like_any_other)
{
	int in = world_pipe_as_stdin();
	struct keyboard k;
	struct chr *chr;

	keyboard_init(&k);
	chr = world_open("stdio");
	chr_set_keys(chr, &k.keys);
	chr_set_rx(chr, &r.rx);
	cr_assert_eq(chr_start(chr, world_loop, NULL), 0);
	cr_assert_not(chr_is_raw(chr));
	put(in, "\x01x");
	assert_got("\x01x");
	cr_assert_eq(k.n, 0);
	chr_free(chr);
	close(in);
}

Test(chr_in, socket_works_both_ways_and_stays_blocking_for_others)
{
	static struct reader reader;
	struct chr *chr;
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	cr_assert_eq(dup2(fds[1], STDIN_FILENO), STDIN_FILENO);
	cr_assert_eq(dup2(fds[1], STDOUT_FILENO), STDOUT_FILENO);
	close(fds[1]);
	chr = world_start("stdio", &r.rx);
	put(fds[0], "in");
	assert_got("in");
	reader_start(&reader, fds[0]);
	cr_assert_eq(chr_write(chr, "out", 3), 3);
	reader_wait_bytes(&reader, 3);
	cr_assert_eq(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK, 0);
	cr_assert_eq(shutdown(fds[0], SHUT_WR), 0);
	receiver_wait_eof(&r);
	reader_stop(&reader);
	chr_free(chr);
	close(fds[0]);
}

Test(chr_in, inherited_pipes_keep_their_flags)
{
	int in = world_pipe_as_stdin(), out = world_pipe_as_stdout();
	struct chr *chr = world_start("stdio", &r.rx);

	put(in, "x");
	assert_got("x");
	cr_assert_eq(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK, 0);
	cr_assert_eq(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK, 0);
	chr_free(chr);
	close(in);
	close(out);
}
