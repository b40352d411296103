/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fifty connections each way at once, each of which echoes a stream: every byte is checked at both
 * ends, credit is never exceeded, and nobody waits for ever. VMM_TEST_TIER=long: 20 MiB each.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "devices/vsock_conn.h"
#include "tests/unit/devices/vsock_world.h"

enum {
	EACH_WAY = 50,
	CONNECTIONS = 2 * EACH_WAY, /* the first half is the host's */
	ECHO_PORT = 700,	    /* of both sides */
	GUEST_PORT = 5000,	    /* and up: of the guest's connections */
	GUEST_WINDOW = 64 << 10,
	PIECE = 16 << 10,
	TX_SLOTS = 8,
	PATIENCE_MS = 20000,
};

static uint64_t stream_len;

/* Byte k of connection c. */
static uint8_t byte_at(unsigned c, uint64_t k)
{
	return (uint8_t)(k * 31 + (k >> 9) * 17 + c * 7);
}

static void generate(unsigned c, uint64_t from, uint8_t *to, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = byte_at(c, from + i);
}

static bool matches(unsigned c, uint64_t from, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != byte_at(c, from + i))
			return false;
	return true;
}

/* ---- the host: a thread that polls all its sockets ---- */

struct host_conn {
	int fd;
	uint64_t sent, got;
	size_t skip; /* of "OK PORT\n", until its newline */
	bool greeted;
	unsigned id; /* which stream; the guest's connections tell by their first 4 bytes */
	bool known, over;
};

static struct host_conn host[CONNECTIONS];
static const char *host_failure;

static void host_read(struct host_conn *h, bool client)
{
	static uint8_t buf[64 << 10];
	ssize_t n = recv(h->fd, buf, h->greeted || !client ? sizeof(buf) : 1, MSG_DONTWAIT);

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN) {
			h->over = true;
			if (h->got != stream_len)
				host_failure = "a stream ended early";
		}
		return;
	}
	if (client && !h->greeted) {
		h->greeted = buf[0] == '\n';
		return;
	}
	if (!client && !h->known) {
		h->known = true; /* streams of the guest differ in their first byte */
		for (h->id = EACH_WAY; h->id < CONNECTIONS && byte_at(h->id, 0) != buf[0];)
			h->id++;
	}
	if (!matches(h->id, h->got, buf, (size_t)n))
		host_failure = "a byte is wrong at the host";
	h->got += (uint64_t)n;
}

static uint64_t host_may_send(const struct host_conn *h, bool client)
{
	if (client)
		return h->greeted ? stream_len - h->sent : 0;
	return h->got - h->sent; /* the echo */
}

static void host_send(struct host_conn *h, bool client)
{
	static uint8_t buf[32 << 10];
	size_t len = (size_t)MIN(host_may_send(h, client), (uint64_t)sizeof(buf));
	ssize_t n;

	generate(h->id, h->sent, buf, len);
	n = send(h->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		h->sent += (uint64_t)n;
	else if (errno != EAGAIN)
		host_failure = "a stream can't be sent";
	if (client && h->sent == stream_len)
		(void)shutdown(h->fd, SHUT_WR);
}

static void start_clients(void)
{
	for (unsigned i = 0; i < EACH_WAY; i++) {
		char line[32];

		host[i] = (struct host_conn){.fd = host_connect(), .id = i, .known = true};
		(void)snprintf(line, sizeof(line), "CONNECT %u\n", ECHO_PORT);
		host_write(host[i].fd, line, strlen(line));
	}
}

static void *run_host(void *arg)
{
	int listener = *(int *)arg;
	unsigned n = EACH_WAY, over = 0;

	while (over < CONNECTIONS && !host_failure) {
		struct pollfd p[CONNECTIONS + 1];

		for (unsigned i = 0; i < n; i++) {
			struct host_conn *h = &host[i];
			bool out = host_may_send(h, i < EACH_WAY) > 0;

			p[i] = (struct pollfd){.fd = h->over ? -1 : h->fd,
					       .events = (short)(POLLIN | (out ? POLLOUT : 0))};
		}
		p[n] = (struct pollfd){.fd = listener, .events = POLLIN};
		if (poll(p, n + 1, PATIENCE_MS) <= 0) {
			host_failure = "the host waits in vain";
			break;
		}
		for (unsigned i = 0; i < n; i++) {
			if (p[i].revents & POLLOUT)
				host_send(&host[i], i < EACH_WAY);
			if (p[i].revents & (POLLIN | POLLHUP | POLLERR))
				host_read(&host[i], i < EACH_WAY);
			if (host[i].over && host[i].fd >= 0) {
				host[i].fd = fd_close(host[i].fd);
				over++;
			}
		}
		if (p[n].revents & POLLIN && n < CONNECTIONS) {
			int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

			if (fd >= 0)
				host[n++] = (struct host_conn){.fd = fd};
		}
	}
	return NULL;
}

/* ---- the guest: packets and credit by hand ---- */

struct guest_conn {
	uint32_t guest_port, host_port;
	bool open, over, half_closed, told_end;
	uint64_t sent, got;
	uint32_t told; /* fwd_cnt */
	uint32_t peer_buffer, peer_forwarded;
	unsigned control; /* operation to be sent, 0: none */
	uint32_t flags;
};

static struct guest_conn guest[CONNECTIONS];
static unsigned guest_hosts; /* connections of the host's so far */
static struct {
	uint64_t gpa[TX_SLOTS];
	unsigned free[TX_SLOTS], n_free;
} tx;

static struct guest_conn *find_guest(const struct vsock_packet *p)
{
	struct guest_conn *g;

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		g = &guest[i];
		if (g->host_port == p->src_port && g->guest_port == p->dst_port)
			return g;
	}
	cr_assert_eq(p->op, VIRTIO_VSOCK_OP_REQUEST);
	cr_assert_eq(p->dst_port, ECHO_PORT);
	cr_assert_lt(guest_hosts, EACH_WAY);
	g = &guest[guest_hosts++];
	*g = (struct guest_conn){.guest_port = ECHO_PORT, .host_port = p->src_port};
	return g;
}

