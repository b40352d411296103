/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A back end that answers well, badly, twice, with descriptors, or not at all, that sends requests
 * of its own, leaves and comes back, while a device starts and stops its rings, as the bytes say.
 * What the device is told must fit together.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"
#include "vhost/vhost_user_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RINGS = 3, WAITING = 64 };

static struct loop *loop;
static struct vhost_user *vu;
static int peer, requests, memory, call;
static struct mm_map map;
static bool stopping[RINGS];
/* Requests that have come and were not answered. */
static struct vhost_user_message waiting[WAITING];
static unsigned n_waiting;

struct input {
	const uint8_t *at;
	size_t left;
};

static unsigned byte(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

/* ---- the device ---- */

static void on_ready(struct vhost_dev *d)
{
	vmm_assert(d->connected);
	d->ops->start(d);
}

static void on_go_on(struct vhost_dev *d)
{
	d->ops->start(d);
}

static void on_up(struct vhost_dev *d)
{
	vmm_assert(d->connected);
}

static void on_lost(struct vhost_dev *d, const char *why)
{
	vmm_assert(!d->connected && *why);
	for (unsigned i = 0; i < RINGS; i++) {
		vmm_assert(!d->rings[i].up);
		stopping[i] = false;
	}
}

static void on_failed(struct vhost_dev *d, const char *why)
{
	vmm_assert(!d->connected && *why);
}

static void on_stopped(struct vhost_dev *d, unsigned ring)
{
	vmm_assert(ring < RINGS && stopping[ring] && !d->rings[ring].up);
	stopping[ring] = false;
}

static void on_config(struct vhost_dev *d, const uint8_t *bytes, unsigned len)
{
	vmm_assert(bytes == d->config && len == d->config_len && len <= 60);
}

static const struct vhost_dev_events events = {
	.ready = on_ready,
	.go_on = on_go_on,
	.up = on_up,
	.lost = on_lost,
	.failed = on_failed,
	.stopped = on_stopped,
	.config = on_config,
};

static void drive(struct input *in)
{
	struct vhost_dev *d = &vu->dev;
	unsigned what = byte(in), ring = what % RINGS;

	switch (what / RINGS % 6) {
	case 0:
	case 1:
		if (!stopping[ring]) {
			d->rings[ring].wanted = true;
			d->rings[ring].base = byte(in);
		}
		d->ops->start(d);
		break;
	case 2:
		if (stopping[ring] || !d->rings[ring].wanted)
			break;
		stopping[ring] = true;
		d->ops->stop(d, ring);
		break;
	case 3:
		d->rings[ring].call = what & 128 ? call : -1;
		d->ops->set_call(d, ring);
		break;
	case 4:
		for (unsigned i = 0; i < RINGS; i++)
			if (d->rings[i].up || stopping[i])
				return;
		d->ops->reset(d);
		break;
	default:
		d->ops->set_config(d, byte(in) % 60, "x", 1);
		break;
	}
}

/* ---- the back end ---- */

static void take_fds(const struct vhost_user_message *m, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (m->header.request == VHOST_USER_SET_BACKEND_REQ_FD) {
				(void)fd_close(requests);
				requests = fd;
			} else {
				(void)close(fd);
			}
		}
	}
}

/* Everything that has come; what wants an answer waits for one. */
static void read_all(void)
{
	static char control[1024];
	struct vhost_user_message m = {0};
	ssize_t n;

	for (;;) {
		struct iovec iov = {&m.header, sizeof(m.header)};
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control,
				     .msg_controllen = sizeof(control)};

		n = recvmsg(peer, &msg, MSG_DONTWAIT);
		if (n < (ssize_t)sizeof(m.header))
			return;
		take_fds(&m, &msg);
		vmm_assert(m.header.size <= sizeof(m.payload));
		n = recv(peer, &m.payload, m.header.size, MSG_DONTWAIT);
		vmm_assert(n == (ssize_t)m.header.size || m.header.size == 0);
		if (n_waiting < WAITING)
			waiting[n_waiting++] = m;
	}
}

static bool is_answered(const struct vhost_user_message *m)
{
	switch (m->header.request) {
	case VHOST_USER_GET_FEATURES:
	case VHOST_USER_GET_PROTOCOL_FEATURES:
	case VHOST_USER_GET_QUEUE_NUM:
	case VHOST_USER_GET_MAX_MEM_SLOTS:
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_GET_VRING_BASE:
	case VHOST_USER_GET_INFLIGHT_FD:
		return true;
	default:
		return m->header.flags & VHOST_USER_NEED_REPLY;
	}
}

