/* SPDX-License-Identifier: Apache-2.0 */
#include "net_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

static struct net *net;
static struct end end;
static int peer; /* the other side of `net`, a plain socket */
static uint8_t wire[4 * (NET_FRAME_MAX + 4)];

static void set_up(void)
{
	net_world_set_up();
	peer = -1;
}

static void tear_down(void)
{
	net = net_free(net);
	if (peer >= 0)
		close(peer);
	net_world_tear_down();
}

TestSuite(net_stream, .init = set_up, .fini = tear_down, .timeout = 60);

/* A stream on one side of a socket pair. */
static void connect_pair(void)
{
	struct err err = {0};
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(net_stream_adopt("--net", pair[0], &net, &err), 0, "%s", err.msg);
	peer = pair[1];
	cr_assert(net_is_up(net));
	end_attach(&end, net, 0);
}

static int dial(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0, "%s", strerror(errno));
	return fd;
}

static void listen_at(const char *path)
{
	struct err err = {0};

	cr_assert_eq(net_stream_listen("--net", path, &net, &err), 0, "%s", err.msg);
	cr_assert_not(net_is_up(net));
	end_attach(&end, net, 0);
}

static void write_frame(int fd, size_t len, uint8_t mark)
{
	size_t n = wire_frame(wire, len, mark);

	cr_assert_eq(write(fd, wire, n), (ssize_t)n);
}

static void read_whole(int fd, uint8_t *to, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = read(fd, to + done, n - done);

		cr_assert_gt(r, 0);
		done += (size_t)r;
	}
}

/* Reads a frame as the other side does. */
static void expect_frame(int fd, size_t len, uint8_t mark)
{
	static uint8_t expected[NET_FRAME_MAX + 4];
	size_t n = wire_frame(expected, len, mark);

	read_whole(fd, wire, n);
	cr_assert_eq(memcmp(wire, expected, n), 0, "frame of %zu bytes, mark %u", len, mark);
}

/* ---- frames ---- */

Test(net_stream, frame_goes_out_with_its_length_and_without_a_header)
{
	connect_pair();
	cr_assert_eq(end_send(&end, 60, 7), 0);
	expect_frame(peer, 60, 7);
	cr_assert_eq(end_send(&end, NET_FRAME_MAX, 8), 0);
	expect_frame(peer, NET_FRAME_MAX, 8);
}

Test(net_stream, frame_comes_in_behind_a_header_of_zeros)
{
	connect_pair();
	memset(end.header, 0xff, sizeof(end.header));
	write_frame(peer, 60, 9);
	end_wait_frames(&end, 1);
	cr_assert_eq(end.len[0], 60);
	cr_assert_eq(end.mark[0], 9);
	cr_assert(end.plain[0]);
}

Test(net_stream, bytes_that_come_one_by_one_make_frames)
{
	size_t n;

	connect_pair();
	n = wire_frame(wire, 60, 1);
	n += wire_frame(wire + n, 61, 2);
	for (size_t i = 0; i < n; i++) {
		cr_assert_eq(write(peer, wire + i, 1), 1);
		(void)world_run_for(50 * NS_PER_US);
		cr_assert_eq(end.n, i + 1 == n ? 2 : i + 1 >= 64 ? 1 : 0, "after byte %zu", i);
	}
	cr_assert_eq(end.len[1], 61);
	cr_assert_eq(end.mark[1], 2);
}

Test(net_stream, frames_in_one_piece_all_arrive_also_a_few_at_a_time)
{
	size_t n = 0;

	connect_pair();
	end.budget = 1;
	for (unsigned i = 0; i < 100; i++)
		n += wire_frame(wire + n, 60 + i, (uint8_t)i);
	cr_assert_eq(write(peer, wire, n), (ssize_t)n);
	end_wait_frames(&end, 100);
	for (unsigned i = 0; i < 100; i++) {
		cr_assert_eq(end.len[i], 60 + i);
		cr_assert_eq(end.mark[i], i);
	}
	cr_assert_geq(end.readables, 100);
}

