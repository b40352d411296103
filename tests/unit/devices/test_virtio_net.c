/* SPDX-License-Identifier: Apache-2.0 */
/* Frames, both ways. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/devices/data_path.h"
#include "tests/unit/devices/vnet_world.h"

TestSuite(virtio_net, .fini = vnet_end, .timeout = 120);

#define OFFLOADS                                                                                   \
	(NET(CSUM) | NET(GUEST_CSUM) | NET(HOST_TSO4) | NET(HOST_TSO6) | NET(HOST_ECN) |           \
	 NET(GUEST_TSO4) | NET(GUEST_TSO6) | NET(GUEST_ECN))

static const struct vnet_options plain = {.features = NET(MAC)},
				 mergeable = {.features = NET(MRG_RXBUF) | NET(MAC)},
				 offloading = {.features = NET(MRG_RXBUF) | OFFLOADS};

/* ---- every kind of queue ---- */

static void both_ways(unsigned combination)
{
	for (unsigned round = 0; round < 8; round++) {
		vnet_post(VNET_RX, 8, 2048);
		for (unsigned i = 0; i < 8; i++) {
			vnet_send(VNET_TX, 60 + i, (uint8_t)(round + i));
			host_send(0, 61 + i, (uint8_t)(round + 2 * i));
		}
		for (unsigned i = 0; i < 8; i++) {
			cr_assert_eq(host_receive(0), (uint8_t)(round + i), "%u", combination);
			cr_assert_eq(vnet_receive(VNET_RX), (uint8_t)(round + 2 * i));
			cr_assert_eq(vnet_len, 61 + i);
			cr_assert_eq(vnet_header.num_buffers, 1);
		}
		vnet_sent(VNET_TX, 8);
	}
	vdev_settle(&vnw);
	cr_assert_eq(vnet_stat("rx_packets"), 64);
	cr_assert_eq(vnet_stat("tx_packets"), 64);
	cr_assert_eq(vnet_stat("tx_bytes"), 8 * (60 * 8 + 28));
	cr_assert_eq(vnet_stat("rx_bytes"), 8 * (61 * 8 + 28));
	cr_assert_eq(vnet_stat("rx_dropped") + vnet_stat("tx_dropped"), 0);
}

Test(virtio_net, frames_go_both_ways_in_every_kind_of_queue)
{
	for (unsigned i = 0; i < VDEV_COMBINATIONS; i++) {
		vnet_begin(i, &mergeable);
		both_ways(i);
		vnet_again(plain.features);
		vnet_post(VNET_RX, 1, 2048);
		host_send(0, 1500, 3);
		cr_assert_eq(vnet_receive(VNET_RX), 3);
		if (i + 1 < VDEV_COMBINATIONS)
			vnet_end();
	}
}

/* ---- receiving: buffers ---- */

Test(virtio_net, large_frame_takes_as_many_buffers_as_it_needs)
{
	const struct vnet_options large = {.features = NET(MRG_RXBUF), .size = 256};

	for (unsigned i = 0; i < 2; i++) {
		vnet_begin(i, &large);
		vnet_post(VNET_RX, 200, 1536);
		host_send(0, 60000, 1);
		cr_assert_eq(vnet_receive(VNET_RX), 1);
		cr_assert_eq(vnet_header.num_buffers, (60000 + 12 + 1535) / 1536);
		cr_assert_eq(vnet_stat("rx_copied"), 1, "the first one is a surprise");
		host_send(0, 65000, 2);
		cr_assert_eq(vnet_receive(VNET_RX), 2);
		host_send(0, 60, 3);
		cr_assert_eq(vnet_receive(VNET_RX), 3);
		cr_assert_eq(vnet_header.num_buffers, 1);
		cr_assert_eq(vnet_stat("rx_copied"), 1, "the others go straight into the buffers");
		if (i == 0)
			vnet_end();
	}
}

