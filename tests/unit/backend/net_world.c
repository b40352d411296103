/* SPDX-License-Identifier: Apache-2.0 */
#include "net_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/log.h"
#include "tests/unit/event/engine.h"

static char dir[64], path[128];

void net_world_set_up(void)
{
	signal(SIGPIPE, SIG_IGN);
	log_init(-1, LOG_ERROR);
	world_loop = engine_loop(64, 0);
}

void net_world_tear_down(void)
{
	char command[128];

	world_loop = loop_free(world_loop);
	if (dir[0]) {
		(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
		cr_assert_eq(system(command), 0);
		dir[0] = '\0';
	}
}

const char *net_world_path(const char *name)
{
	if (!dir[0]) {
		strcpy(dir, "/tmp/net.XXXXXX");
		cr_assert_not_null(mkdtemp(dir));
	}
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* ---- a user of a port ---- */

static bool is_zero(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i])
			return false;
	return true;
}

static bool take_one(struct end *e)
{
	struct iovec iov[] = {{e->header, sizeof(e->header)}, {e->frame, sizeof(e->frame)}};
	ssize_t n = net_recv(e->port, iov, 2);
	size_t len;

	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		e->last_error = n;
		return false;
	}
	cr_assert_lt(e->n, MAX_FRAMES);
	cr_assert_geq(n, NET_HEADER_LEN);
	len = (size_t)n - NET_HEADER_LEN;
	e->len[e->n] = len;
	e->mark[e->n] = len > 3 ? e->frame[len - 4] : 0;
	e->plain[e->n] = is_zero(e->header, sizeof(e->header));
	e->n++;
	return true;
}

static void on_readable(struct net_user *user)
{
	struct end *e = container_of(user, struct end, user);

	e->readables++;
	for (unsigned i = 0; i < e->budget && e->room > 0 && take_one(e); i++)
		e->room--;
	if (e->room == 0)
		net_want_rx(e->port, false);
}

static void on_writable(struct net_user *user)
{
	container_of(user, struct end, user)->writables++;
}

static void on_link(struct net_user *user, bool up, const char *why)
{
	struct end *e = container_of(user, struct end, user);

	if (up)
		e->ups++;
	else
		e->downs++;
	e->why = why;
}

void end_attach(struct end *e, struct net *net, unsigned port)
{
	static const struct net_user_ops ops = {
		.readable = on_readable, .writable = on_writable, .link = on_link};

	*e = (struct end){.user.ops = &ops, .port = net_port(net, port), .budget = 8};
	e->room = UINT32_MAX;
	net_port_attach(e->port, world_loop, &e->user);
	net_want_rx(e->port, true);
}

struct goal {
	const unsigned *count;
	unsigned n;
};

static bool reached(void *arg)
{
	struct goal *goal = arg;

	return *goal->count >= goal->n;
}

static void wait_count(const unsigned *count, unsigned n)
{
	world_run_until(reached, &(struct goal){count, n});
	cr_assert_eq(*count, n);
}

void end_wait_frames(struct end *e, unsigned n)
{
	wait_count(&e->n, n);
}

void end_wait_up(struct end *e, unsigned ups)
{
	wait_count(&e->ups, ups);
}

void end_wait_down(struct end *e, unsigned downs)
{
	wait_count(&e->downs, downs);
}

void end_wait_writable(struct end *e, unsigned writables)
{
	wait_count(&e->writables, writables);
}

int end_send(struct end *e, size_t len, uint8_t mark)
{
	static uint8_t header[NET_HEADER_LEN], frame[NET_FRAME_MAX + 1];
	struct iovec iov[] = {
		{header, sizeof(header)}, {frame, len / 2}, {frame + len / 2, len - len / 2}};

	memset(frame, mark, len);
	return net_send(e->port, iov, 3);
}

size_t wire_frame(uint8_t *to, size_t len, uint8_t mark)
{
	const uint8_t prefix[4] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
				   (uint8_t)len};

	memcpy(to, prefix, 4);
	memset(to + 4, mark, len);
	return len + 4;
}
