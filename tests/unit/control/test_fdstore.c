/* SPDX-License-Identifier: Apache-2.0 */
#include "control_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "control/fdstore.h"

enum { FOREVER_MS = 60 * 1000, SOON_MS = 20 };

static struct fdstore *store;
static struct client a, b;

static void start(unsigned idle_ms)
{
	cr_assert_eq(fdstore_new(world_loop, world_listener, getuid(), idle_ms, &store), 0);
}

static void set_up(void)
{
	world_set_up();
	a.source.fd = b.source.fd = -1;
}

static void tear_down(void)
{
	store = fdstore_free(store);
	if (a.source.fd >= 0)
		client_close(&a);
	if (b.source.fd >= 0)
		client_close(&b);
	world_tear_down();
}

TestSuite(fdstore, .init = set_up, .fini = tear_down, .timeout = 60);

/* Sends text and n times the reading end of a new pipe; returns the writing end. */
static int send_pipe(struct client *client, const char *text, unsigned n)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))] = {0};
	struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int pipe_fds[2], fds[8];

	cr_assert_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	for (unsigned i = 0; i < n; i++)
		fds[i] = pipe_fds[0];
	msg.msg_control = control;
	msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){.cmsg_len = CMSG_LEN(n * sizeof(int)),
						.cmsg_level = SOL_SOCKET,
						.cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, n * sizeof(int));
	cr_assert_eq(sendmsg(client->source.fd, &msg, MSG_NOSIGNAL), (ssize_t)iov.iov_len);
	close(pipe_fds[0]);
	return pipe_fds[1];
}

/* Sends it and waits for the answer; returns the writing end. */
static int leave(struct client *client, const char *name)
{
	char line[FDSTORE_NAME_LEN + 1], answer[FDSTORE_NAME_LEN + 16];
	int end;

	(void)snprintf(line, sizeof(line), "%s\n", name);
	(void)snprintf(answer, sizeof(answer), "{\"fd\":\"%s\"}\n", name);
	client->n = 0;
	client->buf[0] = '\0';
	end = send_pipe(client, line, 1);
	client_wait(client, answer);
	return end;
}

/* That what was taken out reads what goes into that writing end, which is closed with it. */
static void assert_same_pipe(int fd, int end)
{
	char byte = 0;

	cr_assert_geq(fd, 0);
	cr_assert_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	cr_assert_eq(write(end, "x", 1), 1);
	cr_assert_eq(read(fd, &byte, 1), 1);
	close(fd);
	close(end);
}

/* Nobody has the reading end any more. */
static void assert_dropped(int end)
{
	cr_assert_eq(write(end, "x", 1), -1);
	cr_assert_eq(errno, EPIPE);
	close(end);
}

static void assert_refused(const char *text, unsigned fds, const char *why)
{
	int end = -1;

	client_connect(&a);
	if (fds > 0)
		end = send_pipe(&a, text, fds);
	else
		client_send(&a, text);
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, why), 1, "%s", a.buf);
	cr_assert_eq(client_count(&a, "\n"), 1);
	cr_assert_null(fdstore_name(store, 0));
	client_close(&a);
	if (end >= 0)
		assert_dropped(end);
}

Test(fdstore, descriptor_is_left_and_taken_out_once)
{
	struct err err = {0};
	int end;

	start(FOREVER_MS);
	client_connect(&a);
	end = leave(&a, "log.1_x-Y");
	cr_assert_str_eq(fdstore_name(store, 0), "log.1_x-Y");
	cr_assert_null(fdstore_name(store, 1));
	assert_same_pipe(fdstore_take(store, "fd:log.1_x-Y", &err), end);
	cr_assert_null(fdstore_name(store, 0));
	cr_assert_eq(fdstore_take(store, "fd:log.1_x-Y", &err), -ENOENT);
	cr_assert_not_null(strstr(err.msg, "log.1_x-Y"));
}

Test(fdstore, descriptor_outlives_its_connection)
{
	int end;

	start(FOREVER_MS);
	client_connect(&a);
	end = leave(&a, "x");
	client_close(&a);
	assert_same_pipe(fdstore_take(store, "fd:x", NULL), end);
}

Test(fdstore, several_names_follow_each_other)
{
	int x, y, z;

	start(FOREVER_MS);
	client_connect(&a);
	x = leave(&a, "x");
	y = leave(&a, "y");
	z = leave(&a, "z");
	assert_same_pipe(fdstore_take(store, "fd:y", NULL), y);
	cr_assert_str_eq(fdstore_name(store, 0), "x");
	cr_assert_str_eq(fdstore_name(store, 1), "z");
	assert_same_pipe(fdstore_take(store, "fd:x", NULL), x);
	assert_same_pipe(fdstore_take(store, "fd:z", NULL), z);
}

Test(fdstore, same_name_replaces)
{
	int first, second;

	start(FOREVER_MS);
	client_connect(&a);
	first = leave(&a, "x");
	second = leave(&a, "x");
	assert_dropped(first);
	cr_assert_null(fdstore_name(store, 1));
	assert_same_pipe(fdstore_take(store, "fd:x", NULL), second);
}

