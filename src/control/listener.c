/* SPDX-License-Identifier: Apache-2.0 */
#include "control/listener.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"

static bool is_allowed(const struct listener *listener, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || len != sizeof(peer))
		return false;
	return peer.uid == 0 || peer.uid == listener->allowed_uid;
}

static void on_acceptable(struct loop_fd *source, uint32_t events)
{
	struct listener *listener = container_of(source, struct listener, acceptable);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0) {
		listener->accepted(listener, fd, is_allowed(listener, fd));
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		log_warn("%s: cannot accept a client: %s", listener->what, strerror(errno));
		loop_del_fd(listener->loop, source);
		loop_timer_arm(listener->loop, &listener->retry, NS_PER_S);
	}
}

static void on_retry(struct loop_timer *timer)
{
	struct listener *listener = container_of(timer, struct listener, retry);

	if (loop_add_fd(listener->loop, &listener->acceptable, EPOLLIN) < 0)
		loop_timer_arm(listener->loop, timer, NS_PER_S);
}

int listener_start(struct listener *listener, struct loop *loop, int fd)
{
	listener->loop = loop;
	listener->acceptable = (struct loop_fd){.fd = fd, .ready = on_acceptable};
	listener->retry = (struct loop_timer){.fired = on_retry};
	return loop_add_fd(loop, &listener->acceptable, EPOLLIN);
}

void listener_stop(struct listener *listener)
{
	if (!listener->loop)
		return;
	loop_del_fd(listener->loop, &listener->acceptable);
	loop_timer_cancel(listener->loop, &listener->retry);
}
