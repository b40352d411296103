/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "devices/virtio_vsock.h"
#include "devices/vsock_conn.h"
#include "tests/unit/devices/data_path.h"
#include "tests/unit/devices/vsock_world.h"

enum {
	REQUEST = VIRTIO_VSOCK_OP_REQUEST,
	RESPONSE = VIRTIO_VSOCK_OP_RESPONSE,
	RST = VIRTIO_VSOCK_OP_RST,
	SHUTDOWN = VIRTIO_VSOCK_OP_SHUTDOWN,
	RW = VIRTIO_VSOCK_OP_RW,
	CREDIT_UPDATE = VIRTIO_VSOCK_OP_CREDIT_UPDATE,
	CREDIT_REQUEST = VIRTIO_VSOCK_OP_CREDIT_REQUEST,
};

static void set_up(void)
{
	vsock_begin(2);
}

TestSuite(vsock, .init = set_up, .fini = vsock_end, .timeout = 60);
TestSuite(vsock_all, .fini = vsock_end, .timeout = 60);

static void guest_shuts(uint32_t guest_port, uint32_t host_port, uint32_t how)
{
	guest_send(&(struct vsock_packet){.op = SHUTDOWN,
					  .src_port = guest_port,
					  .dst_port = host_port,
					  .flags = how},
		   NULL);
}

/* ---- connections ---- */

Test(vsock, configuration_is_the_cid)
{
	cr_assert_eq(vdev_config(&vsw, 0, 8), VSOCK_CID);
	cr_assert_not(vsw.dev->offered & VIRTIO_BIT(VIRTIO_VSOCK_F_SEQPACKET));
}

static void both_ways(uint32_t guest_port, uint32_t host_port, int fd)
{
	struct vsock_packet p;

	host_write(fd, "hello guest", 11);
	p = guest_expect(RW, guest_port, host_port);
	cr_assert_eq(p.len, 11);
	cr_assert_arr_eq(guest_payload, "hello guest", 11);
	guest_send_data(guest_port, host_port, "hello host", 10);
	host_expect(fd, "hello host", 10);
}

Test(vsock_all, host_and_guest_connect_in_all_kinds_of_queues)
{
	for (unsigned combination = 0; combination < VDEV_COMBINATIONS; combination++) {
		uint32_t host_port;
		int fd, listener;

		vsock_begin(combination);
		fd = host_open(52, &host_port);
		cr_assert_geq(host_port, 1U << 30);
		both_ways(52, host_port, fd);
		guest_shuts(52, host_port, 3);
		(void)guest_expect(RST, 52, host_port);
		host_expect_end(fd);
		close(fd);

		listener = host_listen(1234, 1);
		fd = guest_open(77, 1234, listener);
		both_ways(77, 1234, fd);
		close(fd);
		cr_assert_eq(guest_expect(SHUTDOWN, 77, 1234).flags, 3);
		guest_send_op(RST, 77, 1234);
		guest_expect_nothing();
		close(listener);
		cr_assert_eq(vdev_stat(&vsw, "host_connections"), 1);
		cr_assert_eq(vdev_stat(&vsw, "guest_connections"), 1);
		cr_assert_eq(vdev_stat(&vsw, "rx_bytes"), 22);
		cr_assert_eq(vdev_stat(&vsw, "tx_bytes"), 20);
		cr_assert_eq(vdev_stat(&vsw, "aborted"), 0, "these were orderly ends");
		if (combination + 1 < VDEV_COMBINATIONS)
			vsock_end();
	}
}

Test(vsock, guest_that_refuses_ends_the_hosts_connection)
{
	int fd = host_connect();
	struct vsock_packet p;

	host_write(fd, "CONNECT 7\n", 10);
	p = guest_expect(REQUEST, 7, 0);
	guest_send_op(RST, 7, p.src_port);
	host_expect_end(fd);
	close(fd);
}

Test(vsock, host_port_that_nobody_listens_on_is_refused)
{
	guest_send_op(REQUEST, 100, 1234);
	(void)guest_expect(RST, 100, 1234);
	cr_assert_eq(vdev_stat(&vsw, "refused"), 1);
	/* The ports are free again. */
	close(guest_open(100, 1234, host_listen(1234, 1)));
	(void)guest_expect(SHUTDOWN, 100, 1234);
}

Test(vsock, what_follows_the_connect_line_is_data)
{
	int fd = host_connect();
	struct vsock_packet p;

	host_write(fd, "CON", 3);
	vdev_settle(&vsw);
	host_write(fd, "NECT 52\r\nearly", 14);
	p = guest_expect(REQUEST, 52, 0);
	guest_send_op(RESPONSE, 52, p.src_port);
	p = guest_expect(RW, 52, p.src_port);
	cr_assert_eq(p.len, 5);
	cr_assert_arr_eq(guest_payload, "early", 5);
	close(fd);
}

