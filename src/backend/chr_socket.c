/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening unix socket. One client at a time: others are told so and closed. Between clients the
 * output is held (see chr_out.h), so the next one first sees what came last. A client's end of file
 * is no end for the guest; a client that shuts down only its sending half goes on reading.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "backend/chr_core.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

enum { WAITING_MAX = 4 };

/* ---- clients ---- */

static bool has_client(const struct chr *chr)
{
	return chr->out.fd.fd >= 0;
}

/* Makes way for the next one. What the client sent before is still for the guest, which may be slow
 * to read it. */
static void client_gone(struct chr *chr)
{
	loop_del_fd(chr->loop, &chr->listener.hangup);
	if (chr->in.ended) {
		chr_in_attach(&chr->in, CHR_FD_NONE);
	} else if (chr->in.fd.fd >= 0) {
		/* A client that is still there sends no more, and sees its end. */
		(void)shutdown(chr->in.fd.fd, SHUT_RDWR);
		chr_in_set_hung_up(&chr->in);
	}
	chr_out_attach(&chr->out, CHR_FD_NONE);
	chr_set_peer(chr, false);
}

/* Output failed: the client is gone whatever its other half says. */
static bool client_lost(struct chr_out *out)
{
	client_gone(container_of(out, struct chr, out));
	return true;
}

static void on_hangup(struct loop_fd *source, uint32_t events)
{
	(void)events;
	client_gone(container_of(source, struct chr, listener.hangup));
}

static void client_hung_up(struct chr_in *in)
{
	client_gone(container_of(in, struct chr, in));
}

/* It sends no more. Watched with no events at all, its descriptor still reports the hang-up. */
static void client_left(struct chr_in *in)
{
	struct chr *chr = container_of(in, struct chr, in);

	if (!has_client(chr)) { /* it was gone before */
		chr_in_attach(in, CHR_FD_NONE);
		return;
	}
	chr->listener.hangup = (struct loop_fd){.fd = in->fd.fd, .ready = on_hangup};
	if (loop_add_fd(chr->loop, &chr->listener.hangup, 0) < 0)
		client_gone(chr);
}

static void admit(struct chr *chr, int fd)
{
	struct chr_fd in = {.fd = fd, .how = CHR_FD_SOCKET, .owned = true}, out;

	if (chr_fd_dup(&in, &out) < 0) {
		chr_fd_close(&in);
		return;
	}
	chr_in_attach(&chr->in, in);
	chr_out_attach(&chr->out, out);
	chr_set_peer(chr, true);
}

static void turn_away(int fd)
{
	static const char busy[] = "vmm: another client is connected\r\n";

	(void)!send(fd, busy, sizeof(busy) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	fd_close(fd);
}

/* The hang-up may lie in the same batch of events as the next client, and behind it. */
static bool client_has_left(const struct chr *chr)
{
	struct pollfd p = {.fd = chr->out.fd.fd};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

static void on_acceptable(struct loop_fd *source, uint32_t events)
{
	struct chr *chr = container_of(source, struct chr, listener.acceptable);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0 && has_client(chr) && client_has_left(chr))
		client_gone(chr);
	if (fd >= 0 && has_client(chr)) {
		turn_away(fd);
	} else if (fd >= 0) {
		admit(chr, fd);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* Out of descriptors or memory: the client stays in the queue, asking again at once
		 * would spin. */
		log_warn("%s: cannot accept a client: %s", chr->what, strerror(errno));
		loop_del_fd(chr->loop, source);
		loop_timer_arm(chr->loop, &chr->listener.retry, NS_PER_S);
	}
}

static int watch_listener(struct chr *chr)
{
	chr->listener.acceptable.fd = chr->listener.socket.fd;
	chr->listener.acceptable.ready = on_acceptable;
	return loop_add_fd(chr->loop, &chr->listener.acceptable, EPOLLIN);
}

static void on_retry(struct loop_timer *timer)
{
	struct chr *chr = container_of(timer, struct chr, listener.retry);

	if (watch_listener(chr) < 0)
		loop_timer_arm(chr->loop, timer, NS_PER_S);
}

/* ---- the listening socket ---- */

static int unix_open(struct chr *chr, const char *path, struct err *err)
{
	int r = unix_listener_open(chr->what, path, WAITING_MAX, &chr->listener.socket, err);

	if (r < 0)
		return r;
	chr->no_peer = true;
	chr->in.left = client_left;
	chr->in.hangup = client_hung_up;
	chr->out.lost = client_lost;
	chr->listener.retry.fired = on_retry;
	return chr_set_description(chr, err, "unix socket %s", path);
}

static int unix_start(struct chr *chr, struct err *err)
{
	int r = watch_listener(chr);

	if (r < 0)
		return err_set(err, r, "%s: cannot watch the socket: %s", chr->what, strerror(-r));
	return 0;
}

static void unix_close(struct chr *chr)
{
	struct chr_listener *l = &chr->listener;

	if (chr->loop) {
		loop_del_fd(chr->loop, &l->acceptable);
		loop_del_fd(chr->loop, &l->hangup);
		loop_timer_cancel(chr->loop, &l->retry);
	}
	unix_listener_close(&l->socket);
}

const struct chr_kind_ops chr_unix_ops = {
	.open = unix_open, .start = unix_start, .close = unix_close};
