/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/vsock_mux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "bus/device.h"

enum {
	FIRST_PORT = 1 << 30, /* above those that people choose */
	ACCEPTS_AT_ONCE = 16,
	RETRIES_AT_ONCE = 64,
};

/* How often a host's listener whose queue is full is tried again. */
#define RETRY_NS (10 * NS_PER_MS)

static void on_socket(struct loop_fd *source, uint32_t events);

/* ---- the table ---- */

static struct vsock_conn **bucket(struct vsock_mux *mux, uint32_t host_port, uint32_t guest_port)
{
	uint32_t mixed = host_port * 0x9e3779b1U ^ guest_port * 0x85ebca6bU;

	return &mux->buckets[mixed >> 24];
}

static struct vsock_conn *find(struct vsock_mux *mux, uint32_t host_port, uint32_t guest_port)
{
	struct vsock_conn *c = *bucket(mux, host_port, guest_port);

	while (c && (c->host_port != host_port || c->guest_port != guest_port))
		c = c->next_in_bucket;
	return c;
}

static void give_key(struct vsock_mux *mux, struct vsock_conn *c)
{
	struct vsock_conn **at = bucket(mux, c->host_port, c->guest_port);

	c->next_in_bucket = *at;
	c->keyed = true;
	*at = c;
}

static void take_key(struct vsock_mux *mux, struct vsock_conn *c)
{
	struct vsock_conn **at = bucket(mux, c->host_port, c->guest_port);

	if (!c->keyed)
		return;
	while (*at != c)
		at = &(*at)->next_in_bucket;
	*at = c->next_in_bucket;
	c->keyed = false;
}

/* Shut as well: io_uring of Linux 6.1 keeps files that were registered for as long
 * as any older request is under way, and the peer would hear of nothing. */
static void close_socket(struct vsock_conn *c)
{
	if (c->socket.fd >= 0)
		(void)shutdown(c->socket.fd, SHUT_RDWR);
	c->socket.fd = fd_close(c->socket.fd);
}

static void remove_conn(struct vsock_mux *mux, struct vsock_conn *c)
{
	take_key(mux, c);
	loop_del_fd(mux->loop, &c->socket);
	close_socket(c);
	list_remove(&c->all);
	list_remove(&c->ready);
	list_remove(&c->dirty);
	mux->n--;
	(void)vsock_conn_free(c);
}

/* ---- what a change brings with it ---- */

static void update_ready(struct vsock_mux *mux, struct vsock_conn *c)
{
	if (!vsock_conn_has_output(c))
		list_remove(&c->ready);
	else if (list_is_empty(&c->ready))
		list_add_tail(&mux->ready, &c->ready);
}

/* It may have something for the guest, at once; the rest is for vsock_mux_settle(). */
static void changed(struct vsock_mux *mux, struct vsock_conn *c)
{
	update_ready(mux, c);
	if (list_is_empty(&c->dirty))
		list_add_tail(&mux->dirty, &c->dirty);
}

static struct vsock_conn *new_conn(struct vsock_mux *mux, int fd)
{
	struct vsock_conn *c = NULL;

	if (mux->n >= VSOCK_MAX_CONNECTIONS) {
		(void)fd_close(fd);
		return NULL;
	}
	if (vsock_conn_new(fd, &mux->counters, &c) < 0)
		return NULL;
	c->mux = mux;
	c->socket.ready = on_socket;
	list_add_tail(&mux->all, &c->all);
	mux->n++;
	return c;
}

static void watch(struct vsock_mux *mux, struct vsock_conn *c)
{
	uint32_t events = vsock_conn_interest(c);
	int r = 0;

	if (events == VSOCK_NOT_AT_ALL || !mux->running)
		loop_del_fd(mux->loop, &c->socket);
	else if (!c->socket.added)
		r = loop_add_fd(mux->loop, &c->socket, events);
	else if (c->watched != events)
		r = loop_mod_fd(mux->loop, &c->socket, events);
	c->watched = events;
	if (r < 0) {
		vsock_conn_reset(c);
		loop_del_fd(mux->loop, &c->socket);
	}
	/* The host's peer need not wait until the guest has been told. */
	if (c->state == VSOCK_ENDING && c->hung_up)
		close_socket(c);
}

