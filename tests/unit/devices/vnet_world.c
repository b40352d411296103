/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/devices/vnet_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "base/log.h"
#include "tests/unit/event/engine.h"

enum { PATIENCE_MS = 20000, MOST_SEGS = 64, DEPTH = 64, MOST_BUFFERS = 4096 };

struct vdev_world vnw;
struct fake_net *fake;
const uint8_t vnet_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
struct virtio_net_hdr_v1 vnet_header;
size_t vnet_len;

static struct vnet_options options;
static struct loop *second_loop;
static pthread_t second_thread;
static int hosts[FAKE_NET_PORTS];
static unsigned n_ports;
static bool begun;

/* What was posted, by cookie. */
struct buffer {
	struct driver_seg segs[MOST_SEGS];
	unsigned n;
	bool used;
};
static struct buffer buffers[MOST_BUFFERS];
static unsigned n_done[VDEV_QUEUES]; /* frames that were found sent, and not asked for yet */

static void forget(void)
{
	memset(buffers, 0, sizeof(buffers));
	memset(n_done, 0, sizeof(n_done));
}

/* ---- life ---- */

static void *run_second(void *arg)
{
	(void)arg;
	cr_assert_eq(loop_run(second_loop), 0);
	return NULL;
}

static int gate[2];

static void wait_at_gate(struct loop_work *work)
{
	char c;

	(void)work;
	cr_assert_eq(read(gate[0], &c, 1), 1);
	(void)close(gate[0]);
}

void vnet_block_second(void)
{
	static struct loop_work block = {.run = wait_at_gate};

	cr_assert_eq(pipe(gate), 0);
	loop_post(second_loop, &block);
}

void vnet_unblock_second(void)
{
	cr_assert_eq(write(gate[1], "", 1), 1);
	(void)close(gate[1]);
}

static void close_hosts(void)
{
	for (unsigned i = 0; i < FAKE_NET_PORTS; i++)
		if (hosts[i] >= 0)
			(void)close(hosts[i]);
}

static struct net *make_fake(void)
{
	fake = fake_net_new(options.ports ? options.ports : 1, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 |
								       NET_OFFLOAD_TSO6 |
								       NET_OFFLOAD_ECN);
	memcpy(hosts, fake->host, fake->net.n_ports * sizeof(hosts[0]));
	return &fake->net;
}

static struct virtio_dev *make(void)
{
	struct loop *loops[] = {vnw.loop, second_loop};
	struct virtio_net_setup setup = {
		.id = "net0",
		.map = &vnw.mem.map,
		.loops = loops,
		.n_loops = options.two_loops ? 2 : 1,
		.queue_size = options.size ? options.size : VDEV_QUEUE_SIZE,
		.packed = true,
		.offload = !options.plain,
		.bw = options.bw,
		.pps = options.pps,
		.mtu = 1400,
	};
	struct virtio_dev *dev = NULL;

	memcpy(setup.mac, vnet_mac, sizeof(vnet_mac));
	memset(hosts, -1, sizeof(hosts));
	setup.net = options.make_net ? options.make_net() : make_fake();
	n_ports = net_n_ports(setup.net);
	cr_assert_eq(virtio_net_new(&setup, &dev), 0);
	return dev;
}

void vnet_begin(unsigned combination, const struct vnet_options *o)
{
	options = *o;
	signal(SIGPIPE, SIG_IGN);
	log_init(-1, LOG_ERROR);
	forget();
	vdev_world_init(&vnw, combination);
	if (options.size)
		vnw.setup.size = options.size;
	if (options.two_loops) {
		second_loop = engine_loop(DEPTH, 0);
		cr_assert_eq(pthread_create(&second_thread, NULL, run_second, NULL), 0);
	}
	vdev_take(&vnw, make());
	begun = true;
	vdev_up(&vnw, options.features);
}

void vnet_end(void)
{
	if (!begun) /* it was skipped */
		return;
	begun = false;
	if (second_loop) {
		loop_stop(second_loop);
		cr_assert_eq(pthread_join(second_thread, NULL), 0);
	}
	vdev_world_done(&vnw);
	second_loop = loop_free(second_loop);
	close_hosts();
}

void vnet_again(uint64_t features)
{
	vdev_reset(&vnw);
	forget();
	vdev_up(&vnw, features);
}

void vnet_replace(void)
{
	int before[FAKE_NET_PORTS];

	cr_assert_not(options.two_loops);
	memcpy(before, hosts, sizeof(before));
	vdev_replace(&vnw, make);
	for (unsigned i = 0; i < FAKE_NET_PORTS; i++)
		if (before[i] >= 0)
			(void)close(before[i]);
}

/* ---- frames ---- */