Test(net_stream, largest_frames_pass_through_the_buffer)
{
	connect_pair();
	for (unsigned i = 0; i < 20; i++) {
		write_frame(peer, NET_FRAME_MAX - i * 999, (uint8_t)i);
		end_wait_frames(&end, i + 1);
		cr_assert_eq(end.len[i], NET_FRAME_MAX - i * 999);
		cr_assert_eq(end.mark[i], i);
	}
}

Test(net_stream, frame_is_cut_to_what_there_is_room_for)
{
	uint8_t room[40];
	struct iovec iov = {room, sizeof(room)};

	connect_pair();
	net_want_rx(end.port, false);
	write_frame(peer, 60, 1);
	write_frame(peer, 20, 2);
	cr_assert_eq(net_recv(end.port, &iov, 1), 40);
	cr_assert_eq(net_recv(end.port, &iov, 1), 32, "the next frame begins where it should");
	cr_assert_eq(room[31], 2);
	cr_assert_eq(net_recv(end.port, &iov, 1), -EAGAIN);
}

Test(net_stream, nothing_is_received_that_nobody_wants)
{
	connect_pair();
	end.room = 3;
	for (unsigned i = 0; i < 6; i++)
		write_frame(peer, 60, (uint8_t)i);
	end_wait_frames(&end, 3);
	cr_assert_lt(world_run_for(100 * NS_PER_MS), 10 * NS_PER_MS, "it spins");
	cr_assert_eq(end.n, 3);
	end.room = 100;
	net_want_rx(end.port, true);
	end_wait_frames(&end, 6);
	cr_assert_eq(end.mark[5], 5);
}

/* ---- a peer that does not read ---- */

Test(net_stream, peer_that_does_not_read_is_waited_for_and_gets_every_frame_whole)
{
	unsigned sent = 0, got = 0;

	connect_pair();
	for (unsigned round = 1; round <= 3; round++) {
		while (end_send(&end, 5000 + sent % 7, (uint8_t)sent) == 0)
			sent++;
		cr_assert_eq(end_send(&end, 5000 + sent % 7, (uint8_t)sent), -EAGAIN);
		net_want_tx(end.port);
		cr_assert_lt(world_run_for(100 * NS_PER_MS), 10 * NS_PER_MS, "it spins");
		cr_assert_eq(end.writables, round - 1);
		for (; got < sent - 2; got++)
			expect_frame(peer, 5000 + got % 7, (uint8_t)got);
		end_wait_writable(&end, round);
	}
	cr_assert_eq(end_send(&end, 60, 99), 0);
	for (; got < sent; got++)
		expect_frame(peer, 5000 + got % 7, (uint8_t)got);
	expect_frame(peer, 60, 99);
}

Test(net_stream, rest_of_a_frame_goes_out_though_nothing_follows)
{
	unsigned sent = 0;

	connect_pair();
	while (end_send(&end, 50001, (uint8_t)sent) == 0)
		sent++;
	cr_assert_gt(sent, 0);
	(void)world_run_for(NS_PER_MS);
	for (unsigned i = 0; i < sent; i++) {
		expect_frame(peer, 50001, (uint8_t)i);
		(void)world_run_for(NS_PER_MS);
	}
	cr_assert_eq(end.writables, 0, "nobody asked");
}

Test(net_stream, frame_that_is_too_long_or_empty_is_not_sent)
{
	connect_pair();
	cr_assert_eq(end_send(&end, NET_FRAME_MAX + 1, 1), -EMSGSIZE);
	cr_assert_eq(end_send(&end, 0, 1), -EMSGSIZE);
	cr_assert_eq(end_send(&end, 60, 2), 0);
	expect_frame(peer, 60, 2);
}

/* ---- peers that leave, and others that come ---- */

