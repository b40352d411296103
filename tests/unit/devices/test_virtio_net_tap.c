/* SPDX-License-Identifier: Apache-2.0 */
/* The device on a real tap in a network namespace of the test's own. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/backend/tap_world.h"
#include "tests/unit/devices/vnet_world.h"

enum { FRAME = 200 };

static unsigned queues;

static struct net *open_tap(void)
{
	struct err err = {0};
	struct net *net = NULL;

	cr_assert_eq(net_tap_open("--net", "tap", queues, &net, &err), 0, "%s", err.msg);
	tap_set_up("tap", true);
	return net;
}

static void begin(unsigned n, uint64_t features)
{
	tap_world_enter();
	tap_make("tap", IFF_TAP | (n > 1 ? IFF_MULTI_QUEUE : 0));
	queues = n;
	vnet_begin(2,
		   &(struct vnet_options){.features = features, .make_net = open_tap, .size = 256});
	vdev_settle(&vnw);
}

TestSuite(virtio_net_tap, .fini = vnet_end, .timeout = 120);

static uint64_t post(unsigned queue)
{
	uint64_t gpa = guest_alloc(&vnw.mem, 2048, 8);

	cr_assert_eq(driver_add(&vnw.q[queue].dq, &(struct driver_seg){gpa, 2048}, 0, 1,
				guest_ptr(&vnw.mem, gpa, 2048)),
		     0);
	vdev_publish(&vnw, queue);
	return gpa;
}

/* Waits for a frame of the guest's queue; its mark. */
static uint8_t receive(unsigned queue)
{
	struct vdev_queue *q = &vnw.q[queue];
	struct pollfd p = {.fd = q->call, .events = POLLIN};
	struct driver_used used;
	uint64_t count;

	while (!driver_collect(&q->dq, &used))
		if (!driver_interrupts_on(&q->dq)) {
			cr_assert_eq(poll(&p, 1, 20000), 1, "no frame comes");
			cr_assert_eq(read(q->call, &count, sizeof(count)), sizeof(count));
		}
	memcpy(&vnet_header, used.cookie, VNET_HEADER);
	vnet_len = used.len - VNET_HEADER;
	return *((const uint8_t *)used.cookie + used.len - 1);
}

static void add_frame(unsigned queue, uint8_t mark)
{
	uint8_t frame[VNET_HEADER + FRAME] = {0};
	struct driver_seg seg = {.len = sizeof(frame)};

	tap_frame(frame + VNET_HEADER, FRAME, mark);
	seg.gpa = vdev_bytes(&vnw, frame, sizeof(frame));
	cr_assert_eq(driver_add(&vnw.q[queue].dq, &seg, 1, 0, NULL), 0);
}

static void guest_sends(unsigned queue, uint8_t mark)
{
	add_frame(queue, mark);
	vdev_publish(&vnw, queue);
	(void)vdev_await_used(&vnw, queue);
}

static void host_sends(int host, uint8_t mark)
{
	uint8_t frame[FRAME];

	tap_frame(frame, sizeof(frame), mark);
	cr_assert_eq(send(host, frame, sizeof(frame), 0), sizeof(frame), "%s", strerror(errno));
}

static uint8_t host_receives(int host)
{
	struct pollfd p = {.fd = host, .events = POLLIN};
	uint8_t frame[2048];

	cr_assert_eq(poll(&p, 1, 20000), 1, "the host gets no frame");
	cr_assert_eq(recv(host, frame, sizeof(frame), 0), FRAME);
	return frame[FRAME - 1];
}

Test(virtio_net_tap, frames_go_both_ways)
{
	int host;

	begin(1, NET(MRG_RXBUF));
	host = tap_host_side("tap");
	for (unsigned i = 0; i < 500; i++) {
		(void)post(VNET_RX);
		host_sends(host, (uint8_t)i);
		cr_assert_eq(receive(VNET_RX), (uint8_t)i);
		cr_assert_eq(vnet_len, FRAME);
		cr_assert_eq(vnet_header.num_buffers, 1);
		guest_sends(VNET_TX, (uint8_t)i);
		cr_assert_eq(host_receives(host), (uint8_t)i);
	}
	cr_assert_eq(vnet_stat("rx_dropped") + vnet_stat("tx_dropped"), 0);
}

