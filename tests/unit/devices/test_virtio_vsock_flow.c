/* SPDX-License-Identifier: Apache-2.0 */
/* Credit, guests that do what they must not, pauses, and what is left after a restore. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "devices/virtio_vsock.h"
#include "devices/vsock_conn.h"
#include "devices/vsock_mux.h"
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

static uint8_t bytes[1 << 20];

static void set_up(void)
{
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 13 >> 4);
	vsock_begin(2);
}

TestSuite(vsock_flow, .init = set_up, .fini = vsock_end, .timeout = 60);

/* The test waits for 100 ms; nobody else may be busy. */
static void expect_idle(void)
{
	struct timespec pause = {.tv_nsec = 100 * (long)NS_PER_MS};
	uint64_t start = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	nanosleep(&pause, NULL);
	cr_assert_lt(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start, 20 * NS_PER_MS, "it spins");
}

static void send_packet(struct vsock_packet p)
{
	guest_send(&p, NULL);
}

/* ---- credit ---- */

static void grant(uint32_t host_port, uint32_t buf_alloc, uint32_t fwd_cnt)
{
	send_packet((struct vsock_packet){.op = CREDIT_UPDATE,
					  .src_port = 52,
					  .dst_port = host_port,
					  .buf_alloc = buf_alloc,
					  .fwd_cnt = fwd_cnt});
}

Test(vsock_flow, guest_gets_no_more_than_it_has_room_for)
{
	uint32_t host_port, got = 0;
	int fd = host_open(52, &host_port);

	grant(host_port, 10000, 0);
	host_write(fd, bytes, 100000);
	for (uint32_t room = 10000; room <= 100000; room += 10000) {
		while (got < room) {
			struct vsock_packet p = guest_expect(RW, 52, host_port);

			cr_assert_arr_eq(guest_payload, bytes + got, p.len);
			got += p.len;
		}
		cr_assert_eq(got, room);
		(void)guest_expect(CREDIT_REQUEST, 52, host_port);
		guest_expect_nothing();
		expect_idle();
		grant(host_port, 10000, got);
	}
	close(fd);
	(void)guest_expect(SHUTDOWN, 52, host_port);
}

Test(vsock_flow, window_that_shrinks_below_what_is_under_way_is_no_credit)
{
	uint32_t host_port;
	int fd = host_open(52, &host_port);

	host_write(fd, bytes, 1000);
	(void)guest_expect(RW, 52, host_port);
	grant(host_port, 10, 0);
	host_write(fd, bytes, 1000);
	(void)guest_expect(CREDIT_REQUEST, 52, host_port);
	guest_expect_nothing();
	expect_idle();
	grant(host_port, 10, 1000);
	cr_assert_eq(guest_expect(RW, 52, host_port).len, 10);
	close(fd);
}

Test(vsock_flow, guest_that_consumed_more_than_it_was_sent_is_reset)
{
	uint32_t host_port;
	int fd = host_open(52, &host_port);

	host_write(fd, bytes, 1000);
	(void)guest_expect(RW, 52, host_port);
	grant(host_port, 4096, 1001);
	(void)guest_expect(RST, 52, host_port);
	host_expect_end(fd);
	close(fd);
}

Test(vsock_flow, host_that_does_not_read_stops_its_guest_and_then_hears_all_of_it)
{
	static const uint32_t piece = 32 << 10;
	uint32_t host_port, sent = 0, forwarded = 0;
	int fd = host_open(52, &host_port);

	while (VSOCK_BUFFER - (sent - forwarded) >= piece) {
		guest_send_data(52, host_port, bytes + sent, piece);
		sent += piece;
		vdev_settle(&vsw);
		while (guest_has_packet())
			forwarded = guest_expect(CREDIT_UPDATE, 52, host_port).fwd_cnt;
	}
	expect_idle();
	send_packet(
		(struct vsock_packet){.op = CREDIT_REQUEST, .src_port = 52, .dst_port = host_port});
	forwarded = guest_expect(CREDIT_UPDATE, 52, host_port).fwd_cnt;
	/* To the last byte of the credit. */
	guest_send_data(52, host_port, bytes + sent, VSOCK_BUFFER - (sent - forwarded));
	sent = forwarded + VSOCK_BUFFER;
	guest_expect_nothing();
	host_expect(fd, bytes, sent);
	forwarded = guest_expect(CREDIT_UPDATE, 52, host_port).fwd_cnt;
	while (forwarded < sent)
		forwarded = guest_expect(CREDIT_UPDATE, 52, host_port).fwd_cnt;
	guest_send_data(52, host_port, "more", 4);
	host_expect(fd, "more", 4);
	close(fd);
}