Test(net_stream, peer_that_leaves_takes_the_link_down_after_its_last_frame)
{
	connect_pair();
	end.budget = 1;
	for (unsigned i = 0; i < 50; i++)
		write_frame(peer, 60, (uint8_t)i);
	close(peer);
	peer = -1;
	end_wait_down(&end, 1);
	cr_assert_eq(end.n, 50);
	cr_assert_eq(end.last_error, -ENOTCONN);
	cr_assert_not(net_is_up(net));
	cr_assert_eq(end_send(&end, 60, 1), -ENOTCONN);
	cr_assert_lt(world_run_for(100 * NS_PER_MS), 10 * NS_PER_MS, "it spins");
	cr_assert_eq(end.downs, 1);
}

Test(net_stream, peer_that_leaves_while_nobody_receives_does_not_spin)
{
	connect_pair();
	net_want_rx(end.port, false);
	write_frame(peer, 60, 1);
	close(peer);
	peer = -1;
	end_wait_down(&end, 1);
	cr_assert_lt(world_run_for(100 * NS_PER_MS), 10 * NS_PER_MS, "it spins");
}

Test(net_stream, peer_that_leaves_is_noticed_by_sending)
{
	connect_pair();
	net_want_rx(end.port, false);
	close(peer);
	peer = -1;
	cr_assert_eq(end_send(&end, 60, 1), -ENOTCONN);
	cr_assert_eq(end.downs, 1);
}

Test(net_stream, peer_that_leaves_with_half_a_frame_unread_leaves_no_half_for_the_next)
{
	const char *path = net_world_path("sock");

	listen_at(path);
	peer = dial(path);
	end_wait_up(&end, 1);
	while (end_send(&end, 50000, 1) == 0)
		;
	cr_assert_eq(write(peer, "\0\0\0\100half", 8), 8);
	close(peer);
	end_wait_down(&end, 1);
	peer = dial(path);
	end_wait_up(&end, 2);
	write_frame(peer, 64, 5);
	end_wait_frames(&end, 1);
	cr_assert_eq(end.len[0], 64);
	cr_assert_eq(end.mark[0], 5);
	cr_assert_eq(end_send(&end, 60, 6), 0);
	expect_frame(peer, 60, 6);
}

Test(net_stream, listener_takes_one_peer_after_the_other)
{
	const char *path = net_world_path("sock");
	int second;

	listen_at(path);
	cr_assert_eq(end_send(&end, 60, 1), -ENOTCONN);
	peer = dial(path);
	second = dial(path);
	end_wait_up(&end, 1);
	write_frame(second, 60, 2);
	write_frame(peer, 60, 1);
	end_wait_frames(&end, 1);
	cr_assert_eq(end.mark[0], 1);
	cr_assert_lt(world_run_for(100 * NS_PER_MS), 10 * NS_PER_MS,
		     "the one that waits: it spins");
	cr_assert_eq(end.n, 1);
	close(peer);
	peer = second;
	end_wait_frames(&end, 2);
	cr_assert_eq(end.mark[1], 2);
	cr_assert_eq(end.ups, 2);
	cr_assert_eq(end.downs, 1);
	cr_assert(net_is_up(net));
}

