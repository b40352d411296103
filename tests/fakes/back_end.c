/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fakes/back_end.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"

/* ---- messages ---- */

static bool read_all(int fd, void *to, size_t len, struct vhost_user_message *m)
{
	char control[CMSG_SPACE(VHOST_USER_MAX_FDS * sizeof(int))];
	char *at = to;

	while (len > 0) {
		struct iovec iov = {at, len};
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control,
				     .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
		struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

		if (n <= 0)
			return false;
		if (c && c->cmsg_type == SCM_RIGHTS) {
			m->n_fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(m->fds, CMSG_DATA(c), m->n_fds * sizeof(int));
		}
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static bool read_message(int fd, struct vhost_user_message *m)
{
	*m = (struct vhost_user_message){.n_fds = 0};
	return read_all(fd, &m->header, sizeof(m->header), m) &&
	       m->header.size <= sizeof(m->payload) &&
	       read_all(fd, m->payload.bytes, m->header.size, m);
}

void back_end_reply_fds(int fd, uint32_t request, const void *payload, uint32_t size,
			const int *fds, unsigned n)
{
	struct vhost_user_header h = {request, VHOST_USER_VERSION | VHOST_USER_REPLY, size};
	struct iovec iov[] = {{&h, sizeof(h)}, {(void *)(uintptr_t)payload, size}};
	char control[CMSG_SPACE(253 * sizeof(int))] = {0};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	if (n > 0) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		*c = (struct cmsghdr){CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	(void)sendmsg(fd, &msg, MSG_NOSIGNAL);
}

void back_end_reply(int fd, uint32_t request, uint32_t flags, const void *payload, uint32_t size)
{
	struct vhost_user_header h = {request, VHOST_USER_VERSION | flags, size};
	struct iovec iov[] = {{&h, sizeof(h)}, {(void *)(uintptr_t)payload, size}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	(void)sendmsg(fd, &msg, MSG_NOSIGNAL);
}

static void reply_u64(int fd, uint32_t request, uint64_t value)
{
	back_end_reply(fd, request, VHOST_USER_REPLY, &value, sizeof(value));
}

/* ---- answers ---- */

static void answer_config(const struct back_end *b, int fd, struct vhost_user_message *m)
{
	struct vhost_user_config *c = &m->payload.config;

	if (!range_inside(c->offset, c->size, 0, b->config_len)) {
		back_end_reply(fd, VHOST_USER_GET_CONFIG, VHOST_USER_REPLY, NULL, 0);
		return;
	}
	memcpy(c->bytes, b->config + c->offset, c->size);
	back_end_reply(fd, VHOST_USER_GET_CONFIG, VHOST_USER_REPLY, c, m->header.size);
}

static void take_config(struct back_end *b, const struct vhost_user_config *c)
{
	if (range_inside(c->offset, c->size, 0, b->config_len))
		memcpy(b->config + c->offset, c->bytes, c->size);
}

static void answer_inflight(int fd, struct vhost_user_message *m)
{
	struct vhost_user_inflight *area = &m->payload.inflight;
	uint64_t size = (16 + 16 * (uint64_t)area->queue_size) * area->num_queues;
	int file = memfd_create("inflight", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(file, (off_t)size), 0);
	*area = (struct vhost_user_inflight){.mmap_size = size};
	back_end_reply_fds(fd, VHOST_USER_GET_INFLIGHT_FD, area, sizeof(*area), &file, 1);
	close(file);
}

static void take(_Atomic int *place, struct vhost_user_message *m)
{
	if (m->n_fds > 0) {
		(void)fd_close(atomic_exchange(place, m->fds[0]));
		m->fds[0] = -1;
	}
}

static void keep_fds(struct back_end *b, struct vhost_user_message *m)
{
	uint8_t ring = m->payload.u64 & 0xff;

	if (m->header.request == VHOST_USER_SET_MEM_TABLE ||
	    m->header.request == VHOST_USER_ADD_MEM_REG)
		take(&b->memory_fd, m);
	if (m->header.request == VHOST_USER_SET_BACKEND_REQ_FD)
		take(&b->requests_fd, m);
	if (m->header.request == VHOST_USER_SET_VRING_KICK && ring < BACK_END_RINGS)
		take(&b->kick[ring], m);
	if (m->header.request == VHOST_USER_SET_VRING_CALL && ring < BACK_END_RINGS)
		take(&b->call[ring], m);
}

void back_end_answer(struct back_end *b, int fd, struct vhost_user_message *m)
{
	uint32_t request = m->header.request;

	keep_fds(b, m);
	if (request == VHOST_USER_SET_CONFIG)
		take_config(b, &m->payload.config);
	switch (request) {
	case VHOST_USER_GET_FEATURES:
		reply_u64(fd, request, b->features);
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		reply_u64(fd, request, b->protocol);
		break;
	case VHOST_USER_GET_QUEUE_NUM:
		reply_u64(fd, request, b->queue_num);
		break;
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		reply_u64(fd, request, b->slots);
		break;
	case VHOST_USER_GET_CONFIG:
		answer_config(b, fd, m);
		break;
	case VHOST_USER_GET_INFLIGHT_FD:
		answer_inflight(fd, m);
		break;
	case VHOST_USER_GET_VRING_BASE:
		m->payload.state.num = b->base[m->payload.state.index % BACK_END_RINGS];
		back_end_reply(fd, request, VHOST_USER_REPLY, &m->payload,
			       sizeof(m->payload.state));
		break;
	default:
		if (m->header.flags & VHOST_USER_NEED_REPLY)
			reply_u64(fd, request, 0);
	}
}

/* ---- the thread ---- */

static void remember(struct back_end *b, const struct vhost_user_message *m)
{
	unsigned n = atomic_load(&b->n);

	if (n == BACK_END_LOG)
		return;
	b->log[n] = (struct back_end_entry){.header = m->header, .n_fds = m->n_fds};
	memcpy(&b->log[n].first, m->payload.bytes, sizeof(uint64_t));
	memcpy(&b->log[n].second, m->payload.bytes + 8, sizeof(uint64_t));
	atomic_store(&b->n, n + 1);
}

/* False: stop. */
static bool await(const struct back_end *b, int fd)
{
	struct pollfd p[] = {{fd, POLLIN, 0}, {b->stop, POLLIN, 0}, {b->cut, POLLIN, 0}};

	while (poll(p, 3, -1) < 0 && errno == EINTR)
		;
	return !p[1].revents;
}

static bool was_cut(const struct back_end *b)
{
	uint64_t n;

	return read(b->cut, &n, sizeof(n)) == sizeof(n);
}

/* False: stop. */
static bool serve(struct back_end *b, int fd)
{
	struct vhost_user_message m;

	while (await(b, fd)) {
		enum back_end_verdict verdict = BACK_END_GOES_ON;

		if (was_cut(b) || !read_message(fd, &m))
			return true;
		remember(b, &m);
		if (b->hook)
			verdict = b->hook(b, fd, &m);
		if (verdict == BACK_END_GOES_ON)
			back_end_answer(b, fd, &m);
		for (unsigned i = 0; i < m.n_fds; i++)
			(void)fd_close(m.fds[i]);
		if (verdict == BACK_END_HANGS_UP)
			return true;
	}
	return false;
}

static void let_go(struct back_end *b)
{
	(void)fd_close(atomic_exchange(&b->memory_fd, -1));
	(void)fd_close(atomic_exchange(&b->requests_fd, -1));
	for (unsigned i = 0; i < BACK_END_RINGS; i++) {
		(void)fd_close(atomic_exchange(&b->kick[i], -1));
		(void)fd_close(atomic_exchange(&b->call[i], -1));
	}
}

static struct sockaddr_un address(const struct back_end *b)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	strcpy(addr.sun_path, b->path);
	return addr;
}

/* -1: stop. */
static int next_connection(struct back_end *b)
{
	struct sockaddr_un addr = address(b);
	int fd;

	if (!b->client)
		return await(b, b->listener) ? accept4(b->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
	for (;;) {
		struct pollfd p = {b->stop, POLLIN, 0};

		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
			return fd;
		close(fd);
		if (poll(&p, 1, 5) > 0) /* nothing tells when the other side listens */
			return -1;
	}
}

static void *run(void *arg)
{
	struct back_end *b = arg;
	bool on = true;

	while (on) {
		int fd = next_connection(b);

		if (fd < 0 && b->client)
			break;
		if (fd < 0) {
			struct pollfd p = {b->stop, POLLIN, 0};

			(void)was_cut(b);
			on = poll(&p, 1, 0) == 0;
			continue;
		}
		atomic_fetch_add(&b->connections, 1);
		on = serve(b, fd);
		let_go(b);
		close(fd);
		atomic_fetch_add(&b->hang_ups, 1);
	}
	return NULL;
}

void back_end_start(struct back_end *b)
{
	struct sockaddr_un addr = address(b);

	atomic_store(&b->memory_fd, -1);
	atomic_store(&b->requests_fd, -1);
	for (unsigned i = 0; i < BACK_END_RINGS; i++) {
		atomic_store(&b->kick[i], -1);
		atomic_store(&b->call[i], -1);
	}
	b->stop = eventfd(0, EFD_CLOEXEC);
	b->cut = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	b->listener = -1;
	if (!b->client) {
		b->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		(void)unlink(b->path);
		cr_assert_eq(bind(b->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
		cr_assert_eq(listen(b->listener, 4), 0);
	}
	cr_assert_eq(pthread_create(&b->thread, NULL, run, b), 0);
	b->runs = true;
}

void back_end_stop(struct back_end *b)
{
	if (!b->runs)
		return;
	b->runs = false;
	cr_assert_eq(eventfd_write(b->stop, 1), 0);
	pthread_join(b->thread, NULL);
	(void)fd_close(b->listener);
	close(b->stop);
	close(b->cut);
	if (!b->client)
		(void)unlink(b->path);
}

void back_end_cut(struct back_end *b)
{
	cr_assert_eq(eventfd_write(b->cut, 1), 0);
}

/* ---- what it was told ---- */

int back_end_find(const struct back_end *b, uint32_t request, unsigned n)
{
	unsigned have = atomic_load(&b->n);

	for (unsigned i = 0; i < have; i++)
		if (b->log[i].header.request == request && n-- == 0)
			return (int)i;
	return -1;
}

unsigned back_end_count(const struct back_end *b, uint32_t request)
{
	unsigned n = 0;

	while (back_end_find(b, request, n) >= 0)
		n++;
	return n;
}
