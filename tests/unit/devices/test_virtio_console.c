/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
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

#include "backend/chr.h"
#include "base/clock.h"
#include "base/endian.h"
#include "base/log.h"
#include "devices/virtio_console.h"
#include "tests/unit/devices/vdev_world.h"

/* Port 0 is a console, the others are named; three ports have eight queues. */
enum { PORTS = 3, PATIENCE_MS = 20000, RX_SIZE = 1024 };
enum { Q_CONTROL_RX = 2, Q_CONTROL_TX = 3 };

#define MULTIPORT VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT)
#define SIZE	  VIRTIO_BIT(VIRTIO_CONSOLE_F_SIZE)

static struct vdev_world w;
static char dir[64];
static struct chr *chrs[PORTS];
static const char *kinds[PORTS]; /* NULL: unix=, in dir */
static uint16_t cols, rows;
static uint64_t tx_gpa;

static unsigned rx_of(unsigned port)
{
	return port == 0 ? 0 : port * 2 + 2;
}

static unsigned tx_of(unsigned port)
{
	return rx_of(port) + 1;
}

/* ---- the device and its streams ---- */

static void open_streams(void)
{
	for (unsigned i = 0; i < PORTS; i++) {
		struct chr_spec spec;
		struct err err = {0};
		char text[128];

		(void)snprintf(text, sizeof(text), "unix=%s/%u", dir, i);
		cr_assert_eq(chr_spec_parse(kinds[i] ? kinds[i] : text, &spec, &err), 0, "%s",
			     err.msg);
		cr_assert_eq(chr_open(&spec, "--port", &chrs[i], &err), 0, "%s", err.msg);
	}
}

static void free_streams(void)
{
	for (unsigned i = 0; i < PORTS; i++)
		chrs[i] = chr_free(chrs[i]);
}

static struct virtio_dev *make(void)
{
	struct virtio_console_port ports[PORTS];
	const struct virtio_console_setup setup = {
		.id = "console0",
		.map = &w.mem.map,
		.loop = w.loop,
		.packed = true,
		.queue_size = VDEV_QUEUE_SIZE,
		.ports = ports,
		.n_ports = PORTS,
		.cols = cols,
		.rows = rows,
	};
	struct virtio_dev *dev = NULL;

	open_streams();
	ports[0] = (struct virtio_console_port){.chr = chrs[0], .console = true};
	ports[1] = (struct virtio_console_port){.chr = chrs[1], .name = "org.one"};
	ports[2] = (struct virtio_console_port){.chr = chrs[2], .name = "two"};
	cr_assert_eq(virtio_console_new(&setup, &dev), 0);
	for (unsigned i = 0; i < PORTS; i++)
		cr_assert_eq(chr_start(chrs[i], w.loop, NULL), 0);
	return dev;
}

static void begin(unsigned combination)
{
	signal(SIGPIPE, SIG_IGN);
	log_init(-1, LOG_ERROR);
	strcpy(dir, "/tmp/vcon.XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	vdev_world_init(&w, combination);
	w.loop_ends = free_streams;
	vdev_take(&w, make());
	tx_gpa = guest_alloc(&w.mem, 1 << 20, 16);
}

static void end(void)
{
	char command[128];

	vdev_world_done(&w);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	cr_assert_eq(system(command), 0);
}

/* ---- the guest ---- */

static void post(unsigned queue, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct driver_seg seg = {guest_alloc(&w.mem, RX_SIZE, 16), RX_SIZE};

		cr_assert_eq(
			driver_add(&w.q[queue].dq, &seg, 0, 1, guest_ptr(&w.mem, seg.gpa, RX_SIZE)),
			0);
	}
	vdev_publish(&w, queue);
}

