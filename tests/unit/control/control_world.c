/* SPDX-License-Identifier: Apache-2.0 */
#include "control_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "tests/unit/fds.h"

int world_listener;
static unsigned fds_before;

void world_set_up(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	signal(SIGPIPE, SIG_IGN);
	log_init(-1, LOG_ERROR);
	fds_before = count_fds();
	cr_assert_eq(loop_new(&world_loop), 0);
	world_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* No path: the kernel makes a name up (unix(7), autobind). */
	cr_assert_eq(bind(world_listener, (struct sockaddr *)&addr, sizeof(sa_family_t)), 0);
	cr_assert_eq(listen(world_listener, 64), 0);
}

void world_tear_down(void)
{
	world_loop = loop_free(world_loop);
	close(world_listener);
	cr_assert_eq(count_fds(), fds_before, "a descriptor was left open");
}

/* ---- clients ---- */

static void hear(struct loop_fd *source, uint32_t events)
{
	struct client *client = container_of(source, struct client, source);
	ssize_t n = recv(source->fd, client->buf + client->n, sizeof(client->buf) - 1 - client->n,
			 MSG_DONTWAIT);

	(void)events;
	if (n > 0)
		client->n += (size_t)n;
	client->buf[client->n] = '\0';
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		client->ended = true;
		loop_del_fd(world_loop, source);
	}
}

void client_connect_deaf(struct client *client)
{
	struct sockaddr_un addr;
	socklen_t len = sizeof(addr);

	memset(client, 0, sizeof(*client));
	client->source.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	client->source.ready = hear;
	cr_assert_eq(getsockname(world_listener, (struct sockaddr *)&addr, &len), 0);
	cr_assert_eq(connect(client->source.fd, (struct sockaddr *)&addr, len), 0);
}

void client_listen(struct client *client)
{
	cr_assert_eq(loop_add_fd(world_loop, &client->source, EPOLLIN), 0);
}

void client_connect(struct client *client)
{
	client_connect_deaf(client);
	client_listen(client);
}

void client_connect_as(struct client *client, uid_t uid)
{
	if (geteuid() != 0)
		cr_skip_test("needs root to be another user");
	cr_assert_eq(seteuid(uid), 0);
	client_connect(client);
	cr_assert_eq(seteuid(0), 0);
}

void client_close(struct client *client)
{
	loop_del_fd(world_loop, &client->source);
	client->source.fd = fd_close(client->source.fd);
}

void client_send_bytes(struct client *client, const void *bytes, size_t n)
{
	cr_assert_eq(send(client->source.fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
}

void client_send(struct client *client, const char *text)
{
	client_send_bytes(client, text, strlen(text));
}

/* ---- waiting for a client ---- */

struct goal {
	const struct client *client;
	const char *text;
	unsigned times;
};

unsigned client_count(const struct client *client, const char *text)
{
	unsigned times = 0;

	for (const char *at = client->buf; (at = strstr(at, text)); at += strlen(text))
		times++;
	return times;
}

static bool has_come(void *arg)
{
	const struct goal *goal = arg;

	return client_count(goal->client, goal->text) >= goal->times;
}

void client_wait_times(struct client *client, const char *text, unsigned times)
{
	world_run_until(has_come, &(struct goal){client, text, times});
	cr_assert_eq(client_count(client, text), times);
}

void client_wait(struct client *client, const char *text)
{
	client_wait_times(client, text, 1);
}

static bool has_ended(void *arg)
{
	const struct client *client = arg;

	return client->ended;
}

void client_wait_end(struct client *client)
{
	world_run_until(has_ended, client);
}