static void fill_answer(struct vhost_user_message *m)
{
	switch (m->header.request) {
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_GET_VRING_BASE:
		return;
	case VHOST_USER_GET_INFLIGHT_FD:
		m->payload.inflight.mmap_size = 4096;
		m->fds[m->n_fds++] = memory;
		return;
	case VHOST_USER_GET_FEATURES:
		m->payload.u64 = UINT64_C(1) << 32 | 1 << 30;
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		m->payload.u64 = UINT64_MAX;
		break;
	case VHOST_USER_GET_QUEUE_NUM:
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		m->payload.u64 = 8;
		break;
	default:
		m->payload.u64 = 0;
	}
	m->header.size = 8;
}

static void send_message(int fd, const struct vhost_user_message *m, size_t size)
{
	char control[CMSG_SPACE(VHOST_USER_MAX_FDS * sizeof(int))] = {0};
	struct iovec iov[] = {{(void *)(uintptr_t)&m->header, sizeof(m->header)},
			      {(void *)(uintptr_t)&m->payload, MIN(size, sizeof(m->payload))}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	if (m->n_fds > 0) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		*c = (struct cmsghdr){CMSG_LEN(m->n_fds * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(c), m->fds, m->n_fds * sizeof(int));
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(m->n_fds * sizeof(int));
	}
	(void)sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The oldest, as it should be, but for what `how` says. */
static void answer(struct input *in, unsigned how)
{
	struct vhost_user_message m;

	read_all();
	while (n_waiting > 0) {
		m = waiting[0];
		memmove(waiting, waiting + 1, --n_waiting * sizeof(m));
		if (is_answered(&m))
			break;
		m.header.size = UINT32_MAX;
	}
	if (n_waiting == 0 && (m.header.size == UINT32_MAX || !is_answered(&m)))
		return;
	m.header.flags = 5;
	m.n_fds = 0;
	fill_answer(&m);
	if (how & 1)
		m.header.request += byte(in) % 3;
	if (how & 2)
		m.header.flags = byte(in);
	if (how & 4)
		m.header.size = byte(in) << (how & 8);
	if (how & 16)
		m.payload.bytes[byte(in)] = (uint8_t)byte(in);
	if (how & 32)
		m.fds[m.n_fds++] = memory;
	send_message(peer, &m, m.header.size);
	if (how & 64)
		send_message(peer, &m, m.header.size);
}

static void ask(struct input *in)
{
	struct vhost_user_message m = {.header = {.request = 2 + byte(in) % 2,
						  .flags = 1 | (byte(in) & 8),
						  .size = byte(in) % 16}};

	send_message(requests, &m, m.header.size);
}

static void connect_again(void)
{
	int pair[2];

	(void)fd_close(peer);
	(void)fd_close(requests);
	requests = -1;
	n_waiting = 0;
	vmm_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	peer = pair[1];
	vhost_user_session_close(&vu->session);
	if (vu->phase != VHOST_USER_OFFLINE)
		vhost_user_blame(vu, "it is cut off");
	vhost_user_connected(vu, pair[0]);
}

/* ---- both ---- */

static void stop_loop(struct loop_work *work)
{
	(void)work;
	loop_stop(loop);
}

static void turn(void)
{
	struct loop_work stop = {.run = stop_loop};

	loop_post(loop, &stop);
	vmm_assert(loop_run(loop) == 0);
}

static void step(struct input *in)
{
	unsigned what = byte(in);

	switch (what % 16) {
	case 0:
	case 1:
		drive(in);
		break;
	case 2:
		answer(in, byte(in));
		break;
	case 3:
		(void)send(peer, in->at, MIN(in->left, (size_t)byte(in)),
			   MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 4:
		ask(in);
		break;
	case 5:
		connect_again();
		break;
	default:
		answer(in, 0);
		turn();
		break;
	}
}

static void make(void)
{
	static const uint16_t sizes[] = {60, 8, 0};
	static const struct vhost_user_setup setup = {
		.what = "fuzz", .path = "/nonexistent/socket", .config_sizes = sizes};
	struct vhost_dev *d;

	vmm_assert(loop_new(&loop) == 0);
	vmm_assert(vhost_user_new(&setup, loop, &vu) == 0);
	d = &vu->dev;
	d->events = &events;
	d->map = &map;
	d->n_rings = RINGS;
	d->queue_size = 64;
	for (unsigned i = 0; i < RINGS; i++)
		d->rings[i] = (struct vhost_ring){.size = 64, .kick = call, .call = call};
	vu->attached = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	log_init(-1, LOG_ERROR);
	if (map.n == 0) {
		memory = memfd_create("memory", MFD_CLOEXEC);
		call = eventfd_new();
		vmm_assert(ftruncate(memory, 4096) == 0);
		vmm_assert(mm_map_add(&map, &(struct mm_region){.size = 4096, .fd = memory}) == 0);
	}
	peer = requests = -1;
	memset(stopping, 0, sizeof(stopping));
	make();
	connect_again();
	while (in.left > 0)
		step(&in);
	(void)vhost_dev_free(&vu->dev);
	loop = loop_free(loop);
	(void)fd_close(peer);
	(void)fd_close(requests);
	return 0;
}
