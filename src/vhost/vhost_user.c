/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/vhost_user.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "vhost/vhost_user_internal.h"

/* After a back end that did wrong: it would do so again at once. */
#define PENANCE_NS NS_PER_S
/* How often one is looked for at the start, whatever comes later. */
#define OPENING_NS (NS_PER_S / 50)

/* ---- messages ---- */

void vhost_user_tell(struct vhost_user *vu, uint32_t request)
{
	struct vhost_user_message m;

	vhost_user_request(&m, request, 0);
	vhost_user_session_tell(&vu->session, &m);
}

void vhost_user_tell_u64(struct vhost_user *vu, uint32_t request, uint64_t value)
{
	struct vhost_user_message m = {.payload.u64 = value};

	vhost_user_request(&m, request, sizeof(m.payload.u64));
	vhost_user_session_tell(&vu->session, &m);
}

void vhost_user_ask_u64(struct vhost_user *vu, uint32_t request)
{
	struct vhost_user_message m;

	vhost_user_request(&m, request, 0);
	vhost_user_session_ask(&vu->session, &m, sizeof(m.payload.u64));
}

/* ---- lost ---- */

static uint64_t time_to_next_try(const struct vhost_user *vu)
{
	return vu->attached ? vu->setup.reconnect_ns : OPENING_NS;
}

/* Once for each reason, however often it is met. */
static void say(struct vhost_user *vu, const char *why)
{
	char text[sizeof(vu->said)];

	(void)snprintf(text, sizeof(text), "%s", why);
	if (strcmp(text, vu->said) == 0)
		return;
	memcpy(vu->said, text, sizeof(text));
	if (vu->attached)
		log_warn("%s: no back end: %s", vu->setup.what, why);
}

static void lost(struct vhost_user *vu, bool fault, const char *why)
{
	bool online = vu->phase == VHOST_USER_ONLINE;
	struct vhost_dev *d = &vu->dev;

	vu->phase = VHOST_USER_OFFLINE;
	atomic_store_explicit(&d->connected, false, memory_order_relaxed);
	vhost_user_rings_lost(vu);
	say(vu, why);
	if (fault)
		atomic_fetch_add_explicit(&d->failures, 1, memory_order_relaxed);
	if (vu->setup.reconnect_ns > 0 || !vu->attached)
		vhost_user_connect_later(vu, fault ? PENANCE_NS : time_to_next_try(vu));
	if (!vu->attached)
		vu->opening_fault = fault;
	if (!vu->attached && fault)
		loop_stop(vu->loop);
	if (online && vu->attached && fault)
		d->events->failed(d, why);
	if (online && vu->attached)
		d->events->lost(d, why);
}

void vhost_user_no_back_end(struct vhost_user *vu, int error)
{
	say(vu, error == -ENOENT	 ? "there is no such socket"
		: error == -ECONNREFUSED ? "nobody listens on the socket"
		: error == -EAGAIN	 ? "it has too many clients that wait"
					 : strerror(-error));
	vhost_user_connect_later(vu, time_to_next_try(vu));
}

void vhost_user_blame(struct vhost_user *vu, const char *why)
{
	vhost_user_session_close(&vu->session);
	lost(vu, true, why);
}

/* ---- found ---- */

