/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/net_core.h"
#include "base/assert.h"
#include "base/checked.h"
#include "base/log.h"

/* ---- for the kinds ---- */

void net_init(struct net *net, const struct net_kind_ops *ops)
{
	net->ops = ops;
	atomic_init(&net->up, true);
}

static void on_ready(struct loop_fd *source, uint32_t events)
{
	struct net_port *port = container_of(source, struct net_port, source);

	port->net->ops->ready(port, events);
}

void net_add_port(struct net *net, struct net_port *port, int fd)
{
	vmm_assert(net->n_ports < NET_MAX_PORTS);
	*port = (struct net_port){.net = net, .source = {.fd = fd, .ready = on_ready}};
	net->ports[net->n_ports++] = port;
}

void net_port_done(struct net_port *port)
{
	if (!port->loop)
		return;
	loop_work_cancel(port->loop, &port->begin);
	net_port_unwatch(port);
}

uint32_t net_port_events(const struct net_port *port)
{
	return (port->want_rx ? EPOLLIN : 0U) | (port->want_tx ? EPOLLOUT : 0U);
}

void net_port_watch(struct net_port *port, uint32_t events)
{
	int r;

	if (port->source.fd < 0 || (port->source.added && port->events == events))
		return;
	r = port->source.added ? loop_mod_fd(port->loop, &port->source, events)
			       : loop_add_fd(port->loop, &port->source, events);
	if (r < 0) {
		log_error("%s: cannot be watched: error %d", port->net->description, -r);
		net_set_up(port, false, "it cannot be watched");
		return;
	}
	port->events = events;
}

void net_port_unwatch(struct net_port *port)
{
	loop_del_fd(port->loop, &port->source);
}

void net_tell_readable(struct net_port *port)
{
	if (port->want_rx)
		port->user->ops->readable(port->user);
}

void net_tell_writable(struct net_port *port)
{
	if (!port->want_tx)
		return;
	port->want_tx = false;
	port->net->ops->watch(port);
	port->user->ops->writable(port->user);
}

void net_set_up(struct net_port *port, bool up, const char *why)
{
	if (atomic_exchange_explicit(&port->net->up, up, memory_order_relaxed) != up)
		port->user->ops->link(port->user, up, why);
}

/* ---- for devices ---- */

struct net *net_free(struct net *net)
{
	if (net)
		net->ops->free(net);
	return NULL;
}

unsigned net_n_ports(const struct net *net)
{
	return net->n_ports;
}

struct net_port *net_port(struct net *net, unsigned i)
{
	vmm_assert(i < net->n_ports);
	return net->ports[i];
}

unsigned net_offloads(const struct net *net)
{
	return net->offloads;
}

bool net_is_up(const struct net *net)
{
	return atomic_load_explicit(&net->up, memory_order_relaxed);
}

const char *net_describe(const struct net *net)
{
	return net->description;
}

void net_set_description(struct net *net, const char *description)
{
	(void)snprintf(net->description, sizeof(net->description), "%s", description);
}

int net_set_offloads(struct net *net, unsigned offloads)
{
	return net->ops->set_offloads ? net->ops->set_offloads(net, offloads) : 0;
}

static void on_begin(struct loop_work *work)
{
	struct net_port *port = container_of(work, struct net_port, begin);

	if (port->net->ops->attached)
		port->net->ops->attached(port);
}

void net_port_attach(struct net_port *port, struct loop *loop, struct net_user *user)
{
	vmm_assert(!port->loop);
	port->loop = loop;
	port->user = user;
	port->begin.run = on_begin;
	loop_post(loop, &port->begin);
}

ssize_t net_recv(struct net_port *port, const struct iovec *iov, unsigned n)
{
	return port->net->ops->recv(port, iov, n);
}

int net_send(struct net_port *port, struct iovec *iov, unsigned n)
{
	return port->net->ops->send(port, iov, n);
}

size_t net_put(const struct iovec *iov, unsigned n, size_t at, const void *from, size_t len)
{
	size_t done = 0;

	for (; n && done < len; iov++, n--) {
		size_t skip = MIN(at, iov->iov_len), room = MIN(iov->iov_len - skip, len - done);

		memcpy((char *)iov->iov_base + skip, (const char *)from + done, room);
		at -= skip;
		done += room;
	}
	return done;
}

void net_want_rx(struct net_port *port, bool want)
{
	if (port->want_rx == want)
		return;
	port->want_rx = want;
	port->net->ops->watch(port);
}

void net_want_tx(struct net_port *port)
{
	if (port->want_tx)
		return;
	port->want_tx = true;
	port->net->ops->watch(port);
}

int net_port_enable(struct net_port *port, bool on)
{
	return port->net->ops->enable ? port->net->ops->enable(port, on) : 0;
}
