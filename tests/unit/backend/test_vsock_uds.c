/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/vsock_uds.h"

static int fds[2];
static struct vsock_uds_hello hello;
static uint32_t port;

static void set_up(void)
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
}

TestSuite(vsock_uds, .init = set_up);

static void type(const char *text)
{
	cr_assert_eq(write(fds[1], text, strlen(text)), (ssize_t)strlen(text));
}

static int read_hello(void)
{
	return vsock_uds_read_hello(&hello, fds[0], &port);
}

Test(vsock_uds, line_in_single_bytes_and_nothing_behind_it_is_taken)
{
	static const char text[] = "CONNECT 4294967294\nrest";
	char rest[8];

	cr_assert_eq(read_hello(), 0);
	for (const char *c = text; *c != '\n'; c++) {
		cr_assert_eq(write(fds[1], c, 1), 1);
		cr_assert_eq(read_hello(), 0);
	}
	type("\nrest");
	cr_assert_eq(read_hello(), 1);
	cr_assert_eq(port, 4294967294U);
	cr_assert_eq(read(fds[0], rest, sizeof(rest)), 4);
	cr_assert_arr_eq(rest, "rest", 4);
}

Test(vsock_uds, end_within_the_line)
{
	type("CONNECT 5");
	close(fds[1]);
	cr_assert_eq(read_hello(), -ECONNRESET);
}

Test(vsock_uds, line_without_end)
{
	type("CONNECT 0000000000000000000000");
	cr_assert_eq(read_hello(), 0);
	type("00");
	cr_assert_eq(read_hello(), -EINVAL);
}

Test(vsock_uds, leading_zeros_are_a_number)
{
	type("CONNECT 0042\n");
	cr_assert_eq(read_hello(), 1);
	cr_assert_eq(port, 42);
}

Test(vsock_uds, answer)
{
	char text[32];

	cr_assert_eq(vsock_uds_answer(fds[0], 1073741824), 0);
	cr_assert_eq(read(fds[1], text, sizeof(text)), 14);
	cr_assert_arr_eq(text, "OK 1073741824\n", 14);
	close(fds[1]);
	cr_assert_eq(vsock_uds_answer(fds[0], 1), -EPIPE, "and no SIGPIPE");
}

Test(vsock_uds, guests_port_is_a_socket_of_its_own)
{
	char dir[] = "/tmp/vsock.XXXXXX", path[64];
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd = -1;

	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/v", dir);
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s_1234", path);
	cr_assert_eq(vsock_uds_connect(path, 1234, &fd), -ENOENT);
	cr_assert_eq(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(vsock_uds_connect(path, 1234, &fd), -ECONNREFUSED);
	cr_assert_eq(listen(listener, 0), 0);
	cr_assert_eq(vsock_uds_connect(path, 1234, &fd), 0);
	close(fd);
	cr_assert_eq(vsock_uds_connect(path, 1234, &fd), -EAGAIN, "its queue is full");
	cr_assert_eq(vsock_uds_connect(path, 123, &fd), -ENOENT);
	cr_assert_eq(unlink(addr.sun_path), 0);
	cr_assert_eq(rmdir(dir), 0);
}

Test(vsock_uds, path_that_is_too_long)
{
	char path[200];
	int fd = -1;

	memset(path, 'x', sizeof(path));
	path[VSOCK_UDS_PATH_MAX + 1] = '\0';
	cr_assert_eq(vsock_uds_connect(path, UINT32_MAX, &fd), -ENAMETOOLONG);
	path[VSOCK_UDS_PATH_MAX] = '\0';
	cr_assert_eq(vsock_uds_connect(path, UINT32_MAX, &fd), -ENOENT);
}
