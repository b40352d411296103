/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network back end without a network: each port is one side of a socket pair that keeps packets
 * apart; what is written to the other side (header and frame) is received from the port, and the
 * other way round. It records what it is told.
 */
#ifndef VMM_TESTS_FAKES_NET_H
#define VMM_TESTS_FAKES_NET_H

#include <stdatomic.h>

#include "backend/net_core.h"

enum { FAKE_NET_PORTS = 4 };

struct fake_net {
	struct net net;
	struct net_port ports[FAKE_NET_PORTS];
	int host[FAKE_NET_PORTS]; /* the other sides, non-blocking; the test's */
	atomic_uint offloads;	  /* as last set */
	atomic_bool enabled[FAKE_NET_PORTS];
	atomic_int send_error; /* -errno that each net_send() gives; 0: none */
	atomic_uint receives;  /* calls of net_recv() */
};

/* net_free(&fake->net) frees it and leaves host[] open. */
struct fake_net *fake_net_new(unsigned ports, unsigned offloads);

#endif
