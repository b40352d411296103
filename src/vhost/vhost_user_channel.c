/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/vhost_user_channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/checked.h"
#include "base/fd.h"

enum {
	MESSAGES_AT_ONCE = 16, /* others on the loop come to their turn */
	MOST_UNSENT = 512,     /* for a peer that doesn't read: more than any start needs */
};

struct unsent {
	struct list link;
	struct vhost_user_message m;
};

/* ---- life ---- */

static void close_fds(struct vhost_user_message *m)
{
	for (unsigned i = 0; i < m->n_fds; i++)
		(void)fd_close(m->fds[i]);
	m->n_fds = 0;
}

static void on_socket(struct loop_fd *source, uint32_t events);

void vhost_user_channel_init(struct vhost_user_channel *ch)
{
	ch->source = (struct loop_fd){.fd = -1, .ready = on_socket};
	list_init(&ch->unsent);
	ch->unsent_done = ch->in_done = 0;
	ch->in.n_fds = 0;
}

int vhost_user_channel_open(struct vhost_user_channel *ch, struct loop *loop, int fd)
{
	int r;

	ch->loop = loop;
	ch->source.fd = fd;
	r = loop_add_fd(loop, &ch->source, EPOLLIN);
	if (r < 0)
		ch->source.fd = fd_close(fd);
	return r;
}

int vhost_user_channel_move(struct vhost_user_channel *ch, struct loop *loop)
{
	if (!vhost_user_channel_is_open(ch))
		return 0;
	if (ch->loop)
		loop_del_fd(ch->loop, &ch->source);
	ch->loop = loop;
	return loop ? loop_add_fd(loop, &ch->source, EPOLLIN | (ch->n_unsent ? EPOLLOUT : 0)) : 0;
}

void vhost_user_channel_close(struct vhost_user_channel *ch)
{
	if (!vhost_user_channel_is_open(ch))
		return;
	if (ch->loop)
		loop_del_fd(ch->loop, &ch->source);
	/* The peer sees it now, also where an io_uring holds the socket a while longer. */
	(void)shutdown(ch->source.fd, SHUT_RDWR);
	ch->source.fd = fd_close(ch->source.fd);
	while (!list_is_empty(&ch->unsent)) {
		struct unsent *u = list_entry(ch->unsent.next, struct unsent, link);

		list_remove(&u->link);
		free(u);
	}
	ch->n_unsent = 0;
	close_fds(&ch->in);
	ch->unsent_done = ch->in_done = 0;
}

static void end(struct vhost_user_channel *ch, int error, const char *why)
{
	vhost_user_channel_close(ch);
	ch->ended(ch, error, why);
}

/* ---- sending ---- */

static void put_fds(struct msghdr *msg, void *control, const struct vhost_user_message *m)
{
	struct cmsghdr *c;

	msg->msg_control = control;
	msg->msg_controllen = CMSG_SPACE(m->n_fds * sizeof(int));
	c = CMSG_FIRSTHDR(msg);
	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(m->n_fds * sizeof(int)),
			      .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(c), m->fds, m->n_fds * sizeof(int));
}

/* From byte `done` on; descriptors go with the first. Bytes sent or -errno. */
static ssize_t send_from(int fd, const struct vhost_user_message *m, size_t done)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(VHOST_USER_MAX_FDS * sizeof(int))] = {0};
	size_t of_header = done < sizeof(m->header) ? sizeof(m->header) - done : 0;
	size_t of_payload = sizeof(m->header) + m->header.size - done - of_header;
	struct iovec iov[] = {
		{(char *)(uintptr_t)&m->header + done, of_header},
		{(char *)(uintptr_t)m->payload.bytes + (m->header.size - of_payload), of_payload},
	};
	unsigned skip = of_header ? 0 : 1;
	struct msghdr msg = {.msg_iov = iov + skip, .msg_iovlen = ARRAY_SIZE(iov) - skip};
	ssize_t n;

	if (done == 0 && m->n_fds > 0)
		put_fds(&msg, control, m);
	n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

/* 0 when all of it has gone, -EAGAIN, or -errno. */
static int send_rest(int fd, const struct vhost_user_message *m, size_t *done)
{
	size_t len = sizeof(m->header) + m->header.size;

	while (*done < len) {
		ssize_t n = send_from(fd, m, *done);

		if (n < 0 && n != -EINTR)
			return (int)n;
		if (n > 0)
			*done += (size_t)n;
	}
	return 0;
}

/* Its end comes as an event: a caller in the middle of something is not told here. */
static void give_up(struct vhost_user_channel *ch)
{
	(void)shutdown(ch->source.fd, SHUT_RDWR);
}