/* Connections of the host's come in any order: the first byte tells the stream. */
static unsigned stream_of[CONNECTIONS];

static void guest_data(struct guest_conn *g, uint32_t len)
{
	unsigned i = (unsigned)(g - guest);

	if (g->got == 0 && len > 0 && i < EACH_WAY)
		for (stream_of[i] = 0; byte_at(stream_of[i], 0) != guest_payload[0];)
			stream_of[i]++;
	cr_assert(matches(stream_of[i], g->got, guest_payload, len), "a byte is wrong");
	g->got += len;
	/* Never more than we have room for: an echo keeps what it has not sent yet. */
	cr_assert_leq(i < EACH_WAY ? g->got - g->sent : g->got - g->told, (uint64_t)GUEST_WINDOW);
}

static void guest_packet(const struct vsock_packet *p)
{
	struct guest_conn *g = find_guest(p);

	g->peer_buffer = p->buf_alloc;
	g->peer_forwarded = p->fwd_cnt;
	switch (p->op) {
	case VIRTIO_VSOCK_OP_REQUEST:
		g->control = VIRTIO_VSOCK_OP_RESPONSE;
		g->open = true;
		break;
	case VIRTIO_VSOCK_OP_RESPONSE:
		g->open = true;
		break;
	case VIRTIO_VSOCK_OP_RW:
		guest_data(g, p->len);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		g->half_closed = true;
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		g->control = VIRTIO_VSOCK_OP_CREDIT_UPDATE;
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	default:
		cr_assert_eq(p->op, VIRTIO_VSOCK_OP_RST);
		cr_assert(g->told_end, "a connection was reset");
		g->over = true;
	}
}

static uint64_t wants_to_send(const struct guest_conn *g)
{
	uint64_t credit = g->peer_buffer - ((uint32_t)g->sent - g->peer_forwarded);
	uint64_t have = g - guest < EACH_WAY ? g->got - g->sent : stream_len - g->sent;
	uint64_t most = MIN(credit, (uint64_t)PIECE);

	return g->open ? MIN(have, most) : 0;
}

static void guest_emit(struct guest_conn *g, unsigned op, uint32_t len)
{
	unsigned slot = tx.free[--tx.n_free], i = (unsigned)(g - guest);
	uint32_t consumed = (uint32_t)(i < EACH_WAY ? g->sent : g->got);
	struct vsock_packet p = {.src_cid = VSOCK_CID,
				 .dst_cid = VSOCK_HOST_CID,
				 .src_port = g->guest_port,
				 .dst_port = g->host_port,
				 .len = len,
				 .type = VIRTIO_VSOCK_TYPE_STREAM,
				 .op = (uint16_t)op,
				 .flags = g->flags,
				 .buf_alloc = GUEST_WINDOW,
				 .fwd_cnt = consumed};
	struct driver_seg seg = {tx.gpa[slot], VSOCK_HEADER_LEN + len};
	uint8_t *to = guest_ptr(&vsw.mem, seg.gpa, seg.len);

	vsock_packet_encode(&p, to);
	generate(stream_of[i], g->sent, to + VSOCK_HEADER_LEN, len);
	g->sent += len;
	g->told = consumed;
	cr_assert_eq(driver_add(&vsw.q[VSOCK_Q_TX].dq, &seg, 1, 0, (void *)(uintptr_t)(slot + 1)),
		     0);
}

