/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that sends whatever packets, and programs on the host that come, write, stall and go, as
 * the bytes say. The connections' own assertions watch over credit and buffers; here it is checked
 * that the guest is never sent more than it has granted.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"
#include "devices/vsock_mux.h"
#include "event/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CID = 3, PEERS = 8, LISTENING_PORT = 1 };

static struct vsock_mux mux;
static struct loop *loop;
static int listener, guest_listener, peers[PEERS];
static char path[64];

/* What is left of the input; 0 when there is nothing. */
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

static int listen_at(const char *where)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, where);
	vmm_assert(bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	vmm_assert(listen(fd, 4) == 0);
	return fd;
}

static void remove_files(void)
{
	char other[80];

	(void)snprintf(other, sizeof(other), "%s_%d", path, LISTENING_PORT);
	(void)unlink(other);
	(void)unlink(path);
	*strrchr(path, '/') = '\0';
	(void)rmdir(path);
}

static void set_up_once(void)
{
	char dir[] = "/tmp/fuzz-vsock.XXXXXX", other[80];

	if (path[0])
		return;
	log_init(-1, LOG_ERROR);
	vmm_assert(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/v", dir);
	(void)snprintf(other, sizeof(other), "%s_%d", path, LISTENING_PORT);
	listener = listen_at(path);
	guest_listener = listen_at(other);
	(void)atexit(remove_files);
}

/* ---- the guest ---- */

static void take(struct input *in)
{
	static uint8_t bytes[256 << 8];
	struct vsock_packet p = {.src_cid = CID, .dst_cid = VSOCK_HOST_CID, .type = 1};
	unsigned ports = byte(in), how = byte(in);
	struct iovec piece = {bytes, 0};
	struct iov v = {&piece, 1};

	if (!vsock_mux_can_take(&mux))
		return;
	p.op = (uint16_t)(byte(in) % 10);
	p.src_port = ports & 3;
	p.dst_port = ports & 4 ? (1U << 30) + (ports >> 3) % 8 : (ports >> 3) % 3;
	p.len = byte(in) << (how & 8);
	p.flags = byte(in);
	p.buf_alloc = byte(in) << (how & 8);
	p.fwd_cnt = byte(in) << (how >> 4 & 8);
	p.type = how & 1 ? (uint16_t)byte(in) : p.type;
	p.src_cid = how & 2 ? byte(in) : p.src_cid;
	p.dst_cid = how & 4 ? byte(in) : p.dst_cid;
	piece.iov_len = how & 16 ? byte(in) : p.len;
	vsock_mux_take(&mux, &p, &v);
}

static void read_data(struct vsock_conn *c, size_t space)
{
	static uint8_t bytes[4096];
	uint32_t credit = vsock_conn_credit(c);
	struct iovec piece = {bytes, MIN(space, (size_t)credit)};
	struct iov v = {&piece, 1};
	struct vsock_packet p;
	size_t n;

	vmm_assert(credit > 0);
	n = vsock_conn_read(c, &v, piece.iov_len);
	vmm_assert(n <= credit);
	if (n > 0)
		vsock_mux_data(&mux, c, (uint32_t)n, &p);
}

static void drain(struct input *in)
{
	size_t space = byte(in) * (size_t)16 + 1;

	for (unsigned i = byte(in) % 32; i > 0 && vsock_mux_has_output(&mux); i--) {
		struct vsock_packet p;
		struct vsock_conn *c;

		if (!vsock_mux_tell(&mux, &p, &c))
			read_data(c, space);
		else
			vmm_assert(p.dst_cid == CID && p.len == 0);
		if (c)
			vsock_mux_next(&mux, c);
	}
	vsock_mux_settle(&mux);
}

/* ---- the host ---- */

static int *free_peer(void)
{
	for (unsigned i = 0; i < PEERS; i++)
		if (peers[i] < 0)
			return &peers[i];
	return NULL;
}

static void arrive(bool by_guest)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int *peer = free_peer();

	if (!peer)
		return;
	if (by_guest) {
		*peer = accept4(guest_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		return;
	}
	strcpy(addr.sun_path, path);
	*peer = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connect(*peer, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		*peer = fd_close(*peer);
}

static void act(struct input *in)
{
	static uint8_t bytes[64 << 10];
	unsigned what = byte(in), n = byte(in);
	int *peer = &peers[what % PEERS];
	char line[32];

	switch (what / PEERS % 6) {
	case 0:
		(void)send(*peer, bytes, n << 8, MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 1:
		(void)!recv(*peer, bytes, n << 8, MSG_DONTWAIT);
		break;
	case 2:
		*peer = fd_close(*peer);
		break;
	case 3:
		(void)shutdown(*peer, n % 3);
		break;
	case 4:
		(void)snprintf(line, sizeof(line), "CONNECT %u\n", n % 4);
		(void)send(*peer, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	default:
		(void)send(*peer, in->at, MIN(in->left, (size_t)n), MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	}
}

/* ---- the loop ---- */

static void serve(struct vsock_mux *m)
{
	vsock_mux_settle(m);
}

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
	switch (byte(in) % 12) {
	case 0:
	case 1:
	case 2:
		take(in);
		vsock_mux_settle(&mux);
		break;
	case 3:
	case 4:
		drain(in);
		break;
	case 5:
		arrive(true);
		break;
	case 6:
		arrive(false);
		break;
	case 7:
	case 8:
		act(in);
		break;
	case 9:
		vsock_mux_stop(&mux);
		if (byte(in) & 1)
			vsock_mux_forget(&mux);
		vsock_mux_start(&mux);
		break;
	default:
		turn();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	int fd;

	set_up_once();
	for (unsigned i = 0; i < PEERS; i++)
		peers[i] = -1;
	memset(&mux, 0, sizeof(mux));
	vmm_assert(loop_new(&loop) == 0);
	vmm_assert(vsock_mux_init(&mux, loop, CID, listener, path) == 0);
	mux.serve = serve;
	vsock_mux_start(&mux);
	while (in.left > 0)
		step(&in);
	vsock_mux_done(&mux);
	loop = loop_free(loop);
	for (unsigned i = 0; i < PEERS; i++)
		(void)fd_close(peers[i]);
	/* Nothing is left for the next input. */
	while ((fd = accept4(guest_listener, NULL, NULL, SOCK_CLOEXEC)) >= 0 ||
	       (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		(void)close(fd);
	return 0;
}
