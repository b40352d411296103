/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/devices/vsock_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "devices/virtio_vsock.h"

enum { PATIENCE_MS = 20000 };

struct vdev_world vsw;
uint8_t guest_payload[64 << 10];

static char dir[64], path[96];
static int listener = -1;
static bool keep_buffers;
static uint64_t tx_gpa; /* header and payload of one packet, used again and again */

/* ---- life ---- */

static int listen_at(const char *where, int backlog)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	strcpy(addr.sun_path, where);
	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(fd, backlog), 0);
	return fd;
}

struct virtio_dev *vsock_make(void)
{
	const struct virtio_vsock_setup setup = {
		.id = "vsock0",
		.map = &vsw.mem.map,
		.loops = &vsw.loop,
		.n_loops = 1,
		.packed = true,
		.queue_size = VDEV_QUEUE_SIZE,
		.cid = VSOCK_CID,
		.listener = listener,
		.path = path,
	};
	struct virtio_dev *dev = NULL;

	cr_assert_eq(virtio_vsock_new(&setup, &dev), 0);
	return dev;
}

void vsock_begin_without_driver(unsigned combination)
{
	signal(SIGPIPE, SIG_DFL); /* a signal would end the test */
	log_init(-1, LOG_ERROR);
	strcpy(dir, "/tmp/vsock.XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	listener = listen_at(path, 128);
	vdev_world_init(&vsw, combination);
	vdev_take(&vsw, vsock_make());
	tx_gpa = guest_alloc(&vsw.mem, VSOCK_HEADER_LEN + (64 << 10) + 4096, 16);
	keep_buffers = false;
}

void vsock_driver_up(void)
{
	vdev_up(&vsw, VIRTIO_BIT(0));
	(void)driver_interrupts_on(&vsw.q[VSOCK_Q_RX].dq);
}

void vsock_begin(unsigned combination)
{
	vsock_begin_without_driver(combination);
	vsock_driver_up();
	guest_post(vsw.setup.size / 2);
}

void vsock_end(void)
{
	char command[128];

	vdev_world_done(&vsw);
	close(listener);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	cr_assert_eq(system(command), 0);
}

const char *host_path(void)
{
	return path;
}

/* ---- the guest ---- */

static void post(uint64_t gpa)
{
	/* As Linux before 6.2: the header is a segment of its own, if there are slots. */
	const struct driver_seg segs[2] = {
		{gpa, VSOCK_HEADER_LEN},
		{gpa + VSOCK_HEADER_LEN, VSOCK_RX_SIZE - VSOCK_HEADER_LEN}};
	const struct driver_seg whole = {gpa, VSOCK_RX_SIZE};
	struct driver_queue *dq = &vsw.q[VSOCK_Q_RX].dq;
	void *cookie = guest_ptr(&vsw.mem, gpa, VSOCK_RX_SIZE);

	if (vsw.setup.indirect)
		cr_assert_eq(driver_add_indirect(dq, segs, 0, 2, cookie), 0);
	else
		cr_assert_eq(driver_add(dq, &whole, 0, 1, cookie), 0);
}

void guest_post(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		post(guest_alloc(&vsw.mem, VSOCK_RX_SIZE, 16));
	vdev_publish(&vsw, VSOCK_Q_RX);
}

void guest_keep_buffers(bool keep)
{
	keep_buffers = keep;
}

static void await_tx(void)
{
	(void)vdev_await_used(&vsw, VSOCK_Q_TX);
}

void guest_send(const struct vsock_packet *p, const void *payload)
{
	struct vsock_packet full = *p;
	uint32_t len = payload ? p->len : 0;
	struct driver_seg segs[2] = {{tx_gpa, VSOCK_HEADER_LEN}, {tx_gpa + VSOCK_HEADER_LEN, len}};

	full.src_cid = p->src_cid ? p->src_cid : VSOCK_CID;
	full.dst_cid = p->dst_cid ? p->dst_cid : VSOCK_HOST_CID;
	full.type = p->type ? p->type : VIRTIO_VSOCK_TYPE_STREAM;
	full.buf_alloc = p->buf_alloc ? p->buf_alloc : 256 << 10;
	vsock_packet_encode(&full, guest_ptr(&vsw.mem, tx_gpa, VSOCK_HEADER_LEN));
	if (len > 0)
		memcpy(guest_ptr(&vsw.mem, tx_gpa + VSOCK_HEADER_LEN, len), payload, len);
	cr_assert_eq(driver_add(&vsw.q[VSOCK_Q_TX].dq, segs, len > 0 ? 2 : 1, 0, NULL), 0);
	vdev_publish(&vsw, VSOCK_Q_TX);
	await_tx();
}

void guest_send_op(unsigned op, uint32_t guest_port, uint32_t host_port)
{
	guest_send(&(struct vsock_packet){.op = (uint16_t)op,
					  .src_port = guest_port,
					  .dst_port = host_port},
		   NULL);
}

void guest_send_data(uint32_t guest_port, uint32_t host_port, const void *bytes, uint32_t len)
{
	guest_send(&(struct vsock_packet){.op = VIRTIO_VSOCK_OP_RW,
					  .src_port = guest_port,
					  .dst_port = host_port,
					  .len = len},
		   bytes);
}

static bool collect(struct vsock_packet *ret)
{
	struct driver_used used;

	if (!driver_collect(&vsw.q[VSOCK_Q_RX].dq, &used))
		return false;
	cr_assert_geq(used.len, VSOCK_HEADER_LEN);
	*ret = vsock_packet_decode(used.cookie);
	cr_assert_eq(ret->len, used.len - VSOCK_HEADER_LEN);
	memcpy(guest_payload, (uint8_t *)used.cookie + VSOCK_HEADER_LEN, ret->len);
	if (!keep_buffers) {
		uint8_t *low = guest_ptr(&vsw.mem, 0, 1);

		post((uint64_t)((uint8_t *)used.cookie - low));
		vdev_publish(&vsw, VSOCK_Q_RX);
	}
	return true;
}

static bool is_last(const struct vsock_packet *p)
{
	return p->op == VIRTIO_VSOCK_OP_RST ||
	       (p->op == VIRTIO_VSOCK_OP_SHUTDOWN &&
		p->flags == (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND));
}

struct vsock_packet guest_receive(void)
{
	struct vdev_queue *q = &vsw.q[VSOCK_Q_RX];
	struct vsock_packet p;

	while (!collect(&p)) {
		struct pollfd pfd = {.fd = q->call, .events = POLLIN};
		uint64_t count;

		if (driver_interrupts_on(&q->dq))
			continue;
		cr_assert_eq(poll(&pfd, 1, PATIENCE_MS), 1, "no packet comes");
		cr_assert_eq(read(q->call, &count, sizeof(count)), sizeof(count));
	}
	cr_assert_eq(p.dst_cid, VSOCK_CID);
	if (is_last(&p))
		cr_assert_eq(p.buf_alloc, UINT32_MAX, "nobody waits for credit any more");
	return p;
}

struct vsock_packet guest_expect(unsigned op, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_packet p = guest_receive();

	cr_assert_eq(p.op, op, "operation %u instead of %u", p.op, op);
	cr_assert(guest_port == 0 || p.dst_port == guest_port);
	cr_assert(host_port == 0 || p.src_port == host_port);
	cr_assert_eq(p.src_cid, VSOCK_HOST_CID);
	cr_assert_eq(p.type, VIRTIO_VSOCK_TYPE_STREAM);
	return p;
}

bool guest_has_packet(void)
{
	return driver_has_used(&vsw.q[VSOCK_Q_RX].dq);
}

/* What is ready on the loop has had its turn after two more events. */
void guest_expect_nothing(void)
{
	vdev_settle(&vsw);
	vdev_settle(&vsw);
	cr_assert_not(guest_has_packet());
}

/* ---- the host ---- */

static int connect_to(const char *where)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	strcpy(addr.sun_path, where);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

int host_connect(void)
{
	return connect_to(path);
}

int host_open(uint32_t guest_port, uint32_t *ret_host_port)
{
	int fd = host_connect();
	struct vsock_packet p;
	char text[32];

	(void)snprintf(text, sizeof(text), "CONNECT %u\n", guest_port);
	host_write(fd, text, strlen(text));
	p = guest_expect(VIRTIO_VSOCK_OP_REQUEST, guest_port, 0);
	guest_send_op(VIRTIO_VSOCK_OP_RESPONSE, guest_port, p.src_port);
	(void)snprintf(text, sizeof(text), "OK %u\n", p.src_port);
	host_expect(fd, text, strlen(text));
	*ret_host_port = p.src_port;
	return fd;
}

int host_listen(uint32_t port, int backlog)
{
	char where[108];

	(void)snprintf(where, sizeof(where), "%s_%u", path, port);
	return listen_at(where, backlog);
}

static void await(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "nothing happens on a socket of the host");
}

