/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames over a unix stream socket. Incoming bytes are read in large pieces into a buffer, from
 * which whole frames are taken; what the socket does not take of an outgoing frame waits in a
 * buffer for one frame. A peer that writes nonsense (a length that can't be) is cut off, since
 * there is no way back to the start of a frame.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/net_core.h"
#include "backend/unix_socket.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/endian.h"
#include "base/fd.h"
#include "base/log.h"

enum {
	LENGTH = 4, /* before each frame, big-endian */
	RX_ROOM = 2 * (LENGTH + NET_FRAME_MAX),
	TX_ROOM = LENGTH + NET_FRAME_MAX,
	WAITING_MAX = 1, /* peers that wait until this one has left */
};

struct stream {
	struct net net;
	struct net_port port; /* source.fd -1: no peer */

	struct unix_listener listener;
	struct loop_fd acceptable;
	struct loop_timer retry;

	/* net_stream_replace(): the next connection, -1 for none; any thread puts it there. */
	_Atomic int next;
	struct loop_work swap;

	struct loop_work again; /* whole frames are left in rx */
	size_t rx_at, rx_n;	/* what is in rx: from, to */
	size_t tx_at, tx_n;
	uint8_t rx[RX_ROOM], tx[TX_ROOM];
};

static struct stream *stream_of(struct net_port *port)
{
	return container_of(port, struct stream, port);
}

static bool has_peer(const struct stream *s)
{
	return s->port.source.fd >= 0;
}

/* ---- peers ---- */

static void listen_again(struct stream *s)
{
	int r = s->listener.fd < 0 ? 0 : loop_add_fd(s->port.loop, &s->acceptable, EPOLLIN);

	if (r < 0)
		loop_timer_arm(s->port.loop, &s->retry, NS_PER_S);
}

static void on_retry(struct loop_timer *timer)
{
	listen_again(container_of(timer, struct stream, retry));
}

static void lose_peer(struct stream *s, const char *why)
{
	if (!has_peer(s))
		return;
	net_port_unwatch(&s->port);
	/* The peer sees it now, whoever else holds the socket yet (an io_uring, another process).
	 */
	(void)shutdown(s->port.source.fd, SHUT_RDWR);
	s->port.source.fd = fd_close(s->port.source.fd);
	s->port.want_tx = false;
	s->rx_at = s->rx_n = s->tx_at = s->tx_n = 0;
	listen_again(s);
	net_set_up(&s->port, false, why);
}

static void stream_watch(struct net_port *port);

static void take_peer(struct stream *s, int fd)
{
	s->port.source.fd = fd;
	loop_del_fd(s->port.loop, &s->acceptable);
	stream_watch(&s->port);
	net_set_up(&s->port, true, "a peer has connected");
}

static void on_acceptable(struct loop_fd *source, uint32_t events)
{
	struct stream *s = container_of(source, struct stream, acceptable);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0) {
		take_peer(s, fd);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* Out of descriptors or memory: the peer stays in the queue, asking again at once
		 * would spin. */
		log_warn("%s: cannot accept a peer: %s", s->net.description, strerror(errno));
		loop_del_fd(s->port.loop, source);
		loop_timer_arm(s->port.loop, &s->retry, NS_PER_S);
	}
}

static void on_swap(struct loop_work *work)
{
	struct stream *s = container_of(work, struct stream, swap);
	int fd = atomic_exchange_explicit(&s->next, -1, memory_order_acq_rel);

	if (fd < 0)
		return;
	lose_peer(s, "another peer takes its place");
	take_peer(s, fd);
}

void net_stream_replace(struct net *net, int fd)
{
	struct stream *s = container_of(net, struct stream, net);

	if (fd_set_nonblock(fd) < 0) {
		fd_close(fd);
		return;
	}
	fd_close(atomic_exchange_explicit(&s->next, fd, memory_order_acq_rel));
	loop_post(s->port.loop, &s->swap);
}

/* ---- receiving ---- */

/* 1 and the length of the frame that lies whole in the buffer, 0 when none does, -EPROTO. */
static int look(const struct stream *s, size_t *ret_len)
{
	size_t have = s->rx_n - s->rx_at;
	uint32_t len;

	if (have < LENGTH)
		return 0;
	memcpy(&len, s->rx + s->rx_at, LENGTH);
	len = be32toh(len);
	if (len > NET_FRAME_MAX)
		return -EPROTO;
	if (have - LENGTH < len)
		return 0;
	*ret_len = len;
	return 1;
}

