/* SPDX-License-Identifier: Apache-2.0 */
/* Output of which a turn of the loop takes a part only, and what output costs. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/devices/data_path.h"
#include "tests/unit/devices/vcon_world.h"

enum { TURN = 64 << 10 }; /* bytes of a port's output in one turn of the loop */

TestSuite(console_out, .fini = vcon_end, .timeout = 60);

static uint8_t *fill_tx(uint32_t len)
{
	uint8_t *bytes = guest_ptr(&vcw.mem, vcon_tx_gpa, len);

	for (uint32_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(i * 11 >> 3);
	return bytes;
}

/* One chain; the device is not told. */
static void add_chain(unsigned port, uint32_t seg_len, unsigned n_segs)
{
	struct driver_seg segs[16];

	cr_assert_leq(n_segs, ARRAY_SIZE(segs));
	for (unsigned i = 0; i < n_segs; i++)
		segs[i] = (struct driver_seg){vcon_tx_gpa, seg_len};
	cr_assert_eq(driver_add(&vcw.q[vcon_tx_of(port)].dq, segs, n_segs, 0, NULL), 0);
	(void)driver_publish(&vcw.q[vcon_tx_of(port)].dq);
}

/* What main does within one turn. */
struct on_main {
	struct loop_work work;
	unsigned port;
	bool pause;
	uint64_t sent;
};

static void kick_twice(struct loop_work *work)
{
	struct on_main *m = container_of(work, struct on_main, work);
	struct virtio_queue *q = &vcw.dev->queues[vcon_tx_of(m->port)];
	struct err err = {0};

	vcw.dev->ops->queue_kick(q);
	vcw.dev->ops->queue_kick(q);
	if (m->pause)
		cr_assert_eq(vcw.dev->dev.ops->quiesce(&vcw.dev->dev, 10 * NS_PER_S, &err), 0, "%s",
			     err.msg);
	m->sent = vdev_stat(&vcw, "tx_bytes");
}

/* Bytes that were sent when the turn ended. */
static uint64_t turn_with_kicks(unsigned port, bool pause)
{
	struct on_main m = {.work.run = kick_twice, .port = port, .pause = pause};

	loop_post(vcw.loop, &m.work);
	vdev_settle(&vcw);
	return m.sent;
}

Test(console_out, giant_chain_is_done_in_as_many_turns_as_it_takes)
{
	vcon_kinds[0] = vcon_kinds[1] = "none";
	for (unsigned combination = 0; combination < 4; combination++) {
		uint64_t before = vcon_tapped.bytes, calls = vcon_tapped.calls;

		vcon_begin(combination);
		vcon_driver_up();
		for (unsigned port = 0; port < 2; port++) {
			uint64_t sent = vdev_stat(&vcw, "tx_bytes");

			vcon_port_up(port, true);
			(void)vcon_expect_control(port, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
			add_chain(port, 1 << 20, 16);
			cr_assert_eq(turn_with_kicks(port, false) - sent, TURN);
			(void)vdev_await_used(&vcw, vcon_tx_of(port));
			cr_assert_eq(vdev_stat(&vcw, "tx_bytes") - sent, 16 << 20);
		}
		cr_assert_eq(vcon_tapped.bytes - before, 16 << 20);
		cr_assert_eq(vcon_tapped.calls - calls, (16 << 20) / TURN);
		if (combination < 3)
			vcon_end();
	}
}

Test(console_out, small_chains_share_a_turn_and_are_not_cut)
{
	vcon_kinds[0] = "none";
	vcon_begin(2);
	vcon_driver_up();
	vcon_port_up(0, true);
	(void)vcon_expect_control(0, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	for (unsigned i = 0; i < 10; i++)
		add_chain(0, 10000, 1);
	cr_assert_eq(turn_with_kicks(0, true), 60000);
	for (unsigned i = 0; i < 6; i++)
		(void)vdev_await_used(&vcw, vcon_tx_of(0));
	vdev_settle(&vcw);
	cr_assert_not(driver_has_used(&vcw.q[vcon_tx_of(0)].dq));
	vcw.dev->dev.ops->resume(&vcw.dev->dev);
	for (unsigned i = 0; i < 4; i++)
		(void)vdev_await_used(&vcw, vcon_tx_of(0));
	cr_assert_eq(vdev_stat(&vcw, "tx_bytes"), 100000);
}

Test(console_out, pause_within_a_chain_and_all_of_it_arrives_once)
{
	for (unsigned combination = 0; combination < 4; combination++) {
		const uint8_t *bytes;
		int fd;

		vcon_begin(combination);
		vcon_driver_up();
		vcon_port_up(1, true);
		fd = vcon_client_of(1);
		(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
		bytes = fill_tx(1 << 20);
		add_chain(1, 1 << 20, 1);
		cr_assert_eq(turn_with_kicks(1, true), TURN);
		vcon_host_expects(fd, bytes, TURN);
		vcon_expect_idle();
		cr_assert_eq(vdev_stat(&vcw, "tx_bytes"), TURN);
		cr_assert_not(driver_has_used(&vcw.q[vcon_tx_of(1)].dq));
		vcw.dev->dev.ops->resume(&vcw.dev->dev);
		vcon_host_expects(fd, bytes + TURN, (1 << 20) - TURN);
		(void)vdev_await_used(&vcw, vcon_tx_of(1));
		cr_assert_eq(vdev_stat(&vcw, "tx_bytes"), 1 << 20);
		vcon_guest_writes(1, "after it\n", 9);
		vcon_host_expects_text(fd, "after it\n");
		close(fd);
		if (combination < 3)
			vcon_end();
	}
}

static void new_file(char path[32], char kind[48])
{
	int fd;

	strcpy(path, "/tmp/vcon.XXXXXX");
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	close(fd);
	(void)snprintf(kind, 48, "file=%s", path);
	vcon_kinds[1] = kind;
}

static void file_holds(const char *path, const uint8_t *bytes, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	vcon_host_expects(fd, bytes, len);
	cr_assert_eq(lseek(fd, 0, SEEK_END), (off_t)len);
	close(fd);
	cr_assert_eq(unlink(path), 0);
}

Test(console_out, chain_that_was_saved_half_done_goes_on_in_the_restored_machine)
{
	for (unsigned combination = 0; combination < 4; combination++) {
		char first[32], second[32], kind[48];

		new_file(first, kind);
		vcon_begin(combination);
		vcon_driver_up();
		vcon_port_up(1, true);
		(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
		(void)fill_tx(1 << 20);
		add_chain(1, 1 << 20, 1);
		cr_assert_eq(turn_with_kicks(1, true), TURN);
		new_file(second, kind);
		vdev_replace(&vcw, vcon_make);
		(void)vdev_await_used(&vcw, vcon_tx_of(1));
		cr_assert_eq(vdev_stat(&vcw, "tx_bytes"), (1 << 20) - TURN);
		vcw.dev->dev.ops->quiesce(&vcw.dev->dev, 10 * NS_PER_S, NULL);
		vdev_replace(&vcw, vcon_make);
		cr_assert_eq(vdev_stat(&vcw, "tx_bytes"), 0, "nothing twice");
		file_holds(first, guest_ptr(&vcw.mem, vcon_tx_gpa, TURN), TURN);
		if (combination < 3)
			vcon_end();
		cr_assert_eq(unlink(second), 0);
	}
}

/* Port 1 has a chain that its reader has taken the beginning of. */
static int half_a_chain(void)
{
	uint64_t sent;
	int fd;

	vcon_driver_up();
	vcon_port_up(1, true);
	fd = vcon_client_of(1);
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	add_chain(1, 1 << 20, 16);
	sent = turn_with_kicks(1, true);
	vcon_host_expects(fd, guest_ptr(&vcw.mem, vcon_tx_gpa, 1 << 20), sent);
	return fd;
}

Test(console_out, reset_within_a_chain_and_the_next_begins_at_its_beginning)
{
	int fd;

	vcon_begin(2);
	fd = half_a_chain();
	vdev_reset(&vcw);
	vcw.dev->dev.ops->resume(&vcw.dev->dev);
	vcon_driver_up();
	vcon_port_up(1, true);
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	vcon_guest_writes(1, "of the next driver\n", 19);
	vcon_host_expects_text(fd, "of the next driver\n");
	close(fd);
}

Test(console_out, reset_of_the_queue_alone_forgets_its_chain)
{
	int fd;

	vcon_begin(2);
	fd = half_a_chain();
	cr_assert_gt(vcw.dev->queues[vcon_tx_of(1)].begun, 0);
	virtio_dev_disable_queue(vcw.dev, vcon_tx_of(1));
	cr_assert_eq(vcw.dev->queues[vcon_tx_of(1)].begun, 0);
	close(fd);
}

Test(console_out, chain_that_is_further_than_its_end_is_done)
{
	struct saved saved;
	struct err err = {0};

	vcon_kinds[2] = "none";
	vcon_begin(0);
	vcon_driver_up();
	vcon_port_up(2, true);
	(void)vcon_expect_control(2, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	cr_assert_eq(vcw.dev->dev.ops->quiesce(&vcw.dev->dev, 10 * NS_PER_S, &err), 0, "%s",
		     err.msg);
	saved_take(&saved, &vcw.dev->dev);
	memset(&saved.payload[saved.len - 8], 0xff, 8);
	cr_assert_eq(saved_load(&saved, &vcw.dev->dev, &err), 0, "%s", err.msg);
	vcw.dev->dev.ops->resume(&vcw.dev->dev);
	vcon_guest_writes(2, "lost", 4);
	cr_assert_eq(vdev_stat(&vcw, "tx_bytes"), 0);
	vcon_guest_writes(2, "not lost", 8);
	cr_assert_eq(vdev_stat(&vcw, "tx_bytes"), 8);
}

/* ---- cost ---- */

/* A stream is written to from any thread, so that it has a lock: once for each thing asked of it.
 */
Test(console_out, nothing_is_allocated_and_nothing_but_the_stream_is_locked)
{
	enum { ROUNDS = 100, CONSOLE_LOCKS = 1, PORT_LOCKS = 3 };

	vcon_kinds[0] = vcon_kinds[1] = "none";
	vcon_begin(2);
	vcon_driver_up();
	for (unsigned port = 0; port < 2; port++) {
		vcon_port_up(port, true);
		(void)vcon_expect_control(port, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	}
	vdev_settle(&vcw);
	data_path_watch(&vcw);
	for (unsigned i = 0; i < ROUNDS; i++)
		vcon_guest_writes(0, "a line on the console\n", 22);
	cr_assert_eq(data_path_locks(), CONSOLE_LOCKS * ROUNDS);
	for (unsigned i = 0; i < ROUNDS; i++)
		vcon_guest_writes(1, "a line on the port\n", 19);
	cr_assert_eq(data_path_locks(), (CONSOLE_LOCKS + PORT_LOCKS) * ROUNDS);
	add_chain(0, 1 << 20, 16);
	(void)turn_with_kicks(0, false);
	(void)vdev_await_used(&vcw, vcon_tx_of(0));
	cr_assert_eq(data_path_locks(), (CONSOLE_LOCKS + PORT_LOCKS) * ROUNDS + (16 << 20) / TURN);
	data_path_look_away();
	cr_assert_eq(data_path_allocations(), 0);
}

Test(console_out, input_costs_no_allocation_and_no_lock)
{
	int fd;

	vcon_begin(2);
	vcon_driver_up();
	vcon_port_up(1, true);
	fd = vcon_client_of(1);
	(void)vcon_expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	vdev_settle(&vcw);
	data_path_watch(&vcw);
	for (unsigned i = 0; i < 100; i++) {
		vcon_host_writes(fd, "a line to the guest\n");
		vcon_guest_expects(1, "a line to the guest\n");
	}
	data_path_look_away();
	cr_assert_eq(data_path_allocations(), 0);
	cr_assert_eq(data_path_locks(), 0);
	close(fd);
}