int host_accept(int from)
{
	int fd;

	await(from, POLLIN);
	fd = accept4(from, NULL, NULL, SOCK_CLOEXEC);
	cr_assert_geq(fd, 0);
	return fd;
}

void host_write(int fd, const void *bytes, size_t len)
{
	cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

void host_expect(int fd, const void *bytes, size_t len)
{
	static uint8_t buf[1 << 20];
	size_t n = 0;

	cr_assert_leq(len, sizeof(buf));
	while (n < len) {
		ssize_t r;

		await(fd, POLLIN);
		r = recv(fd, buf + n, len - n, MSG_DONTWAIT);
		cr_assert_gt(r, 0, "the stream ends after %zu bytes of %zu", n, len);
		n += (size_t)r;
	}
	cr_assert_arr_eq(buf, bytes, len);
}

void host_expect_end(int fd)
{
	char byte;
	ssize_t r;

	await(fd, POLLIN);
	r = recv(fd, &byte, 1, MSG_DONTWAIT);
	cr_assert(r == 0 || (r < 0 && errno == ECONNRESET), "there is a byte instead of the end");
}

int guest_open(uint32_t guest_port, uint32_t host_port, int from)
{
	guest_send_op(VIRTIO_VSOCK_OP_REQUEST, guest_port, host_port);
	(void)guest_expect(VIRTIO_VSOCK_OP_RESPONSE, guest_port, host_port);
	return host_accept(from);
}