/* Each size around the borders of buffers, with and without what is expected. */
Test(virtio_net, frame_that_ends_at_a_buffers_end_takes_no_more)
{
	vnet_begin(0, &mergeable);
	for (unsigned len = 3 * 500 - 12 - 2; len <= 3 * 500 - 12 + 2; len++) {
		vnet_post(VNET_RX, 8, 500);
		host_send(0, len, (uint8_t)len);
		cr_assert_eq(vnet_receive(VNET_RX), (uint8_t)len);
		cr_assert_eq(vnet_header.num_buffers, len > 3 * 500 - 12 ? 4 : 3, "%u", len);
		vnet_again(mergeable.features);
	}
}

Test(virtio_net, header_and_frame_may_lie_in_any_segments)
{
	static const uint32_t odd[] = {1, 10, 3, 1, 100, 1, 2000}, head[] = {12, 2000},
			      both[] = {11, 1, 2000};

	for (unsigned mrg = 0; mrg < 2; mrg++) {
		vnet_begin(mrg, mrg ? &mergeable : &plain);
		vnet_post_segs(VNET_RX, odd, 7);
		vnet_post_segs(VNET_RX, head, 2);
		vnet_post_segs(VNET_RX, both, 3);
		for (unsigned i = 0; i < 3; i++) {
			host_send(0, 1000 + i, (uint8_t)i);
			cr_assert_eq(vnet_receive(VNET_RX), i);
			cr_assert_eq(vnet_header.num_buffers, 1);
		}
		if (!mrg)
			vnet_end();
	}
}

Test(virtio_net, frame_too_large_for_its_one_buffer_is_dropped_and_the_buffer_kept)
{
	vnet_begin(0, &plain);
	vnet_post(VNET_RX, 1, 1526);
	host_send(0, 1515, 1);
	vnet_await_stat("rx_dropped", 1);
	host_send(0, 60000, 2);
	vnet_await_stat("rx_dropped", 2);
	host_send(0, 1514, 3);
	cr_assert_eq(vnet_receive(VNET_RX), 3);
	cr_assert_eq(vnet_len, 1514);
	cr_assert_eq(vnet_stat("rx_packets"), 1);
}

Test(virtio_net, without_buffers_the_host_waits_and_nothing_spins)
{
	vnet_begin(2, &mergeable);
	vnet_post(VNET_RX, 2, 2048);
	for (unsigned i = 0; i < 6; i++)
		host_send(0, 1800, (uint8_t)i);
	cr_assert_eq(vnet_receive(VNET_RX), 0);
	cr_assert_eq(vnet_receive(VNET_RX), 1);
	vnet_expect_idle();
	cr_assert_not(vnet_has_frame(VNET_RX));
	cr_assert_geq(vnet_stat("rx_starved"), 1);
	cr_assert_eq(vnet_stat("rx_dropped"), 0);
	vnet_post(VNET_RX, 4, 2048);
	for (unsigned i = 2; i < 6; i++)
		cr_assert_eq(vnet_receive(VNET_RX), i);
}

Test(virtio_net, frame_waits_until_the_guest_has_made_enough_buffers)
{
	const struct vnet_options large = {.features = NET(MRG_RXBUF), .size = 256};

	vnet_begin(3, &large);
	vnet_post(VNET_RX, 4, 1536);
	host_send(0, 60000, 7);
	vnet_await_stat("rx_starved", 1);
	cr_assert_not(vnet_has_frame(VNET_RX));
	vnet_post(VNET_RX, 60, 1536);
	cr_assert_eq(vnet_receive(VNET_RX), 7);
	cr_assert_eq(vnet_stat("rx_dropped"), 0);
	host_send(0, 60, 8);
	cr_assert_eq(vnet_receive(VNET_RX), 8);
}

Test(virtio_net, frame_that_all_buffers_together_can_not_hold_is_dropped_at_once)
{
	uint64_t start = clock_now_ns();

	vnet_begin(0, &mergeable);
	vnet_post(VNET_RX, VDEV_QUEUE_SIZE, 1536);
	for (unsigned i = 0; i < 20; i++)
		host_send(0, 60000, 1);
	vnet_await_stat("rx_dropped", 20);
	cr_assert_lt(clock_now_ns() - start, NS_PER_S, "nothing is waited for");
	host_send(0, 40000, 2);
	cr_assert_eq(vnet_receive(VNET_RX), 2);
}

