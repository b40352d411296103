/* SPDX-License-Identifier: Apache-2.0 */
/* Resets by the driver: of the device, of one queue, and while nothing of the device runs. */
#include <criterion/criterion.h>
#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/virtio_vsock.h"
#include "tests/unit/devices/vsock_world.h"

enum { RST = VIRTIO_VSOCK_OP_RST, RW = VIRTIO_VSOCK_OP_RW };

static void set_up(void)
{
	vsock_begin(2);
}

TestSuite(vsock_reset, .init = set_up, .fini = vsock_end, .timeout = 60);

/* ---- while it runs ---- */

Test(vsock_reset, reset_by_the_driver_closes_all_connections)
{
	uint32_t host_port;
	int fd = host_open(52, &host_port), fd2 = host_connect();

	host_write(fd2, "CONN", 4);
	vdev_settle(&vsw);
	vdev_reset(&vsw);
	host_expect_end(fd);
	host_expect_end(fd2);
	close(fd);
	close(fd2);
	vsock_driver_up();
	guest_post(8);
	fd = host_open(52, &host_port);
	host_write(fd, "again", 5);
	(void)guest_expect(RW, 52, host_port);
	close(fd);
}

static void await_queue_reset(unsigned queue)
{
	struct virtio_queue_regs regs;

	virtio_dev_reset_queue(vsw.dev, queue);
	do {
		vdev_settle(&vsw);
		cr_assert(virtio_dev_queue_regs(vsw.dev, queue, &regs));
	} while (regs.enabled);
}

static void enable_again(unsigned queue)
{
	struct driver_queue *dq = &vsw.q[queue].dq;
	const uint64_t gpas[] = {dq->desc_gpa, dq->driver_gpa, dq->device_gpa};

	driver_reset(dq);
	virtio_dev_set_queue_size(vsw.dev, queue, vsw.setup.size);
	for (unsigned i = 0; i < 3; i++) {
		virtio_dev_set_queue_half(vsw.dev, queue, (enum virtio_queue_field)i, 0,
					  (uint32_t)gpas[i]);
		virtio_dev_set_queue_half(vsw.dev, queue, (enum virtio_queue_field)i, 32,
					  (uint32_t)(gpas[i] >> 32));
	}
	virtio_dev_enable_queue(vsw.dev, queue);
	atomic_store(&vsw.dev->queues[queue].call_fd, vsw.q[queue].call);
}

Test(vsock_reset, reset_of_one_queue_keeps_connections_and_what_the_other_was_given)
{
	struct vsock_packet p = {.src_cid = VSOCK_CID,
				 .dst_cid = 2,
				 .src_port = 52,
				 .type = 1,
				 .op = RW,
				 .len = 4,
				 .buf_alloc = 4096};
	struct driver_seg seg = {.len = VSOCK_HEADER_LEN + 4};
	uint8_t bytes[VSOCK_HEADER_LEN + 4];
	uint32_t host_port;
	int fd;

	vdev_reset(&vsw);
	vdev_up(&vsw, VIRTIO_BIT(0) | VIRTIO_BIT(40 /* RING_RESET */));
	guest_post(8);
	fd = host_open(52, &host_port);
	await_queue_reset(VSOCK_Q_RX);
	p.dst_port = host_port;
	vsock_packet_encode(&p, bytes);
	memcpy(bytes + VSOCK_HEADER_LEN, "kept", 4);
	seg.gpa = vdev_bytes(&vsw, bytes, seg.len);
	cr_assert_eq(driver_add(&vsw.q[VSOCK_Q_TX].dq, &seg, 1, 0, NULL), 0);
	vdev_publish(&vsw, VSOCK_Q_TX);
	host_write(fd, "also kept", 9);
	guest_expect_nothing();
	enable_again(VSOCK_Q_RX);
	host_expect(fd, "kept", 4);
	(void)vdev_await_used(&vsw, VSOCK_Q_TX);
	guest_post(8);
	cr_assert_eq(guest_expect(RW, 52, host_port).len, 9);
	close(fd);
}

/* ---- while no queue is live: the reset is done on the driver's thread ---- */

/* The loop, held up between two turns. */
struct barrier {
	struct loop_work work;
	sem_t there, go;
};

static void hold_up(struct loop_work *work)
{
	struct barrier *b = container_of(work, struct barrier, work);

	cr_assert_eq(sem_post(&b->there), 0);
	cr_assert_eq(sem_wait(&b->go), 0);
}

static void stop_loop(struct barrier *b)
{
	*b = (struct barrier){.work.run = hold_up};
	cr_assert_eq(sem_init(&b->there, 0, 0), 0);
	cr_assert_eq(sem_init(&b->go, 0, 0), 0);
	loop_post(vsw.loop, &b->work);
	cr_assert_eq(sem_wait(&b->there), 0);
}

static void let_loop_go(struct barrier *b)
{
	cr_assert_eq(sem_post(&b->go), 0);
}

static void let_queues_stop(void)
{
	virtio_dev_hold(vsw.dev, VIRTIO_HOLD_BUS, true);
	vdev_settle(&vsw);
}

static void reset_at_once(void)
{
	virtio_dev_write_status(vsw.dev, 0);
	cr_assert_eq(virtio_dev_status(vsw.dev), 0);
}

static void expect_open(int fd)
{
	char byte;

	cr_assert_eq(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	cr_assert_eq(errno, EAGAIN);
}

static void expect_to_work(void)
{
	uint32_t host_port;
	int fd = host_open(53, &host_port);

	host_write(fd, "again", 5);
	(void)guest_expect(RW, 53, host_port);
	close(fd);
}

Test(vsock_reset, connections_are_closed_by_the_loop_and_nobody_else)
{
	uint32_t host_port;
	int fd = host_open(52, &host_port), fd2 = host_connect();
	struct barrier b;

	host_write(fd2, "CONN", 4);
	vdev_settle(&vsw);
	let_queues_stop();
	stop_loop(&b);
	reset_at_once();
	expect_open(fd);
	expect_open(fd2);
	let_loop_go(&b);
	host_expect_end(fd);
	host_expect_end(fd2);
	close(fd);
	close(fd2);
	virtio_dev_hold(vsw.dev, VIRTIO_HOLD_BUS, false);
	vsock_driver_up();
	guest_post(8);
	expect_to_work();
}

Test(vsock_reset, next_driver_that_comes_at_once_gets_nothing_of_the_old_one)
{
	uint32_t host_port;
	int fd = host_open(52, &host_port);
	struct barrier b;

	let_queues_stop();
	host_write(fd, "for the old driver", 18);
	stop_loop(&b);
	reset_at_once();
	virtio_dev_hold(vsw.dev, VIRTIO_HOLD_BUS, false);
	vsock_driver_up();
	guest_post(8);
	let_loop_go(&b);
	host_expect_end(fd);
	close(fd);
	guest_expect_nothing();
	guest_send_data(52, host_port, "to whom", 7);
	(void)guest_expect(RST, 52, host_port);
	expect_to_work();
}

Test(vsock_reset, device_that_is_freed_meanwhile_closes_them_as_well)
{
	uint32_t host_port;
	int fd = host_open(52, &host_port);
	struct barrier b;

	let_queues_stop();
	stop_loop(&b);
	reset_at_once();
	loop_stop(vsw.loop); /* before it comes to the work */
	let_loop_go(&b);
	vdev_replace(&vsw, vsock_make);
	host_expect_end(fd);
	close(fd);
}