/* Why this back end can't go on where another one was; NULL: it can. */
static const char *is_unfit(const struct vhost_user *vu)
{
	const struct vhost_dev *d = &vu->dev;

	if (!(d->features & UINT64_C(1) << 32 /* VIRTIO_F_VERSION_1 */))
		return "it does not offer virtio 1.0";
	if ((d->acked ? d->acked : d->shown) & ~d->features)
		return "it lacks features that the guest's driver uses";
	if (vu->record.fd >= 0 && !vhost_user_has(vu, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
		return "it keeps no record of what is under way, as the one before it did";
	if (d->max_rings < d->needs_rings)
		return "it has fewer queues than the guest's device";
	if (vu->attached && d->map && vhost_user_count_regions(d->map) > vu->max_slots)
		return "it takes fewer memory regions than the guest has";
	return NULL;
}

/* What its configuration is now, and then all the rest. */
static void get_ready(struct vhost_user *vu)
{
	struct vhost_dev *d = &vu->dev;

	if (d->config_len > 0)
		d->events->config(d, d->config, d->config_len);
	d->events->ready(d);
	if (vu->config_stale)
		vhost_user_refresh_config(vu);
}

void vhost_user_negotiated(struct vhost_user *vu)
{
	struct vhost_dev *d = &vu->dev;
	const char *unfit = is_unfit(vu);

	if (unfit) {
		vhost_user_blame(vu, unfit);
		return;
	}
	vu->phase = VHOST_USER_ONLINE;
	vu->said[0] = '\0';
	atomic_store_explicit(&d->connected, true, memory_order_relaxed);
	if (!vu->attached) {
		loop_stop(vu->loop);
		return;
	}
	atomic_fetch_add_explicit(&d->reconnects, 1, memory_order_relaxed);
	log_info("%s: the back end is back", vu->setup.what);
	get_ready(vu);
}

/* ---- the session ---- */

static struct vhost_user *of_session(struct vhost_user_session *s)
{
	return container_of(s, struct vhost_user, session);
}

static void on_config(struct vhost_user_session *s, const struct vhost_user_config *config)
{
	vhost_user_take_config(of_session(s), config);
}

static void on_answered(struct vhost_user_session *s, uint32_t request,
			struct vhost_user_message *m)
{
	struct vhost_user *vu = of_session(s);

	if (vu->phase == VHOST_USER_ONLINE)
		vhost_user_ring_answer(vu, request, m);
	else
		vhost_user_negotiate_answer(vu, request, m);
}

static void on_config_changed(struct vhost_user_session *s)
{
	vhost_user_refresh_config(of_session(s));
}

static void on_ended(struct vhost_user_session *s, bool fault, const char *why)
{
	lost(of_session(s), fault, why);
}

static const struct vhost_user_session_ops session_ops = {
	.config = on_config,
	.answered = on_answered,
	.config_changed = on_config_changed,
	.ended = on_ended,
};

/* ---- life ---- */

static int attach(struct vhost_dev *d, struct loop *loop)
{
	struct vhost_user *vu = vhost_user_of(d);
	int r;

	if (vhost_user_count_regions(d->map) > vu->max_slots)
		return -E2BIG;
	vu->loop = loop;
	vu->attached = true;
	r = vhost_user_session_move(&vu->session, loop);
	if (r == 0)
		get_ready(vu);
	return r;
}

static void set_config(struct vhost_dev *d, unsigned offset, const void *bytes, unsigned len)
{
	struct vhost_user *vu = vhost_user_of(d);
	struct vhost_user_message m = {.payload.config = {.offset = offset, .size = len}};

	if (!vhost_user_has(vu, VHOST_USER_PROTOCOL_F_CONFIG) || len > VHOST_MAX_CONFIG)
		return;
	memcpy(m.payload.config.bytes, bytes, len);
	vhost_user_request(&m, VHOST_USER_SET_CONFIG, VHOST_USER_CONFIG_HEADER + len);
	vhost_user_session_tell(&vu->session, &m);
	vhost_user_refresh_config(vu);
}

static void free_all(struct vhost_dev *d)
{
	struct vhost_user *vu = vhost_user_of(d);

	vhost_user_session_close(&vu->session);
	if (vu->loop)
		vhost_user_stop_connecting(vu);
	unix_listener_close(&vu->listener);
	(void)fd_close(vu->record.fd);
	free(vu);
}

static const struct vhost_dev_ops ops = {
	.attach = attach,
	.start = vhost_user_start,
	.stop = vhost_user_stop,
	.set_call = vhost_user_set_call,
	.set_enabled = vhost_user_set_enabled,
	.reset = vhost_user_reset,
	.set_config = set_config,
	.free = free_all,
};

/* ---- opening ---- */

struct deadline {
	struct loop_timer timer;
	struct loop_fd cancel;
	struct loop *loop;
	bool over, cancelled;
};

static void on_deadline(struct loop_timer *timer)
{
	struct deadline *deadline = container_of(timer, struct deadline, timer);

	deadline->over = true;
	loop_stop(deadline->loop);
}

static void on_cancel(struct loop_fd *source, uint32_t events)
{
	struct deadline *deadline = container_of(source, struct deadline, cancel);

	(void)events;
	deadline->over = deadline->cancelled = true;
	loop_stop(deadline->loop);
}

static int explain(const struct vhost_user *vu, struct err *err)
{
	const struct vhost_user_setup *s = &vu->setup;

	if (vu->opening_fault)
		return err_set(err, -EPROTO, "%s: the back end on '%s' can't be used: %s", s->what,
			       s->path, vu->said);
	if (vu->phase != VHOST_USER_OFFLINE)
		return err_set(
			err, -ETIMEDOUT,
			"%s: the back end on '%s' did not answer within %g s; is it busy with "
			"another client?",
			s->what, s->path, (double)s->wait_ns / 1e9);
	if (s->server)
		return err_set(err, -ETIMEDOUT,
			       "%s: no back end has connected to '%s' within %g s; start it, or "
			       "wait longer with wait=",
			       s->what, s->path, (double)s->wait_ns / 1e9);
	return err_set(err, -ETIMEDOUT,
		       "%s: no back end on '%s' within %g s: %s; start it first, or wait longer "
		       "with wait=",
		       s->what, s->path, (double)s->wait_ns / 1e9, vu->said);
}

/* On a loop of its own, which nobody else uses yet. */
static int wait_for_one(struct vhost_user *vu, struct err *err)
{
	struct deadline deadline = {.timer.fired = on_deadline,
				    .cancel = {.fd = vu->setup.cancel_fd, .ready = on_cancel},
				    .loop = vu->loop};
	int r = deadline.cancel.fd ? loop_add_fd(vu->loop, &deadline.cancel, EPOLLIN) : 0;

	loop_timer_arm(vu->loop, &deadline.timer, vu->setup.wait_ns);
	vhost_user_connect(vu);
	do {
		if (r == 0)
			r = loop_run(vu->loop);
		/* One that was there for a moment is not the one. */
	} while (r == 0 && vu->phase != VHOST_USER_ONLINE && !deadline.over && !vu->opening_fault);
	loop_timer_cancel(vu->loop, &deadline.timer);
	loop_del_fd(vu->loop, &deadline.cancel);
	if (deadline.cancelled)
		return err_set(err, -EINTR, "%s: interrupted while waiting for the back end",
			       vu->setup.what);
	if (r < 0)
		return err_set(err, r, "%s: %s", vu->setup.what, strerror(-r));
	if (vu->phase != VHOST_USER_ONLINE)
		return explain(vu, err);
	/* Until attach() says where it is to live. */
	vu->loop = NULL;
	return vhost_user_session_move(&vu->session, NULL);
}

static int open_listener(struct vhost_user *vu, struct err *err)
{
	return vu->setup.server
		       ? unix_listener_open(vu->setup.what, vu->setup.path, 1, &vu->listener, err)
		       : 0;
}

int vhost_user_new(const struct vhost_user_setup *setup, struct loop *loop, struct vhost_user **ret)
{
	struct vhost_user *vu = calloc(1, sizeof(*vu));

	if (!vu)
		return -ENOMEM;
	vu->dev.ops = &ops;
	vu->setup = *setup;
	vu->loop = loop;
	vu->listener = UNIX_LISTENER_NONE;
	vu->record.fd = -1;
	vhost_user_session_init(&vu->session, &session_ops);
	*ret = vu;
	return 0;
}

int vhost_user_open(const struct vhost_user_setup *setup, struct vhost_dev **ret, struct err *err)
{
	struct vhost_user *vu = NULL;
	struct loop *loop = NULL;
	int r = loop_new(&loop);

	if (r == 0)
		r = vhost_user_new(setup, loop, &vu);
	if (r < 0)
		(void)err_set(err, r, "%s: %s", setup->what, strerror(-r));
	if (r == 0)
		r = open_listener(vu, err);
	if (r == 0)
		r = wait_for_one(vu, err);
	if (r == 0)
		*ret = &vu->dev;
	else if (vu)
		(void)vhost_dev_free(&vu->dev);
	(void)loop_free(loop);
	return r;
}