Test(vsock_flow, byte_beyond_the_credit_is_a_reset)
{
	static const uint32_t piece = 64 << 10;
	uint32_t host_port;
	int fd = host_open(52, &host_port);

	/* What the socket of the host takes is credit again, so it ends some time. */
	for (int i = 0; i < 100 && vdev_stat(&vsw, "aborted") == 0; i++)
		guest_send_data(52, host_port, bytes, piece);
	while (guest_receive().op != RST)
		;
	cr_assert_eq(vdev_stat(&vsw, "aborted"), 1);
	close(fd);
}

Test(vsock_flow, host_that_stalls_holds_up_nobody_else)
{
	static const uint32_t piece = 32 << 10;
	uint32_t stalled, other, sent = 0, forwarded = 0;
	int fd = host_open(52, &stalled), fd2 = host_open(53, &other);

	while (VSOCK_BUFFER - (sent - forwarded) >= piece) {
		guest_send_data(52, stalled, bytes, piece);
		sent += piece;
		vdev_settle(&vsw);
		while (guest_has_packet())
			forwarded = guest_expect(CREDIT_UPDATE, 52, stalled).fwd_cnt;
	}
	for (int i = 0; i < 100; i++) {
		guest_send_data(53, other, "ping", 4);
		host_expect(fd2, "ping", 4);
		host_write(fd2, "pong", 4);
		(void)guest_expect(RW, 53, other);
	}
	close(fd);
	close(fd2);
}

Test(vsock_flow, guest_without_buffers_is_waited_for_in_silence)
{
	uint32_t ports[4], turns[4] = {0};
	int fds[4];

	for (unsigned i = 0; i < 4; i++)
		fds[i] = host_open(60 + i, &ports[i]);
	guest_keep_buffers(true);
	host_write(fds[0], bytes, 200000);
	for (unsigned i = 0; i < 16; i++) /* that is all that there were */
		(void)guest_expect(RW, 60, ports[0]);
	for (unsigned i = 1; i < 4; i++)
		host_write(fds[i], bytes, 100000);
	guest_expect_nothing();
	expect_idle();
	/* The guest may send, and others may come. */
	guest_send_data(60, ports[0], "hello", 5);
	host_expect(fds[0], "hello", 5);
	close(host_connect());
	close(fds[3]);
	expect_idle();
	/* Then each has its turn, the busy one as well. */
	for (unsigned i = 0; i < 4 * 16; i++) {
		guest_post(1);
		turns[guest_expect(RW, 0, 0).dst_port - 60]++;
	}
	for (unsigned i = 0; i < 4; i++)
		cr_assert_gt(turns[i], 8, "connection %u had %u turns", i, turns[i]);
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
}

/* ---- odd packets ---- */

Test(vsock_flow, odd_packets_are_answered_with_a_reset)
{
	static const uint16_t ops[] = {RESPONSE,       SHUTDOWN, RW, CREDIT_UPDATE,
				       CREDIT_REQUEST, 0,	 8,  0xffff};

	/* For no connection. */
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		guest_send_op(ops[i], 9, 10);
		(void)guest_expect(RST, 9, 10);
	}
	/* For one. */
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		uint32_t host_port;
		int fd;

		if (ops[i] == SHUTDOWN || ops[i] == RW || ops[i] == CREDIT_UPDATE ||
		    ops[i] == CREDIT_REQUEST)
			continue;
		fd = host_open(52, &host_port);
		guest_send_op(ops[i], 52, host_port);
		(void)guest_expect(RST, 52, host_port);
		host_expect_end(fd);
		close(fd);
	}
	guest_send_op(RST, 9, 10);
	guest_expect_nothing();
}