/* A used buffer; its length. It is not posted again. */
static uint32_t await_bytes(unsigned queue, uint8_t **ret)
{
	struct vdev_queue *q = &w.q[queue];
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

static void control(uint32_t id, unsigned event, unsigned value)
{
	struct driver_seg seg = {.len = 8};
	uint8_t message[8];

	put_le32(message, id);
	put_le16(message + 4, (uint16_t)event);
	put_le16(message + 6, (uint16_t)value);
	seg.gpa = vdev_bytes(&w, message, sizeof(message));
	(void)vdev_request(&w, Q_CONTROL_TX, &seg, 1, 0);
}

/* The next control message; what follows its 8 bytes. */
static const uint8_t *expect_control(uint32_t id, unsigned event, unsigned value, uint32_t extra)
{
	uint8_t *message;
	uint32_t len = await_bytes(Q_CONTROL_RX, &message);

	cr_assert_eq(get_le16(message + 4), event, "event %u instead of %u", get_le16(message + 4),
		     event);
	cr_assert_eq(get_le32(message), id);
	cr_assert_eq(get_le16(message + 6), value);
	cr_assert_eq(len, 8 + extra);
	post(Q_CONTROL_RX, 1);
	return message + 8;
}

static void expect_no_control(void)
{
	vdev_settle(&w);
	vdev_settle(&w);
	cr_assert_not(driver_has_used(&w.q[Q_CONTROL_RX].dq));
}

static void driver_up(void)
{
	vdev_up(&w, MULTIPORT | SIZE);
	post(Q_CONTROL_RX, 8);
	control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (unsigned i = 0; i < PORTS; i++)
		(void)expect_control(i, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
}

/* As Linux does; opened where `open` says so. */
static void port_up(unsigned port, bool open)
{
	static const char *const names[] = {NULL, "org.one", "two"};

	post(rx_of(port), 8);
	control(port, VIRTIO_CONSOLE_PORT_READY, 1);
	if (port == 0)
		(void)expect_control(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, 0);
	if (names[port]) {
		uint32_t len = (uint32_t)strlen(names[port]);

		cr_assert_arr_eq(expect_control(port, VIRTIO_CONSOLE_PORT_NAME, 1, len),
				 names[port], len);
	}
	if (open)
		control(port, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

static void guest_writes(unsigned port, const void *bytes, uint32_t len)
{
	struct driver_seg seg = {tx_gpa, len};

	memcpy(guest_ptr(&w.mem, tx_gpa, len), bytes, len);
	(void)vdev_request(&w, tx_of(port), &seg, 1, 0);
}

static void guest_expects(unsigned port, const char *text)
{
	size_t len = strlen(text), n = 0;

	while (n < len) {
		uint8_t *bytes;
		uint32_t got = await_bytes(rx_of(port), &bytes);

		cr_assert_leq(n + got, len);
		cr_assert_arr_eq(bytes, text + n, got);
		n += got;
		post(rx_of(port), 1);
	}
}

static void guest_expects_nothing(unsigned port)
{
	vdev_settle(&w);
	vdev_settle(&w);
	cr_assert_not(driver_has_used(&w.q[rx_of(port)].dq));
}

/* ---- the host ---- */

static int client_of(unsigned port)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%u", dir, port);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void host_writes(int fd, const char *text)
{
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void host_expects(int fd, const uint8_t *bytes, size_t len)
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

static void host_expects_text(int fd, const char *text)
{
	host_expects(fd, (const uint8_t *)text, strlen(text));
}

static void expect_idle(void)
{
	struct timespec pause = {.tv_nsec = 100 * (long)NS_PER_MS};
	uint64_t start = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	nanosleep(&pause, NULL);
	cr_assert_lt(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start, 20 * NS_PER_MS, "it spins");
}

TestSuite(console, .fini = end, .timeout = 60);

/* ---- ports ---- */

Test(console, both_ways_in_all_kinds_of_queues)
{
	for (unsigned combination = 0; combination < VDEV_COMBINATIONS; combination++) {
		int fds[PORTS];

		begin(combination);
		cr_assert_eq(vdev_config(&w, 4, 4), PORTS);
		driver_up();
		for (unsigned i = 0; i < PORTS; i++) {
			port_up(i, true);
			fds[i] = client_of(i);
			(void)expect_control(i, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
		}
		for (unsigned i = 0; i < PORTS; i++) {
			guest_writes(i, "from the guest\n", 15);
			host_expects_text(fds[i], "from the guest\n");
			host_writes(fds[i], "to the guest");
			guest_expects(i, "to the guest");
		}
		cr_assert_eq(vdev_stat(&w, "tx_bytes"), 45);
		cr_assert_eq(vdev_stat(&w, "rx_bytes"), 36);
		cr_assert_eq(vdev_stat(&w, "dropped_bytes"), 0);
		for (unsigned i = 0; i < PORTS; i++)
			close(fds[i]);
		if (combination + 1 < VDEV_COMBINATIONS)
			end();
	}
}

Test(console, client_that_comes_and_goes_is_told)
{
	int fd;

	begin(2);
	driver_up();
	fd = client_of(1); /* before the driver knows the port */
	vdev_settle(&w);
	expect_no_control();
	port_up(1, false);
	(void)expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	close(fd);
	(void)expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
	fd = client_of(1);
	(void)expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	close(fd);
}

Test(console, streams_without_clients_are_always_there)
{
	kinds[0] = kinds[1] = "none";
	kinds[2] = "pty";
	begin(2);
	driver_up();
	for (unsigned i = 0; i < PORTS; i++) {
		port_up(i, false);
		(void)expect_control(i, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	}
	for (unsigned i = 0; i < 100; i++)
		guest_writes(1, "into the void", 13);
}

Test(console, input_waits_until_the_port_is_open)
{
	int fd;

	begin(2);
	driver_up();
	port_up(1, false);
	fd = client_of(1);
	(void)expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	host_writes(fd, "early");
	guest_expects_nothing(1);
	expect_idle();
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	guest_expects(1, "early");
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	host_writes(fd, "later");
	guest_expects_nothing(1);
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	guest_expects(1, "later");
	close(fd);
}

Test(console, more_input_than_buffers_waits_for_them)
{
	static char text[20 * RX_SIZE + 1];
	int fd;

	begin(2);
	driver_up();
	port_up(1, true);
	fd = client_of(1);
	(void)expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		text[i] = (char)('a' + i % 23);
	host_writes(fd, text);
	expect_idle();
	guest_expects(1, text);
	close(fd);
}

Test(console, port_without_a_reader_holds_its_guest_up_and_loses_nothing)
{
	enum { PIECE = 10000, PIECES = 100 };
	static uint8_t bytes[PIECE * PIECES];
	struct driver_queue *dq;
	struct driver_used used;
	unsigned sent = 0, done = 0;
	int fd;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 11 >> 3);
	begin(2);
	driver_up();
	port_up(1, true);
	dq = &w.q[tx_of(1)].dq;
	memcpy(guest_ptr(&w.mem, tx_gpa, sizeof(bytes)), bytes, sizeof(bytes));
	fd = client_of(1);
	(void)expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	for (int quiet = 0; quiet < 3;) {
		unsigned before = done;
		struct driver_seg seg = {tx_gpa + sent * PIECE, PIECE};

		while (sent < PIECES && driver_add(dq, &seg, 1, 0, NULL) == 0)
			seg.gpa = tx_gpa + ++sent * PIECE;
		vdev_publish(&w, tx_of(1));
		vdev_settle(&w);
		while (driver_collect(dq, &used))
			done++;
		quiet = done == before ? quiet + 1 : 0;
	}
	cr_assert_lt(done, sent, "the stream has no end");
	expect_idle();
	/* The console goes on meanwhile. */
	port_up(0, true);
	guest_writes(0, "console\n", 8);
	host_expects(fd, bytes, sent * PIECE / 2);
	host_expects(fd, bytes + sent * PIECE / 2, sent * PIECE - sent * PIECE / 2);
	while (done < sent) {
		(void)vdev_await_used(&w, tx_of(1));
		done++;
	}
	cr_assert_eq(vdev_stat(&w, "dropped_bytes"), 0);
	close(fd);
}

Test(console, port_without_a_client_waits_for_one)
{
	struct driver_seg seg = {0, 5};
	int fd;

	begin(2);
	driver_up();
	port_up(1, true);
	seg.gpa = vdev_bytes(&w, "hello", 5);
	cr_assert_eq(driver_add(&w.q[tx_of(1)].dq, &seg, 1, 0, NULL), 0);
	vdev_publish(&w, tx_of(1));
	vdev_settle(&w);
	cr_assert_not(driver_has_used(&w.q[tx_of(1)].dq));
	fd = client_of(1);
	host_expects_text(fd, "hello");
	(void)vdev_await_used(&w, tx_of(1));
	close(fd);
}

Test(console, chain_larger_than_all_room_arrives_whole)
{
	static uint8_t bytes[1 << 20];
	struct driver_seg segs[4];
	int fd;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 11 >> 3);
	begin(2);
	driver_up();
	port_up(2, true);
	fd = client_of(2);
	memcpy(guest_ptr(&w.mem, tx_gpa, sizeof(bytes)), bytes, sizeof(bytes));
	for (unsigned i = 0; i < 4; i++)
		segs[i] = (struct driver_seg){tx_gpa + i * (256 << 10), 256 << 10};
	cr_assert_eq(driver_add(&w.q[tx_of(2)].dq, segs, 4, 0, NULL), 0);
	vdev_publish(&w, tx_of(2));
	vdev_settle(&w);
	expect_idle();
	host_expects(fd, bytes, sizeof(bytes));
	(void)vdev_await_used(&w, tx_of(2));
	close(fd);
}

/* ---- the console ---- */

Test(console, stalled_reader_of_the_console_holds_up_nobody)
{
	static uint8_t bytes[64 << 10];
	int fd;

	memset(bytes, 'x', sizeof(bytes));
	begin(2);
	driver_up();
	port_up(0, true);
	fd = client_of(0);
	(void)expect_control(0, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	for (int i = 0; i < 40; i++)
		guest_writes(0, bytes, sizeof(bytes));
	cr_assert_gt(vdev_stat(&w, "dropped_bytes"), 0);
	cr_assert_eq(vdev_stat(&w, "tx_bytes"), 40 * sizeof(bytes));
	expect_idle();
	close(fd);
}

static int piped_stdin(void)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	cr_assert_eq(dup2(fds[0], STDIN_FILENO), STDIN_FILENO);
	close(fds[0]);
	return fds[1];
}

Test(console, end_of_the_input_is_a_ctrl_d)
{
	int fd = piped_stdin();

	kinds[0] = "stdio";
	begin(2);
	host_writes(fd, "whole line\n");
	close(fd);
	driver_up();
	port_up(0, true);
	(void)expect_control(0, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	guest_expects(0, "whole line\n\x04");
	/* The next driver is told so again. */
	vdev_reset(&w);
	driver_up();
	port_up(0, true);
	guest_expects(0, "\x04");
}

Test(console, end_of_the_input_after_half_a_line_takes_two)
{
	int fd = piped_stdin();

	kinds[0] = "stdio";
	begin(2);
	host_writes(fd, "half");
	close(fd);
	driver_up();
	port_up(0, true);
	guest_expects(0, "half\x04\x04");
}

/* Verbs run on main, whose loop this is. */
struct resize {
	struct loop_work work;
	uint64_t cols, rows;
};

static void on_resize(struct loop_work *work)
{
	const struct resize *r = container_of(work, struct resize, work);
	const struct device_verb *verb = &w.dev->dev.ops->verbs[0];
	const struct device_value values[] = {{.given = true, .number = r->cols},
					      {.given = true, .number = r->rows}};

	cr_assert_str_eq(verb->name, "resize");
	cr_assert_eq(verb->run(&w.dev->dev, values, NULL), 0);
}

static void resize(uint64_t to_cols, uint64_t to_rows)
{
	struct resize r = {.work.run = on_resize, .cols = to_cols, .rows = to_rows};

	loop_post(w.loop, &r.work);
	vdev_settle(&w);
}

static void expect_size(unsigned to_cols, unsigned to_rows)
{
	const uint8_t *size = expect_control(0, VIRTIO_CONSOLE_RESIZE, 0, 4);

	cr_assert_eq(get_le16(size), to_cols);
	cr_assert_eq(get_le16(size + 2), to_rows);
}

Test(console, size_is_told_at_the_start_and_when_it_changes)
{
	cols = 80;
	rows = 25;
	begin(2);
	cr_assert_eq(vdev_config(&w, 0, 2), 80);
	cr_assert_eq(vdev_config(&w, 2, 2), 25);
	resize(90, 30); /* nobody is there to be told */
	cr_assert_eq(vdev_config_changes(&w), 0);
	driver_up();
	post(0, 1);
	control(0, VIRTIO_CONSOLE_PORT_READY, 1);
	(void)expect_control(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, 0);
	expect_size(90, 30);
	resize(132, 43);
	expect_size(132, 43);
	vdev_await_config(&w);
	cr_assert_eq(vdev_config(&w, 0, 2), 132);
	cr_assert_eq(vdev_config(&w, 2, 2), 43);
	port_up(1, true);
	expect_no_control();
}

Test(console, driver_of_a_single_port_needs_no_messages)
{
	int fd;

	begin(2);
	vdev_up(&w, 0);
	post(0, 4);
	post(Q_CONTROL_RX, 4);
	fd = client_of(0);
	host_writes(fd, "typed");
	guest_expects(0, "typed");
	guest_writes(0, "shown\n", 6);
	host_expects_text(fd, "shown\n");
	resize(100, 50);
	vdev_await_config(&w);
	expect_no_control();
	close(fd);
}

/* ---- odd drivers ---- */

Test(console, odd_control_messages_are_nothing)
{
	struct driver_seg seg = {0, 7};

	begin(2);
	driver_up();
	seg.gpa = vdev_bytes(&w, "\0\0\0\0\3\0\1", 7);
	(void)vdev_request(&w, Q_CONTROL_TX, &seg, 1, 0);
	control(PORTS, VIRTIO_CONSOLE_PORT_READY, 1);
	control(UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
	control(1, VIRTIO_CONSOLE_RESIZE, 1);
	control(1, 0xffff, 1);
	control(1, VIRTIO_CONSOLE_PORT_READY, 0);
	control(0, VIRTIO_CONSOLE_DEVICE_READY, 0);
	expect_no_control();
	/* Opened before it is ready: the driver's affair. */
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	expect_no_control();
	cr_assert_not(virtio_dev_status(w.dev) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

Test(console, control_messages_without_buffers_wait_and_are_not_repeated)
{
	begin(2);
	vdev_up(&w, MULTIPORT);
	for (int i = 0; i < 100; i++)
		control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	post(Q_CONTROL_RX, 8);
	for (unsigned i = 0; i < PORTS; i++)
		(void)expect_control(i, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
	expect_no_control();
}

static void await_broken(void)
{
	while (!(virtio_dev_status(w.dev) & VIRTIO_CONFIG_S_NEEDS_RESET))
		vdev_await_config(&w);
	vdev_reset(&w);
}

Test(console, buffers_without_room_break_the_device_until_a_reset)
{
	struct driver_seg seg = {4096, 7};
	int fd;

	begin(2);
	vdev_up(&w, MULTIPORT);
	cr_assert_eq(driver_add(&w.q[Q_CONTROL_RX].dq, &seg, 0, 1, NULL), 0);
	vdev_publish(&w, Q_CONTROL_RX);
	control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	await_broken();
	driver_up();
	control(1, VIRTIO_CONSOLE_PORT_READY, 1);
	(void)expect_control(1, VIRTIO_CONSOLE_PORT_NAME, 1, 7);
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	cr_assert_eq(driver_add(&w.q[rx_of(1)].dq, &seg, 1, 0, NULL), 0); /* nothing to write to */
	vdev_publish(&w, rx_of(1));
	fd = client_of(1);
	host_writes(fd, "x");
	await_broken();
	driver_up();
	port_up(1, true);
	(void)expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	guest_expects(1, "x");
	close(fd);
}

/* ---- pause and restore ---- */

Test(console, pause_keeps_what_waits)
{
	struct err err = {0};
	int fd;

	begin(2);
	driver_up();
	port_up(1, true);
	fd = client_of(1);
	(void)expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0, "%s", err.msg);
	host_writes(fd, "meanwhile");
	guest_expects_nothing(1);
	close(fd);
	expect_no_control();
	expect_idle();
	w.dev->dev.ops->resume(&w.dev->dev);
	guest_expects(1, "meanwhile");
	(void)expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
}

Test(console, restored_driver_goes_on_and_is_told_what_is_new)
{
	for (unsigned combination = 0; combination < 4; combination++) {
		int fd;

		cols = rows = 0;
		begin(combination);
		driver_up();
		port_up(0, true);
		port_up(1, true);
		port_up(2, false);
		fd = client_of(1);
		(void)expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
		cols = 100;
		rows = 40;
		vdev_replace(&w, make);
		close(fd);
		expect_size(100, 40);
		(void)expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
		cr_assert_eq(vdev_config(&w, 0, 2), 100);
		fd = client_of(1);
		(void)expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
		host_writes(fd, "it is still open");
		guest_expects(1, "it is still open");
		guest_writes(1, "and writes\n", 11);
		host_expects_text(fd, "and writes\n");
		close(fd);
		fd = client_of(2);
		host_writes(fd, "not open");
		guest_expects_nothing(2);
		close(fd);
		if (combination < 3)
			end();
	}
}

Test(console, state_that_cannot_be_is_refused)
{
	struct saved saved;
	struct err err = {0};

	begin(0);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0, "%s", err.msg);
	saved_take(&saved, &w.dev->dev);
	cr_assert_eq(saved_load(&saved, &w.dev->dev, &err), 0, "%s", err.msg);
	saved_check_lengths(&saved, &w.dev->dev);
	saved.payload[saved.len - 1] = 3; /* Ctrl-Ds of the last port */
	cr_assert_eq(saved_load(&saved, &w.dev->dev, &err), -EINVAL);
	saved.payload[saved.len - 1] = 0;
	saved.payload[saved.len - 3] = 0xff; /* what is to be told */
	cr_assert_eq(saved_load(&saved, &w.dev->dev, NULL), -EINVAL);
	saved.payload[saved.len - 3] = 0;
	saved.payload[saved.len - PORTS * 6 - 4] = PORTS + 1;
	cr_assert_lt(saved_load(&saved, &w.dev->dev, NULL), 0);
}