void vnet_frame(uint8_t *to, size_t len, uint8_t mark)
{
	cr_assert_geq(len, 16);
	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)(mark + i * 7 + i / 256);
	put_le32(to, (uint32_t)len);
	to[4] = mark;
}

static uint8_t check_frame(const uint8_t *frame, size_t len)
{
	static uint8_t expected[NET_FRAME_MAX];

	cr_assert_geq(len, 16);
	cr_assert_eq(get_le32(frame), len, "a frame of %u bytes came as %zu", get_le32(frame), len);
	vnet_frame(expected, len, frame[4]);
	cr_assert_eq(memcmp(frame, expected, len), 0, "frame of %zu bytes, mark %u", len, frame[4]);
	vnet_len = len;
	return frame[4];
}

/* ---- the guest receives ---- */

static struct buffer *new_buffer(void)
{
	for (unsigned i = 0; i < MOST_BUFFERS; i++)
		if (!buffers[i].used) {
			buffers[i].used = true;
			return &buffers[i];
		}
	cr_assert_fail("too many buffers");
	return NULL;
}

static int try_add(unsigned queue, const struct driver_seg *segs, unsigned n_out, unsigned n_in,
		   void *cookie)
{
	struct driver_queue *dq = &vnw.q[queue].dq;

	return vnw.setup.indirect ? driver_add_indirect(dq, segs, n_out, n_in, cookie)
				  : driver_add(dq, segs, n_out, n_in, cookie);
}

void vnet_post_segs(unsigned queue, const uint32_t *segs, unsigned n)
{
	struct buffer *b = new_buffer();

	cr_assert_leq(n, MOST_SEGS);
	b->n = n;
	for (unsigned i = 0; i < n; i++) {
		b->segs[i].gpa = guest_alloc(&vnw.mem, segs[i], 1);
		b->segs[i].len = segs[i];
		memset(guest_ptr(&vnw.mem, b->segs[i].gpa, segs[i]), 0xee, segs[i]);
	}
	cr_assert_eq(try_add(queue, b->segs, 0, n, b), 0);
	vdev_publish(&vnw, queue);
}

void vnet_post(unsigned queue, unsigned n, uint32_t size)
{
	while (n-- > 0)
		vnet_post_segs(queue, &size, 1);
}

static struct driver_used next_used(unsigned queue)
{
	struct vdev_queue *q = &vnw.q[queue];
	struct pollfd p = {.fd = q->call, .events = POLLIN};
	struct driver_used used;
	uint64_t count;

	while (!driver_collect(&q->dq, &used)) {
		if (driver_interrupts_on(&q->dq))
			continue;
		cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "queue %u: no interrupt comes", queue);
		cr_assert_eq(read(q->call, &count, sizeof(count)), sizeof(count));
	}
	return used;
}

/* Appends what was written to a buffer. */
static size_t collect(unsigned queue, uint8_t *to, size_t at)
{
	struct driver_used used = next_used(queue);
	struct buffer *b = used.cookie;
	size_t left = used.len;

	for (unsigned i = 0; i < b->n && left > 0; i++) {
		size_t n = MIN(left, (size_t)b->segs[i].len);

		memcpy(to + at, guest_ptr(&vnw.mem, b->segs[i].gpa, n), n);
		at += n;
		left -= n;
	}
	cr_assert_eq(left, 0);
	b->used = false;
	return at;
}

uint8_t vnet_receive(unsigned queue)
{
	static uint8_t bytes[2 * NET_FRAME_MAX];
	size_t n = collect(queue, bytes, 0);
	unsigned more;

	cr_assert_geq(n, VNET_HEADER);
	memcpy(&vnet_header, bytes, VNET_HEADER);
	cr_assert_geq(vnet_header.num_buffers, 1);
	for (more = vnet_header.num_buffers - 1U; more > 0; more--) {
		cr_assert(driver_has_used(&vnw.q[queue].dq),
			  "the buffers of a frame come together");
		n = collect(queue, bytes, n);
	}
	return check_frame(bytes + VNET_HEADER, n - VNET_HEADER);
}

bool vnet_has_frame(unsigned queue)
{
	return driver_has_used(&vnw.q[queue].dq);
}

/* ---- the guest sends ---- */

void vnet_send_header(unsigned queue, const struct virtio_net_hdr_v1 *header, size_t len,
		      uint8_t mark)
{
	struct driver_seg segs[] = {
		{.gpa = vdev_bytes(&vnw, header, VNET_HEADER), .len = VNET_HEADER},
		{.gpa = guest_alloc(&vnw.mem, len, 1), .len = (uint32_t)len},
	};

	vnet_frame(guest_ptr(&vnw.mem, segs[1].gpa, len), len, mark);
	while (try_add(queue, segs, 2, 0, NULL) < 0) { /* until some are done */
		cr_assert_eq(next_used(queue).len, 0);
		n_done[queue]++;
	}
	vdev_publish(&vnw, queue);
}