/* Has it something to say? At most one packet. */
static bool guest_turn(struct guest_conn *g)
{
	uint64_t len = wants_to_send(g);
	unsigned i = (unsigned)(g - guest);
	uint64_t consumed = i < EACH_WAY ? g->sent : g->got;

	if (tx.n_free == 0 || g->over)
		return false;
	if (g->control) {
		unsigned op = g->control;

		g->control = 0;
		guest_emit(g, op, 0);
	} else if (len > 0) {
		guest_emit(g, VIRTIO_VSOCK_OP_RW, (uint32_t)len);
	} else if ((uint32_t)consumed - g->told >= GUEST_WINDOW / 2) {
		guest_emit(g, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	} else if (g->open && !g->told_end && g->got == stream_len && g->sent == stream_len) {
		g->told_end = true;
		g->flags = 3;
		guest_emit(g, VIRTIO_VSOCK_OP_SHUTDOWN, 0);
	} else {
		return false;
	}
	return true;
}

static void await_interrupt(void)
{
	struct pollfd p[2] = {{.fd = vsw.q[VSOCK_Q_RX].call, .events = POLLIN},
			      {.fd = vsw.q[VSOCK_Q_TX].call, .events = POLLIN}};
	uint64_t count;

	if (driver_interrupts_on(&vsw.q[VSOCK_Q_RX].dq) ||
	    driver_interrupts_on(&vsw.q[VSOCK_Q_TX].dq))
		return;
	cr_assert_gt(poll(p, 2, PATIENCE_MS), 0, "the guest waits in vain (%s)",
		     host_failure ? host_failure : "so does the host");
	for (int i = 0; i < 2; i++)
		if (p[i].revents)
			cr_assert_eq(read(p[i].fd, &count, sizeof(count)), sizeof(count));
}

static bool guest_step(void)
{
	struct driver_used used;
	bool progress = false;

	while (guest_has_packet()) {
		struct vsock_packet p = guest_receive();

		guest_packet(&p);
		progress = true;
	}
	while (driver_collect(&vsw.q[VSOCK_Q_TX].dq, &used))
		tx.free[tx.n_free++] = (unsigned)(uintptr_t)used.cookie - 1;
	for (unsigned i = 0; i < CONNECTIONS; i++)
		progress |= guest_turn(&guest[i]);
	vdev_publish(&vsw, VSOCK_Q_TX);
	return progress;
}

static bool all_over(void)
{
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (!guest[i].over)
			return false;
	return true;
}

static void start_guest(void)
{
	guest_hosts = 0;
	tx.n_free = 0;
	memset(guest, 0, sizeof(guest));
	for (unsigned i = 0; i < TX_SLOTS; i++) {
		tx.gpa[i] = guest_alloc(&vsw.mem, VSOCK_HEADER_LEN + PIECE, 16);
		tx.free[tx.n_free++] = i;
	}
	for (unsigned i = EACH_WAY; i < CONNECTIONS; i++) {
		stream_of[i] = i;
		guest[i] = (struct guest_conn){.guest_port = GUEST_PORT + i,
					       .host_port = ECHO_PORT,
					       .control = VIRTIO_VSOCK_OP_REQUEST};
	}
}

static void echo_all(unsigned combination)
{
	pthread_t thread;
	int listener;

	vsock_begin(combination);
	/* As long as the half that has to be there at once: the others are tried again. */
	listener = host_listen(ECHO_PORT, EACH_WAY / 2);
	host_failure = NULL;
	start_clients();
	start_guest();
	cr_assert_eq(pthread_create(&thread, NULL, run_host, &listener), 0);
	while (!all_over() && !host_failure)
		if (!guest_step())
			await_interrupt();
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_null(host_failure, "%s", host_failure);
	cr_assert_eq(vdev_stat(&vsw, "aborted"), 0);
	cr_assert_eq(vdev_stat(&vsw, "rx_bytes"), CONNECTIONS * stream_len);
	cr_assert_eq(vdev_stat(&vsw, "tx_bytes"), CONNECTIONS * stream_len);
	close(listener);
	vsock_end();
}

static void set_up(void)
{
	const char *tier = getenv("VMM_TEST_TIER");

	stream_len = tier && strcmp(tier, "long") == 0 ? MIB(20) : KIB(600) + 13;
}

TestSuite(vsock_load, .init = set_up, .timeout = 600);

Test(vsock_load, fifty_connections_each_way_split)
{
	echo_all(0);
	echo_all(2);
}

Test(vsock_load, fifty_connections_each_way_packed)
{
	echo_all(3 | 8);
	echo_all(4 | 1);
}