/* Until the loop tells that there is room. */
static void keep(struct vhost_user_channel *ch, const struct vhost_user_message *m)
{
	struct unsent *u = ch->n_unsent < MOST_UNSENT ? malloc(sizeof(*u)) : NULL;

	if (!u || loop_mod_fd(ch->loop, &ch->source, EPOLLIN | EPOLLOUT) < 0) {
		free(u);
		give_up(ch);
		return;
	}
	u->m = *m;
	list_init(&u->link);
	list_add_tail(&ch->unsent, &u->link);
	ch->n_unsent++;
}

void vhost_user_channel_send(struct vhost_user_channel *ch, const struct vhost_user_message *m)
{
	int r = -EAGAIN;

	if (!vhost_user_channel_is_open(ch))
		return;
	if (list_is_empty(&ch->unsent))
		r = send_rest(ch->source.fd, m, &ch->unsent_done);
	if (r == 0)
		ch->unsent_done = 0;
	else if (r == -EAGAIN)
		keep(ch, m);
	else
		give_up(ch);
}

static void send_unsent(struct vhost_user_channel *ch)
{
	while (!list_is_empty(&ch->unsent)) {
		struct unsent *u = list_entry(ch->unsent.next, struct unsent, link);
		int r = send_rest(ch->source.fd, &u->m, &ch->unsent_done);

		if (r < 0 && r != -EAGAIN)
			give_up(ch);
		if (r < 0)
			return;
		ch->unsent_done = 0;
		ch->n_unsent--;
		list_remove(&u->link);
		free(u);
	}
	if (loop_mod_fd(ch->loop, &ch->source, EPOLLIN) < 0)
		give_up(ch);
}

/* ---- receiving ---- */

/* -EPROTO: there were more than any message has. */
static int take_fds(struct vhost_user_message *m, struct msghdr *msg)
{
	bool too_many = msg->msg_flags & MSG_CTRUNC;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (m->n_fds < VHOST_USER_MAX_FDS) {
				m->fds[m->n_fds++] = fd;
			} else {
				too_many = true;
				(void)fd_close(fd);
			}
		}
	}
	return too_many ? -EPROTO : 0;
}

/* Bytes into `to`, 0 at the end of the stream, or -errno. */
static ssize_t receive(struct vhost_user_channel *ch, void *to, size_t len)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(VHOST_USER_MAX_FDS * sizeof(int))];
	struct iovec iov = {to, len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(ch->source.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int r;

	if (n < 0)
		return -errno;
	r = take_fds(&ch->in, &msg);
	return r < 0 ? r : n;
}

/* 1 when a message is whole, else as receive(). */
static ssize_t receive_more(struct vhost_user_channel *ch, const char **why)
{
	const size_t header = sizeof(ch->in.header);
	ssize_t n;

	*why = NULL;
	if (ch->in_done < header)
		n = receive(ch, (char *)&ch->in.header + ch->in_done, header - ch->in_done);
	else
		n = receive(ch, ch->in.payload.bytes + (ch->in_done - header),
			    header + ch->in.header.size - ch->in_done);
	if (n <= 0)
		return n == 0 ? -EPIPE : n;
	ch->in_done += (size_t)n;
	if (ch->in_done == header)
		*why = vhost_user_check_header(&ch->in.header);
	if (*why)
		return -EPROTO;
	return ch->in_done >= header && ch->in_done == header + ch->in.header.size;
}

static void deliver(struct vhost_user_channel *ch)
{
	struct vhost_user_message m = ch->in;

	ch->in_done = 0;
	ch->in.n_fds = 0;
	ch->received(ch, &m);
	close_fds(&m);
}

static void receive_all(struct vhost_user_channel *ch)
{
	int messages = 0;

	while (messages < MESSAGES_AT_ONCE && vhost_user_channel_is_open(ch)) {
		const char *why;
		ssize_t r = receive_more(ch, &why);

		if (r == -EAGAIN)
			return;
		if (r == -EPIPE || r == -ECONNRESET) {
			end(ch, 0, "it has closed the connection");
		} else if (r == -EPROTO) {
			end(ch, -EPROTO, why ? why : "more descriptors than a message has");
		} else if (r < 0 && r != -EINTR) {
			end(ch, (int)r, strerror((int)-r));
		} else if (r == 1) {
			deliver(ch);
			messages++;
		}
	}
}

/* What was sent before a hang-up is read first: its end comes as the end of the stream. */
static void on_socket(struct loop_fd *source, uint32_t events)
{
	struct vhost_user_channel *ch = container_of(source, struct vhost_user_channel, source);

	if (events & EPOLLOUT)
		send_unsent(ch);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive_all(ch);
}