void vnet_send(unsigned queue, size_t len, uint8_t mark)
{
	static const struct virtio_net_hdr_v1 none;

	vnet_send_header(queue, &none, len, mark);
}

void vnet_sent(unsigned queue, unsigned n)
{
	for (; n_done[queue] < n; n_done[queue]++)
		cr_assert_eq(next_used(queue).len, 0);
	n_done[queue] -= n;
}

uint8_t vnet_command(uint8_t class, uint8_t command, const void *data, uint32_t len)
{
	const uint8_t head[] = {class, command}, none = 0xff;
	unsigned queue = vnw.dev->acked & NET(MQ) ? 2 * n_ports : VNET_CTRL;
	uint64_t ack = vdev_bytes(&vnw, &none, 1);
	struct driver_seg segs[] = {
		{.gpa = vdev_bytes(&vnw, head, sizeof(head)), .len = sizeof(head)},
		{.gpa = len ? vdev_bytes(&vnw, data, len) : 0, .len = len},
		{.gpa = ack, .len = 1},
	};

	if (!len)
		segs[1] = segs[2];
	(void)vdev_request(&vnw, queue, segs, len ? 2 : 1, 1);
	return *(uint8_t *)guest_ptr(&vnw.mem, ack, 1);
}

/* ---- the host ---- */

bool host_has_frame(unsigned port)
{
	struct pollfd p = {.fd = hosts[port], .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

uint8_t host_receive(unsigned port)
{
	static uint8_t bytes[VNET_HEADER + NET_FRAME_MAX];
	struct pollfd p = {.fd = hosts[port], .events = POLLIN};
	ssize_t n;

	cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "the host gets no frame");
	n = recv(hosts[port], bytes, sizeof(bytes), 0);
	cr_assert_geq(n, VNET_HEADER);
	memcpy(&vnet_header, bytes, VNET_HEADER);
	return check_frame(bytes + VNET_HEADER, (size_t)n - VNET_HEADER);
}

void host_send_header(unsigned port, const struct virtio_net_hdr_v1 *header, size_t len,
		      uint8_t mark)
{
	static uint8_t bytes[VNET_HEADER + NET_FRAME_MAX + 64];
	struct pollfd p = {.fd = hosts[port], .events = POLLOUT};

	memcpy(bytes, header, VNET_HEADER);
	vnet_frame(bytes + VNET_HEADER, len, mark);
	cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "the device takes no frame");
	cr_assert_eq(send(hosts[port], bytes, VNET_HEADER + len, 0), (ssize_t)(VNET_HEADER + len),
		     "%s", strerror(errno));
}

bool host_has_room(unsigned port)
{
	struct pollfd p = {.fd = hosts[port], .events = POLLOUT};

	return poll(&p, 1, 0) == 1;
}

void host_send(unsigned port, size_t len, uint8_t mark)
{
	static const struct virtio_net_hdr_v1 none;

	host_send_header(port, &none, len, mark);
}

/* ---- the rest ---- */

uint64_t vnet_stat(const char *name)
{
	return vdev_stat(&vnw, name);
}

void vnet_await_stat(const char *name, uint64_t value)
{
	uint64_t until = clock_now_ns() + PATIENCE_MS * NS_PER_MS;

	while (vnet_stat(name) < value) {
		cr_assert_lt(clock_now_ns(), until, "%s stays at %lu", name, vnet_stat(name));
		(void)usleep(200);
	}
}

int vnet_verb(const char *name, const char *const *texts, struct err *err)
{
	const struct device_ops *ops = vnw.dev->dev.ops;
	struct device_value values[8] = {{0}};

	*err = (struct err){0};
	for (unsigned i = 0; i < ops->n_verbs; i++) {
		if (strcmp(ops->verbs[i].name, name) != 0)
			continue;
		for (unsigned k = 0; k < ops->verbs[i].n_params; k++)
			values[k] = (struct device_value){.given = texts[k],
							  .text = texts[k],
							  .len = texts[k] ? strlen(texts[k]) : 0};
		return ops->verbs[i].run(&vnw.dev->dev, values, err);
	}
	cr_assert_fail("there is no verb %s", name);
	return 0;
}

static uint64_t loop_cpu_ns(void)
{
	clockid_t clock;

	cr_assert_eq(pthread_getcpuclockid(vnw.thread, &clock), 0);
	return clock_ns(clock);
}

void vnet_expect_idle(void)
{
	uint64_t before;

	vdev_settle(&vnw);
	before = loop_cpu_ns();
	(void)usleep(100000);
	cr_assert_lt(loop_cpu_ns() - before, 5 * NS_PER_MS, "it spins");
}