/* A datagram by the host's own stack, which leaves the checksum to whoever can. */
static uint8_t flags_of_datagram(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;

	(void)post(VNET_RX);
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)), 0);
	cr_assert_eq(inet_pton(AF_INET, "10.9.8.255", &to.sin_addr), 1);
	cr_assert_eq(sendto(fd, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
	cr_assert_eq(receive(VNET_RX), 'o');
	close(fd);
	return vnet_header.flags;
}

Test(virtio_net_tap, checksums_are_left_to_a_guest_that_can)
{
	begin(1, NET(MRG_RXBUF));
	tap_set_address("tap", "10.9.8.1");
	cr_assert_eq(flags_of_datagram(), 0);
	vnet_again(NET(MRG_RXBUF) | NET(GUEST_CSUM) | NET(CSUM));
	vdev_settle(&vnw);
	cr_assert_eq(flags_of_datagram(), VIRTIO_NET_HDR_F_NEEDS_CSUM);
	vnet_again(NET(MRG_RXBUF));
	vdev_settle(&vnw);
	cr_assert_eq(flags_of_datagram(), 0);
}

Test(virtio_net_tap, guest_without_all_queues_gets_all_frames)
{
	const uint8_t two[] = {2, 0}, one[] = {1, 0};
	int host;

	begin(2, NET(MRG_RXBUF) | NET(MQ) | NET(CTRL_VQ));
	host = tap_host_side("tap");
	for (unsigned round = 0; round < 5; round++) {
		cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_MQ, 0, two, 2), VIRTIO_NET_OK);
		guest_sends(3, 1);
		cr_assert_eq(host_receives(host), 1);
		guest_sends(1, 2);
		cr_assert_eq(host_receives(host), 2);
		cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_MQ, 0, one, 2), VIRTIO_NET_OK);
		for (unsigned i = 0; i < 20; i++) {
			(void)post(VNET_RX);
			host_sends(host, (uint8_t)i);
			cr_assert_eq(receive(VNET_RX), i);
		}
		vnet_again(NET(MRG_RXBUF) | NET(MQ) | NET(CTRL_VQ));
	}
}

static atomic_bool stop_flood;

static void *flood(void *arg)
{
	uint8_t frame[FRAME];

	tap_frame(frame, sizeof(frame), 1);
	while (!atomic_load(&stop_flood))
		(void)!send(*(int *)arg, frame, sizeof(frame), 0);
	return NULL;
}

Test(virtio_net_tap, tap_that_is_deleted_under_load_takes_the_link_down_and_the_device_lives)
{
	struct driver_used used;
	pthread_t thread;
	int host;

	begin(1, NET(MRG_RXBUF) | NET(STATUS) | NET(CTRL_VQ));
	host = tap_host_side("tap");
	for (unsigned i = 0; i < 250; i++)
		(void)post(VNET_RX);
	cr_assert_eq(pthread_create(&thread, NULL, flood, &host), 0);
	for (unsigned i = 0; i < 250; i++)
		add_frame(VNET_TX, (uint8_t)i);
	cr_assert_geq(receive(VNET_RX), 0);
	vdev_publish(&vnw, VNET_TX);
	tap_delete("tap");
	atomic_store(&stop_flood, true);
	pthread_join(thread, NULL);
	while (vdev_config(&vnw, 6, 2) != 0)
		vdev_await_config(&vnw);
	for (unsigned i = 0; i < 250; i++)
		(void)vdev_await_used(&vnw, VNET_TX);
	while (driver_collect(&vnw.q[VNET_RX].dq, &used)) {
		(void)post(VNET_RX);
	}
	vnet_expect_idle();
	cr_assert_eq(vnet_stat("link_downs"), 1);
	vnet_again(NET(MRG_RXBUF) | NET(STATUS) | NET(CTRL_VQ));
	guest_sends(VNET_TX, 1);
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_RX, 0, "\1", 1), VIRTIO_NET_ERR);
	vnet_expect_idle();
	cr_assert_eq(vnet_stat("link_downs"), 1);
}

static uint64_t loop_cpu(void)
{
	clockid_t clock;

	cr_assert_eq(pthread_getcpuclockid(vnw.thread, &clock), 0);
	return clock_ns(clock);
}

Test(virtio_net_tap, slow_guest_under_a_flood_costs_next_to_nothing)
{
	const char *const slow[] = {NULL, NULL, "100", NULL};
	struct err err;
	pthread_t thread;
	uint64_t cpu;
	int host;

	begin(1, NET(MRG_RXBUF));
	host = tap_host_side("tap");
	for (unsigned i = 0; i < 250; i++)
		(void)post(VNET_RX);
	cr_assert_eq(vnet_verb("limit", slow, &err), 0);
	cr_assert_eq(pthread_create(&thread, NULL, flood, &host), 0);
	vnet_await_stat("rx_throttled", 1);
	cpu = loop_cpu();
	(void)usleep(500000);
	cpu = loop_cpu() - cpu;
	atomic_store(&stop_flood, true);
	pthread_join(thread, NULL);
	cr_assert_lt(cpu, 100 * NS_PER_MS, "%lu ms of 500", cpu / NS_PER_MS);
	cr_assert_lt(vnet_stat("rx_packets"), 100);
}