static void watch_listener(struct vsock_mux *mux)
{
	bool want = mux->running && mux->n < VSOCK_MAX_CONNECTIONS &&
		    mux->accept_again.deadline_ns == 0;

	if (!want)
		loop_del_fd(mux->loop, &mux->acceptable);
	else if (!mux->acceptable.added && loop_add_fd(mux->loop, &mux->acceptable, EPOLLIN) < 0)
		loop_timer_arm(mux->loop, &mux->accept_again, NS_PER_S);
}

static uint64_t next_deadline(const struct vsock_mux *mux, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (struct list *at = mux->all.next; at != &mux->all; at = at->next) {
		const struct vsock_conn *c = list_entry(at, struct vsock_conn, all);
		uint64_t mine = c->state == VSOCK_CONNECTING ? now + RETRY_NS : c->deadline_ns;

		if (mine)
			next = MIN(next, mine);
	}
	return next;
}

static void arm_tick(struct vsock_mux *mux)
{
	uint64_t now = clock_now_ns(), next = next_deadline(mux, now);

	if (next == UINT64_MAX)
		loop_timer_cancel(mux->loop, &mux->tick);
	else
		loop_timer_arm(mux->loop, &mux->tick, next > now ? next - now : 0);
}

/* True when its deadline came or went. */
static bool settle(struct vsock_mux *mux, struct vsock_conn *c)
{
	bool time_changed;

	list_remove(&c->dirty);
	watch(mux, c);
	update_ready(mux, c);
	time_changed = c->deadline_seen_ns != c->deadline_ns;
	c->deadline_seen_ns = c->deadline_ns;
	if (vsock_conn_is_forgotten(c))
		take_key(mux, c);
	if (vsock_conn_is_over(c))
		remove_conn(mux, c);
	return time_changed;
}

void vsock_mux_settle(struct vsock_mux *mux)
{
	bool time_changed = false;

	while (!list_is_empty(&mux->dirty))
		if (settle(mux, list_entry(mux->dirty.next, struct vsock_conn, dirty)))
			time_changed = true;
	if (time_changed)
		arm_tick(mux);
	watch_listener(mux);
}

/* ---- connections of the host's ---- */

static uint32_t free_port(struct vsock_mux *mux, uint32_t guest_port)
{
	uint32_t port;

	do {
		port = mux->next_port++;
		if (mux->next_port == 0)
			mux->next_port = FIRST_PORT;
	} while (find(mux, port, guest_port)); /* there are more ports than connections */
	return port;
}

static void read_hello(struct vsock_mux *mux, struct vsock_conn *c)
{
	uint32_t port;
	int r = vsock_uds_read_hello(&c->hello, c->socket.fd, &port);

	if (r == 0)
		return;
	if (r < 0) {
		vsock_conn_reset(c);
		return;
	}
	device_count_own(&mux->counters.host_connections, 1);
	vsock_conn_request(c, free_port(mux, port), port);
	give_key(mux, c);
}

static void on_socket(struct loop_fd *source, uint32_t events)
{
	struct vsock_conn *c = container_of(source, struct vsock_conn, socket);
	struct vsock_mux *mux = c->mux;

	if (c->state == VSOCK_HELLO && !(events & (EPOLLHUP | EPOLLERR)))
		read_hello(mux, c);
	else
		vsock_conn_event(c, events);
	changed(mux, c);
	mux->serve(mux);
}

static void on_acceptable(struct loop_fd *source, uint32_t events)
{
	struct vsock_mux *mux = container_of(source, struct vsock_mux, acceptable);

	(void)events;
	for (int i = 0; i < ACCEPTS_AT_ONCE && mux->n < VSOCK_MAX_CONNECTIONS; i++) {
		int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct vsock_conn *c;

		if (fd < 0) {
			if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
				break;
			/* Asking again at once would spin. */
			log_warn("vsock: cannot accept a connection: %s", strerror(errno));
			loop_timer_arm(mux->loop, &mux->accept_again, NS_PER_S);
			break;
		}
		c = new_conn(mux, fd);
		if (c)
			changed(mux, c);
	}
	mux->serve(mux);
}

