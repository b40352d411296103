/* SPDX-License-Identifier: Apache-2.0 */
#include "chr_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/chr_in.h"
#include "backend/chr_out.h"
#include "base/clock.h"

static struct receiver r;
static struct reader reader, other;
static char path[100], spec_text[110];

static void set_up(void)
{
	world_set_up();
	receiver_init(&r);
	(void)snprintf(path, sizeof(path), "%s/sock", world_dir());
	(void)snprintf(spec_text, sizeof(spec_text), "unix=%s", path);
}

TestSuite(chr_socket, .init = set_up, .fini = world_tear_down, .timeout = 60);

static struct sockaddr_un address(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	strcpy(addr.sun_path, path);
	return addr;
}

static int connect_client(void)
{
	struct sockaddr_un addr = address();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void send_text(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Connects and waits until the stream has taken the client in. */
static int join(const char *hello)
{
	size_t before = r.n;
	int fd = connect_client();

	send_text(fd, hello);
	receiver_wait_bytes(&r, before + strlen(hello));
	return fd;
}

static int open_error(struct err *err)
{
	struct chr_spec spec = {.kind = CHR_UNIX, .path = path};
	struct chr *chr = NULL;
	int code = chr_open(&spec, "--console", &chr, err);

	cr_assert_null(chr);
	cr_assert_not_null(strstr(err->msg, path), "%s", err->msg);
	return code;
}

Test(chr_socket, client_talks_both_ways)
{
	struct chr *chr = world_start(spec_text, &r.rx);
	int fd = join("in");

	cr_assert_arr_eq(r.buf, "in", 2);
	reader_start(&reader, fd);
	cr_assert_eq(chr_write(chr, "out", 3), 3);
	reader_wait_bytes(&reader, 3);
	reader_stop(&reader);
	close(fd);
	chr_free(chr);
}

Test(chr_socket, file_is_private_and_removed_at_the_end)
{
	struct chr *chr = world_start(spec_text, NULL);
	struct stat st;
	mode_t mask = umask(022);

	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 077, 0);
	cr_assert_neq(mask, 077, "the umask is put back");
	chr_free(chr);
	cr_assert_eq(stat(path, &st), -1);
	cr_assert_eq(errno, ENOENT);
}

Test(chr_socket, file_that_took_our_place_is_left_there)
{
	struct chr *chr = world_start(spec_text, NULL);
	struct stat st;

	cr_assert_eq(unlink(path), 0);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	chr_free(chr);
	cr_assert_eq(stat(path, &st), 0);
}

Test(chr_socket, stale_file_is_replaced)
{
	struct sockaddr_un addr = address();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	chr_free(world_start(spec_text, NULL));
}

Test(chr_socket, live_one_is_an_error_that_names_the_path)
{
	struct chr *chr = world_start(spec_text, NULL);
	struct err err = {0};
	struct stat st;

	cr_assert_eq(open_error(&err), -EADDRINUSE);
	cr_assert_eq(stat(path, &st), 0, "the live one keeps its file");
	close(connect_client());
	chr_free(chr);
}

Test(chr_socket, live_one_with_a_full_queue_is_not_taken_for_stale)
{
	struct sockaddr_un addr = address();
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client;
	struct err err = {0};
	struct stat st;

	cr_assert_eq(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(listener, 0), 0);
	do
		client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	while (connect(client, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	cr_assert_eq(errno, EAGAIN);
	cr_assert_eq(open_error(&err), -EADDRINUSE);
	cr_assert_eq(stat(path, &st), 0);
}

Test(chr_socket, file_that_is_no_socket_is_not_removed)
{
	struct err err = {0};
	struct stat st;

	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	cr_assert_eq(open_error(&err), -EEXIST);
	cr_assert_eq(stat(path, &st), 0);
}

Test(chr_socket, missing_directory_is_an_error)
{
	struct err err = {0};

	strcpy(path, "/nonexistent/sock");
	cr_assert_eq(open_error(&err), -ENOENT);
}

Test(chr_socket, second_client_is_told_and_closed)
{
	struct chr *chr = world_start(spec_text, &r.rx);
	int first = join("a"), second = connect_client();

	reader_start(&other, second);
	reader_wait_end(&other);
	cr_assert_not_null(strstr(other.buf, "another client"));
	close(second);
	/* The first one does not notice. */
	send_text(first, "b");
	receiver_wait_bytes(&r, 2);
	reader_start(&reader, first);
	cr_assert_eq(chr_write(chr, "x", 1), 1);
	reader_wait_bytes(&reader, 1);
	reader_stop(&reader);
	close(first);
	chr_free(chr);
}

Test(chr_socket, next_client_sees_what_was_written_in_between)
{
	struct chr *chr = world_start(spec_text, &r.rx);
	int fd;

	cr_assert_eq(chr_write(chr, "boot\n", 5), 5);
	world_run_for(20 * NS_PER_MS);
	fd = join("a");
	reader_start(&reader, fd);
	reader_wait_bytes(&reader, 5);
	reader_stop(&reader);
	close(fd);
	world_run_for(5 * NS_PER_MS);
	cr_assert_eq(r.eofs, 0, "a client's end is none for the guest");
	cr_assert_eq(chr_write(chr, "gap\n", 4), 4);
	fd = join("b");
	reader_start(&reader, fd);
	reader_wait_bytes(&reader, 4);
	cr_assert_arr_eq(reader.buf, "gap\n", 4);
	cr_assert_eq(chr_stats(chr).dropped, 0);
	reader_stop(&reader);
	close(fd);
	chr_free(chr);
}

Test(chr_socket, backlog_keeps_the_newest_whole_lines)
{
	struct chr *chr = world_start(spec_text, &r.rx);
	unsigned lines = 3 * CHR_OUT_RING / 16, last;
	char line[17];
	int fd;

	for (unsigned i = 0; i < lines; i++) {
		(void)snprintf(line, sizeof(line), "line %010u\n", i);
		cr_assert_eq(chr_write(chr, line, 16), 16);
		if (i % 1024 == 0)
			world_run_for(NS_PER_MS / 10);
	}
	world_run_for(NS_PER_MS);
	fd = join("a");
	reader_start(&reader, fd);
	reader_wait_bytes(&reader, (size_t)(16 * lines - chr_stats(chr).dropped));
	cr_assert_geq(reader.n, CHR_OUT_RING / 4);
	cr_assert_eq(sscanf(reader.buf + reader.n - 16, "line %u", &last), 1);
	cr_assert_eq(last, lines - 1);
	cr_assert_eq(memcmp(reader.buf, "line ", 5), 0, "begins with a whole line");
	reader_stop(&reader);
	close(fd);
	chr_free(chr);
}

Test(chr_socket, client_that_only_stops_sending_goes_on_reading)
{
	struct chr *chr = world_start(spec_text, &r.rx);
	int fd = join("a");

	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	cr_assert_lt(world_run_for(20 * NS_PER_MS), 10 * NS_PER_MS);
	reader_start(&reader, fd);
	cr_assert_eq(chr_write(chr, "still\n", 6), 6);
	reader_wait_bytes(&reader, 6);
	reader_stop(&reader);
	close(fd);
	fd = join("b"); /* its leaving was noticed */
	close(fd);
	chr_free(chr);
}

Test(chr_socket, client_that_leaves_while_stalled_makes_way)
{
	struct chr *chr = world_start(spec_text, &r.rx);
	static char text[4096];
	int fd = join("a");

	memset(text, 't', sizeof(text));
	for (int i = 0; i < 300; i++) {
		(void)chr_write(chr, text, sizeof(text));
		if (i % 16 == 0)
			world_run_for(NS_PER_MS / 10);
	}
	cr_assert_gt(chr_stats(chr).dropped, 0);
	close(fd);
	fd = join("b");
	reader_start(&reader, fd);
	cr_assert_eq(chr_stats(chr).written + chr_stats(chr).dropped <= 300 * sizeof(text), 1);
	reader_stop(&reader);
	close(fd);
	chr_free(chr);
}

/* What the guest does not read must not keep a client that left in its place. */
static void assert_admitted(struct chr *chr, int fd)
{
	reader_start(&reader, fd);
	cr_assert_eq(chr_write(chr, "welcome\n", 8), 8);
	reader_wait_bytes(&reader, 8);
	cr_assert_arr_eq(reader.buf, "welcome\n", 8);
	reader_stop(&reader);
}

Test(chr_socket, client_that_leaves_while_its_input_is_refused_makes_way)
{
	struct chr *chr = world_start(spec_text, &r.rx);
	int fd = connect_client();

	r.room = 1;
	send_text(fd, "abc");
	receiver_wait_bytes(&r, 1);
	send_text(fd, "def");
	close(fd);
	cr_assert_lt(world_run_for(20 * NS_PER_MS), 10 * NS_PER_MS, "its hang-up is handled once");
	fd = connect_client();
	/* Before any output, which would find out, too. */
	world_run_for(5 * NS_PER_MS);
	assert_admitted(chr, fd);
	send_text(fd, "ghi");
	r.room = SIZE_MAX;
	chr_rx_resume(chr);
	receiver_wait_bytes(&r, 9);
	cr_assert_arr_eq(r.buf, "abcdefghi", 9, "what the first one sent is not lost");
	close(fd);
	chr_free(chr);
}

Test(chr_socket, client_that_leaves_where_nobody_receives_makes_way)
{
	struct chr *chr = world_start(spec_text, NULL);
	int fd = connect_client();

	send_text(fd, "nobody asked");
	assert_admitted(chr, fd);
	close(fd);
	cr_assert_lt(world_run_for(20 * NS_PER_MS), 10 * NS_PER_MS, "its hang-up is handled once");
	fd = connect_client();
	/* Before any output, which would find out, too. */
	world_run_for(5 * NS_PER_MS);
	assert_admitted(chr, fd);
	close(fd);
	chr_free(chr);
}

Test(chr_socket, client_that_stops_sending_while_refused_goes_on_reading)
{
	struct chr *chr = world_start(spec_text, &r.rx);
	int fd = connect_client();

	r.room = 1;
	send_text(fd, "abc");
	receiver_wait_bytes(&r, 1);
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	cr_assert_lt(world_run_for(20 * NS_PER_MS), 10 * NS_PER_MS);
	assert_admitted(chr, fd);
	close(fd);
	chr_free(chr);
}

static struct chr *slow_chr;

static void sip(struct loop_timer *timer)
{
	r.room = 64;
	chr_rx_resume(slow_chr);
	loop_timer_arm(world_loop, timer, 10 * NS_PER_US);
}

/* More than our buffer: the rest stays with the kernel until it is wanted. */
Test(chr_socket, slow_guest_gets_all_of_a_client_that_left)
{
	enum { SENT = 2 * CHR_IN_BUFFER };
	static char text[SENT];
	struct loop_timer timer = {.fired = sip};
	int fd, size = 4 * SENT;

	slow_chr = world_start(spec_text, &r.rx);
	r.room = 0;
	for (size_t i = 0; i < SENT; i++)
		text[i] = (char)('a' + i % 23);
	fd = connect_client();
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	cr_assert_eq(send(fd, text, SENT, MSG_DONTWAIT | MSG_NOSIGNAL), SENT);
	close(fd);
	/* The guest's output finds nobody, which ends no input either. */
	world_run_for(5 * NS_PER_MS);
	cr_assert_eq(chr_write(slow_chr, "out\n", 4), 4);
	loop_timer_arm(world_loop, &timer, 0);
	receiver_wait_bytes(&r, SENT);
	loop_timer_cancel(world_loop, &timer);
	cr_assert_arr_eq(r.buf, text, SENT);
	chr_free(slow_chr);
}

Test(chr_socket, input_survives_output_that_finds_its_client_gone)
{
	struct chr *chr = world_start(spec_text, &r.rx);
	static char text[32 << 10];
	int fd = connect_client();

	memset(text, 't', sizeof(text));
	r.room = 1;
	cr_assert_eq(send(fd, text, sizeof(text), MSG_DONTWAIT | MSG_NOSIGNAL), sizeof(text));
	receiver_wait_bytes(&r, 1);
	/* Both at once: the failed write may be noticed first. */
	cr_assert_eq(chr_write(chr, "out\n", 4), 4);
	close(fd);
	world_run_for(5 * NS_PER_MS);
	fd = connect_client();
	world_run_for(5 * NS_PER_MS);
	r.room = SIZE_MAX;
	chr_rx_resume(chr);
	receiver_wait_bytes(&r, sizeof(text));
	close(fd);
	chr_free(chr);
}

Test(chr_socket, free_with_a_client_ends_it)
{
	struct chr *chr = world_start(spec_text, &r.rx);
	int fd = join("a");

	cr_assert_eq(chr_write(chr, "bye", 3), 3);
	chr_free(chr);
	reader_start(&reader, fd);
	reader_wait_end(&reader);
	cr_assert_eq(reader.n, 3);
	close(fd);
}
