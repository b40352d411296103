/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/host_port.h"

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static socklen_t size_of(int family)
{
	return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

/* Somebody who has a port: of 127.0.0.1 or ::1, or of all addresses. Any port is port 0. */
static int take(int family, bool all, bool udp, uint16_t *port)
{
	union address a = {.sa.sa_family = (sa_family_t)family};
	socklen_t len = size_of(family);
	int fd = socket(family, udp ? SOCK_DGRAM : SOCK_STREAM, 0), on = 1;

	if (fd < 0)
		cr_skip_test("this host has no such sockets: %s", strerror(errno));
	if (family == AF_INET)
		a.in.sin_addr.s_addr = all ? INADDR_ANY : htonl(INADDR_LOOPBACK);
	else
		a.in6.sin6_addr = all ? in6addr_any : in6addr_loopback;
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	if (family == AF_INET6)
		cr_assert_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
	if (bind(fd, &a.sa, len) < 0)
		cr_skip_test("this host has no such address: %s", strerror(errno));
	if (!udp)
		cr_assert_eq(listen(fd, 1), 0);
	cr_assert_eq(getsockname(fd, &a.sa, &len), 0);
	*port = ntohs(family == AF_INET ? a.in.sin_port : a.in6.sin6_port);
	return fd;
}

Test(host_port, a_port_that_somebody_has_is_in_use_and_later_it_is_free)
{
	for (int udp = 0; udp < 2; udp++)
		for (int all = 0; all < 2; all++) {
			uint16_t port;
			int fd = take(AF_INET, all, udp, &port);

			cr_assert_eq(host_port_probe("", port, udp), -EADDRINUSE);
			cr_assert_eq(host_port_probe("127.0.0.1", port, udp), -EADDRINUSE);
			cr_assert_eq(host_port_probe("127.0.0.1", port, !udp), 0,
				     "that of the other");
			(void)close(fd);
			cr_assert_eq(host_port_probe("", port, udp), 0);
			cr_assert_eq(host_port_probe("127.0.0.1", port, udp), 0);
		}
}

Test(host_port, another_address_of_the_host_is_free)
{
	uint16_t port;
	int fd = take(AF_INET, false, false, &port);

	cr_assert_eq(host_port_probe("127.0.0.2", port, false), 0);
	(void)close(fd);
}

/* What passt would not mind. */
Test(host_port, one_kind_of_address_that_is_taken_is_enough_for_all)
{
	uint16_t port;
	int fd = take(AF_INET6, true, false, &port);

	cr_assert_eq(host_port_probe("", port, false), -EADDRINUSE);
	cr_assert_eq(host_port_probe("::1", port, false), -EADDRINUSE);
	cr_assert_eq(host_port_probe("127.0.0.1", port, false), 0);
	(void)close(fd);
}

static void connect_to(int fd, uint16_t port)
{
	const struct sockaddr_in a = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	cr_assert_eq(connect(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
}

/* A VM that was started again at once. */
Test(host_port, a_port_whose_connections_are_over_is_free)
{
	uint16_t port;
	int fd = take(AF_INET, false, false, &port), client = socket(AF_INET, SOCK_STREAM, 0), peer;
	char byte;

	connect_to(client, port);
	peer = accept(fd, NULL, NULL);
	cr_assert_geq(peer, 0);
	/* The side that closes first is the one that waits afterwards. */
	(void)close(peer);
	cr_assert_eq(read(client, &byte, 1), 0);
	(void)close(client);
	(void)close(fd);
	cr_assert_eq(host_port_probe("", port, false), 0);
}

Test(host_port, an_address_of_somebody_else_is_not_available)
{
	cr_assert_eq(host_port_probe("198.51.100.1", 8080, false), -EADDRNOTAVAIL);
}

Test(host_port, what_is_no_address_is_invalid)
{
	cr_assert_eq(host_port_probe("localhost", 8080, false), -EINVAL);
	cr_assert_eq(host_port_probe("1.2.3", 8080, false), -EINVAL);
}

Test(host_port, low_ports_need_privileges)
{
	enum { NOBODY = 65534 };
	int start = 1024, status;
	FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");

	if (file) {
		cr_assert_eq(fscanf(file, "%d", &start), 1);
		(void)fclose(file);
	}
	if (start <= 1)
		cr_skip_test("every port is free for all here");
	if (fork() == 0) {
		if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(2);
		_exit(host_port_probe("", 1, false) == -EACCES ? 0 : 1);
	}
	cr_assert_gt(wait(&status), 0);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
