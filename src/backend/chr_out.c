/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/chr_out.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"

static const uint64_t linger_ns = 10 * NS_PER_MS;

enum {
	WAKE_AT = CHR_OUT_RING / 2,
	HELD_MAX = CHR_OUT_RING / 4 * 3,
	HELD_KEEP = CHR_OUT_RING / 2,
};

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- any thread ---- */

static bool must_kick(const struct chr_out *out, const uint8_t *bytes, size_t n) REQUIRES(out->lock)
{
	if (out->kicked || !out->loop)
		return false;
	switch (out->state) {
	case CHR_OUT_IDLE:
		return true;
	case CHR_OUT_LINGERING:
		return out->ring.used >= WAKE_AT || memchr(bytes, '\n', n);
	case CHR_OUT_HELD:
		return out->ring.used >= HELD_MAX;
	case CHR_OUT_BLOCKED:
	case CHR_OUT_DEAD:
		break;
	}
	return false;
}

size_t chr_out_write(struct chr_out *out, const uint8_t *bytes, size_t n)
{
	size_t taken = 0;
	bool kick = false;

	mutex_lock(&out->lock);
	if (out->state != CHR_OUT_DEAD) {
		taken = chr_ring_put(&out->ring, bytes, n);
		kick = taken > 0 && must_kick(out, bytes, taken);
		out->kicked |= kick;
	}
	mutex_unlock(&out->lock);
	if (taken < n)
		count(&out->dropped, n - taken);
	if (kick)
		loop_post(out->loop, &out->kick);
	return taken;
}

/* ---- the loop's thread ---- */

static void complain(struct chr_out *out, int error)
{
	if (!out->complained)
		log_warn("%s: output cannot be written (%s) and is dropped", out->what,
			 strerror(-error));
	out->complained = true;
}

/* A full disk may have room again; everything else is the end of this reader. */
static bool passes(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG;
}

static void set_state(struct chr_out *out, enum chr_out_state state)
{
	mutex_lock(&out->lock);
	out->state = state;
	mutex_unlock(&out->lock);
}

static void drop_all(struct chr_out *out)
{
	mutex_lock(&out->lock);
	count(&out->dropped, out->ring.used);
	chr_ring_drop(&out->ring, out->ring.used);
	mutex_unlock(&out->lock);
}

static void detach(struct chr_out *out)
{
	if (out->loop) {
		loop_del_fd(out->loop, &out->writable);
		loop_timer_cancel(out->loop, &out->linger);
	}
	chr_fd_close(&out->fd);
}

static void failed(struct chr_out *out, int error)
{
	if (out->lost && out->lost(out)) {
		chr_out_attach(out, CHR_FD_NONE);
		return;
	}
	complain(out, error);
	if (!passes(error)) {
		detach(out);
		set_state(out, CHR_OUT_DEAD);
	}
	drop_all(out);
}

static void trim_held(struct chr_out *out)
{
	mutex_lock(&out->lock);
	out->kicked = false;
	if (out->ring.used >= HELD_MAX)
		count(&out->dropped, chr_ring_trim(&out->ring, HELD_KEEP));
	mutex_unlock(&out->lock);
}

static void count_written(struct chr_out *out, uint64_t n)
{
	count(&out->written, n);
	out->since_limit += n;
	if (out->limit && out->since_limit >= out->limit->bytes) {
		out->since_limit = 0;
		out->limit->reached(out->limit);
	}
}

/*
 * Writes until the ring is empty (0), the reader would have to be waited for (-EAGAIN), or a whole
 * ring has gone out (1: there may be more, but the loop has others to serve). The bytes between
 * head and tail are not touched by writers, so they are written without the lock.
 */
static int push(struct chr_out *out)
{
	size_t budget = CHR_OUT_RING;

	while (budget > 0) {
		const uint8_t *bytes;
		size_t len;
		ssize_t n;

		mutex_lock(&out->lock);
		out->kicked = false;
		len = chr_ring_peek(&out->ring, &bytes);
		/* The lingering starts before the lock is dropped: a byte that comes now is not an
		 * idle one. */
		out->state = len > 0 || out->loop ? CHR_OUT_LINGERING : CHR_OUT_IDLE;
		mutex_unlock(&out->lock);
		if (len == 0)
			return 0;
		n = chr_fd_write(&out->fd, bytes, MIN(len, budget));
		if (n == -EAGAIN)
			return -EAGAIN;
		if (n < 0) {
			failed(out, (int)n);
			return 0;
		}
		count_written(out, (uint64_t)n);
		budget -= (size_t)n;
		mutex_lock(&out->lock);
		chr_ring_drop(&out->ring, (size_t)n);
		mutex_unlock(&out->lock);
	}
	return 1;
}

static void wait_writable(struct chr_out *out)
{
	set_state(out, CHR_OUT_BLOCKED);
	if (out->writable.added)
		return;
	out->writable.fd = out->fd.fd;
	/* What epoll refuses is always writable, so it cannot have said EAGAIN but by accident: try
	 * again. */
	if (loop_add_fd(out->loop, &out->writable, EPOLLOUT) < 0) {
		set_state(out, CHR_OUT_LINGERING);
		loop_timer_arm(out->loop, &out->linger, linger_ns);
	}
}

