/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/vsock_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "bus/device.h"

enum {
	SHUT_BOTH = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND,
	/* The guest hears of free room when it is as much as this. */
	CREDIT_STEP = VSOCK_BUFFER / 4,
};

/* ---- states ---- */

/* How long a state may last. Linux waits 2 s for an answer to its own request, and 8 s for one to
 * its shutdown. */
static uint64_t patience_ns(enum vsock_state state)
{
	switch (state) {
	case VSOCK_HELLO:
		return 20 * NS_PER_S;
	case VSOCK_REQUESTED:
		return 5 * NS_PER_S;
	case VSOCK_CONNECTING:
		return 2 * NS_PER_S;
	case VSOCK_CLOSING:
		return 8 * NS_PER_S;
	case VSOCK_OPEN:
	case VSOCK_ENDING:
		break;
	}
	return 0;
}

static void enter(struct vsock_conn *c, enum vsock_state state)
{
	c->state = state;
	vsock_conn_restart_clock(c);
}

void vsock_conn_restart_clock(struct vsock_conn *c)
{
	uint64_t ns = patience_ns(c->state);

	c->deadline_ns = ns ? clock_now_ns() + ns : 0;
}

int vsock_conn_new(int fd, struct vsock_counters *counters, struct vsock_conn **ret)
{
	struct vsock_conn *c = calloc(1, sizeof(*c));
	int r = c ? chr_ring_init(&c->ring, VSOCK_BUFFER) : -ENOMEM;

	if (r < 0) {
		(void)fd_close(fd);
		free(c);
		return r;
	}
	list_init(&c->all);
	list_init(&c->ready);
	list_init(&c->dirty);
	c->counters = counters;
	c->socket.fd = fd;
	c->batch = 1;
	enter(c, fd >= 0 ? VSOCK_HELLO : VSOCK_CONNECTING);
	*ret = c;
	return 0;
}

struct vsock_conn *vsock_conn_free(struct vsock_conn *c)
{
	if (!c)
		return NULL;
	(void)fd_close(c->socket.fd);
	chr_ring_done(&c->ring);
	free(c);
	return NULL;
}

/* The owner takes the socket off the loop and closes it: see vsock_conn_interest(). */
static void let_go(struct vsock_conn *c)
{
	chr_ring_drop(&c->ring, c->ring.used);
	c->deaf = c->hung_up = true;
	c->readable = false;
}

static void end(struct vsock_conn *c)
{
	enter(c, VSOCK_ENDING);
	c->tell = 0;
	let_go(c);
}

/* True if the guest has heard of this connection. */
static bool is_known(const struct vsock_conn *c)
{
	return c->state != VSOCK_HELLO && !(c->tell & VSOCK_TELL_REQUEST);
}

void vsock_conn_reset(struct vsock_conn *c)
{
	bool tell = is_known(c) && c->state != VSOCK_ENDING;

	device_count_own(&c->counters->aborted, 1);
	end(c);
	if (tell)
		c->tell = VSOCK_TELL_RST;
}

void vsock_conn_expire(struct vsock_conn *c)
{
	vsock_conn_reset(c);
}

void vsock_conn_request(struct vsock_conn *c, uint32_t host_port, uint32_t guest_port)
{
	enter(c, VSOCK_REQUESTED);
	c->host_port = host_port;
	c->guest_port = guest_port;
	c->tell = VSOCK_TELL_REQUEST;
}

void vsock_conn_connected(struct vsock_conn *c, int fd)
{
	enter(c, VSOCK_OPEN);
	c->socket.fd = fd;
	c->tell = VSOCK_TELL_RESPONSE;
}

/* ---- the host's side is shut, one way or both ---- */

static void shut(struct vsock_conn *c, unsigned how)
{
	c->shut |= how;
	if (c->state == VSOCK_OPEN && c->shut != c->shut_told)
		c->tell |= VSOCK_TELL_SHUTDOWN;
}

static void note_credit(struct vsock_conn *c)
{
	if (c->state == VSOCK_OPEN && c->forwarded - c->forwarded_told >= CREDIT_STEP)
		c->tell |= VSOCK_TELL_CREDIT;
}

