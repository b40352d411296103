/* SPDX-License-Identifier: Apache-2.0 */
#include "chr_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/chr_out.h"
#include "base/clock.h"
#include "base/compiler.h"

TestSuite(chr_client, .init = world_set_up, .fini = world_tear_down, .timeout = 60);

/* A client and the far end of its socket. */
struct peer {
	struct chr_client_watcher watcher;
	struct chr_client *client;
	struct reader reader;
	int fd;
	unsigned hung_up;
	bool detach; /* in hung_up itself */
};

static void on_hung_up(struct chr_client_watcher *watcher)
{
	struct peer *p = container_of(watcher, struct peer, watcher);

	p->hung_up++;
	if (p->detach)
		p->client = chr_detach(p->client);
}

static int socket_pair(int *ret_far)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*ret_far = fds[1];
	return fds[0];
}

static void join(struct peer *p, struct chr *chr, bool input)
{
	int near;

	*p = (struct peer){.watcher.hung_up = on_hung_up};
	near = socket_pair(&p->fd);
	cr_assert_eq(chr_attach(chr, near, input, &p->watcher, &p->client), 0);
}

static void send_text(struct peer *p, const char *text)
{
	cr_assert_eq(send(p->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static bool has_hung_up(void *arg)
{
	struct peer *p = arg;

	return p->hung_up > 0;
}

static void wait_hung_up(struct peer *p)
{
	world_run_until(has_hung_up, p);
	(void)world_run_for(5 * NS_PER_MS);
	cr_assert_eq(p->hung_up, 1, "told once");
}

static struct peer a, b;
static struct receiver r;

Test(chr_client, each_sees_what_is_written_from_its_attachment_on)
{
	struct chr *chr = world_start("none", NULL);

	(void)chr_write(chr, "before ", 7);
	join(&a, chr, false);
	reader_start(&a.reader, a.fd);
	(void)chr_write(chr, "one ", 4);
	join(&b, chr, false);
	reader_start(&b.reader, b.fd);
	cr_assert_eq(chr_n_clients(chr), 2);
	(void)chr_write(chr, "two", 3);
	reader_wait_bytes(&a.reader, 7);
	reader_wait_bytes(&b.reader, 3);
	cr_assert_arr_eq(a.reader.buf, "one two", 7);
	cr_assert_arr_eq(b.reader.buf, "two", 3);
	cr_assert_eq(chr_client_stats(a.client).written, 7);
	a.client = chr_detach(a.client);
	reader_wait_end(&a.reader);
	cr_assert_eq(chr_n_clients(chr), 1);
	chr_free(chr);
	reader_wait_end(&b.reader);
}

Test(chr_client, stalled_one_loses_bytes_and_nobody_else_does)
{
	struct chr *chr = world_start("none", NULL);
	size_t n = CHR_OUT_RING * 4, piece = CHR_OUT_RING / 4;
	char *text = malloc(n);

	cr_assert_not_null(text);
	for (size_t i = 0; i < n; i++)
		text[i] = (char)('a' + i % 23);
	join(&a, chr, false); /* reads nothing */
	join(&b, chr, false);
	reader_start(&b.reader, b.fd);
	for (size_t at = 0; at < n; at += piece) {
		(void)chr_write(chr, text + at, piece);
		reader_wait_bytes(&b.reader, at + piece);
	}
	cr_assert_arr_eq(b.reader.buf, text, n);
	cr_assert_eq(chr_client_stats(b.client).dropped, 0);
	cr_assert_gt(chr_client_stats(a.client).dropped, 0);
	cr_assert_lt(world_run_for(50 * NS_PER_MS), 30 * NS_PER_MS, "it is not polled");
	a.client = chr_detach(a.client);
	chr_free(chr);
	free(text);
}

Test(chr_client, detach_writes_out_what_is_there)
{
	struct chr *chr = world_start("none", NULL);
	char buf[8];

	join(&a, chr, false);
	(void)chr_write(chr, "last", 4);
	a.client = chr_detach(a.client);
	cr_assert_eq(read(a.fd, buf, sizeof(buf)), 4);
	cr_assert_eq(read(a.fd, buf, sizeof(buf)), 0);
	chr_free(chr);
}

Test(chr_client, flush_serves_the_clients_too_and_waits_no_longer_than_told)
{
	struct chr *chr = world_start("none", NULL);
	static char text[CHR_OUT_RING];
	uint64_t start;
	char buf[8];

	join(&a, chr, false);
	(void)chr_write(chr, "x", 1);
	chr_flush(chr, 1000);
	cr_assert_eq(read(a.fd, buf, sizeof(buf)), 1);
	join(&b, chr, false);
	for (int i = 0; i < 4; i++)
		(void)chr_write(chr, text, sizeof(text));
	start = clock_now_ns();
	chr_flush(chr, 40);
	cr_assert_lt(clock_now_ns() - start, 2 * NS_PER_S);
	chr_free(chr);
}

Test(chr_client, takes_a_file_and_a_pipe_and_never_blocks_on_them)
{
	struct chr *chr = world_start("none", NULL);
	struct peer file = {.watcher.hung_up = on_hung_up};
	static char text[CHR_OUT_RING];
	char path[100], buf[8];
	int fds[2], fd;

	(void)snprintf(path, sizeof(path), "%s/log", world_dir());
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(chr_attach(chr, fd, false, &file.watcher, &file.client), 0);
	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	a = (struct peer){.watcher.hung_up = on_hung_up, .fd = fds[0]};
	cr_assert_eq(chr_attach(chr, fds[1], false, &a.watcher, &a.client), 0);
	(void)chr_write(chr, "hello", 5);
	chr_flush(chr, 1000);
	cr_assert_eq(read(fds[0], buf, sizeof(buf)), 5);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_eq(read(fd, buf, sizeof(buf)), 5);
	(void)chr_write(chr, text, sizeof(text)); /* more than the pipe holds */
	(void)world_run_for(20 * NS_PER_MS);
	cr_assert_eq(file.hung_up, 0);
	cr_assert_eq(a.hung_up, 0);
	cr_assert_eq(close(fds[0]), 0);
	wait_hung_up(&a);
	chr_free(chr);
	close(fd);
}

Test(chr_client, terminal_that_nobody_reads_stalls_neither_the_loop_nor_the_others)
{
	struct chr *chr = world_start("none", NULL);
	static char text[CHR_OUT_RING / 2];
	int master, slave;

	memset(text, '\n', sizeof(text));
	cr_assert_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	a = (struct peer){.watcher.hung_up = on_hung_up};
	cr_assert_eq(chr_attach(chr, slave, true, &a.watcher, &a.client), 0);
	join(&b, chr, false);
	reader_start(&b.reader, b.fd);
	for (size_t i = 1; i <= 4; i++) {
		(void)chr_write(chr, text, sizeof(text));
		reader_wait_bytes(&b.reader, i * sizeof(text));
	}
	cr_assert_gt(chr_client_stats(a.client).dropped, 0);
	cr_assert_eq(a.hung_up, 0);
	chr_free(chr);
	close(master);
}

Test(chr_client, one_too_many_is_refused_and_its_descriptor_closed)
{
	struct chr *chr = world_start("none", NULL);
	static struct peer peers[CHR_MAX_CLIENTS];
	struct chr_client *client = NULL;
	int near, far;
	char c;

	for (unsigned i = 0; i < CHR_MAX_CLIENTS; i++)
		join(&peers[i], chr, i % 2);
	near = socket_pair(&far);
	cr_assert_eq(chr_attach(chr, near, true, &a.watcher, &client), -EBUSY);
	cr_assert_null(client);
	cr_assert_eq(read(far, &c, 1), 0, "closed");
	peers[3].client = chr_detach(peers[3].client);
	join(&a, chr, true);
	chr_free(chr);
}

/* ---- hang-ups ---- */

Test(chr_client, hang_up_of_a_reader_is_told_though_nothing_is_written)
{
	struct chr *chr = world_start("none", NULL);

	join(&a, chr, false);
	close(a.fd);
	wait_hung_up(&a);
	cr_assert_lt(world_run_for(50 * NS_PER_MS), 30 * NS_PER_MS, "and not told for ever");
	(void)chr_write(chr, "into the void", 13);
	(void)world_run_for(20 * NS_PER_MS);
	cr_assert_eq(a.hung_up, 1);
	a.client = chr_detach(a.client);
	chr_free(chr);
}

Test(chr_client, hang_up_may_be_answered_by_detaching_at_once)
{
	struct chr *chr = world_start("none", &r.rx);

	receiver_init(&r);
	join(&a, chr, false);
	join(&b, chr, true);
	a.detach = b.detach = true;
	close(a.fd);
	close(b.fd);
	(void)chr_write(chr, "lost", 4); /* the output finds it, too */
	wait_hung_up(&a);
	wait_hung_up(&b);
	cr_assert_eq(chr_n_clients(chr), 0);
	chr_free(chr);
}

Test(chr_client, detached_client_is_told_nothing)
{
	struct chr *chr = world_start("none", NULL);

	join(&a, chr, false);
	close(a.fd);
	a.client = chr_detach(a.client);
	(void)world_run_for(20 * NS_PER_MS);
	cr_assert_eq(a.hung_up, 0);
	chr_free(chr);
}

/* ---- input ---- */

Test(chr_client, input_reaches_the_receiver_beside_the_streams_own)
{
	int user = world_pipe_as_stdin();
	struct chr *chr;

	receiver_init(&r);
	chr = world_start("stdio", &r.rx);
	join(&a, chr, true);
	join(&b, chr, false);
	send_text(&b, "not read"); /* no input from this one */
	send_text(&a, "one");
	receiver_wait_bytes(&r, 3);
	cr_assert_eq(write(user, "two", 3), 3);
	receiver_wait_bytes(&r, 6);
	cr_assert_arr_eq(r.buf, "onetwo", 6);
	cr_assert_eq(chr_client_stats(a.client).received, 3);
	cr_assert_eq(chr_client_stats(b.client).received, 0);
	cr_assert_eq(chr_stats(chr).received, 3);
	chr_free(chr);
	close(user);
}

Test(chr_client, end_of_its_input_is_neither_the_streams_end_nor_a_hang_up)
{
	struct chr *chr;

	receiver_init(&r);
	chr = world_start("none", &r.rx);
	join(&a, chr, true);
	reader_start(&a.reader, a.fd);
	send_text(&a, "bye");
	cr_assert_eq(shutdown(a.fd, SHUT_WR), 0);
	receiver_wait_bytes(&r, 3);
	(void)world_run_for(20 * NS_PER_MS);
	cr_assert_eq(r.eofs, 0);
	cr_assert_eq(a.hung_up, 0);
	(void)chr_write(chr, "still there", 11);
	reader_wait_bytes(&a.reader, 11);
	reader_stop(&a.reader);
	close(a.fd);
	wait_hung_up(&a);
	chr_free(chr);
}

Test(chr_client, what_it_sent_before_it_went_is_still_delivered)
{
	static char text[20000];
	struct chr *chr;

	memset(text, 's', sizeof(text));
	receiver_init(&r);
	r.room = 5;
	chr = world_start("none", &r.rx);
	join(&a, chr, true);
	a.detach = true;
	cr_assert_eq(send(a.fd, text, sizeof(text), MSG_NOSIGNAL), (ssize_t)sizeof(text));
	receiver_wait_bytes(&r, 5);
	close(a.fd);
	wait_hung_up(&a);
	cr_assert_eq(r.n, 5, "the receiver has asked for no more");
	r.room = SIZE_MAX;
	chr_rx_resume(chr);
	receiver_wait_bytes(&r, sizeof(text));
	cr_assert_arr_eq(r.buf, text, sizeof(text));
	chr_free(chr);
}

/* ---- threads ---- */

struct writer {
	struct chr *chr;
	atomic_bool stop;
};

static void *write_on(void *arg)
{
	struct writer *w = arg;

	while (!atomic_load(&w->stop))
		(void)chr_write(w->chr, "0123456789abcdef\n", 17);
	return NULL;
}

Test(chr_client, clients_come_and_go_while_another_thread_writes)
{
	struct writer w = {.chr = world_start("none", NULL)};
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, write_on, &w), 0);
	for (int i = 0; i < 100; i++) {
		join(&a, w.chr, i % 2);
		join(&b, w.chr, false);
		(void)world_run_for(200 * NS_PER_US);
		close(a.fd);
		a.client = chr_detach(a.client);
		b.client = chr_detach(b.client);
		close(b.fd);
	}
	atomic_store(&w.stop, true);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_eq(chr_n_clients(w.chr), 0);
	chr_free(w.chr);
}