Test(vsock, other_first_lines_end_the_connection)
{
	static const char *const lines[] = {
		"CONNECT\n",
		"CONNECT \n",
		"connect 5\n",
		"CONNECT -1\n",
		"CONNECT 4294967295\n",
		"CONNECT 99999999999999999999999999",
		"GET / HTTP/1.1\r\n\r",
		"CONNECT 5 \n",
		"\n",
		"CONNECT 0x10\n",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		int fd = host_connect();

		host_write(fd, lines[i], strlen(lines[i]));
		host_expect_end(fd);
		close(fd);
	}
	guest_expect_nothing();
	cr_assert_eq(vdev_stat(&vsw, "host_connections"), 0);
}

Test(vsock, client_that_leaves_before_it_was_accepted_is_a_reset_for_the_guest)
{
	int fd = host_connect();
	struct vsock_packet p;

	host_write(fd, "CONNECT 52\n", 11);
	p = guest_expect(REQUEST, 52, 0);
	close(fd);
	(void)guest_expect(RST, 52, p.src_port);
	/* It crossed the guest's answer: that is for nobody now. */
	guest_send_op(RESPONSE, 52, p.src_port);
	(void)guest_expect(RST, 52, p.src_port);
}

Test(vsock, client_that_leaves_before_its_line_is_nothing_to_the_guest)
{
	int fd = host_connect();

	host_write(fd, "CONNECT", 7);
	close(fd);
	guest_expect_nothing();
}

