/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/devices/vcon_world.h"

#include <criterion/criterion.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "base/log.h"

enum { PATIENCE_MS = 20000 };

struct vdev_world vcw;
const char *vcon_kinds[VCON_PORTS];
uint16_t vcon_cols, vcon_rows;
uint64_t vcon_tx_gpa;
struct vcon_tapped vcon_tapped;

static char dir[64];
static struct chr *chrs[VCON_PORTS];

static void on_tapped(struct virtio_console_tap *tap, const uint8_t *bytes, size_t n)
{
	(void)tap;
	(void)bytes;
	vcon_tapped.bytes += n;
	vcon_tapped.calls++;
}

unsigned vcon_rx_of(unsigned port)
{
	return port == 0 ? 0 : port * 2 + 2;
}

unsigned vcon_tx_of(unsigned port)
{
	return vcon_rx_of(port) + 1;
}

/* ---- the device and its streams ---- */

static void open_streams(void)
{
	for (unsigned i = 0; i < VCON_PORTS; i++) {
		struct chr_spec spec;
		struct err err = {0};
		char text[128];

		(void)snprintf(text, sizeof(text), "unix=%s/%u", dir, i);
		cr_assert_eq(chr_spec_parse(vcon_kinds[i] ? vcon_kinds[i] : text, &spec, &err), 0,
			     "%s", err.msg);
		cr_assert_eq(chr_open(&spec, "--port", &chrs[i], &err), 0, "%s", err.msg);
	}
}

static void free_streams(void)
{
	for (unsigned i = 0; i < VCON_PORTS; i++)
		chrs[i] = chr_free(chrs[i]);
}

struct virtio_dev *vcon_make(void)
{
	struct virtio_console_port ports[VCON_PORTS];
	const struct virtio_console_setup setup = {
		.id = "console0",
		.map = &vcw.mem.map,
		.loop = vcw.loop,
		.packed = true,
		.queue_size = VDEV_QUEUE_SIZE,
		.ports = ports,
		.n_ports = VCON_PORTS,
		.cols = vcon_cols,
		.rows = vcon_rows,
	};
	struct virtio_dev *dev = NULL;

	open_streams();
	vcon_tapped.tap.bytes = on_tapped;
	ports[0] = (struct virtio_console_port){
		.chr = chrs[0], .console = true, .tap = &vcon_tapped.tap};
	ports[1] = (struct virtio_console_port){.chr = chrs[1], .name = "org.one"};
	ports[2] = (struct virtio_console_port){.chr = chrs[2], .name = "two"};
	cr_assert_eq(virtio_console_new(&setup, &dev), 0);
	for (unsigned i = 0; i < VCON_PORTS; i++)
		cr_assert_eq(chr_start(chrs[i], vcw.loop, NULL), 0);
	return dev;
}

void vcon_begin(unsigned combination)
{
	signal(SIGPIPE, SIG_IGN);
	log_init(-1, LOG_ERROR);
	strcpy(dir, "/tmp/vcon.XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	vdev_world_init(&vcw, combination);
	vcw.loop_ends = free_streams;
	vdev_take(&vcw, vcon_make());
	vcon_tx_gpa = guest_alloc(&vcw.mem, VCON_TX_SIZE, 16);
}

void vcon_end(void)
{
	char command[128];

	vdev_world_done(&vcw);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	cr_assert_eq(system(command), 0);
}

/* ---- the guest ---- */

void vcon_post(unsigned queue, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct driver_seg seg = {guest_alloc(&vcw.mem, VCON_RX_SIZE, 16), VCON_RX_SIZE};

		cr_assert_eq(driver_add(&vcw.q[queue].dq, &seg, 0, 1,
					guest_ptr(&vcw.mem, seg.gpa, VCON_RX_SIZE)),
			     0);
	}
	vdev_publish(&vcw, queue);
}

/* A used buffer; its length. It is not posted again. */
static uint32_t await_bytes(unsigned queue, uint8_t **ret)
{
	struct vdev_queue *q = &vcw.q[queue];
	struct driver_used used;

	while (!driver_collect(&q->dq, &used)) {
		struct pollfd p = {.fd = q->call, .events = POLLIN};
		uint64_t count;

		if (driver_interrupts_on(&q->dq))
			continue;
		cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "nothing comes on queue %u", queue);
		cr_assert_eq(read(q->call, &count, sizeof(count)), sizeof(count));
	}
	*ret = used.cookie;
	return used.len;
}