/* No whole frame is in the buffer, so what is there is short. */
static int fill(struct stream *s)
{
	ssize_t n;

	memmove(s->rx, s->rx + s->rx_at, s->rx_n - s->rx_at);
	s->rx_n -= s->rx_at;
	s->rx_at = 0;
	n = read(s->port.source.fd, s->rx + s->rx_n, sizeof(s->rx) - s->rx_n);
	if (n > 0)
		s->rx_n += (size_t)n;
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	return n == 0 ? -EPIPE : 0;
}

/* Until a whole frame is in the buffer. */
static int next_frame(struct stream *s, size_t *ret_len)
{
	int r;

	while ((r = look(s, ret_len)) == 0) {
		r = fill(s);
		if (r < 0)
			return r;
	}
	return r;
}

static ssize_t stream_recv(struct net_port *port, const struct iovec *iov, unsigned n)
{
	static const uint8_t header[NET_HEADER_LEN];
	struct stream *s = stream_of(port);
	size_t len = 0, done;
	int r;

	if (!has_peer(s))
		return -ENOTCONN;
	r = next_frame(s, &len);
	if (r == -EAGAIN)
		return r;
	if (r < 0) {
		lose_peer(s, r == -EPROTO ? "the peer sent something that is no frame"
					  : "the peer has left");
		return -ENOTCONN;
	}
	done = net_put(iov, n, 0, header, sizeof(header));
	done += net_put(iov, n, done, s->rx + s->rx_at + LENGTH, len);
	s->rx_at += LENGTH + len;
	return (ssize_t)done;
}

/* What is read already is not announced by the descriptor. */
static void announce_rest(struct stream *s)
{
	size_t len;

	if (s->port.want_rx && look(s, &len) != 0)
		loop_post(s->port.loop, &s->again);
}

static void receive(struct stream *s)
{
	net_tell_readable(&s->port);
	announce_rest(s);
}

static void on_again(struct loop_work *work)
{
	receive(container_of(work, struct stream, again));
}

/* ---- sending ---- */

/* 0: nothing is left. */
static int send_rest(struct stream *s)
{
	ssize_t n;

	while (s->tx_at < s->tx_n) {
		n = write(s->port.source.fd, s->tx + s->tx_at, s->tx_n - s->tx_at);
		if (n < 0)
			return errno == EINTR ? -EAGAIN : -errno;
		s->tx_at += (size_t)n;
	}
	s->tx_at = s->tx_n = 0;
	return 0;
}

static void keep_rest(struct stream *s, const struct iovec *iov, unsigned n, size_t sent)
{
	for (unsigned i = 0; i < n; i++) {
		size_t skip = MIN(sent, iov[i].iov_len), len = iov[i].iov_len - skip;

		memcpy(s->tx + s->tx_n, (const char *)iov[i].iov_base + skip, len);
		s->tx_n += len;
		sent -= skip;
	}
	stream_watch(&s->port);
}

static size_t frame_len(const struct iovec *iov, unsigned n)
{
	size_t len = 0;

	for (unsigned i = 1; i < n && len <= NET_FRAME_MAX; i++)
		len += MIN(iov[i].iov_len, (size_t)NET_FRAME_MAX + 1);
	return len;
}

static int send_error(struct stream *s, int r)
{
	if (r == -EAGAIN)
		return r;
	lose_peer(s, "the peer has left");
	return -ENOTCONN;
}

static int stream_send(struct net_port *port, struct iovec *iov, unsigned n)
{
	struct stream *s = stream_of(port);
	size_t len = frame_len(iov, n);
	uint32_t prefix = htobe32((uint32_t)len);
	ssize_t sent;
	int r;

	if (!has_peer(s))
		return -ENOTCONN;
	if (len == 0 || len > NET_FRAME_MAX)
		return -EMSGSIZE;
	r = send_rest(s);
	if (r < 0)
		return send_error(s, r);
	iov[0] = (struct iovec){.iov_base = &prefix, .iov_len = LENGTH};
	sent = writev(s->port.source.fd, iov, (int)n);
	if (sent < 0)
		return send_error(s, errno == EINTR ? -EAGAIN : -errno);
	if ((size_t)sent < LENGTH + len)
		keep_rest(s, iov, n, (size_t)sent);
	return 0;
}