Test(net_stream, peer_that_sends_nonsense_is_cut_off)
{
	const char *path = net_world_path("sock");
	char c;

	listen_at(path);
	peer = dial(path);
	cr_assert_eq(write(peer, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	end_wait_down(&end, 1);
	cr_assert_eq(end.n, 0);
	cr_assert_leq(read(peer, &c, 1), 0);
	close(peer);
	peer = dial(path);
	end_wait_up(&end, 2);
}

Test(net_stream, stream_can_be_given_a_new_peer)
{
	int pair[2], other[2];
	char c;

	connect_pair();
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	net_stream_replace(net, pair[0]);
	end_wait_up(&end, 1);
	cr_assert_eq(end.downs, 1, "the guest sees that the link was down");
	cr_assert_eq(read(peer, &c, 1), 0, "the old peer sees its end");
	close(peer);
	peer = pair[1];
	write_frame(peer, 60, 3);
	end_wait_frames(&end, 1);

	/* Also when the old one is gone, and the newest counts. */
	close(peer);
	end_wait_down(&end, 2);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
	net_stream_replace(net, other[0]);
	net_stream_replace(net, pair[0]);
	cr_assert_eq(read(other[1], &c, 1), 0);
	close(other[1]);
	peer = pair[1];
	end_wait_up(&end, 2);
	cr_assert_eq(end_send(&end, 60, 4), 0);
	expect_frame(peer, 60, 4);
}

Test(net_stream, new_peer_that_nobody_took_is_closed_at_the_end)
{
	int pair[2];
	char c;

	connect_pair();
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	net_stream_replace(net, pair[0]);
	net = net_free(net);
	cr_assert_eq(read(pair[1], &c, 1), 0);
	close(pair[1]);
}

Test(net_stream, two_of_ours_are_wired_together)
{
	static struct end client;
	const char *path = net_world_path("sock");
	struct err err = {0};
	struct net *other = NULL;

	listen_at(path);
	cr_assert_eq(net_stream_connect("--net", path, &other, &err), 0, "%s", err.msg);
	cr_assert_str_eq(net_describe(net), net_describe(other));
	cr_assert_eq(net_n_ports(other), 1);
	cr_assert_eq(net_offloads(other), 0);
	end_attach(&client, other, 0);
	cr_assert_eq(end_send(&client, 60, 1), 0);
	end_wait_frames(&end, 1);
	cr_assert_eq(end_send(&end, 61, 2), 0);
	end_wait_frames(&client, 1);
	cr_assert_eq(client.mark[0], 2);
	other = net_free(other);
	end_wait_down(&end, 1);
}

/* ---- opening ---- */

static const char *message;

#define cr_assert_says(text)                                                                       \
	cr_assert_not_null(strstr(message, text), "'%s' is not in: %s", text, message)

static int connect_message(const char *path)
{
	static struct err err;
	int r;

	err = (struct err){0};
	r = net_stream_connect("--net stream", path, &net, &err);
	message = err.msg;
	return r;
}

static void leave_stale_socket(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
}

Test(net_stream, connecting_to_nobody_says_what_to_do)
{
	const char *path = net_world_path("sock");

	cr_assert_eq(connect_message(path), -ENOENT);
	cr_assert_says("--net stream: there is no socket");
	cr_assert_says(path);
	cr_assert_says("start the side that listens first");
	leave_stale_socket(path);
	cr_assert_eq(connect_message(path), -ECONNREFUSED);
	cr_assert_says("nobody listens on");
}

Test(net_stream, second_listener_is_refused_and_a_stale_file_replaced)
{
	const char *path = net_world_path("sock");
	struct err err = {0};
	struct net *second = NULL;

	listen_at(path);
	cr_assert_eq(net_stream_listen("--net", path, &second, &err), -EADDRINUSE);
	cr_assert_not_null(strstr(err.msg, "another process listens"), "%s", err.msg);
	net = net_free(net);
	cr_assert_eq(access(path, F_OK), -1, "the file goes with its listener");
	leave_stale_socket(path);
	listen_at(path);
	peer = dial(path);
	end_wait_up(&end, 1);
}

Test(net_stream, what_is_no_stream_socket_is_not_adopted)
{
	struct err err = {0};
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	cr_assert_lt(net_stream_adopt("--net", fds[0], &net, &err), 0);
	cr_assert_not_null(strstr(err.msg, "is not a stream socket"), "%s", err.msg);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	cr_assert_eq(net_stream_adopt("--net", fds[0], &net, &err), -EINVAL);
	cr_assert_geq(fcntl(fds[0], F_GETFD), 0, "still the caller's");
}

/* ---- QEMU speaks the same ---- */

/* Its monitor speaks when QEMU has begun to serve its sockets: before, it now and then loses a
 * connection that it has not taken yet. */
static void wait_for_monitor(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte;

	cr_assert_geq(fd, 0);
	memcpy(addr.sun_path, path, strlen(path));
	for (unsigned i = 0;
	     i < 20000 && connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0; i++)
		(void)usleep(1000);
	cr_assert_eq(read(fd, &byte, 1), 1, "the monitor's greeting");
	close(fd);
}

/* It makes its sockets in a thread. */
static struct net *connect_in_time(const char *path)
{
	struct err error = {0};
	struct net *ret = NULL;
	int r = -ENOENT;

	for (unsigned i = 0; i < 20000 && (r == -ENOENT || r == -ECONNREFUSED); i++) {
		(void)usleep(1000);
		r = net_stream_connect("--net", path, &ret, &error);
	}
	cr_assert_eq(r, 0, "%s", error.msg);
	return ret;
}

/* A QEMU without a machine, which joins two of its streams by a hub. */
static pid_t start_hub(const char *a, const char *b, const char *monitor)
{
	char left[256], right[256], third[256];
	pid_t pid;

	(void)snprintf(left, sizeof(left), "stream,id=a,server=on,addr.type=unix,addr.path=%s", a);
	(void)snprintf(right, sizeof(right), "stream,id=b,server=on,addr.type=unix,addr.path=%s",
		       b);
	(void)snprintf(third, sizeof(third), "unix:%s,server=on,wait=off", monitor);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		execlp("qemu-system-x86_64", "qemu-system-x86_64", "-M", "none", "-nodefaults",
		       "-display", "none", "-monitor", third, "-netdev", left, "-netdev", right,
		       "-netdev", "hubport,hubid=0,id=ha,netdev=a", "-netdev",
		       "hubport,hubid=0,id=hb,netdev=b", NULL);
		_exit(127);
	}
	return pid;
}

Test(net_stream, frames_go_through_qemu)
{
	static struct end other_end;
	struct net *other = NULL;
	char a[100], b[100], monitor[100];
	unsigned late;
	pid_t hub;

	if (system("qemu-system-x86_64 -M none -netdev help 2>/dev/null | grep -qx stream") != 0)
		cr_skip_test("there is no QEMU with -netdev stream here");
	(void)snprintf(a, sizeof(a), "%s", net_world_path("a"));
	(void)snprintf(b, sizeof(b), "%s", net_world_path("b"));
	(void)snprintf(monitor, sizeof(monitor), "%s", net_world_path("monitor"));
	hub = start_hub(a, b, monitor);
	wait_for_monitor(monitor);
	net = connect_in_time(a);
	other = connect_in_time(b);
	end_attach(&end, net, 0);
	end_attach(&other_end, other, 0);
	/* Until QEMU has taken both connections, it has nobody to pass a frame on to. */
	for (unsigned sent = 0; other_end.n == 0; sent++) {
		int r = end_send(&end, 60, 1);

		cr_assert_lt(sent, 20000);
		cr_assert(r == 0 || r == -EAGAIN, "%d", r);
		(void)world_run_for(NS_PER_MS);
	}
	/* Those of the others that are still under way. */
	do {
		late = other_end.n;
		(void)world_run_for(300 * NS_PER_MS);
	} while (other_end.n != late);
	other_end.n = 0;
	for (unsigned i = 1; i <= 3; i++) {
		cr_assert_eq(end_send(&end, 20000 * i, (uint8_t)(10 + i)), 0);
		end_wait_frames(&other_end, i);
		cr_assert_eq(other_end.len[i - 1], 20000 * i);
		cr_assert_eq(other_end.mark[i - 1], 10 + i);
		cr_assert_eq(end_send(&other_end, 60 + i, (uint8_t)(20 + i)), 0);
		end_wait_frames(&end, i);
		cr_assert_eq(end.len[i - 1], 60 + i);
		cr_assert_eq(end.mark[i - 1], 20 + i);
	}
	kill(hub, SIGKILL);
	end_wait_down(&end, 1);
	other = net_free(other);
}
