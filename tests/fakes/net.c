/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fakes/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fd.h"

static struct fake_net *fake_of(const struct net_port *port)
{
	return container_of(port->net, struct fake_net, net);
}

static void gone(struct net_port *port)
{
	net_port_unwatch(port);
	port->want_tx = false;
	net_set_up(port, false, "the test has closed it");
}

static void fake_watch(struct net_port *port)
{
	if (net_is_up(port->net))
		net_port_watch(port, net_port_events(port));
}

static ssize_t fake_recv(struct net_port *port, const struct iovec *iov, unsigned n)
{
	ssize_t got = readv(port->source.fd, iov, (int)n);

	atomic_fetch_add(&fake_of(port)->receives, 1);
	if (got > 0)
		return got;
	if (got < 0 && errno == EAGAIN)
		return -EAGAIN;
	gone(port);
	return -ENOTCONN;
}

static int fake_send(struct net_port *port, struct iovec *iov, unsigned n)
{
	int error = atomic_load(&fake_of(port)->send_error);

	if (error)
		return error;
	if (writev(port->source.fd, iov, (int)n) >= 0)
		return 0;
	if (errno != EPIPE && errno != ECONNRESET)
		return -errno;
	gone(port);
	return -ENOTCONN;
}

static void fake_ready(struct net_port *port, uint32_t events)
{
	if (events & (EPOLLHUP | EPOLLERR) && !(events & EPOLLIN)) {
		gone(port);
		return;
	}
	if (events & EPOLLIN)
		net_tell_readable(port);
	if (events & EPOLLOUT && net_is_up(port->net))
		net_tell_writable(port);
}

static int fake_enable(struct net_port *port, bool on)
{
	struct fake_net *fake = fake_of(port);

	for (unsigned i = 1; i < port->net->n_ports; i++)
		if (port == &fake->ports[i])
			atomic_store(&fake->enabled[i], on);
	return 0;
}

static int fake_set_offloads(struct net *net, unsigned on)
{
	atomic_store(&container_of(net, struct fake_net, net)->offloads, on);
	return 0;
}

static void fake_free(struct net *net)
{
	for (unsigned i = 0; i < net->n_ports; i++) {
		net_port_done(net->ports[i]);
		fd_close(net->ports[i]->source.fd);
	}
	free(container_of(net, struct fake_net, net));
}

static const struct net_kind_ops fake_ops = {
	.recv = fake_recv,
	.send = fake_send,
	.watch = fake_watch,
	.ready = fake_ready,
	.attached = fake_watch,
	.enable = fake_enable,
	.set_offloads = fake_set_offloads,
	.free = fake_free,
};

struct fake_net *fake_net_new(unsigned ports, unsigned offloads)
{
	struct fake_net *fake = calloc(1, sizeof(*fake));

	vmm_assert(fake && ports <= FAKE_NET_PORTS);
	net_init(&fake->net, &fake_ops);
	fake->net.offloads = offloads;
	strcpy(fake->net.description, "fake");
	for (unsigned i = 0; i < ports; i++) {
		int pair[2];

		vmm_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
				      pair) == 0);
		net_add_port(&fake->net, &fake->ports[i], pair[0]);
		fake->host[i] = pair[1];
	}
	atomic_store(&fake->enabled[0], true);
	return fake;
}