Test(vsock_flow, second_request_for_the_same_ports_ends_the_first_connection)
{
	int listener = host_listen(5, 1), fd = guest_open(101, 5, listener);

	guest_send_op(REQUEST, 101, 5);
	(void)guest_expect(RST, 101, 5);
	host_expect_end(fd);
	close(fd);
	close(listener);
}

Test(vsock_flow, request_is_not_answered_by_data)
{
	int fd = host_connect();
	struct vsock_packet p;

	host_write(fd, "CONNECT 52\n", 11);
	p = guest_expect(REQUEST, 52, 0);
	guest_send_data(52, p.src_port, "x", 1);
	(void)guest_expect(RST, 52, p.src_port);
	host_expect_end(fd);
	close(fd);
}

Test(vsock_flow, other_types_and_addresses)
{
	struct vsock_packet p = {.op = REQUEST, .src_port = 1, .dst_port = 2};

	p.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	send_packet(p);
	p = guest_receive();
	cr_assert(p.op == RST && p.type == VIRTIO_VSOCK_TYPE_SEQPACKET);
	p = (struct vsock_packet){.op = REQUEST, .src_port = 1, .dst_port = 2, .dst_cid = 77};
	send_packet(p);
	p = guest_receive();
	cr_assert(p.op == RST && p.src_cid == 77 && p.src_port == 2 && p.dst_port == 1);
	p = (struct vsock_packet){.op = REQUEST, .src_port = 1, .dst_port = 2, .src_cid = 43};
	send_packet(p);
	guest_expect_nothing();
	cr_assert_eq(vdev_stat(&vsw, "dropped"), 1);
}

Test(vsock_flow, length_beyond_the_packet_is_a_reset_and_less_is_taken_at_its_word)
{
	uint32_t host_port;
	int fd = host_open(52, &host_port);
	struct vsock_packet p = {.op = RW, .src_port = 52, .dst_port = host_port};

	send_packet(p); /* no bytes at all are none */
	p.len = 4;
	guest_send(&p, "four");
	host_expect(fd, "four", 4);
	p.len = UINT32_MAX;
	send_packet(p);
	(void)guest_expect(RST, 52, host_port);
	host_expect_end(fd);
	close(fd);
}

Test(vsock_flow, packet_shorter_than_its_header_breaks_the_device)
{
	uint64_t gpa = vdev_bytes(&vsw, "short", 5);

	vdev_break(&vsw, VSOCK_Q_TX, &(struct driver_desc){.addr = gpa, .len = 43}, 1);
	vdev_reset(&vsw);
	vsock_driver_up();
	guest_post(8);
	guest_send_op(RW, 1, 2);
	(void)guest_expect(RST, 1, 2);
}

Test(vsock_flow, header_in_many_pieces)
{
	struct vsock_packet p = {.src_cid = VSOCK_CID,
				 .dst_cid = 2,
				 .src_port = 3,
				 .dst_port = 4,
				 .type = 1,
				 .op = RW,
				 .len = 6};
	uint8_t packet[VSOCK_HEADER_LEN + 6];
	struct driver_seg segs[25];
	uint64_t gpa;

	vsock_packet_encode(&p, packet);
	memcpy(packet + VSOCK_HEADER_LEN, "sixsix", 6);
	gpa = vdev_bytes(&vsw, packet, sizeof(packet));
	for (unsigned i = 0; i < 25; i++)
		segs[i] = (struct driver_seg){gpa + i * 2, 2};
	(void)vdev_request(&vsw, VSOCK_Q_TX, segs, 25, 0);
	(void)guest_expect(RST, 3, 4);
}

struct flood {
	struct driver_seg packet;
	unsigned sent, taken;
};

