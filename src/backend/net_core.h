/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of network back ends share. For them and for fakes of them only. */
#ifndef VMM_BACKEND_NET_CORE_H
#define VMM_BACKEND_NET_CORE_H

#include <stdatomic.h>

#include "backend/net.h"
#include "event/loop.h"

struct net_kind_ops {
	/* As net_recv(), net_send(); the link may have gone down in the call. */
	ssize_t (*recv)(struct net_port *port, const struct iovec *iov, unsigned n);
	int (*send)(struct net_port *port, struct iovec *iov, unsigned n);
	/* want_rx or want_tx has changed: net_port_watch(). */
	void (*watch)(struct net_port *port);
	/* The port's descriptor has these events; want_rx and want_tx may be off. */
	void (*ready)(struct net_port *port, uint32_t events);
	void (*attached)(struct net_port *port);	   /* on its loop; may be NULL */
	int (*enable)(struct net_port *port, bool on);	   /* NULL: nothing to do */
	int (*set_offloads)(struct net *net, unsigned on); /* NULL: it has none */
	/* Closes and frees all; no loop runs. */
	void (*free)(struct net *net);
};

/* Embedded by each kind, with its ports, of which unused ones have fd -1. */
struct net_port {
	struct net *net;
	struct loop *loop; /* NULL until attached */
	struct net_user *user;
	struct loop_fd source;
	uint32_t events; /* watched for, while source.added */
	struct loop_work begin;
	bool want_rx, want_tx;
};

struct net {
	const struct net_kind_ops *ops;
	struct net_port *ports[NET_MAX_PORTS];
	unsigned n_ports;
	unsigned offloads;
	atomic_bool up;
	char description[64];
};

void net_init(struct net *net, const struct net_kind_ops *ops);
void net_add_port(struct net *net, struct net_port *port, int fd);
/* Off its loop, which runs no more. */
void net_port_done(struct net_port *port);

/* Port's thread: watches its descriptor for these events (0: for errors and hang-ups), or not at
 * all. */
void net_port_watch(struct net_port *port, uint32_t events);
void net_port_unwatch(struct net_port *port);
/* What want_rx and want_tx ask for. */
uint32_t net_port_events(const struct net_port *port);

/* Port's thread: calls the user if it wants to know. */
void net_tell_readable(struct net_port *port);
void net_tell_writable(struct net_port *port);
/* Port's thread: tells the user if this is news. */
void net_set_up(struct net_port *port, bool up, const char *why);

#endif