Test(vsock, listener_with_a_full_queue_is_tried_again)
{
	int listener = host_listen(5, 0), fds[3];

	/* A queue of 0 holds one. */
	guest_send_op(REQUEST, 101, 5);
	(void)guest_expect(RESPONSE, 101, 5);
	guest_send_op(REQUEST, 102, 5);
	guest_send_op(REQUEST, 103, 5);
	guest_expect_nothing();
	fds[0] = host_accept(listener);
	(void)guest_expect(RESPONSE, 0, 5);
	fds[1] = host_accept(listener);
	(void)guest_expect(RESPONSE, 0, 5);
	fds[2] = host_accept(listener);
	both_ways(102, 5, fds[1]);
	both_ways(103, 5, fds[2]);
	cr_assert_eq(vdev_stat(&vsw, "guest_connections"), 3);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

Test(vsock, listener_whose_queue_stays_full_is_given_up)
{
	int listener = host_listen(5, 0);

	guest_send_op(REQUEST, 101, 5);
	(void)guest_expect(RESPONSE, 101, 5);
	guest_send_op(REQUEST, 102, 5);
	(void)guest_expect(RST, 102, 5); /* after 2 s */
	close(listener);
}

Test(vsock, guest_that_never_answers_is_given_up)
{
	int fd = host_connect();
	struct vsock_packet p;

	host_write(fd, "CONNECT 52\n", 11);
	p = guest_expect(REQUEST, 52, 0);
	host_expect_end(fd); /* after 5 s */
	(void)guest_expect(RST, 52, p.src_port);
	close(fd);
}

Test(vsock_all, clients_wait_until_there_is_a_driver)
{
	struct vsock_packet p;
	int fd;

	vsock_begin_without_driver(0);
	fd = host_connect();
	host_write(fd, "CONNECT 52\n", 11);
	vdev_settle(&vsw);
	vsock_driver_up();
	guest_post(4);
	p = guest_expect(REQUEST, 52, 0);
	guest_send_op(RESPONSE, 52, p.src_port);
	host_expect(fd, "OK ", 3);
	close(fd);
}

/* ---- the end of connections ---- */

Test(vsock, host_ends_its_sending_half_and_goes_on_reading)
{
	uint32_t host_port;
	int fd = host_open(52, &host_port);

	host_write(fd, "last", 4);
	shutdown(fd, SHUT_WR);
	cr_assert_eq(guest_expect(RW, 52, host_port).len, 4);
	cr_assert_eq(guest_expect(SHUTDOWN, 52, host_port).flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	guest_send_data(52, host_port, "answer", 6);
	host_expect(fd, "answer", 6);
	guest_shuts(52, host_port, 3);
	(void)guest_expect(RST, 52, host_port);
	host_expect_end(fd);
	close(fd);
}

Test(vsock, guest_ends_its_sending_half_and_goes_on_reading)
{
	uint32_t host_port;
	int fd = host_open(52, &host_port);

	guest_send_data(52, host_port, "last", 4);
	guest_shuts(52, host_port, VIRTIO_VSOCK_SHUTDOWN_SEND);
	host_expect(fd, "last", 4);
	host_expect_end(fd);
	host_write(fd, "answer", 6);
	cr_assert_eq(guest_expect(RW, 52, host_port).len, 6);
	close(fd);
	cr_assert_eq(guest_expect(SHUTDOWN, 52, host_port).flags, 3);
	guest_send_op(RST, 52, host_port);
}

Test(vsock, guest_ends_its_receiving_half)
{
	uint32_t host_port;
	int fd = host_open(52, &host_port);

	guest_shuts(52, host_port, VIRTIO_VSOCK_SHUTDOWN_RCV);
	vdev_settle(&vsw);
	cr_assert_eq(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	cr_assert_eq(errno, EPIPE);
	guest_send_data(52, host_port, "still here", 10);
	host_expect(fd, "still here", 10);
	guest_shuts(52, host_port, VIRTIO_VSOCK_SHUTDOWN_SEND);
	(void)guest_expect(RST, 52, host_port);
	host_expect_end(fd);
	close(fd);
}

Test(vsock, host_that_reads_no_more_is_told_of_and_survived)
{
	uint32_t host_port;
	int fd = host_open(52, &host_port);

	shutdown(fd, SHUT_RD);
	guest_send_data(52, host_port, "lost", 4);
	cr_assert_eq(guest_expect(SHUTDOWN, 52, host_port).flags, VIRTIO_VSOCK_SHUTDOWN_RCV);
	host_write(fd, "but it sends", 12);
	cr_assert_eq(guest_expect(RW, 52, host_port).len, 12);
	close(fd);
	cr_assert_eq(guest_expect(SHUTDOWN, 52, host_port).flags, 3);
}

Test(vsock, bytes_sent_before_the_host_left_reach_the_guest)
{
	static uint8_t bytes[100000];
	uint32_t host_port, got = 0;
	int fd = host_open(52, &host_port);
	struct vsock_packet p;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 >> 3);
	guest_keep_buffers(true); /* 16 are there: not enough for all of it */
	host_write(fd, bytes, sizeof(bytes));
	close(fd);
	while (got < 16 * (VSOCK_RX_SIZE - VSOCK_HEADER_LEN)) {
		p = guest_expect(RW, 52, host_port);
		cr_assert_arr_eq(guest_payload, bytes + got, p.len);
		got += p.len;
	}
	guest_expect_nothing();
	guest_keep_buffers(false);
	guest_post(4);
	while (got < sizeof(bytes)) {
		p = guest_expect(RW, 52, host_port);
		cr_assert_arr_eq(guest_payload, bytes + got, p.len);
		got += p.len;
	}
	cr_assert_eq(guest_expect(SHUTDOWN, 52, host_port).flags, 3);
}

Test(vsock, bytes_sent_before_the_guest_left_reach_a_slow_host)
{
	static uint8_t bytes[32 << 10];
	uint32_t host_port, sent = 0, forwarded = 0;
	int fd = host_open(52, &host_port);

	memset(bytes, 0x5a, sizeof(bytes));
	/* Fill the socket of the host, then the device's own buffer. */
	while (VSOCK_BUFFER - (sent - forwarded) >= sizeof(bytes)) {
		guest_send_data(52, host_port, bytes, sizeof(bytes));
		sent += sizeof(bytes);
		vdev_settle(&vsw);
		while (guest_has_packet())
			forwarded = guest_expect(CREDIT_UPDATE, 52, host_port).fwd_cnt;
	}
	cr_assert_gt(sent, VSOCK_BUFFER);
	guest_shuts(52, host_port, 3);
	(void)guest_expect(RST, 52, host_port);
	for (uint32_t got = 0; got < sent; got += sizeof(bytes))
		host_expect(fd, bytes, sizeof(bytes));
	host_expect_end(fd);
	close(fd);
}

Test(vsock, hundred_clients_that_leave_in_the_middle)
{
	for (int i = 0; i < 100; i++) {
		uint32_t host_port;
		int fd = host_open(52, &host_port);

		guest_send_data(52, host_port, "unread", 6);
		close(fd);
		guest_send_data(52, host_port, "broken pipe", 11);
		if (guest_receive().op == SHUTDOWN)
			guest_send_op(RST, 52, host_port);
		/* The reset may come before or after the shutdown is answered. */
		vdev_settle(&vsw);
		while (guest_has_packet())
			(void)guest_receive();
	}
	for (int i = 0; i < 3; i++) {
		uint32_t host_port;
		int fd = host_open(52, &host_port);

		both_ways(52, host_port, fd);
	}
}

/* ---- cost ---- */

Test(vsock, nothing_is_allocated_or_locked_on_the_way)
{
	static uint8_t bytes[3000];
	uint32_t host_port;
	int fd = host_open(52, &host_port);

	vdev_settle(&vsw);
	data_path_watch(&vsw);
	for (unsigned i = 0; i < 20; i++) {
		guest_send_data(52, host_port, bytes, sizeof(bytes));
		host_expect(fd, bytes, sizeof(bytes));
		host_write(fd, bytes, sizeof(bytes));
		while (guest_receive().op != RW)
			;
	}
	data_path_look_away();
	cr_assert_eq(data_path_allocations(), 0);
	cr_assert_eq(data_path_locks(), 0);
	close(fd);
}