static void on_accept_again(struct loop_timer *timer)
{
	struct vsock_mux *mux = container_of(timer, struct vsock_mux, accept_again);

	watch_listener(mux);
}

/* ---- connections of the guest's ---- */

static void try_to_connect(struct vsock_mux *mux, struct vsock_conn *c)
{
	int fd = -1, r = vsock_uds_connect(mux->path, c->host_port, &fd);

	if (r == 0) {
		device_count_own(&mux->counters.guest_connections, 1);
		vsock_conn_connected(c, fd);
	} else if (r != -EAGAIN) {
		device_count_own(&mux->counters.refused, 1);
		vsock_conn_reset(c);
	}
}

/* vsock_mux_can_take() was true. Nobody answers a reset with a reset. */
static void refuse(struct vsock_mux *mux, const struct vsock_packet *p)
{
	unsigned at = (mux->first_refusal + mux->n_refusals) % VSOCK_MAX_REFUSALS;

	if (p->op == VIRTIO_VSOCK_OP_RST)
		return;
	vmm_assert(mux->n_refusals < VSOCK_MAX_REFUSALS);
	mux->refusals[at] = (struct vsock_refusal){.cid = p->dst_cid,
						   .host_port = p->dst_port,
						   .guest_port = p->src_port,
						   .type = p->type};
	mux->n_refusals++;
	device_count_own(&mux->counters.refused, 1);
}

static void take_request(struct vsock_mux *mux, const struct vsock_packet *p)
{
	struct vsock_conn *c = new_conn(mux, -1);

	if (!c) {
		refuse(mux, p);
		return;
	}
	c->host_port = p->dst_port;
	c->guest_port = p->src_port;
	c->peer_buffer = p->buf_alloc;
	give_key(mux, c);
	try_to_connect(mux, c);
	changed(mux, c);
}

bool vsock_mux_can_take(const struct vsock_mux *mux)
{
	return mux->n_refusals < VSOCK_MAX_REFUSALS;
}

void vsock_mux_take(struct vsock_mux *mux, const struct vsock_packet *p, struct iov *v)
{
	bool odd = p->type != VIRTIO_VSOCK_TYPE_STREAM || p->len > iov_bytes(v);
	struct vsock_conn *c;

	device_count_own(&mux->counters.tx_packets, 1);
	if (p->src_cid != mux->guest_cid) {
		device_count_own(&mux->counters.dropped, 1);
		return;
	}
	c = p->dst_cid == VSOCK_HOST_CID ? find(mux, p->dst_port, p->src_port) : NULL;
	if (!c && p->dst_cid == VSOCK_HOST_CID && p->op == VIRTIO_VSOCK_OP_REQUEST && !odd) {
		take_request(mux, p);
		return;
	}
	if (!c) {
		refuse(mux, p);
		return;
	}
	if (odd) {
		vsock_conn_reset(c);
	} else {
		iov_limit(v, p->len);
		vsock_conn_take(c, p, v);
	}
	changed(mux, c);
}

/* ---- to the guest ---- */

bool vsock_mux_has_output(const struct vsock_mux *mux)
{
	return mux->n_refusals > 0 || !list_is_empty(&mux->ready);
}

static void address(const struct vsock_mux *mux, const struct vsock_conn *c, struct vsock_packet *p)
{
	p->src_cid = VSOCK_HOST_CID;
	p->dst_cid = mux->guest_cid;
	p->src_port = c->host_port;
	p->dst_port = c->guest_port;
	p->type = VIRTIO_VSOCK_TYPE_STREAM;
}

