/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "tests/unit/devices/vcon_world.h"

TestSuite(console, .fini = vcon_end, .timeout = 60);

/* ---- ports ---- */

Test(console, both_ways_in_all_kinds_of_queues)
{
	for (unsigned combination = 0; combination < VDEV_COMBINATIONS; combination++) {
		int fds[VCON_PORTS];

		vcon_begin(combination);
		cr_assert_eq(vdev_config(&vcw, 4, 4), VCON_PORTS);
		vcon_driver_up();
		for (unsigned i = 0; i < VCON_PORTS; i++) {
			vcon_port_up(i, true);
			fds[i] = vcon_client_of(i);
			(void)vcon_expect_control(i, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
		}
		for (unsigned i = 0; i < VCON_PORTS; i++) {
			vcon_guest_writes(i, "from the guest\n", 15);
			vcon_host_expects_text(fds[i], "from the guest\n");
			vcon_host_writes(fds[i], "to the guest");
			vcon_guest_expects(i, "to the guest");
		}
		cr_assert_eq(vdev_stat(&vcw, "tx_bytes"), 45);
		cr_assert_eq(vdev_stat(&vcw, "rx_bytes"), 36);
		cr_assert_eq(vdev_stat(&vcw, "dropped_bytes"), 0);
		for (unsigned i = 0; i < VCON_PORTS; i++)
			close(fds[i]);
		if (combination + 1 < VDEV_COMBINATIONS)
			vcon_end();
	}
}

Test(console, client_that_comes_and_goes_is_told)
{
	int fd;

	vcon_begin(2);
	vcon_driver_up();
	fd = vcon_client_of(1); /* before the driver knows the port */
	vdev_settle(&vcw);
	vcon_expect_no_control();
	vcon_port_up(1, false);
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	close(fd);
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
	fd = vcon_client_of(1);
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	close(fd);
}

Test(console, streams_without_clients_are_always_there)
{
	vcon_kinds[0] = vcon_kinds[1] = "none";
	vcon_kinds[2] = "pty";
	vcon_begin(2);
	vcon_driver_up();
	for (unsigned i = 0; i < VCON_PORTS; i++) {
		vcon_port_up(i, false);
		(void)vcon_expect_control(i, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	}
	for (unsigned i = 0; i < 100; i++)
		vcon_guest_writes(1, "into the void", 13);
}

Test(console, input_waits_until_the_port_is_open)
{
	int fd;

	vcon_begin(2);
	vcon_driver_up();
	vcon_port_up(1, false);
	fd = vcon_client_of(1);
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	vcon_host_writes(fd, "early");
	vcon_guest_expects_nothing(1);
	vcon_expect_idle();
	vcon_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	vcon_guest_expects(1, "early");
	vcon_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	vcon_host_writes(fd, "later");
	vcon_guest_expects_nothing(1);
	vcon_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	vcon_guest_expects(1, "later");
	close(fd);
}

Test(console, more_input_than_buffers_waits_for_them)
{
	static char text[20 * VCON_RX_SIZE + 1];
	int fd;

	vcon_begin(2);
	vcon_driver_up();
	vcon_port_up(1, true);
	fd = vcon_client_of(1);
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		text[i] = (char)('a' + i % 23);
	vcon_host_writes(fd, text);
	vcon_expect_idle();
	vcon_guest_expects(1, text);
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
	vcon_begin(2);
	vcon_driver_up();
	vcon_port_up(1, true);
	dq = &vcw.q[vcon_tx_of(1)].dq;
	memcpy(guest_ptr(&vcw.mem, vcon_tx_gpa, sizeof(bytes)), bytes, sizeof(bytes));
	fd = vcon_client_of(1);
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	for (int quiet = 0; quiet < 3;) {
		unsigned before = done;
		struct driver_seg seg = {vcon_tx_gpa + sent * PIECE, PIECE};

		while (sent < PIECES && driver_add(dq, &seg, 1, 0, NULL) == 0)
			seg.gpa = vcon_tx_gpa + ++sent * PIECE;
		vdev_publish(&vcw, vcon_tx_of(1));
		vdev_settle(&vcw);
		while (driver_collect(dq, &used))
			done++;
		quiet = done == before ? quiet + 1 : 0;
	}
	cr_assert_lt(done, sent, "the stream has no end");
	vcon_expect_idle();
	/* The console goes on meanwhile. */
	vcon_port_up(0, true);
	vcon_guest_writes(0, "console\n", 8);
	vcon_host_expects(fd, bytes, sent * PIECE / 2);
	vcon_host_expects(fd, bytes + sent * PIECE / 2, sent * PIECE - sent * PIECE / 2);
	while (done < sent) {
		(void)vdev_await_used(&vcw, vcon_tx_of(1));
		done++;
	}
	cr_assert_eq(vdev_stat(&vcw, "dropped_bytes"), 0);
	close(fd);
}

Test(console, port_without_a_client_waits_for_one)
{
	struct driver_seg seg = {0, 5};
	int fd;

	vcon_begin(2);
	vcon_driver_up();
	vcon_port_up(1, true);
	seg.gpa = vdev_bytes(&vcw, "hello", 5);
	cr_assert_eq(driver_add(&vcw.q[vcon_tx_of(1)].dq, &seg, 1, 0, NULL), 0);
	vdev_publish(&vcw, vcon_tx_of(1));
	vdev_settle(&vcw);
	cr_assert_not(driver_has_used(&vcw.q[vcon_tx_of(1)].dq));
	fd = vcon_client_of(1);
	vcon_host_expects_text(fd, "hello");
	(void)vdev_await_used(&vcw, vcon_tx_of(1));
	close(fd);
}

Test(console, chain_larger_than_all_room_arrives_whole)
{
	static uint8_t bytes[1 << 20];
	struct driver_seg segs[4];
	int fd;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 11 >> 3);
	vcon_begin(2);
	vcon_driver_up();
	vcon_port_up(2, true);
	fd = vcon_client_of(2);
	memcpy(guest_ptr(&vcw.mem, vcon_tx_gpa, sizeof(bytes)), bytes, sizeof(bytes));
	for (unsigned i = 0; i < 4; i++)
		segs[i] = (struct driver_seg){vcon_tx_gpa + i * (256 << 10), 256 << 10};
	cr_assert_eq(driver_add(&vcw.q[vcon_tx_of(2)].dq, segs, 4, 0, NULL), 0);
	vdev_publish(&vcw, vcon_tx_of(2));
	vdev_settle(&vcw);
	vcon_expect_idle();
	vcon_host_expects(fd, bytes, sizeof(bytes));
	(void)vdev_await_used(&vcw, vcon_tx_of(2));
	close(fd);
}

/* ---- the console ---- */

Test(console, stalled_reader_of_the_console_holds_up_nobody)
{
	static uint8_t bytes[64 << 10];
	int fd;

	memset(bytes, 'x', sizeof(bytes));
	vcon_begin(2);
	vcon_driver_up();
	vcon_port_up(0, true);
	fd = vcon_client_of(0);
	(void)vcon_expect_control(0, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	for (int i = 0; i < 40; i++)
		vcon_guest_writes(0, bytes, sizeof(bytes));
	cr_assert_gt(vdev_stat(&vcw, "dropped_bytes"), 0);
	cr_assert_eq(vdev_stat(&vcw, "tx_bytes"), 40 * sizeof(bytes));
	vcon_expect_idle();
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

	vcon_kinds[0] = "stdio";
	vcon_begin(2);
	vcon_host_writes(fd, "whole line\n");
	close(fd);
	vcon_driver_up();
	vcon_port_up(0, true);
	(void)vcon_expect_control(0, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	vcon_guest_expects(0, "whole line\n\x04");
	/* The next driver is told so again. */
	vdev_reset(&vcw);
	vcon_driver_up();
	vcon_port_up(0, true);
	vcon_guest_expects(0, "\x04");
}

Test(console, end_of_the_input_after_half_a_line_takes_two)
{
	int fd = piped_stdin();

	vcon_kinds[0] = "stdio";
	vcon_begin(2);
	vcon_host_writes(fd, "half");
	close(fd);
	vcon_driver_up();
	vcon_port_up(0, true);
	vcon_guest_expects(0, "half\x04\x04");
}

/* Verbs run on main, whose loop this is. */
struct resize {
	struct loop_work work;
	uint64_t cols, rows;
};

static void on_resize(struct loop_work *work)
{
	const struct resize *r = container_of(work, struct resize, work);
	const struct device_verb *verb = &vcw.dev->dev.ops->verbs[0];
	const struct device_value values[] = {{.given = true, .number = r->cols},
					      {.given = true, .number = r->rows}};

	cr_assert_str_eq(verb->name, "resize");
	cr_assert_eq(verb->run(&vcw.dev->dev, values, NULL), 0);
}

static void resize(uint64_t to_cols, uint64_t to_rows)
{
	struct resize r = {.work.run = on_resize, .cols = to_cols, .rows = to_rows};

	loop_post(vcw.loop, &r.work);
	vdev_settle(&vcw);
}

static void expect_size(unsigned to_cols, unsigned to_rows)
{
	const uint8_t *size = vcon_expect_control(0, VIRTIO_CONSOLE_RESIZE, 0, 4);

	cr_assert_eq(get_le16(size), to_cols);
	cr_assert_eq(get_le16(size + 2), to_rows);
}

Test(console, size_is_told_at_the_start_and_when_it_changes)
{
	vcon_cols = 80;
	vcon_rows = 25;
	vcon_begin(2);
	cr_assert_eq(vdev_config(&vcw, 0, 2), 80);
	cr_assert_eq(vdev_config(&vcw, 2, 2), 25);
	resize(90, 30); /* nobody is there to be told */
	cr_assert_eq(vdev_config_changes(&vcw), 0);
	vcon_driver_up();
	vcon_post(0, 1);
	vcon_control(0, VIRTIO_CONSOLE_PORT_READY, 1);
	(void)vcon_expect_control(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, 0);
	expect_size(90, 30);
	resize(132, 43);
	expect_size(132, 43);
	vdev_await_config(&vcw);
	cr_assert_eq(vdev_config(&vcw, 0, 2), 132);
	cr_assert_eq(vdev_config(&vcw, 2, 2), 43);
	vcon_port_up(1, true);
	vcon_expect_no_control();
}

Test(console, driver_of_a_single_port_needs_no_messages)
{
	int fd;

	vcon_begin(2);
	vdev_up(&vcw, 0);
	vcon_post(0, 4);
	vcon_post(VCON_CONTROL_RX, 4);
	fd = vcon_client_of(0);
	vcon_host_writes(fd, "typed");
	vcon_guest_expects(0, "typed");
	vcon_guest_writes(0, "shown\n", 6);
	vcon_host_expects_text(fd, "shown\n");
	resize(100, 50);
	vdev_await_config(&vcw);
	vcon_expect_no_control();
	close(fd);
}

/* ---- odd drivers ---- */

Test(console, odd_control_messages_are_nothing)
{
	struct driver_seg seg = {0, 7};

	vcon_begin(2);
	vcon_driver_up();
	seg.gpa = vdev_bytes(&vcw, "\0\0\0\0\3\0\1", 7);
	(void)vdev_request(&vcw, VCON_CONTROL_TX, &seg, 1, 0);
	vcon_control(VCON_PORTS, VIRTIO_CONSOLE_PORT_READY, 1);
	vcon_control(UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
	vcon_control(1, VIRTIO_CONSOLE_RESIZE, 1);
	vcon_control(1, 0xffff, 1);
	vcon_control(1, VIRTIO_CONSOLE_PORT_READY, 0);
	vcon_control(0, VIRTIO_CONSOLE_DEVICE_READY, 0);
	vcon_expect_no_control();
	/* Opened before it is ready: the driver's affair. */
	vcon_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	vcon_expect_no_control();
	cr_assert_not(virtio_dev_status(vcw.dev) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

Test(console, control_messages_without_buffers_wait_and_are_not_repeated)
{
	vcon_begin(2);
	vdev_up(&vcw, VCON_MULTIPORT);
	for (int i = 0; i < 100; i++)
		vcon_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	vcon_post(VCON_CONTROL_RX, 8);
	for (unsigned i = 0; i < VCON_PORTS; i++)
		(void)vcon_expect_control(i, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
	vcon_expect_no_control();
}

static void await_broken(void)
{
	while (!(virtio_dev_status(vcw.dev) & VIRTIO_CONFIG_S_NEEDS_RESET))
		vdev_await_config(&vcw);
	vdev_reset(&vcw);
}

Test(console, buffers_without_room_break_the_device_until_a_reset)
{
	struct driver_seg seg = {4096, 7};
	int fd;

	vcon_begin(2);
	vdev_up(&vcw, VCON_MULTIPORT);
	cr_assert_eq(driver_add(&vcw.q[VCON_CONTROL_RX].dq, &seg, 0, 1, NULL), 0);
	vdev_publish(&vcw, VCON_CONTROL_RX);
	vcon_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	await_broken();
	vcon_driver_up();
	vcon_control(1, VIRTIO_CONSOLE_PORT_READY, 1);
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_NAME, 1, 7);
	vcon_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	cr_assert_eq(driver_add(&vcw.q[vcon_rx_of(1)].dq, &seg, 1, 0, NULL),
		     0); /* nothing to write to */
	vdev_publish(&vcw, vcon_rx_of(1));
	fd = vcon_client_of(1);
	vcon_host_writes(fd, "x");
	await_broken();
	vcon_driver_up();
	vcon_port_up(1, true);
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	vcon_guest_expects(1, "x");
	close(fd);
}

/* ---- pause and restore ---- */

Test(console, pause_keeps_what_waits)
{
	struct err err = {0};
	int fd;

	vcon_begin(2);
	vcon_driver_up();
	vcon_port_up(1, true);
	fd = vcon_client_of(1);
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	cr_assert_eq(vcw.dev->dev.ops->quiesce(&vcw.dev->dev, 10 * NS_PER_S, &err), 0, "%s",
		     err.msg);
	vcon_host_writes(fd, "meanwhile");
	vcon_guest_expects_nothing(1);
	close(fd);
	vcon_expect_no_control();
	vcon_expect_idle();
	vcw.dev->dev.ops->resume(&vcw.dev->dev);
	vcon_guest_expects(1, "meanwhile");
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
}

Test(console, restored_driver_goes_on_and_is_told_what_is_new)
{
	for (unsigned combination = 0; combination < 4; combination++) {
		int fd;

		vcon_cols = vcon_rows = 0;
		vcon_begin(combination);
		vcon_driver_up();
		vcon_port_up(0, true);
		vcon_port_up(1, true);
		vcon_port_up(2, false);
		fd = vcon_client_of(1);
		(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
		vcon_cols = 100;
		vcon_rows = 40;
		vdev_replace(&vcw, vcon_make);
		close(fd);
		expect_size(100, 40);
		(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
		cr_assert_eq(vdev_config(&vcw, 0, 2), 100);
		fd = vcon_client_of(1);
		(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
		vcon_host_writes(fd, "it is still open");
		vcon_guest_expects(1, "it is still open");
		vcon_guest_writes(1, "and writes\n", 11);
		vcon_host_expects_text(fd, "and writes\n");
		close(fd);
		fd = vcon_client_of(2);
		vcon_host_writes(fd, "not open");
		vcon_guest_expects_nothing(2);
		close(fd);
		if (combination < 3)
			vcon_end();
	}
}

Test(console, state_that_cannot_be_is_refused)
{
	struct saved saved;
	struct err err = {0};

	vcon_begin(0);
	cr_assert_eq(vcw.dev->dev.ops->quiesce(&vcw.dev->dev, 10 * NS_PER_S, &err), 0, "%s",
		     err.msg);
	saved_take(&saved, &vcw.dev->dev);
	cr_assert_eq(saved_load(&saved, &vcw.dev->dev, &err), 0, "%s", err.msg);
	saved_check_lengths(&saved, &vcw.dev->dev);
	saved.payload[saved.len - 9] = 3; /* Ctrl-Ds of the last port */
	cr_assert_eq(saved_load(&saved, &vcw.dev->dev, &err), -EINVAL);
	saved.payload[saved.len - 9] = 0;
	saved.payload[saved.len - 11] = 0xff; /* what is to be told */
	cr_assert_eq(saved_load(&saved, &vcw.dev->dev, NULL), -EINVAL);
	saved.payload[saved.len - 11] = 0;
	saved.payload[saved.len - VCON_PORTS * 14 - 4] = VCON_PORTS + 1;
	cr_assert_lt(saved_load(&saved, &vcw.dev->dev, NULL), 0);
}