/* ---- events ---- */

static void stream_watch(struct net_port *port)
{
	struct stream *s = stream_of(port);

	if (!has_peer(s))
		return;
	net_port_watch(port, net_port_events(port) | (s->tx_n ? EPOLLOUT : 0U));
	announce_rest(s);
}

static void writable(struct stream *s)
{
	int r = send_rest(s);

	if (r < 0 && r != -EAGAIN)
		lose_peer(s, "the peer has left");
	if (r < 0)
		return;
	net_tell_writable(&s->port);
	if (has_peer(s))
		stream_watch(&s->port);
}

/* A peer that hangs up may have left frames; they are received first, if they are wanted now. */
static void stream_ready(struct net_port *port, uint32_t events)
{
	struct stream *s = stream_of(port);

	if (events & (EPOLLHUP | EPOLLERR) && !(events & EPOLLIN)) {
		lose_peer(s, "the peer has left");
		return;
	}
	if (events & EPOLLIN)
		receive(s);
	if (events & EPOLLOUT && has_peer(s))
		writable(s);
}

static void stream_attached(struct net_port *port)
{
	struct stream *s = stream_of(port);

	if (has_peer(s))
		stream_watch(port);
	else
		listen_again(s);
}

/* ---- life ---- */

static void stream_free(struct net *net)
{
	struct stream *s = container_of(net, struct stream, net);
	struct loop *loop = s->port.loop;

	if (loop) {
		loop_del_fd(loop, &s->acceptable);
		loop_timer_cancel(loop, &s->retry);
		loop_work_cancel(loop, &s->swap);
		loop_work_cancel(loop, &s->again);
	}
	net_port_done(&s->port);
	fd_close(s->port.source.fd);
	fd_close(s->next);
	unix_listener_close(&s->listener);
	free(s);
}

static const struct net_kind_ops stream_ops = {
	.recv = stream_recv,
	.send = stream_send,
	.watch = stream_watch,
	.ready = stream_ready,
	.attached = stream_attached,
	.free = stream_free,
};

static struct stream *new_stream(const char *what, int fd, struct err *err)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "%s: out of memory", what);
		return NULL;
	}
	net_init(&s->net, &stream_ops);
	net_add_port(&s->net, &s->port, fd);
	s->net.up = fd >= 0;
	s->listener = UNIX_LISTENER_NONE;
	s->acceptable = (struct loop_fd){.fd = -1, .ready = on_acceptable};
	s->retry.fired = on_retry;
	s->swap.run = on_swap;
	s->again.run = on_again;
	s->next = -1;
	return s;
}

int net_stream_listen(const char *what, const char *path, struct net **ret, struct err *err)
{
	struct stream *s = new_stream(what, -1, err);
	int r;

	if (!s)
		return -ENOMEM;
	r = unix_listener_open(what, path, WAITING_MAX, &s->listener, err);
	if (r < 0) {
		stream_free(&s->net);
		return r;
	}
	s->acceptable.fd = s->listener.fd;
	(void)snprintf(s->net.description, sizeof(s->net.description), "stream %s", path);
	*ret = &s->net;
	return 0;
}

int net_stream_connect(const char *what, const char *path, struct net **ret, struct err *err)
{
	int fd = unix_socket_connect(what, path, err);
	struct stream *s;

	if (fd < 0)
		return fd;
	s = new_stream(what, fd, err);
	if (!s) {
		fd_close(fd);
		return -ENOMEM;
	}
	(void)snprintf(s->net.description, sizeof(s->net.description), "stream %s", path);
	*ret = &s->net;
	return 0;
}

int net_stream_adopt(const char *what, int fd, struct net **ret, struct err *err)
{
	int type = 0, r = fd_set_nonblock(fd);
	socklen_t len = sizeof(type);
	struct stream *s;

	if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		r = -errno;
	if (r < 0 || type != SOCK_STREAM)
		return err_set(err, r < 0 ? r : -EINVAL, "%s: descriptor %d is not a stream socket",
			       what, fd);
	s = new_stream(what, fd, err);
	if (!s)
		return -ENOMEM;
	(void)snprintf(s->net.description, sizeof(s->net.description), "stream %d", fd);
	*ret = &s->net;
	return 0;
}
