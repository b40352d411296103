/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a port of this host can be taken: for helpers that don't tell when somebody has it. */
#ifndef VMM_BACKEND_HOST_PORT_H
#define VMM_BACKEND_HOST_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/*
 * address is IPv4 or IPv6 as text, "" for all of this host, where each of the two kinds that the
 * host has must be free. 0, -EADDRINUSE, -EACCES (ports below ip_unprivileged_port_start),
 * -EADDRNOTAVAIL (no address of this host), or another -errno. Makes sockets: before the lock-down.
 */
int host_port_probe(const char *address, uint16_t port, bool udp) must_check;

#endif