Test(fdstore, name_may_come_in_pieces)
{
	int end;

	start(FOREVER_MS);
	client_connect(&a);
	client_send(&a, "lo");
	end = send_pipe(&a, "g", 1);
	client_send(&a, "\n");
	client_wait(&a, "{\"fd\":\"log\"}\n");
	assert_same_pipe(fdstore_take(store, "fd:log", NULL), end);
}

Test(fdstore, full_store_takes_replacements_only)
{
	int ends[FDSTORE_MAX], last;
	char name[8];

	start(FOREVER_MS);
	client_connect(&a);
	for (unsigned i = 0; i < FDSTORE_MAX; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		ends[i] = leave(&a, name);
	}
	close(ends[3]);
	ends[3] = leave(&a, "n3");
	last = send_pipe(&a, "more\n", 1);
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, "\"busy\""), 1);
	assert_dropped(last);
	store = fdstore_free(store);
	for (unsigned i = 0; i < FDSTORE_MAX; i++)
		assert_dropped(ends[i]);
}

Test(fdstore, text_that_is_no_reference_is_an_error)
{
	static const char *const bad[] = {"", "fd", "fd:", "x", "FD:x", "fd:a/b", "fd:a b"};
	char longest[FDSTORE_NAME_LEN + 4] = "fd:";

	start(FOREVER_MS);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {0};

		cr_assert_eq(fdstore_take(store, bad[i], &err), -EINVAL, "%s", bad[i]);
		cr_assert_not_null(strstr(err.msg, "fd:NAME"));
	}
	memset(longest + 3, 'n', FDSTORE_NAME_LEN - 1);
	cr_assert_eq(fdstore_take(store, longest, NULL), -ENOENT);
	longest[FDSTORE_NAME_LEN + 2] = 'n';
	cr_assert_eq(fdstore_take(store, longest, NULL), -EINVAL);
}

Test(fdstore, longest_name_fits)
{
	char name[FDSTORE_NAME_LEN] = "";

	memset(name, 'n', sizeof(name) - 1);
	start(FOREVER_MS);
	client_connect(&a);
	close(leave(&a, name));
	cr_assert_str_eq(fdstore_name(store, 0), name);
}

Test(fdstore, mistakes_are_told_and_closed)
{
	char longer[FDSTORE_NAME_LEN + 1] = "";

	memset(longer, 'n', FDSTORE_NAME_LEN);
	start(FOREVER_MS);
	assert_refused("x\n", 0, "no descriptor came");
	assert_refused("\n", 1, "no name");
	assert_refused("a/b\n", 1, "no name");
	assert_refused("\"\n", 1, "no name");
	assert_refused(longer, 1, "too long");
	assert_refused("x\ny\n", 1, "behind the newline");
	assert_refused("x\n", 2, "more than one");
	assert_refused("x\n", 8, "more than one");
}

Test(fdstore, second_descriptor_for_a_name_is_refused)
{
	int first, second;

	start(FOREVER_MS);
	client_connect(&a);
	first = send_pipe(&a, "na", 1);
	second = send_pipe(&a, "me\n", 1);
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, "more than one"), 1);
	assert_dropped(first);
	assert_dropped(second);
}

Test(fdstore, client_that_leaves_midway_leaves_nothing)
{
	int end;

	start(FOREVER_MS);
	client_connect(&a);
	end = send_pipe(&a, "na", 1);
	client_close(&a);
	client_connect(&b);
	close(leave(&b, "x"));
	assert_dropped(end);
	cr_assert_null(fdstore_name(store, 1));
}

Test(fdstore, silent_client_is_closed)
{
	int end;

	start(SOON_MS);
	client_connect(&a);
	end = send_pipe(&a, "half a na", 1);
	client_wait_end(&a);
	cr_assert_eq(a.n, 0);
	assert_dropped(end);
}

Test(fdstore, client_that_does_not_read_is_dropped)
{
	ssize_t n = 0;

	start(FOREVER_MS);
	client_connect_deaf(&a);
	client_connect(&b);
	while (n >= 0) { /* until it is closed */
		int end = -1;

		n = send(a.source.fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n >= 0) {
			end = send_pipe(&a, "x\n", 1);
			close(leave(&b, "y"));
			close(end);
		}
		n = send(a.source.fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	cr_assert_eq(errno, EPIPE);
}

Test(fdstore, one_client_too_many_is_told_so)
{
	static struct client many[FDSTORE_MAX_CONNS];

	start(FOREVER_MS);
	for (unsigned i = 0; i < FDSTORE_MAX_CONNS; i++)
		client_connect(&many[i]);
	client_connect(&a);
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, "\"busy\""), 1);
	for (unsigned i = 0; i < FDSTORE_MAX_CONNS; i++)
		client_close(&many[i]);
}

Test(fdstore, another_user_is_refused)
{
	start(FOREVER_MS);
	client_connect_as(&a, 65534);
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, "\"forbidden\""), 1);
}