static void flood_on(struct flood *f)
{
	struct driver_queue *dq = &vsw.q[VSOCK_Q_TX].dq;
	struct driver_used used;

	while (driver_add(dq, &f->packet, 1, 0, NULL) == 0)
		f->sent++;
	vdev_publish(&vsw, VSOCK_Q_TX);
	vdev_settle(&vsw);
	while (driver_collect(dq, &used))
		f->taken++;
}

/* Each is answered by a reset, for which there is no buffer: the device takes some, and then none
 * until the guest makes room. */
Test(vsock_flow, flood_of_packets_that_need_an_answer)
{
	enum { ENOUGH = VSOCK_MAX_REFUSALS + 16 };
	struct vsock_packet p = {.src_cid = VSOCK_CID, .dst_cid = 2, .type = 1, .op = RW};
	struct flood f = {.packet.len = VSOCK_HEADER_LEN};

	vsock_packet_encode(&p, bytes);
	f.packet.gpa = vdev_bytes(&vsw, bytes, VSOCK_HEADER_LEN);
	guest_keep_buffers(true);
	while (f.taken < ENOUGH)
		flood_on(&f);
	expect_idle();
	flood_on(&f);
	cr_assert_eq(f.taken, ENOUGH, "%u of %u were taken", f.taken, f.sent);
	guest_keep_buffers(false);
	for (unsigned answered = 0; answered < f.sent; answered++)
		(void)guest_expect(RST, 0, 0);
	guest_expect_nothing();
}

Test(vsock_flow, receive_buffer_without_room_for_data_breaks_the_device)
{
	const struct driver_seg header = {4096, VSOCK_HEADER_LEN};
	uint32_t host_port;

	vdev_reset(&vsw);
	vsock_driver_up();
	cr_assert_eq(driver_add(&vsw.q[VSOCK_Q_RX].dq, &header, 0, 1, NULL), 0);
	vdev_publish(&vsw, VSOCK_Q_RX);
	guest_send_op(RW, 1, 2);
	while (!(virtio_dev_status(vsw.dev) & VIRTIO_CONFIG_S_NEEDS_RESET))
		vdev_await_config(&vsw);
	cr_assert_not(guest_has_packet());
	vdev_reset(&vsw);
	vsock_driver_up();
	guest_post(8);
	close(host_open(52, &host_port));
}

/* ---- pause, restore ---- */

static void pause_and_resume(void)
{
	struct err err = {0};

	cr_assert_eq(vsw.dev->dev.ops->quiesce(&vsw.dev->dev, 10 * NS_PER_S, &err), 0, "%s",
		     err.msg);
	expect_idle();
	vsw.dev->dev.ops->resume(&vsw.dev->dev);
}

Test(vsock_flow, pause_keeps_connections_and_lets_nobody_spin)
{
	uint32_t host_port;
	int fd = host_open(52, &host_port), fd2;
	struct err err = {0};
	struct vsock_packet p;

	cr_assert_eq(vsw.dev->dev.ops->quiesce(&vsw.dev->dev, 10 * NS_PER_S, &err), 0, "%s",
		     err.msg);
	host_write(fd, "while it slept", 14);
	fd2 = host_connect();
	host_write(fd2, "CONNECT 53\n", 11);
	expect_idle();
	cr_assert_not(guest_has_packet());
	vsw.dev->dev.ops->resume(&vsw.dev->dev);
	for (int i = 0; i < 2; i++) {
		p = guest_receive();
		cr_assert(p.op == (p.dst_port == 52 ? RW : REQUEST));
		if (p.op == REQUEST)
			guest_send_op(RESPONSE, 53, p.src_port);
	}
	host_expect(fd2, "OK ", 3);
	pause_and_resume();
	guest_send_data(52, host_port, "after", 5);
	host_expect(fd, "after", 5);
	close(fd);
	close(fd2);
}