Test(virtio_net, frame_for_which_no_buffers_come_is_dropped_after_a_while)
{
	vnet_begin(0, &mergeable);
	vnet_post(VNET_RX, 2, 1536);
	host_send(0, 20000, 1);
	host_send(0, 60, 2);
	cr_assert_eq(vnet_receive(VNET_RX), 2, "it does not block all that follow");
	vnet_await_stat("rx_dropped", 1);
}

/* More than the row has places, and it is never empty. */
Test(virtio_net, row_of_buffers_is_used_again_and_again)
{
	static const uint32_t segs[] = {12, 200, 300};

	for (unsigned combination = 0; combination < 2; combination++) {
		vnet_begin(combination,
			   &(struct vnet_options){.features = NET(MRG_RXBUF), .size = 128});
		for (unsigned i = 0; i < 30; i++)
			vnet_post_segs(VNET_RX, segs, 3);
		for (unsigned i = 0; i < 3000; i++) {
			host_send(0, 16 + i % 1100, (uint8_t)i);
			cr_assert_eq(vnet_receive(VNET_RX), (uint8_t)i);
			for (unsigned k = vnet_header.num_buffers; k > 0; k--)
				vnet_post_segs(VNET_RX, segs, 3);
		}
		if (combination == 0)
			vnet_end();
	}
}

Test(virtio_net, empty_frame_of_the_host_is_dropped)
{
	const uint8_t header[VNET_HEADER] = {0};

	vnet_begin(0, &mergeable);
	vnet_post(VNET_RX, 1, 2048);
	cr_assert_eq(write(fake->host[0], header, sizeof(header)), sizeof(header));
	cr_assert_eq(write(fake->host[0], header, 5), 5);
	host_send(0, 60, 1);
	cr_assert_eq(vnet_receive(VNET_RX), 1);
	cr_assert_eq(vnet_stat("rx_dropped"), 2);
}

/* ---- headers ---- */

Test(virtio_net, checksum_flags_reach_only_a_guest_that_knows_them)
{
	const struct virtio_net_hdr_v1 header = {.flags = VIRTIO_NET_HDR_F_DATA_VALID,
						 .csum_start = 34};

	vnet_begin(0, &offloading);
	vnet_post(VNET_RX, 1, 2048);
	host_send_header(0, &header, 60, 1);
	cr_assert_eq(vnet_receive(VNET_RX), 1);
	cr_assert_eq(vnet_header.flags, VIRTIO_NET_HDR_F_DATA_VALID);
	cr_assert_eq(vnet_header.csum_start, 34);
	vnet_again(mergeable.features);
	vnet_post(VNET_RX, 1, 2048);
	host_send_header(0, &header, 60, 2);
	cr_assert_eq(vnet_receive(VNET_RX), 2);
	cr_assert_eq(vnet_header.flags, 0);
}

