/* SPDX-License-Identifier: Apache-2.0 */
/* How a tap is opened (net_tap_open.c) and how it is used (net_tap.c): between these two. */
#ifndef VMM_BACKEND_NET_TAP_H
#define VMM_BACKEND_NET_TAP_H

#include "backend/net.h"

/* Open queues of the interface `name`, each with IFF_TAP, IFF_VNET_HDR and IFF_NO_PI. Takes the
 * descriptors over when it succeeds. 0 or -errno with a message. */
int net_tap_new(const char *what, const char *name, const int *fds, unsigned n, struct net **ret,
		struct err *err) must_check;

#endif
