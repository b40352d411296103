/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames to the guest: one net_recv() each, into the guest's buffers. The size of a frame is known
 * only when it is there, so as many buffers are offered to the host as the frames of late needed,
 * and behind them `rest`, which is room for whatever comes. A frame of which a part ended there
 * waits (it is "held") until the guest has made buffers for it.
 *
 *   buffers, no frame    the port is watched, kicks are off
 *   frames, no buffers   kicks are on, the port isn't watched (starved)
 *   neither may go       a timer (throttled)
 *
 * Popped chains that no frame used are given back when the queue stops, so that its position says
 * all.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/endian.h"
#include "devices/virtio_net_internal.h"

enum {
	LEAST_EXPECTED = 2048,
	MOST_EXPECTED = NET_HEADER_LEN + NET_FRAME_MAX,
	FORGET = 64, /* frames, or so, until smaller ones are expected */
	NUM_BUFFERS_AT = offsetof(struct virtio_net_hdr_v1, num_buffers),
	FLAGS_AT = offsetof(struct virtio_net_hdr_v1, flags),
};

/* A guest that makes no buffers for so long loses the frame, instead of all that would follow.
 * Linux, out of memory, tries again after half a second. */
#define HOLD_NS (1 * NS_PER_S)

/* ---- buffers ---- */

static struct virtq_chain *chain_at(struct vnet_rx *rx, unsigned i)
{
	return &rx->chains[(rx->first + i) % VNET_RX_CHAINS];
}

static struct iovec *iovecs(struct vnet_rx *rx)
{
	return &rx->iov[rx->iov_at];
}

/* For the segments of one more chain, in a row with the others. */
static bool make_place(struct vnet_rx *rx)
{
	if (rx->n_chains == VNET_RX_CHAINS || rx->n_iov > VNET_SEGS_MAX)
		return false;
	if (rx->n_iov == 0)
		rx->iov_at = 0;
	if (rx->iov_at + rx->n_iov + VNET_SEGS_MAX > VNET_RX_IOVECS) {
		memmove(rx->iov, iovecs(rx), rx->n_iov * sizeof(rx->iov[0]));
		rx->iov_at = 0;
	}
	return true;
}

static bool add_chain(struct vnet_rx *rx)
{
	struct virtq_chain *chain = chain_at(rx, rx->n_chains);

	if (!make_place(rx) ||
	    !virtio_queue_pop(rx->q, chain, iovecs(rx) + rx->n_iov, VNET_SEGS_MAX))
		return false;
	if (chain->n_out || chain->in_bytes < NET_HEADER_LEN) {
		virtio_queue_broken(rx->q, chain->n_out ? "a receive buffer with a part to read"
							: "a receive buffer without room for a "
							  "header");
		return false;
	}
	rx->n_chains++;
	rx->slots += chain->slots;
	rx->n_iov += chain->n_in;
	rx->room += chain->in_bytes;
	return true;
}

/* Pops until there is room for so many bytes; false: there isn't. */
static bool gather(struct vnet_rx *rx, size_t bytes)
{
	while (rx->room < bytes)
		if (!add_chain(rx))
			return false;
	return true;
}

/* However long we wait, the guest can't or needn't make more: all it has are here, or too small to
 * be worth it. */
static bool cannot_grow(const struct vnet_rx *rx)
{
	return rx->n_chains == VNET_RX_CHAINS || rx->n_iov > VNET_SEGS_MAX ||
	       rx->slots >= rx->q->vq.size || rx->n_iov >= rx->q->vq.size;
}

static void forget_first(struct vnet_rx *rx)
{
	const struct virtq_chain *chain = chain_at(rx, 0);

	rx->first = (rx->first + 1) % VNET_RX_CHAINS;
	rx->n_chains--;
	rx->slots -= chain->slots;
	rx->iov_at += chain->n_in;
	rx->n_iov -= chain->n_in;
	rx->room -= chain->in_bytes;
}

static void give_back(struct vnet_rx *rx)
{
	if (rx->held)
		rx->turn_dropped++;
	rx->held = 0;
	if (!rx->q->vq.broken)
		while (rx->n_chains > 0)
			virtq_unpop(&rx->q->vq, chain_at(rx, --rx->n_chains));
	rx->n_chains = rx->n_iov = rx->iov_at = rx->slots = 0;
	rx->room = 0;
}

/* ---- frames ---- */