/* Dead, everything is dropped, so there is room for anything. */
static bool fits(const struct chr_out *out, size_t n) REQUIRES(out->lock)
{
	return out->state == CHR_OUT_DEAD ||
	       (out->state != CHR_OUT_HELD && n <= out->ring.size - out->ring.used);
}

bool chr_out_has_room(struct chr_out *out, size_t n)
{
	bool room;

	mutex_lock(&out->lock);
	room = fits(out, n);
	out->asked |= !room;
	mutex_unlock(&out->lock);
	return room;
}

static void tell_room(struct chr_out *out)
{
	bool tell;

	mutex_lock(&out->lock);
	tell = out->asked && fits(out, CHR_ROOM_MAX);
	if (tell)
		out->asked = false;
	mutex_unlock(&out->lock);
	if (tell && out->room)
		out->room(out);
}

void chr_out_push(struct chr_out *out)
{
	bool kick;

	mutex_lock(&out->lock);
	kick = out->loop && !out->kicked && out->ring.used > 0 &&
	       (out->state == CHR_OUT_IDLE || out->state == CHR_OUT_LINGERING);
	out->kicked |= kick;
	mutex_unlock(&out->lock);
	if (kick)
		loop_post(out->loop, &out->kick);
}

static void write_out(struct chr_out *out)
{
	int r;

	if (out->fd.fd < 0) {
		trim_held(out);
		return;
	}
	r = push(out);
	if (out->fd.fd < 0) /* lost on the way */
		return;
	if (r == -EAGAIN) {
		wait_writable(out);
		return;
	}
	loop_del_fd(out->loop, &out->writable);
	if (r > 0)
		loop_post(out->loop, &out->kick);
	loop_timer_arm(out->loop, &out->linger, linger_ns);
}

static void drain(struct chr_out *out)
{
	write_out(out);
	tell_room(out);
}

static void on_kick(struct loop_work *work)
{
	drain(container_of(work, struct chr_out, kick));
}

static void on_writable(struct loop_fd *source, uint32_t events)
{
	(void)events;
	drain(container_of(source, struct chr_out, writable));
}

static void on_linger(struct loop_timer *timer)
{
	struct chr_out *out = container_of(timer, struct chr_out, linger);
	bool idle;

	mutex_lock(&out->lock);
	idle = out->ring.used == 0;
	if (idle && out->state == CHR_OUT_LINGERING)
		out->state = CHR_OUT_IDLE;
	mutex_unlock(&out->lock);
	if (!idle)
		drain(out);
}

/* ---- life ---- */

int chr_out_init(struct chr_out *out, const char *what)
{
	*out = (struct chr_out){
		.fd = CHR_FD_NONE,
		.what = what,
		.writable.ready = on_writable,
		.linger.fired = on_linger,
		.kick.run = on_kick,
	};
	mutex_init(&out->lock);
	mutex_lock(&out->lock);
	out->state = CHR_OUT_HELD;
	int r = chr_ring_init(&out->ring, CHR_OUT_RING);
	mutex_unlock(&out->lock);
	return r;
}

void chr_out_done(struct chr_out *out)
{
	detach(out);
	if (out->loop)
		loop_work_cancel(out->loop, &out->kick);
	mutex_lock(&out->lock);
	chr_ring_done(&out->ring);
	mutex_unlock(&out->lock);
}

void chr_out_kill(struct chr_out *out)
{
	detach(out);
	set_state(out, CHR_OUT_DEAD);
	drop_all(out);
}

void chr_out_attach(struct chr_out *out, struct chr_fd fd)
{
	detach(out);
	out->fd = fd;
	set_state(out, fd.fd < 0 ? CHR_OUT_HELD : CHR_OUT_LINGERING);
	if (out->loop && fd.fd >= 0)
		loop_post(out->loop, &out->kick);
}

void chr_out_start(struct chr_out *out, struct loop *loop)
{
	out->loop = loop;
	loop_post(loop, &out->kick);
}

void chr_out_flush(struct chr_out *out, unsigned timeout_ms)
{
	uint64_t deadline = clock_now_ns() + timeout_ms * NS_PER_MS;

	while (out->fd.fd >= 0) {
		struct pollfd p = {.fd = out->fd.fd, .events = POLLOUT};
		uint64_t now;
		int r = push(out);

		if (r == 0)
			break;
		now = clock_now_ns();
		if (r == -EAGAIN &&
		    (now >= deadline || poll(&p, 1, (int)((deadline - now) / NS_PER_MS) + 1) == 0))
			break;
		if (r > 0 && now >= deadline)
			break;
	}
	drop_all(out);
	/* The loop takes over again. */
	if (out->loop && out->fd.fd >= 0)
		loop_post(out->loop, &out->kick);
}
