/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/vhost_user_session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"

/* An answer that is waited for. */
struct unanswered {
	struct list link;
	uint32_t request;
	uint32_t size; /* of the answer; of GET_CONFIG, the bytes of the configuration */
	bool ack;      /* the number says whether the request was done */
	uint64_t deadline_ns;
};

/* ---- the end ---- */

static void forget_unanswered(struct vhost_user_session *s)
{
	while (!list_is_empty(&s->unanswered)) {
		struct unanswered *u = list_entry(s->unanswered.next, struct unanswered, link);

		list_remove(&u->link);
		free(u);
	}
}

void vhost_user_session_close(struct vhost_user_session *s)
{
	if (s->loop)
		loop_timer_cancel(s->loop, &s->timer);
	vhost_user_channel_close(&s->channel);
	vhost_user_channel_close(&s->requests);
	s->requests_fd = fd_close(s->requests_fd);
	forget_unanswered(s);
}

static void end(struct vhost_user_session *s, bool fault, const char *why)
{
	vhost_user_session_close(s);
	s->ops->ended(s, fault, why);
}

static printf_like(2, 3) void blame(struct vhost_user_session *s, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(s->why, sizeof(s->why), fmt, args);
	va_end(args);
	end(s, true, s->why);
}

/* Out of memory or descriptors: the end of the channel comes as an event, not under a caller. */
static void give_up(struct vhost_user_session *s)
{
	(void)shutdown(s->channel.source.fd, SHUT_RDWR);
}

/* ---- time ---- */

static void watch_clock(struct vhost_user_session *s)
{
	uint64_t now = clock_now_ns();
	const struct unanswered *first;

	if (list_is_empty(&s->unanswered)) {
		loop_timer_cancel(s->loop, &s->timer);
		return;
	}
	first = list_entry(s->unanswered.next, struct unanswered, link);
	loop_timer_arm(s->loop, &s->timer, first->deadline_ns > now ? first->deadline_ns - now : 0);
}

static void on_timer(struct loop_timer *timer)
{
	struct vhost_user_session *s = container_of(timer, struct vhost_user_session, timer);
	const struct unanswered *first = list_entry(s->unanswered.next, struct unanswered, link);

	blame(s, "it did not answer %s in time", vhost_user_request_name(first->request));
}

/* ---- requests ---- */

void vhost_user_request(struct vhost_user_message *m, uint32_t request, uint32_t size)
{
	m->header = (struct vhost_user_header){
		.request = request, .flags = VHOST_USER_VERSION, .size = size};
	m->n_fds = 0;
}

/* Those before it may take their time, too. */
static void expect(struct vhost_user_session *s, uint32_t request, uint32_t size, bool ack)
{
	uint64_t patience = request == VHOST_USER_GET_VRING_BASE ? VHOST_USER_LONG_PATIENCE_NS
								 : VHOST_USER_PATIENCE_NS;
	struct unanswered *u = malloc(sizeof(*u)), *last;

	if (!u) {
		give_up(s);
		return;
	}
	*u = (struct unanswered){.request = request,
				 .size = size,
				 .ack = ack,
				 .deadline_ns = clock_now_ns() + patience};
	if (!list_is_empty(&s->unanswered)) {
		last = list_entry(s->unanswered.prev, struct unanswered, link);
		u->deadline_ns = MAX(u->deadline_ns, last->deadline_ns);
	}
	list_init(&u->link);
	list_add_tail(&s->unanswered, &u->link);
	watch_clock(s);
}

void vhost_user_session_tell(struct vhost_user_session *s, struct vhost_user_message *m)
{
	bool ack = vhost_user_session_has(s, VHOST_USER_PROTOCOL_F_REPLY_ACK);

	if (!vhost_user_session_is_open(s))
		return;
	if (ack)
		m->header.flags |= VHOST_USER_NEED_REPLY;
	vhost_user_channel_send(&s->channel, m);
	if (ack)
		expect(s, m->header.request, sizeof(uint64_t), true);
}

void vhost_user_session_ask(struct vhost_user_session *s, struct vhost_user_message *m,
			    uint32_t size)
{
	if (!vhost_user_session_is_open(s))
		return;
	vhost_user_channel_send(&s->channel, m);
	expect(s, m->header.request, size, false);
}

void vhost_user_session_ask_config(struct vhost_user_session *s, uint32_t size)
{
	struct vhost_user_message m = {.payload.config.size = size};

	vhost_user_request(&m, VHOST_USER_GET_CONFIG, VHOST_USER_CONFIG_HEADER + size);
	vhost_user_session_ask(s, &m, size);
}

/* ---- answers ---- */

