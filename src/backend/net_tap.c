/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taps: one read(2) or write(2) is one frame with its header, straight from and to the guest. The
 * kernel reports a deleted interface by EBADFD and EPOLLERR, on every queue and for good. EIO on
 * writing only means that the interface is down; it may come up again.
 *
 * A disabled queue is detached (TUNSETQUEUE): else the kernel would spread flows over queues that
 * nobody reads. It still sends.
 */
#include "backend/net_tap.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backend/net_core.h"
#include "base/fd.h"

struct tap_port {
	struct net_port port;
	bool enabled;
};

struct tap {
	struct net net;
	struct tap_port ports[NET_MAX_PORTS];
};

static const unsigned all_offloads =
	NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN;

static void gone(struct net_port *port, const char *why)
{
	net_port_unwatch(port);
	net_set_up(port, false, why);
}

/* Nothing ever comes out of band, but to ask for EPOLLRDBAND is to be woken when the interface is
 * deleted, also while nobody wants frames: the kernel tells of that as if there were some. */
static void tap_watch(struct net_port *port)
{
	if (net_is_up(port->net))
		net_port_watch(port, net_port_events(port) | EPOLLRDBAND);
}

static ssize_t tap_recv(struct net_port *port, const struct iovec *iov, unsigned n)
{
	ssize_t got = readv(port->source.fd, iov, (int)n);

	if (got > 0)
		return got;
	if (got == 0 || (errno != EBADFD && errno != EIO && errno != ENODEV))
		return got == 0 || errno == EINTR ? -EAGAIN : -errno;
	gone(port, "the interface was deleted");
	return -ENOTCONN;
}

static int tap_send(struct net_port *port, struct iovec *iov, unsigned n)
{
	if (writev(port->source.fd, iov, (int)n) >= 0)
		return 0;
	if (errno != EBADFD && errno != ENODEV)
		return errno == EINTR ? -EAGAIN : -errno;
	gone(port, "the interface was deleted");
	return -ENOTCONN;
}

/* Nothing is read: the kernel looks whether the interface is there first. */
static bool is_gone(const struct net_port *port)
{
	char none;

	return read(port->source.fd, &none, 0) < 0 && errno == EBADFD;
}

/* io_uring says EPOLLRDBAND where epoll looks for itself what has come. */
static void tap_ready(struct net_port *port, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP) || (events == EPOLLRDBAND && is_gone(port))) {
		gone(port, "the interface was deleted");
		return;
	}
	if (events & EPOLLIN)
		net_tell_readable(port);
	if (events & EPOLLOUT)
		net_tell_writable(port);
}

static int set_queue(int fd, bool attach)
{
	struct ifreq ifr = {.ifr_flags = attach ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

	return ioctl(fd, TUNSETQUEUE, &ifr) < 0 ? -errno : 0;
}

static int tap_enable(struct net_port *port, bool on)
{
	struct tap_port *p = container_of(port, struct tap_port, port);
	int r;

	if (p->enabled == on || port == port->net->ports[0])
		return 0;
	r = set_queue(port->source.fd, on);
	if (r == 0)
		p->enabled = on;
	return r;
}

static int set_offloads(int fd, unsigned on)
{
	unsigned long flags = (on & NET_OFFLOAD_CSUM ? TUN_F_CSUM : 0UL) |
			      (on & NET_OFFLOAD_TSO4 ? TUN_F_TSO4 : 0UL) |
			      (on & NET_OFFLOAD_TSO6 ? TUN_F_TSO6 : 0UL) |
			      (on & NET_OFFLOAD_ECN ? TUN_F_TSO_ECN : 0UL);

	return ioctl(fd, TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

static int tap_set_offloads(struct net *net, unsigned on)
{
	return set_offloads(net->ports[0]->source.fd, on & net->offloads);
}

static void tap_free(struct net *net)
{
	struct tap *tap = container_of(net, struct tap, net);

	for (unsigned i = 0; i < net->n_ports; i++) {
		net_port_done(net->ports[i]);
		fd_close(net->ports[i]->source.fd);
	}
	free(tap);
}

static const struct net_kind_ops tap_ops = {
	.recv = tap_recv,
	.send = tap_send,
	.watch = tap_watch,
	.ready = tap_ready,
	.attached = tap_watch,
	.enable = tap_enable,
	.set_offloads = tap_set_offloads,
	.free = tap_free,
};

static int prepare(const char *what, const char *name, int fd, struct err *err)
{
	int header = NET_HEADER_LEN, r = fd_set_nonblock(fd);

	if (r == 0 && ioctl(fd, TUNSETVNETHDRSZ, &header) < 0)
		r = -errno;
	if (r < 0)
		return err_set(err, r, "%s: cannot set up the tap '%s': %s", what, name,
			       strerror(-r));
	return 0;
}

int net_tap_new(const char *what, const char *name, const int *fds, unsigned n, struct net **ret,
		struct err *err)
{
	struct tap *tap;
	int r = 0;

	for (unsigned i = 0; i < n && r == 0; i++)
		r = prepare(what, name, fds[i], err);
	for (unsigned i = 1; i < n && r == 0; i++) {
		r = set_queue(fds[i], false);
		if (r < 0)
			err_set(err, r, "%s: cannot detach a queue of the tap '%s': %s", what, name,
				strerror(-r));
	}
	if (r < 0)
		return r;
	tap = calloc(1, sizeof(*tap));
	if (!tap)
		return err_set(err, -ENOMEM, "%s: out of memory", what);
	net_init(&tap->net, &tap_ops);
	for (unsigned i = 0; i < n; i++) {
		net_add_port(&tap->net, &tap->ports[i].port, fds[i]);
		tap->ports[i].enabled = i == 0;
	}
	tap->net.offloads = set_offloads(fds[0], all_offloads) == 0 ? all_offloads : 0;
	(void)set_offloads(fds[0], 0);
	(void)snprintf(tap->net.description, sizeof(tap->net.description), "tap %s%s", name,
		       n > 1 ? ", multi-queue" : "");
	*ret = &tap->net;
	return 0;
}