Test(vsock_flow, restored_guest_is_told_that_its_connections_are_gone)
{
	uint32_t old_port, new_port;
	int fd = host_open(52, &old_port), waiting;
	uint64_t gpa = guest_alloc(&vsw.mem, 4, 4);
	const struct driver_seg event = {gpa, 4};

	memset(guest_ptr(&vsw.mem, gpa, 4), 0xff, 4);
	cr_assert_eq(driver_add(&vsw.q[VSOCK_Q_EVENT].dq, &event, 0, 1, NULL), 0);
	vdev_publish(&vsw, VSOCK_Q_EVENT);
	vdev_settle(&vsw);
	cr_assert_not(driver_has_used(&vsw.q[VSOCK_Q_EVENT].dq));
	vdev_replace(&vsw, vsock_make);
	host_expect_end(fd);
	close(fd);
	cr_assert_eq(vdev_await_used(&vsw, VSOCK_Q_EVENT), 4);
	cr_assert_eq(get_le32(guest_ptr(&vsw.mem, gpa, 4)), VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	guest_send_data(52, old_port, "to whom", 7);
	(void)guest_expect(RST, 52, old_port);
	waiting = host_open(52, &new_port);
	host_write(waiting, "new", 3);
	(void)guest_expect(RW, 52, new_port);
	close(waiting);
}

Test(vsock_flow, packet_that_was_in_the_ring_at_the_save_is_taken_by_the_next_device)
{
	struct vsock_packet p = {.src_cid = VSOCK_CID, .dst_cid = 2, .type = 1, .op = RW};
	struct err err = {0};
	struct driver_seg seg = {.len = VSOCK_HEADER_LEN};

	vsock_packet_encode(&p, bytes);
	seg.gpa = vdev_bytes(&vsw, bytes, VSOCK_HEADER_LEN);
	cr_assert_eq(vsw.dev->dev.ops->quiesce(&vsw.dev->dev, 10 * NS_PER_S, &err), 0, "%s",
		     err.msg);
	cr_assert_eq(driver_add(&vsw.q[VSOCK_Q_TX].dq, &seg, 1, 0, NULL), 0);
	(void)driver_publish(&vsw.q[VSOCK_Q_TX].dq); /* and the kick is lost */
	vdev_replace(&vsw, vsock_make);
	(void)guest_expect(RST, 0, 0);
}

/* ---- many ---- */

Test(vsock_flow, table_that_is_full_lets_others_wait_or_refuses_them)
{
	static int fds[VSOCK_MAX_CONNECTIONS + 1];
	struct rlimit limit;
	uint32_t host_port;
	struct vsock_packet p;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < 2 * VSOCK_MAX_CONNECTIONS + 100)
		cr_skip_test("too few descriptors");
	for (unsigned i = 0; i < VSOCK_MAX_CONNECTIONS; i++)
		fds[i] = host_open(1000 + i, &host_port);
	fds[VSOCK_MAX_CONNECTIONS] = host_connect();
	host_write(fds[VSOCK_MAX_CONNECTIONS], "CONNECT 5\n", 10);
	guest_send_op(REQUEST, 9, 9);
	(void)guest_expect(RST, 9, 9);
	guest_expect_nothing();
	expect_idle();
	close(fds[0]);
	p = guest_expect(SHUTDOWN, 1000, 0);
	guest_send_op(RST, 1000, p.src_port);
	(void)guest_expect(REQUEST, 5, 0);
	for (unsigned i = 1; i <= VSOCK_MAX_CONNECTIONS; i++)
		close(fds[i]);
}

Test(vsock_flow, host_without_descriptors_is_asked_again_later)
{
	struct rlimit limit, low;
	uint32_t host_port;
	int first = host_connect(), fd;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	host_write(first, "CONNECT 1\n", 10);
	(void)guest_expect(REQUEST, 1, 0);
	fd = host_connect();
	vdev_settle(&vsw);
	low = limit;
	low.rlim_cur = (rlim_t)fd + 1;
	close(fd);
	vdev_settle(&vsw);
	fd = host_connect(); /* takes the last one */
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	host_write(fd, "CONNECT 52\n", 11);
	expect_idle();
	guest_send_op(REQUEST, 7, 7);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while ((host_port = guest_receive().src_port) == 7)
		;
	guest_send_op(RESPONSE, 52, host_port);
	host_expect(fd, "OK ", 3);
	close(fd);
	close(first);
}