static void tell_refusal(struct vsock_mux *mux, struct vsock_packet *p)
{
	const struct vsock_refusal *r = &mux->refusals[mux->first_refusal];

	*p = (struct vsock_packet){
		.src_cid = r->cid,
		.dst_cid = mux->guest_cid,
		.src_port = r->host_port,
		.dst_port = r->guest_port,
		.type = r->type,
		.op = VIRTIO_VSOCK_OP_RST,
		.buf_alloc = VSOCK_NO_LIMIT,
	};
	mux->first_refusal = (mux->first_refusal + 1) % VSOCK_MAX_REFUSALS;
	mux->n_refusals--;
}

bool vsock_mux_tell(struct vsock_mux *mux, struct vsock_packet *p, struct vsock_conn **ret)
{
	*ret = NULL;
	if (mux->n_refusals > 0) {
		tell_refusal(mux, p);
	} else {
		*ret = list_entry(mux->ready.next, struct vsock_conn, ready);
		if (!vsock_conn_tell(*ret, p))
			return false;
		address(mux, *ret, p);
	}
	device_count_own(&mux->counters.rx_packets, 1);
	return true;
}

void vsock_mux_data(struct vsock_mux *mux, struct vsock_conn *c, uint32_t len,
		    struct vsock_packet *p)
{
	vsock_conn_data(c, len, p);
	address(mux, c, p);
	device_count_own(&mux->counters.rx_packets, 1);
}

void vsock_mux_next(struct vsock_mux *mux, struct vsock_conn *c)
{
	list_remove(&c->ready);
	changed(mux, c);
}

/* ---- time ---- */

static void on_tick(struct loop_timer *timer)
{
	struct vsock_mux *mux = container_of(timer, struct vsock_mux, tick);
	uint64_t now = clock_now_ns();
	unsigned retries = 0;

	for (struct list *at = mux->all.next; at != &mux->all; at = at->next) {
		struct vsock_conn *c = list_entry(at, struct vsock_conn, all);

		if (c->deadline_ns == 0)
			continue;
		if (c->deadline_ns <= now)
			vsock_conn_expire(c);
		else if (c->state == VSOCK_CONNECTING && retries++ < RETRIES_AT_ONCE)
			try_to_connect(mux, c);
		changed(mux, c);
	}
	mux->serve(mux);
	arm_tick(mux);
}

/* ---- life ---- */

int vsock_mux_init(struct vsock_mux *mux, struct loop *loop, uint64_t guest_cid, int listener,
		   const char *path)
{
	mux->loop = loop;
	mux->guest_cid = guest_cid;
	mux->listener = listener;
	mux->acceptable = (struct loop_fd){.fd = listener, .ready = on_acceptable};
	mux->accept_again.fired = on_accept_again;
	mux->tick.fired = on_tick;
	mux->next_port = FIRST_PORT;
	list_init(&mux->all);
	list_init(&mux->ready);
	list_init(&mux->dirty);
	mux->path = strdup(path);
	return mux->path ? 0 : -ENOMEM;
}

void vsock_mux_done(struct vsock_mux *mux)
{
	vsock_mux_stop(mux);
	vsock_mux_forget(mux);
	free(mux->path);
}

void vsock_mux_start(struct vsock_mux *mux)
{
	mux->running = true;
	for (struct list *at = mux->all.next; at != &mux->all; at = at->next) {
		struct vsock_conn *c = list_entry(at, struct vsock_conn, all);

		vsock_conn_restart_clock(c);
		changed(mux, c);
	}
	arm_tick(mux);
	vsock_mux_settle(mux);
}

void vsock_mux_stop(struct vsock_mux *mux)
{
	mux->running = false;
	for (struct list *at = mux->all.next; at != &mux->all; at = at->next)
		loop_del_fd(mux->loop, &list_entry(at, struct vsock_conn, all)->socket);
	loop_del_fd(mux->loop, &mux->acceptable);
	loop_timer_cancel(mux->loop, &mux->accept_again);
	loop_timer_cancel(mux->loop, &mux->tick);
}

void vsock_mux_forget(struct vsock_mux *mux)
{
	while (!list_is_empty(&mux->all))
		remove_conn(mux, list_entry(mux->all.next, struct vsock_conn, all));
	mux->n_refusals = 0;
}