Test(virtio_net, header_of_the_guest_reaches_the_host_without_what_is_not_negotiated)
{
	const struct virtio_net_hdr_v1 header = {.flags = 0xff,
						 .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 |
							     VIRTIO_NET_HDR_GSO_ECN,
						 .gso_size = 1448,
						 .hdr_len = 54,
						 .csum_start = 34,
						 .csum_offset = 16,
						 .num_buffers = 77};

	vnet_begin(0, &offloading);
	vnet_send_header(VNET_TX, &header, 9000, 1);
	cr_assert_eq(host_receive(0), 1);
	cr_assert_eq(vnet_header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	cr_assert_eq(vnet_header.gso_type, header.gso_type);
	cr_assert_eq(vnet_header.gso_size, 1448);
	cr_assert_eq(vnet_header.csum_start, 34);
	cr_assert_eq(vnet_header.num_buffers, 0);

	vnet_again(NET(CSUM));
	vnet_send_header(VNET_TX, &header, 9000, 1);
	vnet_sent(VNET_TX, 1);
	cr_assert_not(host_has_frame(0));
	cr_assert_eq(vnet_stat("bad_headers"), 1);
	vdev_settle(&vnw);
	cr_assert_eq(vnet_stat("tx_dropped"), 1);

	vnet_again(plain.features);
	vnet_send_header(VNET_TX, &(struct virtio_net_hdr_v1){.flags = 1, .csum_start = 1}, 60, 2);
	cr_assert_eq(host_receive(0), 2);
	cr_assert_eq(vnet_header.flags, 0);
}

Test(virtio_net, segmentation_that_nobody_knows_is_refused)
{
	static const uint8_t types[] = {2,    VIRTIO_NET_HDR_GSO_UDP, 5, 0x40,
					0x7f, VIRTIO_NET_HDR_GSO_ECN};

	vnet_begin(0, &offloading);
	for (unsigned i = 0; i < sizeof(types); i++)
		vnet_send_header(VNET_TX, &(struct virtio_net_hdr_v1){.gso_type = types[i]}, 60, 1);
	vnet_sent(VNET_TX, sizeof(types));
	vnet_await_stat("bad_headers", sizeof(types));
	cr_assert_not(host_has_frame(0));
}

/* ---- sending ---- */

static void send_segs(const uint32_t *lens, unsigned n, uint8_t mark)
{
	uint8_t bytes[NET_FRAME_MAX + VNET_HEADER] = {0};
	struct driver_seg segs[32];
	size_t total = 0, at = 0;

	for (unsigned i = 0; i < n; i++)
		total += lens[i];
	vnet_frame(bytes + VNET_HEADER, total - VNET_HEADER, mark);
	for (unsigned i = 0; i < n; at += lens[i++])
		segs[i] = (struct driver_seg){.gpa = vdev_bytes(&vnw, bytes + at, lens[i]),
					      .len = lens[i]};
	cr_assert_eq(driver_add(&vnw.q[VNET_TX].dq, segs, n, 0, NULL), 0);
	vdev_publish(&vnw, VNET_TX);
}

Test(virtio_net, frame_of_the_guest_may_lie_in_any_segments)
{
	static const uint32_t one[] = {112}, odd[] = {1, 10, 3, 1, 100, 1, 2000},
			      head[] = {12, 100}, less[] = {11, 101}, more[] = {13, 99};

	vnet_begin(0, &mergeable);
	send_segs(one, 1, 1);
	send_segs(odd, 7, 2);
	send_segs(head, 2, 3);
	send_segs(less, 2, 4);
	send_segs(more, 2, 5);
	for (unsigned i = 1; i <= 5; i++)
		cr_assert_eq(host_receive(0), i);
}

Test(virtio_net, frame_that_is_empty_or_too_long_is_dropped)
{
	static const uint32_t too_long[] = {12, NET_FRAME_MAX + 1}, longest[] = {12, NET_FRAME_MAX};
	static const struct virtio_net_hdr_v1 none;
	struct driver_seg seg = {.len = VNET_HEADER};

	vnet_begin(0, &mergeable);
	seg.gpa = vdev_bytes(&vnw, &none, VNET_HEADER);
	cr_assert_eq(driver_add(&vnw.q[VNET_TX].dq, &seg, 1, 0, NULL), 0);
	vdev_publish(&vnw, VNET_TX);
	vnet_sent(VNET_TX, 1);
	{
		struct driver_seg segs[2];

		for (unsigned i = 0; i < 2; i++)
			segs[i] = (struct driver_seg){.gpa = guest_alloc(&vnw.mem, too_long[i], 1),
						      .len = too_long[i]};
		cr_assert_eq(driver_add(&vnw.q[VNET_TX].dq, segs, 2, 0, NULL), 0);
		vdev_publish(&vnw, VNET_TX);
	}
	vnet_sent(VNET_TX, 1);
	vnet_await_stat("tx_dropped", 2);
	send_segs(longest, 2, 9);
	cr_assert_eq(host_receive(0), 9);
}

Test(virtio_net, host_that_does_not_take_frames_is_waited_for)
{
	const unsigned n = 300;
	unsigned posted = 0, got = 0;

	for (unsigned combination = 0; combination < 4; combination++) {
		const struct vnet_options large = {.features = NET(MRG_RXBUF), .size = 512};

		vnet_begin(combination, &large);
		for (posted = 0; posted < 100; posted++)
			vnet_send(VNET_TX, 10000 + posted, (uint8_t)posted);
		vnet_await_stat("tx_waits", 1);
		vnet_expect_idle();
		for (got = 0; got < n; got++) {
			cr_assert_eq(host_receive(0), (uint8_t)got);
			cr_assert_eq(vnet_len, 10000 + got);
			for (unsigned k = 0; k <= got % 2 && posted < n; k++, posted++)
				vnet_send(VNET_TX, 10000 + posted, (uint8_t)posted);
		}
		vnet_sent(VNET_TX, n);
		vdev_settle(&vnw);
		cr_assert_eq(vnet_stat("tx_packets"), n);
		cr_assert_eq(vnet_stat("tx_dropped"), 0);
		if (combination < 3)
			vnet_end();
	}
}

Test(virtio_net, frame_that_the_host_refuses_is_counted)
{
	vnet_begin(0, &mergeable);
	atomic_store(&fake->send_error, -EIO);
	vnet_send(VNET_TX, 60, 1);
	vnet_sent(VNET_TX, 1);
	vnet_await_stat("tx_dropped", 1);
	atomic_store(&fake->send_error, 0);
	vnet_send(VNET_TX, 60, 2);
	cr_assert_eq(host_receive(0), 2);
}

/* ---- turns ---- */

Test(virtio_net, one_queue_does_not_keep_the_other_waiting)
{
	const struct vnet_options large = {.features = NET(MRG_RXBUF), .size = 1024};
	uint64_t before;

	vnet_begin(1, &large);
	driver_interrupts_off(&vnw.q[VNET_TX].dq);
	before = atomic_load(&vnw.dev->queues[VNET_TX].interrupts);
	for (unsigned i = 0; i < 200; i++) {
		vnet_send(VNET_TX, 60, (uint8_t)i);
		cr_assert_eq(host_receive(0), (uint8_t)i);
	}
	cr_assert_leq(atomic_load(&vnw.dev->queues[VNET_TX].interrupts), before + 1);
}

/* All that one turn did is one interrupt. The device can't look at the queue before the posted work
 * that blocks its thread is over. */
static int gate[2];

static void wait_at_gate(struct loop_work *work)
{
	char c;

	(void)work;
	cr_assert_eq(read(gate[0], &c, 1), 1);
}

Test(virtio_net, batch_of_frames_is_one_interrupt)
{
	struct loop_work block = {.run = wait_at_gate};

	vnet_begin(0, &mergeable);
	vnet_post(VNET_RX, 20, 2048);
	cr_assert_eq(pipe(gate), 0);
	vdev_settle(&vnw);
	loop_post(vnw.loop, &block);
	for (unsigned i = 0; i < 20; i++)
		host_send(0, 60, (uint8_t)i);
	cr_assert_eq(write(gate[1], "", 1), 1);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(vnet_receive(VNET_RX), i);
	cr_assert_eq(atomic_load(&vnw.dev->queues[VNET_RX].interrupts), 1);
	close(gate[0]);
	close(gate[1]);
}

Test(virtio_net, large_frame_at_the_end_of_a_turn_is_not_forgotten)
{
	struct loop_work block = {.run = wait_at_gate};

	for (unsigned before = 62; before <= 64; before++) {
		vnet_begin(0, &(struct vnet_options){.features = NET(MRG_RXBUF), .size = 256});
		vnet_post(VNET_RX, 120, 1536);
		cr_assert_eq(pipe(gate), 0);
		vdev_settle(&vnw);
		loop_post(vnw.loop, &block);
		for (unsigned i = 0; i < before; i++)
			host_send(0, 60, (uint8_t)i);
		host_send(0, 50000, 99);
		cr_assert_eq(write(gate[1], "", 1), 1);
		for (unsigned i = 0; i < before; i++)
			cr_assert_eq(vnet_receive(VNET_RX), i);
		cr_assert_eq(vnet_receive(VNET_RX), 99);
		close(gate[0]);
		close(gate[1]);
		if (before < 64)
			vnet_end();
	}
}

Test(virtio_net, more_than_a_turn_allows_goes_on_in_the_next)
{
	const struct vnet_options large = {.features = NET(MRG_RXBUF), .size = 1024};

	for (unsigned combination = 0; combination < 4; combination++) {
		vnet_begin(combination, &large);
		vnet_post(VNET_RX, 500, 2048);
		for (unsigned i = 0; i < 400; i++) {
			host_send(0, 60, (uint8_t)i);
			vnet_send(VNET_TX, 60, (uint8_t)i);
			if (i % 100 == 99)
				for (unsigned k = i - 99; k <= i; k++)
					cr_assert_eq(host_receive(0), (uint8_t)k);
		}
		for (unsigned i = 0; i < 400; i++)
			cr_assert_eq(vnet_receive(VNET_RX), (uint8_t)i);
		vnet_sent(VNET_TX, 400);
		if (combination < 3)
			vnet_end();
	}
}

Test(virtio_net, nothing_is_allocated_or_locked_on_the_way)
{
	const struct vnet_options large = {.features = NET(MRG_RXBUF), .size = 256};

	vnet_begin(2, &large);
	vnet_post(VNET_RX, 200, 1536);
	host_send(0, 60, 0);
	cr_assert_eq(vnet_receive(VNET_RX), 0);
	vdev_settle(&vnw);
	data_path_watch(&vnw);
	for (unsigned i = 0; i < 20; i++) {
		host_send(0, 3000 * (i % 2) + 60, (uint8_t)i);
		vnet_send(VNET_TX, 60 + 3000 * (i % 3), (uint8_t)i);
		cr_assert_eq(vnet_receive(VNET_RX), i);
		cr_assert_eq(host_receive(0), i);
	}
	for (unsigned i = 0; i < 100; i++)
		vnet_send(VNET_TX, 10000, (uint8_t)i); /* and waits for the host */
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(host_receive(0), i);
	vdev_settle(&vnw);
	data_path_look_away();
	cr_assert_eq(data_path_allocations(), 0);
	cr_assert_eq(data_path_locks(), 0);
}

/* ---- rate limits ---- */

Test(virtio_net, rate_limit_holds_both_ways_and_can_be_lifted)
{
	const struct vnet_options slow = {.features = NET(MRG_RXBUF), .pps = 20, .size = 128};
	const char *const none[] = {NULL, NULL, "0", "0"};
	struct err err;

	vnet_begin(0, &slow);
	vnet_post(VNET_RX, 30, 2048);
	for (unsigned i = 0; i < 30; i++) {
		vnet_send(VNET_TX, 60, (uint8_t)i);
		host_send(0, 60, (uint8_t)i);
	}
	vnet_await_stat("rx_throttled", 1);
	vnet_await_stat("tx_throttled", 1);
	vdev_settle(&vnw);
	cr_assert_lt(vnet_stat("rx_packets"), 15);
	cr_assert_lt(vnet_stat("tx_packets"), 15);
	vnet_expect_idle();
	cr_assert_eq(vnet_verb("limit", none, &err), 0, "%s", err.msg);
	for (unsigned i = 0; i < 30; i++) {
		cr_assert_eq(vnet_receive(VNET_RX), i);
		cr_assert_eq(host_receive(0), i);
	}
	cr_assert_eq(vnet_stat("rx_dropped") + vnet_stat("tx_dropped"), 0);
}

Test(virtio_net, rate_of_bytes_is_kept)
{
	const struct vnet_options slow = {.features = NET(MRG_RXBUF), .bw = 1000000};
	uint64_t start = clock_now_ns();

	/* A tenth of a second's worth at once; twice as much again takes 0.2 s. */
	vnet_begin(0, &slow);
	for (unsigned i = 0; i < 30; i++) {
		vnet_send(VNET_TX, 10000, (uint8_t)i);
		cr_assert_eq(host_receive(0), i);
	}
	cr_assert_geq(clock_now_ns() - start, 180 * NS_PER_MS);
	cr_assert_eq(vnet_stat("rx_throttled"), 0);
}

Test(virtio_net, limit_is_set_for_what_is_named)
{
	const char *const wrong[] = {"5M", "fast", NULL, NULL}, *const nothing[4] = {NULL},
			  *const one[] = {NULL, NULL, NULL, "1"};
	struct err err;

	vnet_begin(0, &mergeable);
	cr_assert_eq(vnet_verb("limit", wrong, &err), -EINVAL);
	cr_assert_not_null(strstr(err.msg, "tx_bw: 'fast' is not a rate"), "%s", err.msg);
	cr_assert_eq(vnet_verb("limit", nothing, &err), -EINVAL);
	cr_assert_eq(vnet_verb("limit", one, &err), 0);
	vnet_post(VNET_RX, 8, 2048);
	for (unsigned i = 0; i < 4; i++) {
		host_send(0, 60, (uint8_t)i);
		vnet_send(VNET_TX, 60, (uint8_t)i);
		cr_assert_eq(vnet_receive(VNET_RX), i);
	}
	vnet_await_stat("tx_throttled", 1);
	cr_assert_eq(vnet_stat("rx_throttled"), 0);
}

/* ---- what no good driver does ---- */

static void expect_broken(unsigned queue, const struct driver_desc *descs, unsigned n)
{
	vdev_break(&vnw, queue, descs, n);
	vnet_expect_idle();
	host_send(0, 60, 1);
	vnet_again(mergeable.features);
	vnet_post(VNET_RX, 1, 2048);
	cr_assert_eq(vnet_receive(VNET_RX), 1, "a reset repairs it");
	vnet_send(VNET_TX, 60, 2);
	cr_assert_eq(host_receive(0), 2);
}

Test(virtio_net, malformed_chains_need_a_reset_and_do_no_harm)
{
	const uint16_t next = 1 /* NEXT */, write = 2 /* WRITE */;
	uint64_t page;

	vnet_begin(0, &mergeable);
	page = guest_alloc(&vnw.mem, 4096, 4096);
	expect_broken(VNET_TX, &(struct driver_desc){.addr = page, .len = 11}, 1);
	expect_broken(VNET_TX, &(struct driver_desc){.addr = page, .len = 100, .flags = write}, 1);
	expect_broken(VNET_TX, &(struct driver_desc){.addr = GUEST_LOW_END, .len = 100}, 1);
	expect_broken(VNET_RX, &(struct driver_desc){.addr = page, .len = 100}, 1);
	expect_broken(VNET_RX, &(struct driver_desc){.addr = page, .len = 11, .flags = write}, 1);
	expect_broken(VNET_RX,
		      (const struct driver_desc[]){{page, 100, next, 1}, {page, 100, write, 0}}, 2);
	expect_broken(VNET_RX,
		      &(struct driver_desc){.addr = UINT64_MAX - 50, .len = 100, .flags = write},
		      1);
}

Test(virtio_net, broken_queue_lets_the_others_go_on)
{
	uint64_t page;

	vnet_begin(0, &mergeable);
	page = guest_alloc(&vnw.mem, 4096, 4096);
	vdev_break(&vnw, VNET_TX, &(struct driver_desc){.addr = page, .len = 3}, 1);
	vnet_post(VNET_RX, 1, 2048);
	host_send(0, 60, 1);
	cr_assert_eq(vnet_receive(VNET_RX), 1);
}