static void adapt(struct vnet_rx *rx, size_t len)
{
	if (len > rx->expect)
		rx->expect = MOST_EXPECTED;
	else if (rx->expect > LEAST_EXPECTED)
		rx->expect -= (rx->expect - MAX(len, (size_t)LEAST_EXPECTED)) / FORGET + 1;
}

static uint16_t count_buffers(struct vnet_rx *rx, size_t len)
{
	uint16_t n = 0;

	for (uint64_t room = 0; room < len; n++)
		room += chain_at(rx, n)->in_bytes;
	return n;
}

/* A frame of `len` bytes, header included, is in the buffers. */
static void deliver(struct vnet_pair *p, size_t len)
{
	struct vnet_rx *rx = &p->rx;
	uint16_t n = count_buffers(rx, len);
	le16_t num_buffers = le16_make(n);
	uint8_t no_flags = 0;

	(void)net_put(iovecs(rx), rx->n_iov, NUM_BUFFERS_AT, &num_buffers, sizeof(num_buffers));
	if (!rx->checked)
		(void)net_put(iovecs(rx), rx->n_iov, FLAGS_AT, &no_flags, sizeof(no_flags));
	rx->turn_frames++;
	rx->turn_bytes += len - NET_HEADER_LEN;
	vnet_limit_charge(&p->dev->rx_limit, len - NET_HEADER_LEN);
	for (; n > 0; n--) {
		const struct virtq_chain *chain = chain_at(rx, 0);
		size_t written = MIN(len, (size_t)chain->in_bytes);

		virtio_queue_done(rx->q, chain, (uint32_t)written);
		len -= written;
		forget_first(rx);
	}
}

static void drop(struct vnet_rx *rx)
{
	rx->held = 0;
	rx->turn_dropped++;
}

/* The held frame goes where there is room by now. False: there isn't enough yet. */
static bool finish_held(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	if (!gather(rx, rx->held)) {
		if (!cannot_grow(rx))
			return false;
		drop(rx);
		return true;
	}
	(void)net_put(iovecs(rx), rx->n_iov, rx->kept, rx->rest, rx->held - rx->kept);
	device_count(&p->dev->rx_copied, 1);
	deliver(p, rx->held);
	rx->held = 0;
	return true;
}

/* `len` bytes came, into the buffers and what did not fit into `rest`. */
static void accept_frame(struct vnet_pair *p, size_t len)
{
	struct vnet_rx *rx = &p->rx;
	size_t room = rx->room;

	if (rx->mergeable)
		adapt(rx, len);
	if (len <= NET_HEADER_LEN || len >= room + sizeof(rx->rest) ||
	    (len > room && !rx->mergeable)) {
		drop(rx);
	} else if (len <= room) {
		deliver(p, len);
	} else {
		rx->held = len;
		rx->kept = room;
	}
}

/* False: there was none. */
static bool receive(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;
	ssize_t len;

	vmm_assert(rx->n_iov < NET_MAX_IOVECS);
	iovecs(rx)[rx->n_iov] = (struct iovec){.iov_base = rx->rest, .iov_len = sizeof(rx->rest)};
	len = net_recv(p->port, iovecs(rx), rx->n_iov + 1);
	if (len == -EAGAIN || len == -ENOTCONN)
		return false;
	if (len < 0)
		drop(rx);
	else
		accept_frame(p, (size_t)len);
	return true;
}

/* While the guest's link is down, what comes is taken and dropped: no peer is held up by it, and no
 * guest gets old frames. False: there was none. */
static bool receive_for_nobody(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;
	const struct iovec iov = {.iov_base = rx->rest, .iov_len = sizeof(rx->rest)};
	ssize_t len;

	if (rx->held)
		drop(rx);
	len = net_recv(p->port, &iov, 1);
	if (len == -EAGAIN || len == -ENOTCONN)
		return false;
	drop(rx);
	return true;
}

/* ---- when ---- */

static bool have_buffers(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	if (rx->held && !finish_held(p))
		return false;
	(void)gather(rx, rx->mergeable ? rx->expect : 1);
	return rx->n_chains > 0;
}

static void wait_for_buffers(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	rx->starved = true;
	net_want_rx(p->port, false);
	device_count(&p->dev->rx_starved, 1);
	if (rx->held)
		loop_timer_arm(p->loop, &rx->timer, HOLD_NS);
}