/* The host's peer reads no more. What the guest sends until it knows is taken all the same. */
static void drop_ring(struct vsock_conn *c)
{
	c->forwarded += (uint32_t)c->ring.used;
	chr_ring_drop(&c->ring, c->ring.used);
	c->deaf = true;
	note_credit(c);
}

static void go_deaf(struct vsock_conn *c)
{
	drop_ring(c);
	shut(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
}

static bool reads(const struct vsock_conn *c)
{
	return c->state == VSOCK_OPEN && !c->ended && !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

/* The host's peer sends no more, and all that it has sent was read. */
static void input_ended(struct vsock_conn *c)
{
	c->ended = true;
	c->readable = false;
	shut(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
	if (c->hung_up)
		shut(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
}

static void hang_up(struct vsock_conn *c)
{
	c->hung_up = true;
	if (c->state == VSOCK_ENDING) {
		let_go(c);
		return;
	}
	if (c->state != VSOCK_OPEN && c->state != VSOCK_CLOSING) {
		vsock_conn_reset(c);
		return;
	}
	drop_ring(c);
	if (reads(c))
		c->readable = true; /* what it has sent before is still there */
	else
		shut(c, SHUT_BOTH);
}

/* ---- from the guest to the host ---- */

/* All that the guest sent is with the host. */
static void forwarded_all(struct vsock_conn *c)
{
	if (c->state == VSOCK_ENDING) {
		let_go(c);
	} else if ((c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) && !c->shut_down && !c->deaf) {
		c->shut_down = true;
		(void)shutdown(c->socket.fd, SHUT_WR);
	}
}

/* Bytes, 0 when it would have to wait, or -errno. */
static ssize_t send_some(const struct vsock_conn *c, const struct iov *v)
{
	struct msghdr msg = {.msg_iov = v->at, .msg_iovlen = v->n};
	ssize_t n = sendmsg(c->socket.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0)
		return n;
	return errno == EAGAIN ? 0 : -errno;
}

static void put_into_ring(struct vsock_conn *c, const struct iov *v)
{
	for (unsigned i = 0; i < v->n; i++) {
		size_t n = chr_ring_put(&c->ring, v->at[i].iov_base, v->at[i].iov_len);

		vmm_assert(n == v->at[i].iov_len); /* it is as large as the credit */
	}
}

static void forward(struct vsock_conn *c, struct iov *v, uint32_t len)
{
	ssize_t n = 0;

	if (!c->deaf && c->ring.used == 0)
		n = send_some(c, v);
	if (n < 0)
		go_deaf(c);
	if (c->deaf) {
		c->forwarded += len;
		return;
	}
	c->forwarded += (uint32_t)n;
	iov_skip(v, (uint64_t)n);
	put_into_ring(c, v);
}

static void flush_ring(struct vsock_conn *c)
{
	for (int pieces = 0; pieces < 2 && c->ring.used > 0; pieces++) { /* it may wrap round */
		const uint8_t *bytes;
		struct iovec piece = {.iov_len = chr_ring_peek(&c->ring, &bytes)};
		ssize_t n;

		piece.iov_base = (void *)(uintptr_t)bytes;
		n = send_some(c, &(struct iov){.at = &piece, .n = 1});
		if (n < 0)
			go_deaf(c);
		if (n <= 0)
			break;
		chr_ring_drop(&c->ring, (size_t)n);
		c->forwarded += (uint32_t)n;
	}
	note_credit(c);
	if (c->ring.used == 0)
		forwarded_all(c);
}

static void take_data(struct vsock_conn *c, uint32_t len, struct iov *payload)
{
	bool too_much = len > VSOCK_BUFFER - (c->received - c->forwarded);

	if (too_much || (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND)) {
		vsock_conn_reset(c);
		return;
	}
	device_count_own(&c->counters->tx_bytes, len);
	c->received += len;
	if (len > 0)
		forward(c, payload, len);
	note_credit(c);
}

/* ---- the guest's other packets ---- */

/* 5.10.6.3. False for a guest that has consumed more than it was sent. */
static bool take_credit(struct vsock_conn *c, const struct vsock_packet *p)
{
	uint32_t under_way = c->sent - c->peer_forwarded;

	if (p->fwd_cnt - c->peer_forwarded > under_way)
		return false;
	c->peer_forwarded = p->fwd_cnt;
	c->peer_buffer = p->buf_alloc;
	return true;
}

static void take_response(struct vsock_conn *c)
{
	if (c->state != VSOCK_REQUESTED || !is_known(c) ||
	    vsock_uds_answer(c->socket.fd, c->host_port) < 0) {
		vsock_conn_reset(c);
		return;
	}
	enter(c, VSOCK_OPEN);
}

/* Nothing more goes either way but what the ring holds: the guest need not wait for that. */
static void guest_is_done(struct vsock_conn *c)
{
	enter(c, VSOCK_ENDING);
	c->tell = VSOCK_TELL_RST;
	c->readable = false;
	if (c->ring.used == 0)
		let_go(c);
}

static void take_shutdown(struct vsock_conn *c, unsigned how)
{
	unsigned added = how & SHUT_BOTH & ~c->guest_shut;

	if (c->state != VSOCK_OPEN && c->state != VSOCK_CLOSING) {
		vsock_conn_reset(c);
		return;
	}
	c->guest_shut |= added;
	if (c->guest_shut == SHUT_BOTH) {
		guest_is_done(c);
		return;
	}
	if (added & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		c->readable = false;
		(void)shutdown(c->socket.fd, SHUT_RD);
		if (c->hung_up)
			shut(c, SHUT_BOTH);
	}
	if ((added & VIRTIO_VSOCK_SHUTDOWN_SEND) && c->ring.used == 0)
		forwarded_all(c);
}

/* In CLOSING it is the answer that was waited for. */
static void take_reset(struct vsock_conn *c)
{
	if (c->state == VSOCK_ENDING) {
		c->tell = 0;
		return;
	}
	if (c->state != VSOCK_CLOSING)
		device_count_own(&c->counters->aborted, 1);
	end(c);
}

static bool may_send(const struct vsock_conn *c)
{
	return c->state == VSOCK_OPEN || c->state == VSOCK_CLOSING;
}

void vsock_conn_take(struct vsock_conn *c, const struct vsock_packet *p, struct iov *payload)
{
	if (p->op == VIRTIO_VSOCK_OP_RST) {
		take_reset(c);
	} else if (c->state == VSOCK_ENDING) {
		/* It will hear of the reset. */
	} else if (!take_credit(c, p)) {
		vsock_conn_reset(c);
	} else if (p->op == VIRTIO_VSOCK_OP_RESPONSE) {
		take_response(c);
	} else if (p->op == VIRTIO_VSOCK_OP_RW && may_send(c)) {
		take_data(c, p->len, payload);
	} else if (p->op == VIRTIO_VSOCK_OP_SHUTDOWN) {
		take_shutdown(c, p->flags);
	} else if (p->op == VIRTIO_VSOCK_OP_CREDIT_REQUEST && may_send(c)) {
		c->tell |= VSOCK_TELL_CREDIT;
	} else if (p->op != VIRTIO_VSOCK_OP_CREDIT_UPDATE) {
		vsock_conn_reset(c);
	}
}

/* ---- the socket ---- */

uint32_t vsock_conn_credit(const struct vsock_conn *c)
{
	uint32_t under_way = c->sent - c->peer_forwarded;

	return c->peer_buffer > under_way ? c->peer_buffer - under_way : 0;
}

/* A guest whose buffer is full tells us when it is not, but may have forgotten. */
static void ask_if_stuck(struct vsock_conn *c)
{
	if (c->readable && vsock_conn_credit(c) == 0)
		c->tell |= VSOCK_ASK_CREDIT;
}

void vsock_conn_event(struct vsock_conn *c, uint32_t events)
{
	if (events & (EPOLLHUP | EPOLLERR)) {
		hang_up(c);
		return;
	}
	if (events & EPOLLOUT)
		flush_ring(c);
	if ((events & EPOLLIN) && reads(c)) {
		c->readable = true;
		ask_if_stuck(c);
	}
}

/* ---- to the guest ---- */

bool vsock_conn_has_output(const struct vsock_conn *c)
{
	return c->tell || (c->readable && vsock_conn_credit(c) > 0);
}

static void fill(struct vsock_conn *c, unsigned op, struct vsock_packet *p)
{
	p->op = (uint16_t)op;
	p->len = 0;
	p->flags = 0;
	p->buf_alloc = op == VIRTIO_VSOCK_OP_RST ? VSOCK_NO_LIMIT : VSOCK_BUFFER;
	p->fwd_cnt = c->forwarded_told = c->forwarded;
	c->tell &= ~(unsigned)VSOCK_TELL_CREDIT;
}

static void fill_shutdown(struct vsock_conn *c, struct vsock_packet *p)
{
	fill(c, VIRTIO_VSOCK_OP_SHUTDOWN, p);
	p->flags = c->shut_told = c->shut;
	if (c->shut == SHUT_BOTH) {
		p->buf_alloc = VSOCK_NO_LIMIT;
		enter(c, VSOCK_CLOSING);
	}
}

bool vsock_conn_tell(struct vsock_conn *c, struct vsock_packet *p)
{
	static const uint16_t ops[] = {
		VIRTIO_VSOCK_OP_RST,	       VIRTIO_VSOCK_OP_REQUEST,
		VIRTIO_VSOCK_OP_RESPONSE,      VIRTIO_VSOCK_OP_SHUTDOWN,
		VIRTIO_VSOCK_OP_CREDIT_UPDATE, VIRTIO_VSOCK_OP_CREDIT_REQUEST,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		if (!(c->tell & 1U << i))
			continue;
		c->tell &= ~(1U << i);
		if (ops[i] == VIRTIO_VSOCK_OP_SHUTDOWN)
			fill_shutdown(c, p);
		else
			fill(c, ops[i], p);
		return true;
	}
	return false;
}

/* Fewer bytes than asked for are all that there were: the next event tells of more. After a hang-up
 * there is none. */
static void received_some(struct vsock_conn *c, size_t n, size_t space)
{
	c->sent += (uint32_t)n;
	if (n < space && !c->hung_up)
		c->readable = false;
	ask_if_stuck(c);
}

size_t vsock_conn_read(struct vsock_conn *c, const struct iov *v, size_t space)
{
	struct msghdr msg = {.msg_iov = v->at, .msg_iovlen = v->n};
	ssize_t n = recvmsg(c->socket.fd, &msg, MSG_DONTWAIT);

	if (n > 0) {
		received_some(c, (size_t)n, space);
		return (size_t)n;
	}
	if (n < 0 && errno == EAGAIN && !c->hung_up)
		c->readable = false;
	else if (n == 0 || errno == EAGAIN)
		input_ended(c);
	else
		vsock_conn_reset(c);
	return 0;
}

void vsock_conn_data(struct vsock_conn *c, uint32_t len, struct vsock_packet *p)
{
	fill(c, VIRTIO_VSOCK_OP_RW, p);
	p->len = len;
	device_count_own(&c->counters->rx_bytes, len);
}

/* ---- what the owner asks ---- */

uint32_t vsock_conn_interest(const struct vsock_conn *c)
{
	uint32_t events = c->ring.used > 0 ? EPOLLOUT : 0;

	if (c->socket.fd < 0 || c->hung_up)
		return VSOCK_NOT_AT_ALL;
	if (c->state == VSOCK_HELLO || (reads(c) && !c->readable))
		events |= EPOLLIN;
	return events;
}

bool vsock_conn_is_forgotten(const struct vsock_conn *c)
{
	return c->state == VSOCK_ENDING && !c->tell;
}

bool vsock_conn_is_over(const struct vsock_conn *c)
{
	return vsock_conn_is_forgotten(c) && c->hung_up;
}
