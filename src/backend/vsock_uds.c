/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/vsock_uds.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"

int vsock_uds_connect(const char *path, uint32_t port, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s_%u", path, port);

	if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A unix socket connects at once or not at all; with a full queue it is EAGAIN (unix(7)).
	 */
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static bool parse_digits(const char *s, const char *end, uint32_t *ret)
{
	uint64_t v = 0;

	if (s == end)
		return false;
	for (; s < end; s++) {
		if (*s < '0' || *s > '9')
			return false;
		v = v * 10 + (uint64_t)(*s - '0');
		if (v >= UINT32_MAX) /* VMADDR_PORT_ANY is no port */
			return false;
	}
	*ret = (uint32_t)v;
	return true;
}

/* "CONNECT 1234\n"; a carriage return before the newline does no harm. */
static int parse(const struct vsock_uds_hello *hello, uint32_t *ret_port)
{
	static const char word[] = "CONNECT ";
	const char *end = hello->text + hello->n - 1, *digits = hello->text + sizeof(word) - 1;

	if (end > hello->text && end[-1] == '\r')
		end--;
	if (end < digits || memcmp(hello->text, word, sizeof(word) - 1) != 0)
		return -EINVAL;
	return parse_digits(digits, end, ret_port) ? 1 : -EINVAL;
}

int vsock_uds_read_hello(struct vsock_uds_hello *hello, int fd, uint32_t *ret_port)
{
	while (hello->n < sizeof(hello->text)) {
		char *to = hello->text + hello->n, *newline;
		ssize_t n = recv(fd, to, sizeof(hello->text) - hello->n, MSG_PEEK | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (n == 0)
			return -ECONNRESET;
		newline = memchr(to, '\n', (size_t)n);
		if (newline)
			n = newline - to + 1;
		/* What was looked at is taken now; nobody else reads from here. */
		n = recv(fd, to, (size_t)n, MSG_DONTWAIT);
		if (n <= 0)
			return -ECONNRESET;
		hello->n += (unsigned)n;
		if (newline)
			return parse(hello, ret_port);
	}
	return -EINVAL;
}

int vsock_uds_answer(int fd, uint32_t host_port)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "OK %u\n", host_port);
	ssize_t n = send(fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return -errno;
	return n == len ? 0 : -EIO; /* into an empty buffer it goes whole */
}
