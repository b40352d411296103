/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/host_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/cleanup.h"

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* A TCP port of a connection that is over, and waits, may be had; a UDP port has to be nobody's. */
static int set_options(int fd, int family, bool udp)
{
	const int on = 1;

	if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	if (!udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

static int try_bind(const union address *a, bool udp)
{
	int family = a->sa.sa_family;
	_cleanup_close_ int fd = socket(family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	int r = fd < 0 ? -errno : set_options(fd, family, udp);

	if (r < 0)
		return r;
	return bind(fd, &a->sa, family == AF_INET ? sizeof(a->in) : sizeof(a->in6)) < 0 ? -errno
											: 0;
}

/* A host may have no IPv6 at all, or none just now. */
static int try_all(uint16_t port, bool udp)
{
	const union address v4 = {.in = {.sin_family = AF_INET, .sin_port = htons(port)}};
	const union address v6 = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
	int r = try_bind(&v4, udp);

	if (r == 0)
		r = try_bind(&v6, udp);
	return r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL ? 0 : r;
}

int host_port_probe(const char *address, uint16_t port, bool udp)
{
	union address a = {.in = {.sin_family = AF_INET, .sin_port = htons(port)}};

	if (!*address)
		return try_all(port, udp);
	if (inet_pton(AF_INET, address, &a.in.sin_addr) == 1)
		return try_bind(&a, udp);
	a = (union address){.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
	if (inet_pton(AF_INET6, address, &a.in6.sin6_addr) == 1)
		return try_bind(&a, udp);
	return -EINVAL;
}