static void wait_for_time(struct vnet_pair *p, uint64_t ns)
{
	struct vnet_rx *rx = &p->rx;

	rx->throttled = true;
	net_want_rx(p->port, false);
	device_count(&p->dev->rx_throttled, 1);
	loop_timer_arm(p->loop, &rx->timer, ns);
}

/* Several pairs count in one place, so they do it once a turn. */
static void count_turn(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	if (rx->turn_frames) {
		device_count(&p->dev->rx_packets, rx->turn_frames);
		device_count(&p->dev->rx_bytes, rx->turn_bytes);
	}
	if (rx->turn_dropped)
		device_count(&p->dev->rx_dropped, rx->turn_dropped);
	rx->turn_frames = rx->turn_bytes = rx->turn_dropped = 0;
}

/* False: they aren't there, and the guest will kick when they are. */
static bool await_buffers(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	while (!have_buffers(p)) {
		if (!virtq_kicks_on(&rx->q->vq)) {
			wait_for_buffers(p);
			return false;
		}
		virtq_kicks_off(&rx->q->vq);
	}
	return true;
}

/* One frame, or the rest of one. False: the turn is over, and what comes next is arranged. A frame
 * that is held is no reason for that, so there is always another step to look after it. */
static bool step(struct vnet_pair *p)
{
	uint64_t wait;

	if (!vnet_link_is_up(p->dev)) {
		net_want_rx(p->port, true);
		return receive_for_nobody(p);
	}
	wait = vnet_limit_wait(&p->dev->rx_limit);
	if (wait) {
		wait_for_time(p, wait);
		return false;
	}
	if (!await_buffers(p))
		return false;
	net_want_rx(p->port, true);
	return receive(p);
}

static void run(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	if (!rx->active || rx->starved || rx->throttled)
		return;
	while (rx->turn_frames + rx->turn_dropped < VNET_BUDGET_FRAMES &&
	       rx->turn_bytes < VNET_BUDGET_BYTES && step(p))
		;
	count_turn(p);
}

static void run_again(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	if (!rx->active)
		return;
	loop_timer_cancel(p->loop, &rx->timer);
	rx->starved = rx->throttled = false;
	virtq_kicks_off(&rx->q->vq);
	run(p);
}

static void on_timer(struct loop_timer *timer)
{
	struct vnet_rx *rx = container_of(timer, struct vnet_rx, timer);

	if (rx->held && rx->starved)
		drop(rx);
	run_again(container_of(rx, struct vnet_pair, rx));
}

void vnet_rx_readable(struct vnet_pair *p)
{
	run(p);
}

void vnet_rx_kick(struct vnet_pair *p)
{
	if (p->rx.starved)
		run_again(p);
}

void vnet_rx_poke(struct vnet_pair *p)
{
	if (p->rx.throttled || (p->rx.starved && !vnet_link_is_up(p->dev)))
		run_again(p);
}

/* ---- life ---- */

static void activate(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	rx->active = true;
	rx->expect = LEAST_EXPECTED;
	rx->mergeable = virtio_dev_has(&p->dev->virtio, VIRTIO_NET_F_MRG_RXBUF);
	rx->checked = virtio_dev_has(&p->dev->virtio, VIRTIO_NET_F_GUEST_CSUM);
	vnet_enable_port(p, true);
	run_again(p);
}

static void deactivate(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	net_want_rx(p->port, false);
	vnet_enable_port(p, false);
	loop_timer_cancel(p->loop, &rx->timer);
	give_back(rx);
	count_turn(p);
	rx->active = rx->starved = rx->throttled = false;
}

void vnet_rx_apply(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;
	bool active = rx->q &&
		      p->index < atomic_load_explicit(&p->dev->pairs_in_use, memory_order_acquire);

	if (active && !rx->active)
		activate(p);
	else if (!active && rx->active)
		deactivate(p);
}

void vnet_rx_init(struct vnet_rx *rx)
{
	rx->timer.fired = on_timer;
}

void vnet_rx_start(struct vnet_pair *p, struct virtio_queue *q)
{
	q->priv = p;
	p->rx.q = q;
	if (p->index == 0)
		vnet_apply_offloads(p->dev);
	vnet_rx_apply(p);
}

void vnet_rx_stop(struct vnet_pair *p)
{
	struct virtio_queue *q = p->rx.q;

	if (p->rx.active)
		deactivate(p);
	p->rx.q = NULL;
	virtio_queue_stopped(q);
}

void vnet_rx_done(struct vnet_pair *p)
{
	loop_timer_cancel(p->loop, &p->rx.timer);
}