static void take_config(struct vhost_user_session *s, const struct unanswered *u,
			const struct vhost_user_message *m)
{
	const char *wrong = vhost_user_check_config(m, 0, u->size);

	s->ops->config(s, wrong ? NULL : &m->payload.config);
}

static void take_answer(struct vhost_user_session *s, const struct unanswered *u,
			struct vhost_user_message *m)
{
	if (u->request == VHOST_USER_GET_CONFIG)
		take_config(s, u, m);
	else if (!u->ack)
		s->ops->answered(s, u->request, m);
	else if (m->payload.u64 != 0)
		blame(s, "it refuses %s", vhost_user_request_name(u->request));
}

static void on_answer(struct vhost_user_channel *ch, struct vhost_user_message *m)
{
	struct vhost_user_session *s = container_of(ch, struct vhost_user_session, channel);
	struct unanswered *first;
	struct unanswered u;
	const char *wrong;

	if (list_is_empty(&s->unanswered)) {
		blame(s, "it sent a message that nobody asked for");
		return;
	}
	first = list_entry(s->unanswered.next, struct unanswered, link);
	u = *first;
	list_remove(&first->link);
	free(first);
	watch_clock(s);
	wrong = vhost_user_check_reply(
		m, u.request, u.request == VHOST_USER_GET_CONFIG ? VHOST_USER_ANY_SIZE : u.size);
	if (wrong)
		blame(s, "to %s it sent %s", vhost_user_request_name(u.request), wrong);
	else
		take_answer(s, &u, m);
}

static void on_end(struct vhost_user_channel *ch, int error, const char *why)
{
	struct vhost_user_session *s = container_of(ch, struct vhost_user_session, channel);

	if (error == -EPROTO)
		blame(s, "it sent %s", why);
	else
		end(s, false, why);
}

/* ---- the back end's requests ---- */

static void reply(struct vhost_user_channel *ch, uint32_t request, uint64_t result)
{
	struct vhost_user_message m = {.payload.u64 = result};

	vhost_user_request(&m, request, sizeof(m.payload.u64));
	m.header.flags |= VHOST_USER_REPLY;
	vhost_user_channel_send(ch, &m);
}

static void on_request(struct vhost_user_channel *ch, struct vhost_user_message *m)
{
	struct vhost_user_session *s = container_of(ch, struct vhost_user_session, requests);
	bool known = m->header.request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG;
	const char *wrong = vhost_user_check_request(m);

	if (wrong) {
		blame(s, "on its request channel it sent %s", wrong);
		return;
	}
	/* Before what follows from it: the back end may wait. */
	if (m->header.flags & VHOST_USER_NEED_REPLY)
		reply(ch, m->header.request, known ? 0 : 1);
	if (known)
		s->ops->config_changed(s);
}

/* It may do without; what it says of its own end is not to be had any more. */
static void on_requests_end(struct vhost_user_channel *ch, int error, const char *why)
{
	struct vhost_user_session *s = container_of(ch, struct vhost_user_session, requests);

	if (error == -EPROTO)
		blame(s, "on its request channel it sent %s", why);
}

void vhost_user_session_open_requests(struct vhost_user_session *s)
{
	struct vhost_user_message m;
	int pair[2];

	if (!vhost_user_session_is_open(s))
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
		give_up(s);
		return;
	}
	s->requests_fd = pair[1];
	if (vhost_user_channel_open(&s->requests, s->loop, pair[0]) < 0)
		give_up(s);
	vhost_user_request(&m, VHOST_USER_SET_BACKEND_REQ_FD, 0);
	m.n_fds = 1;
	m.fds[0] = s->requests_fd;
	vhost_user_session_tell(s, &m);
}

/* ---- the beginning ---- */

void vhost_user_session_init(struct vhost_user_session *s, const struct vhost_user_session_ops *ops)
{
	*s = (struct vhost_user_session){.ops = ops, .timer.fired = on_timer, .requests_fd = -1};
	vhost_user_channel_init(&s->channel);
	s->channel.received = on_answer;
	s->channel.ended = on_end;
	vhost_user_channel_init(&s->requests);
	s->requests.received = on_request;
	s->requests.ended = on_requests_end;
	list_init(&s->unanswered);
}

int vhost_user_session_open(struct vhost_user_session *s, struct loop *loop, int fd)
{
	s->loop = loop;
	s->protocol = 0;
	return vhost_user_channel_open(&s->channel, loop, fd);
}

int vhost_user_session_move(struct vhost_user_session *s, struct loop *loop)
{
	int r = vhost_user_channel_move(&s->channel, loop);

	if (s->loop)
		loop_timer_cancel(s->loop, &s->timer);
	s->loop = loop;
	if (loop)
		watch_clock(s);
	return r < 0 ? r : vhost_user_channel_move(&s->requests, loop);
}