void vcon_control(uint32_t id, unsigned event, unsigned value)
{
	struct driver_seg seg = {.len = 8};
	uint8_t message[8];

	put_le32(message, id);
	put_le16(message + 4, (uint16_t)event);
	put_le16(message + 6, (uint16_t)value);
	seg.gpa = vdev_bytes(&vcw, message, sizeof(message));
	(void)vdev_request(&vcw, VCON_CONTROL_TX, &seg, 1, 0);
}

const uint8_t *vcon_expect_control(uint32_t id, unsigned event, unsigned value, uint32_t extra)
{
	uint8_t *message;
	uint32_t len = await_bytes(VCON_CONTROL_RX, &message);

	cr_assert_eq(get_le16(message + 4), event, "event %u instead of %u", get_le16(message + 4),
		     event);
	cr_assert_eq(get_le32(message), id);
	cr_assert_eq(get_le16(message + 6), value);
	cr_assert_eq(len, 8 + extra);
	vcon_post(VCON_CONTROL_RX, 1);
	return message + 8;
}

void vcon_expect_no_control(void)
{
	vdev_settle(&vcw);
	vdev_settle(&vcw);
	cr_assert_not(driver_has_used(&vcw.q[VCON_CONTROL_RX].dq));
}

void vcon_driver_up(void)
{
	vdev_up(&vcw, VCON_MULTIPORT | VCON_SIZE);
	vcon_post(VCON_CONTROL_RX, 8);
	vcon_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (unsigned i = 0; i < VCON_PORTS; i++)
		(void)vcon_expect_control(i, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
}

void vcon_port_up(unsigned port, bool open)
{
	static const char *const names[] = {NULL, "org.one", "two"};

	vcon_post(vcon_rx_of(port), 8);
	vcon_control(port, VIRTIO_CONSOLE_PORT_READY, 1);
	if (port == 0)
		(void)vcon_expect_control(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, 0);
	if (names[port]) {
		uint32_t len = (uint32_t)strlen(names[port]);

		cr_assert_arr_eq(vcon_expect_control(port, VIRTIO_CONSOLE_PORT_NAME, 1, len),
				 names[port], len);
	}
	if (open)
		vcon_control(port, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

void vcon_guest_writes(unsigned port, const void *bytes, uint32_t len)
{
	struct driver_seg seg = {vcon_tx_gpa, len};

	memcpy(guest_ptr(&vcw.mem, vcon_tx_gpa, len), bytes, len);
	(void)vdev_request(&vcw, vcon_tx_of(port), &seg, 1, 0);
}

void vcon_guest_expects(unsigned port, const char *text)
{
	size_t len = strlen(text), n = 0;

	while (n < len) {
		uint8_t *bytes;
		uint32_t got = await_bytes(vcon_rx_of(port), &bytes);

		cr_assert_leq(n + got, len);
		cr_assert_arr_eq(bytes, text + n, got);
		n += got;
		vcon_post(vcon_rx_of(port), 1);
	}
}

void vcon_guest_expects_nothing(unsigned port)
{
	vdev_settle(&vcw);
	vdev_settle(&vcw);
	cr_assert_not(driver_has_used(&vcw.q[vcon_rx_of(port)].dq));
}

/* ---- the host ---- */

int vcon_client_of(unsigned port)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%u", dir, port);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

void vcon_host_writes(int fd, const char *text)
{
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

void vcon_host_expects(int fd, const uint8_t *bytes, size_t len)
{
	static uint8_t buf[1 << 20];

	for (size_t n = 0; n < len;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t got;

		cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "nothing comes after %zu bytes", n);
		got = read(fd, buf, len - n < sizeof(buf) ? len - n : sizeof(buf));
		cr_assert_gt(got, 0);
		cr_assert_arr_eq(buf, bytes + n, (size_t)got, "somewhere behind byte %zu", n);
		n += (size_t)got;
	}
}

void vcon_host_expects_text(int fd, const char *text)
{
	vcon_host_expects(fd, (const uint8_t *)text, strlen(text));
}

void vcon_expect_idle(void)
{
	struct timespec pause = {.tv_nsec = 100 * (long)NS_PER_MS};
	uint64_t start = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	nanosleep(&pause, NULL);
	cr_assert_lt(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start, 20 * NS_PER_MS, "it spins");
}
