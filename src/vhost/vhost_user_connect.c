/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a back end: dialling its socket every so often, or letting it dial ours. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "vhost/vhost_user_internal.h"

void vhost_user_connected(struct vhost_user *vu, int fd)
{
	vhost_user_stop_connecting(vu);
	if (vhost_user_session_open(&vu->session, vu->loop, fd) < 0)
		vhost_user_connect_later(vu, NS_PER_S);
	else
		vhost_user_negotiate(vu);
}

/* ---- as the client ---- */

/* The descriptor or -errno. A unix socket connects at once or not at all (unix(7)). */
static int dial(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static void try_to_dial(struct vhost_user *vu)
{
	int fd = dial(vu->setup.path);

	if (fd >= 0)
		vhost_user_connected(vu, fd);
	else
		vhost_user_no_back_end(vu, fd);
}

/* ---- as the server ---- */

static void on_acceptable(struct loop_fd *source, uint32_t events)
{
	struct vhost_user *vu = container_of(source, struct vhost_user, acceptable);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0)
		vhost_user_connected(vu, fd);
	else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		/* Out of descriptors or memory: asking again at once would spin. */
		vhost_user_connect_later(vu, NS_PER_S);
}

static void listen_for_it(struct vhost_user *vu)
{
	vu->acceptable = (struct loop_fd){.fd = vu->listener.fd, .ready = on_acceptable};
	if (loop_add_fd(vu->loop, &vu->acceptable, EPOLLIN) < 0)
		vhost_user_connect_later(vu, NS_PER_S);
}

/* ---- both ---- */

void vhost_user_connect(struct vhost_user *vu)
{
	if (vu->setup.server)
		listen_for_it(vu);
	else
		try_to_dial(vu);
}

static void on_retry(struct loop_timer *timer)
{
	vhost_user_connect(container_of(timer, struct vhost_user, retry));
}

void vhost_user_stop_connecting(struct vhost_user *vu)
{
	loop_del_fd(vu->loop, &vu->acceptable);
	loop_timer_cancel(vu->loop, &vu->retry);
}

void vhost_user_connect_later(struct vhost_user *vu, uint64_t in_ns)
{
	vhost_user_stop_connecting(vu);
	vu->retry.fired = on_retry;
	loop_timer_arm(vu->loop, &vu->retry, in_ns);
}
