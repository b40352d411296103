/* SPDX-License-Identifier: Apache-2.0 */
/* Features, commands, several queues, link, reset, save and load. */
#include <assert.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "tests/unit/devices/vnet_world.h"

TestSuite(virtio_net_life, .fini = vnet_end, .timeout = 120);

enum { MAC_AT = 0, STATUS_AT = 6, PAIRS_AT = 8, MTU_AT = 10, SPEED_AT = 12, DUPLEX_AT = 16 };

#define COMMANDS                                                                                   \
	(NET(MRG_RXBUF) | NET(STATUS) | NET(CTRL_VQ) | NET(CTRL_RX) | NET(CTRL_RX_EXTRA) |         \
	 NET(CTRL_VLAN) | NET(CTRL_MAC_ADDR) | NET(GUEST_ANNOUNCE))
#define QUEUES (COMMANDS | NET(MQ))

static const struct vnet_options one = {.features = COMMANDS},
				 three = {.features = QUEUES, .ports = 3};

static uint64_t status(void)
{
	return vdev_config(&vnw, STATUS_AT, 2);
}

static void await_status(uint64_t wanted)
{
	while (status() != wanted)
		vdev_await_config(&vnw);
}

/* Frames that came for an earlier driver: they go with the link, also without buffers. */
static void drop_what_waits(void)
{
	const char *const down[] = {"down"}, *const up[] = {"up"};
	struct err err;

	cr_assert_eq(vnet_verb("link", down, &err), 0);
	vnet_expect_idle();
	cr_assert_eq(vnet_verb("link", up, &err), 0);
}

/* ---- what the guest is told ---- */

Test(virtio_net_life, configuration_says_what_there_is)
{
	uint8_t mac[6];

	vnet_begin(0, &three);
	virtio_dev_read_config(vnw.dev, MAC_AT, 6, mac);
	cr_assert_eq(memcmp(mac, vnet_mac, 6), 0);
	cr_assert_eq(status(), VIRTIO_NET_S_LINK_UP);
	cr_assert_eq(vdev_config(&vnw, PAIRS_AT, 2), 3);
	cr_assert_eq(vdev_config(&vnw, MTU_AT, 2), 1400);
	cr_assert_eq(vdev_config(&vnw, SPEED_AT, 4), 10000);
	cr_assert_eq(vdev_config(&vnw, DUPLEX_AT, 1), 1);
	cr_assert_eq(vnw.dev->type, VIRTIO_ID_NET);
	cr_assert(vnw.dev->offered & NET(MTU));
	cr_assert(vnw.dev->offered & NET(MQ));
	cr_assert(vnw.dev->offered & NET(HOST_TSO6));
	cr_assert_eq(vnw.dev->n_queues, 7);
	vdev_write_config(&vnw, MAC_AT, 1, 0xff);
	cr_assert_eq(vdev_config(&vnw, MAC_AT, 1), vnet_mac[0], "it is for reading");
}

Test(virtio_net_life, what_there_is_not_is_not_offered)
{
	vnet_begin(0, &(struct vnet_options){.features = NET(MAC), .plain = true});
	cr_assert_not(vnw.dev->offered & (NET(CSUM) | NET(GUEST_CSUM) | NET(HOST_TSO4) |
					  NET(GUEST_TSO4) | NET(CTRL_GUEST_OFFLOADS)));
	cr_assert_not(vnw.dev->offered & NET(MQ));
	cr_assert_not(vnw.dev->offered & NET(HOST_UFO));
}

/* virtio 1.2, 5.1.3.1 */
Test(virtio_net_life, features_that_need_others_are_refused_without)
{
	static const uint64_t bad[] = {NET(GUEST_TSO4),
				       NET(GUEST_TSO6),
				       NET(GUEST_ECN) | NET(GUEST_CSUM),
				       NET(HOST_TSO4),
				       NET(HOST_TSO6) | NET(GUEST_CSUM),
				       NET(HOST_ECN) | NET(CSUM),
				       NET(CTRL_RX),
				       NET(CTRL_VLAN),
				       NET(GUEST_ANNOUNCE),
				       NET(CTRL_MAC_ADDR),
				       NET(MQ)};

	vnet_begin(0, &three);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t bits = bad[i] | VIRTIO_BIT(VIRTIO_F_VERSION_1);

		vdev_reset(&vnw);
		virtio_dev_write_status(vnw.dev, 3);
		virtio_dev_ack(vnw.dev, 0, (uint32_t)bits);
		virtio_dev_ack(vnw.dev, 1, (uint32_t)(bits >> 32));
		virtio_dev_write_status(vnw.dev, 3 | VIRTIO_CONFIG_S_FEATURES_OK);
		cr_assert_eq(virtio_dev_status(vnw.dev), 3, "%#lx", bad[i]);
	}
}

/* ---- offloads ---- */

Test(virtio_net_life, back_end_hears_which_offloads_the_guest_takes)
{
	const uint64_t all = NET(GUEST_CSUM) | NET(GUEST_TSO4) | NET(GUEST_TSO6) | NET(GUEST_ECN) |
			     NET(CTRL_VQ) | NET(CTRL_GUEST_OFFLOADS);
	const unsigned every =
		NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN;
	le64_t some = le64_make(NET(GUEST_CSUM) | NET(GUEST_TSO4)), none = le64_make(0),
	       unknown = le64_make(NET(GUEST_CSUM) | NET(GUEST_UFO));

	vnet_begin(0, &(struct vnet_options){.features = all});
	vdev_settle(&vnw);
	cr_assert_eq(atomic_load(&fake->offloads), every);
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &some, 8), VIRTIO_NET_OK);
	cr_assert_eq(atomic_load(&fake->offloads), NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &unknown, 8), VIRTIO_NET_ERR);
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &none, 7), VIRTIO_NET_ERR);
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 1, &none, 8), VIRTIO_NET_ERR);
	cr_assert_eq(atomic_load(&fake->offloads), NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &none, 8), VIRTIO_NET_OK);
	cr_assert_eq(atomic_load(&fake->offloads), 0);
	vnet_again(all);
	vdev_settle(&vnw);
	cr_assert_eq(atomic_load(&fake->offloads), every, "a new driver begins anew");
	vnet_again(NET(CTRL_VQ));
	vdev_settle(&vnw);
	cr_assert_eq(atomic_load(&fake->offloads), 0);
}

/* ---- commands ---- */

struct command {
	uint8_t class, command;
	uint8_t data[32];
	uint32_t len;
	uint8_t answer;
};

static const struct command commands[] = {
	{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, {1}, 1, VIRTIO_NET_OK},
	{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, {0}, 1, VIRTIO_NET_OK},
	{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, {1}, 1, VIRTIO_NET_OK},
	{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST + 1, {1}, 1, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, {0}, 0, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, {1, 1}, 2, VIRTIO_NET_ERR},
	/* two tables: one address, none */
	{VIRTIO_NET_CTRL_MAC, 0, {1, 0, 0, 0, 2, 3, 4, 5, 6, 7}, 14, VIRTIO_NET_OK},
	{VIRTIO_NET_CTRL_MAC, 0, {0}, 8, VIRTIO_NET_OK},
	{VIRTIO_NET_CTRL_MAC, 0, {0}, 7, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_MAC, 0, {0}, 9, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_MAC, 0, {2, 0, 0, 0, 2, 3, 4, 5, 6, 7}, 14, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_MAC, 0, {0xff, 0xff, 0xff, 0xff}, 32, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_MAC, 0, {0}, 0, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_MAC, 1, {2, 1, 2, 3, 4}, 5, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_MAC, 1, {2, 1, 2, 3, 4, 5, 6}, 7, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_MAC, 1, {3, 1, 2, 3, 4, 5}, 6, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_MAC, 2, {2, 1, 2, 3, 4, 5}, 6, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, {5, 0}, 2, VIRTIO_NET_OK},
	{VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, {5, 0}, 2, VIRTIO_NET_OK},
	{VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, {5}, 1, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_VLAN, 2, {5, 0}, 2, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_ANNOUNCE, 0, {0}, 0, VIRTIO_NET_OK},
	{VIRTIO_NET_CTRL_ANNOUNCE, 1, {0}, 0, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_ANNOUNCE, 0, {0}, 1, VIRTIO_NET_ERR},
	{VIRTIO_NET_CTRL_MQ, 0, {1, 0}, 2, VIRTIO_NET_ERR}, /* not negotiated */
	{VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, {0}, 8, VIRTIO_NET_ERR},
	{6, 0, {0}, 1, VIRTIO_NET_ERR},
	{0xff, 0xff, {0}, 0, VIRTIO_NET_ERR},
};
enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

Test(virtio_net_life, commands_are_done_or_refused)
{
	for (unsigned combination = 0; combination < VDEV_COMBINATIONS; combination++) {
		uint64_t bad = 0;

		vnet_begin(combination, &one);
		for (unsigned i = 0; i < N_COMMANDS; i++) {
			const struct command *c = &commands[i];

			cr_assert_eq(vnet_command(c->class, c->command, c->data, c->len), c->answer,
				     "command %u: class %u, %u, %u bytes", i, c->class, c->command,
				     c->len);
			bad += c->answer != VIRTIO_NET_OK;
		}
		cr_assert_eq(vnet_stat("bad_commands"), bad);
		cr_assert_eq(vnet_stat("mac_changes"), 0);
		if (combination + 1 < VDEV_COMBINATIONS)
			vnet_end();
	}
}

Test(virtio_net_life, commands_of_features_that_are_off_are_refused)
{
	vnet_begin(0, &(struct vnet_options){.features = NET(CTRL_VQ)});
	for (unsigned i = 0; i < N_COMMANDS; i++)
		cr_assert_eq(vnet_command(commands[i].class, commands[i].command, commands[i].data,
					  commands[i].len),
			     VIRTIO_NET_ERR, "command %u", i);
}

Test(virtio_net_life, command_in_many_pieces_is_understood)
{
	const uint8_t bytes[] = {VIRTIO_NET_CTRL_MAC, 1, 2, 9, 8, 7, 6, 5};
	struct driver_seg segs[sizeof(bytes) + 2];
	uint8_t none[2] = {0xff, 0xff};
	uint64_t ack;

	vnet_begin(0, &one);
	ack = vdev_bytes(&vnw, none, 2);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		segs[i] = (struct driver_seg){.gpa = vdev_bytes(&vnw, &bytes[i], 1), .len = 1};
	segs[8] = (struct driver_seg){.gpa = ack, .len = 1};
	segs[9] = (struct driver_seg){.gpa = ack + 1, .len = 1};
	cr_assert_eq(vdev_request(&vnw, VNET_CTRL, segs, 8, 2), 1);
	cr_assert_eq(*(uint8_t *)guest_ptr(&vnw.mem, ack, 1), VIRTIO_NET_OK);
	cr_assert_eq(*(uint8_t *)guest_ptr(&vnw.mem, ack + 1, 1), 0xff);
	cr_assert_eq(vdev_config(&vnw, MAC_AT, 4), 0x07080902);
}

Test(virtio_net_life, address_that_the_guest_sets_holds_until_the_reset)
{
	const uint8_t mac[6] = {2, 1, 2, 3, 4, 5};
	uint8_t got[6];

	vnet_begin(0, &one);
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_MAC, 1, mac, 6), VIRTIO_NET_OK);
	virtio_dev_read_config(vnw.dev, MAC_AT, 6, got);
	cr_assert_eq(memcmp(got, mac, 6), 0);
	cr_assert_eq(vnet_stat("mac_changes"), 1);
	vdev_reset(&vnw);
	virtio_dev_read_config(vnw.dev, MAC_AT, 6, got);
	cr_assert_eq(memcmp(got, vnet_mac, 6), 0);
}

Test(virtio_net_life, command_without_head_or_answer_needs_a_reset)
{
	const uint16_t next = 1, write = 2;
	uint64_t page;

	vnet_begin(0, &one);
	page = guest_alloc(&vnw.mem, 4096, 4096);
	vdev_break(&vnw, VNET_CTRL, &(struct driver_desc){.addr = page, .len = 10}, 1);
	vnet_again(COMMANDS);
	vdev_break(&vnw, VNET_CTRL,
		   (const struct driver_desc[]){{page, 1, next, 1}, {page, 1, write, 0}}, 2);
	vnet_again(COMMANDS);
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_RX, 0, "\1", 1), VIRTIO_NET_OK);
}

/* ---- several pairs ---- */

static uint8_t set_pairs(uint16_t n)
{
	le16_t pairs = le16_make(n);

	return vnet_command(VIRTIO_NET_CTRL_MQ, 0, &pairs, 2);
}

static void check_pairs(unsigned n)
{
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(atomic_load(&fake->enabled[i]), i < n, "port %u of %u", i, n);
		vnet_send(2 * i + 1, 60, (uint8_t)i);
		cr_assert_eq(host_receive(i), i, "it may send in any case");
		if (i >= n)
			continue;
		host_send(i, 60, (uint8_t)(10 + i));
		vnet_post(2 * i, 1, 2048);
		cr_assert_eq(vnet_receive(2 * i), 10 + i);
	}
}

static void try_pairs(const struct vnet_options *options)
{
	for (unsigned combination = 0; combination < 4; combination++) {
		vnet_begin(combination, options);
		check_pairs(1);
		for (uint16_t n = 3; n >= 1; n--) {
			cr_assert_eq(set_pairs(n), VIRTIO_NET_OK);
			check_pairs(n);
		}
		cr_assert_eq(set_pairs(0), VIRTIO_NET_ERR);
		cr_assert_eq(set_pairs(4), VIRTIO_NET_ERR);
		check_pairs(1);
		cr_assert_eq(set_pairs(2), VIRTIO_NET_OK);
		vnet_again(QUEUES);
		check_pairs(1);
		if (combination < 3)
			vnet_end();
	}
}

Test(virtio_net_life, guest_chooses_how_many_pairs_it_uses)
{
	try_pairs(&three);
}

Test(virtio_net_life, pairs_on_different_threads_are_in_step)
{
	static const struct vnet_options spread = {
		.features = QUEUES, .ports = 3, .two_loops = true};

	try_pairs(&spread);
}

Test(virtio_net_life, no_frame_comes_in_a_queue_that_was_given_up)
{
	vnet_begin(0, &three);
	cr_assert_eq(set_pairs(2), VIRTIO_NET_OK);
	vnet_post(2, 20, 2048);
	host_send(1, 60, 1);
	cr_assert_eq(vnet_receive(2), 1);
	cr_assert_eq(set_pairs(1), VIRTIO_NET_OK);
	host_send(1, 60, 2);
	vnet_expect_idle();
	cr_assert_not(vnet_has_frame(2));
	cr_assert_eq(vnw.dev->queues[2].vq.at.avail, 1, "and its buffers are back in the ring");
	cr_assert_eq(set_pairs(2), VIRTIO_NET_OK);
	cr_assert_eq(vnet_receive(2), 2, "the fake keeps it; a tap would not");
}

Test(virtio_net_life, frame_that_waits_for_buffers_outlives_a_rate_limit)
{
	const struct vnet_options slow = {.features = QUEUES, .ports = 3, .pps = 20};

	vnet_begin(0, &slow);
	cr_assert_eq(set_pairs(2), VIRTIO_NET_OK);
	vnet_post(0, 2, 2048);
	vnet_post(2, 8, 2048);
	host_send(0, 8000, 1);
	vnet_await_stat("rx_starved", 1);
	for (unsigned i = 0; i < 4; i++)
		host_send(1, 60, 2);
	vnet_await_stat("rx_throttled", 1);
	vnet_post(0, 8, 2048);
	vnet_await_stat("rx_throttled", 2);
	host_send(0, 60, 3);
	cr_assert_eq(vnet_receive(0), 1, "its buffers have come, only the time has not");
	cr_assert_eq(vnet_receive(0), 3);
	cr_assert_eq(vnet_stat("rx_dropped"), 0);
}

Test(virtio_net_life, without_mq_the_control_queue_is_the_third)
{
	vnet_begin(0, &(struct vnet_options){.features = COMMANDS, .ports = 3});
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_RX, 0, "\1", 1), VIRTIO_NET_OK);
	vnet_post(VNET_RX, 1, 2048);
	host_send(0, 60, 1);
	cr_assert_eq(vnet_receive(VNET_RX), 1);
}

/* A command that can't be done yet, since one of the threads does something else. */
static void begin_pairs(unsigned combination)
{
	static const struct vnet_options spread = {
		.features = QUEUES, .ports = 3, .two_loops = true};
	const uint8_t head[] = {VIRTIO_NET_CTRL_MQ, 0, 3, 0};
	struct driver_seg segs[2];

	vnet_begin(combination, &spread);
	segs[0] = (struct driver_seg){vdev_bytes(&vnw, head, 4), 4};
	segs[1] = (struct driver_seg){vdev_bytes(&vnw, head, 1), 1};
	vnet_block_second();
	cr_assert_eq(driver_add(&vnw.q[6].dq, segs, 1, 1, NULL), 0);
	vdev_publish(&vnw, 6);
	while (atomic_load(&vnw.dev->queues[6].chains) == 0)
		(void)usleep(100);
	vdev_settle(&vnw);
	vdev_settle(&vnw);
}

Test(virtio_net_life, number_of_pairs_is_not_acknowledged_before_all_threads_have_heard_of_it)
{
	for (unsigned combination = 0; combination < 2; combination++) {
		begin_pairs(combination);
		cr_assert_not(vnet_has_frame(6));
		vnet_unblock_second();
		cr_assert_eq(vdev_await_used(&vnw, 6), 1);
		check_pairs(3);
		if (combination == 0)
			vnet_end();
	}
}

Test(virtio_net_life, command_that_a_pause_interrupts_is_done_after_it)
{
	struct err err = {0};

	for (unsigned combination = 0; combination < 2; combination++) {
		const struct virtq_position *at;

		begin_pairs(combination);
		virtio_dev_hold(vnw.dev, VIRTIO_HOLD_PAUSE, true);
		vdev_settle(&vnw);
		vnet_unblock_second();
		cr_assert_eq(vnw.dev->dev.ops->quiesce(&vnw.dev->dev, 10 * NS_PER_S, &err), 0, "%s",
			     err.msg);
		at = &vnw.dev->queues[6].vq.at;
		cr_assert_eq(at->avail, at->used, "it is back in the ring");
		vnw.dev->dev.ops->resume(&vnw.dev->dev);
		cr_assert_eq(vdev_await_used(&vnw, 6), 1);
		check_pairs(3);
		if (combination == 0)
			vnet_end();
	}
}

/* The number of pairs changes all the time, while they work and the device is reset. */
Test(virtio_net_life, change_of_pairs_may_be_cut_off_by_a_reset)
{
	static const struct vnet_options spread = {
		.features = QUEUES, .ports = 3, .two_loops = true};
	const uint8_t head[] = {VIRTIO_NET_CTRL_MQ, 0, 3, 0};

	vnet_begin(1, &spread);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t at = vdev_bytes(&vnw, head, 4), ack = vdev_bytes(&vnw, head, 1);
		const struct driver_seg segs[] = {{at, 4}, {ack, 1}};

		for (unsigned k = 0; k < 3; k++)
			vnet_post(2 * k, 4, 2048);
		host_send(0, 60, (uint8_t)i);
		cr_assert_eq(driver_add(&vnw.q[6].dq, segs, 1, 1, NULL), 0);
		vdev_publish(&vnw, 6);
		vnet_again(QUEUES);
	}
	drop_what_waits();
	check_pairs(1);
}

/* ---- link ---- */

Test(virtio_net_life, link_goes_down_and_up_by_verb)
{
	const char *const down[] = {"down"}, *const up[] = {"up"}, *const sideways[] = {"left"};
	struct err err;

	vnet_begin(0, &one);
	vnet_post(VNET_RX, 8, 2048);
	cr_assert_eq(vnet_verb("link", down, &err), 0);
	vdev_await_config(&vnw);
	cr_assert_eq(status(), 0);
	vnet_send(VNET_TX, 60, 1);
	vnet_sent(VNET_TX, 1);
	host_send(0, 60, 2);
	vnet_await_stat("rx_dropped", 1);
	vnet_await_stat("tx_dropped", 1);
	cr_assert_not(host_has_frame(0));
	cr_assert_not(vnet_has_frame(VNET_RX));
	cr_assert_eq(vnet_verb("link", up, &err), 0);
	await_status(VIRTIO_NET_S_LINK_UP);
	host_send(0, 60, 3);
	cr_assert_eq(vnet_receive(VNET_RX), 3);
	vnet_send(VNET_TX, 60, 4);
	cr_assert_eq(host_receive(0), 4);
	cr_assert_eq(vnet_verb("link", sideways, &err), -EINVAL);
	cr_assert_not_null(strstr(err.msg, "'left' is not up or down"), "%s", err.msg);
	cr_assert_eq(vnet_stat("link_downs"), 0, "that counts the host's doing");
}

Test(virtio_net_life, no_peer_is_held_up_by_a_link_that_is_down)
{
	const char *const down[] = {"down"};
	struct err err;

	vnet_begin(0, &one);
	for (unsigned i = 0; i < 3; i++)
		host_send(0, 60, 1);
	vnet_expect_idle();
	cr_assert_eq(vnet_stat("rx_dropped"), 0);
	cr_assert_eq(vnet_verb("link", down, &err), 0);
	vnet_await_stat("rx_dropped", 3);
	for (unsigned i = 0; i < 2000; i++)
		host_send(0, 1000, 2);
	vnet_await_stat("rx_dropped", 2003);
	vnet_expect_idle();
}

Test(virtio_net_life, frame_that_waits_for_buffers_goes_with_the_link)
{
	const char *const down[] = {"down"}, *const up[] = {"up"};
	struct err err;

	vnet_begin(0, &one);
	vnet_post(VNET_RX, 2, 2048);
	host_send(0, 8000, 1);
	vnet_await_stat("rx_starved", 1);
	cr_assert_eq(vnet_verb("link", down, &err), 0);
	host_send(0, 60, 2);
	vnet_await_stat("rx_dropped", 2);
	cr_assert_eq(vnet_verb("link", up, &err), 0);
	vnet_post(VNET_RX, 8, 2048);
	host_send(0, 5000, 3);
	cr_assert_eq(vnet_receive(VNET_RX), 3);
	cr_assert_eq(vnet_header.num_buffers, 3);
}

Test(virtio_net_life, link_that_goes_down_frees_a_guest_that_waits_to_send)
{
	const char *const down[] = {"down"};
	struct err err;

	vnet_begin(0, &(struct vnet_options){.features = COMMANDS, .size = 256});
	for (unsigned i = 0; i < 100; i++)
		vnet_send(VNET_TX, 10000, (uint8_t)i);
	vnet_await_stat("tx_waits", 1);
	cr_assert_eq(vnet_verb("link", down, &err), 0);
	vnet_sent(VNET_TX, 100);
}

Test(virtio_net_life, host_that_goes_away_takes_the_link_down_and_the_device_lives)
{
	for (unsigned combination = 0; combination < 4; combination++) {
		vnet_begin(combination, &(struct vnet_options){.features = COMMANDS, .size = 256});
		vnet_post(VNET_RX, 8, 2048);
		for (unsigned i = 0; i < 100; i++)
			vnet_send(VNET_TX, 10000, (uint8_t)i);
		vnet_await_stat("tx_waits", 1);
		host_send(0, 60, 5);
		cr_assert_eq(vnet_receive(VNET_RX), 5);
		close(fake->host[0]);
		await_status(0);
		vnet_sent(VNET_TX, 100);
		vnet_send(VNET_TX, 60, 1);
		vnet_sent(VNET_TX, 1);
		vnet_expect_idle();
		cr_assert_eq(vnet_stat("link_downs"), 1);
		vnet_again(COMMANDS);
		vnet_send(VNET_TX, 60, 1);
		vnet_sent(VNET_TX, 1);
		vnet_expect_idle();
		cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_RX, 0, "\1", 1), VIRTIO_NET_OK);
		cr_assert_eq(status(), 0);
		if (combination < 3)
			vnet_end();
	}
}

static int peer = -1;

static int take_side(void)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	close(peer);
	peer = fds[0];
	return fds[1];
}

static struct net *stream;

static struct net *make_stream(void)
{
	struct err err;

	cr_assert_eq(net_stream_adopt("--net", take_side(), &stream, &err), 0);
	return stream;
}

/* The next frame that the peer gets is a greeting for this address. */
static void expect_greeting(const uint8_t mac[6])
{
	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct {
		uint8_t len[4], to[6], from[6], packet[10], sender[6], ip[4], target[6], rest[22];
	} frame;

	static_assert(sizeof(frame) == 64, "a length and a frame of 60 bytes");
	cr_assert_eq(poll(&(struct pollfd){.fd = peer, .events = POLLIN}, 1, 10000), 1);
	cr_assert_eq(recv(peer, &frame, sizeof(frame), MSG_WAITALL), sizeof(frame));
	cr_assert_arr_eq(frame.len, "\0\0\0\x3c", 4);
	cr_assert_arr_eq(frame.to, all, 6);
	cr_assert_arr_eq(frame.from, mac, 6);
	cr_assert_arr_eq(frame.packet, "\x80\x35\0\1\x08\0\6\4\0\3", 10);
	cr_assert_arr_eq(frame.sender, mac, 6);
	cr_assert_arr_eq(frame.target, mac, 6);
}

Test(virtio_net_life, new_peer_is_told_who_the_guest_is)
{
	static const uint8_t other[6] = {0x52, 0x54, 0, 9, 9, 9};

	vnet_begin(0, &(struct vnet_options){.features = COMMANDS, .make_net = make_stream});
	net_stream_replace(stream, take_side());
	expect_greeting(vnet_mac);
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6),
		     VIRTIO_NET_OK);
	net_stream_replace(stream, take_side());
	expect_greeting(other);
	vnet_expect_idle();
	cr_assert_eq(recv(peer, (uint8_t[1]){0}, 1, MSG_DONTWAIT), -1, "once is enough");
	cr_assert_eq(vnet_stat("tx_packets"), 0, "it is not the guest's");
}

/* ---- reset ---- */

Test(virtio_net_life, reset_comes_at_any_time)
{
	vnet_begin(3, &one);
	for (unsigned i = 0; i < 300; i++) {
		vnet_post(VNET_RX, 1 + i % 8, 700);
		for (unsigned k = 0; k < i % 6; k++) {
			if (host_has_room(0))
				host_send(0, 16 + 100 * (i % 60), (uint8_t)k);
			vnet_send(VNET_TX, 60, (uint8_t)k);
		}
		vnet_again(COMMANDS);
		while (host_has_frame(0))
			(void)host_receive(0);
	}
	drop_what_waits();
	vnet_post(VNET_RX, 1, 2048);
	host_send(0, 60, 200);
	cr_assert_eq(vnet_receive(VNET_RX), 200);
	vnet_send(VNET_TX, 60, 201);
	cr_assert_eq(host_receive(0), 201);
}

Test(virtio_net_life, queue_alone_can_be_reset)
{
	struct virtio_queue_regs regs;
	const struct driver_queue *dq = &vnw.q[VNET_RX].dq;

	vnet_begin(0, &(struct vnet_options){.features = COMMANDS | VIRTIO_BIT(40)});
	vnet_post(VNET_RX, 8, 2048);
	host_send(0, 60, 1);
	cr_assert_eq(vnet_receive(VNET_RX), 1);
	virtio_dev_reset_queue(vnw.dev, VNET_RX);
	do
		cr_assert(virtio_dev_queue_regs(vnw.dev, VNET_RX, &regs));
	while (regs.resetting);
	host_send(0, 60, 2);
	vnet_send(VNET_TX, 60, 3);
	cr_assert_eq(host_receive(0), 3, "the others go on");
	driver_reset(&vnw.q[VNET_RX].dq);
	virtio_dev_set_queue_size(vnw.dev, VNET_RX, VDEV_QUEUE_SIZE);
	virtio_dev_set_queue_half(vnw.dev, VNET_RX, VIRTIO_QUEUE_DESC, 0, (uint32_t)dq->desc_gpa);
	virtio_dev_set_queue_half(vnw.dev, VNET_RX, VIRTIO_QUEUE_DRIVER, 0,
				  (uint32_t)dq->driver_gpa);
	virtio_dev_set_queue_half(vnw.dev, VNET_RX, VIRTIO_QUEUE_DEVICE, 0,
				  (uint32_t)dq->device_gpa);
	atomic_store(&vnw.dev->queues[VNET_RX].call_fd, vnw.q[VNET_RX].call);
	virtio_dev_enable_queue(vnw.dev, VNET_RX);
	vnet_post(VNET_RX, 1, 2048);
	cr_assert_eq(vnet_receive(VNET_RX), 2);
}

/* ---- quiesce, save, load ---- */

Test(virtio_net_life, quiet_device_has_given_its_buffers_back)
{
	const struct device_ops *ops;
	struct err err = {0};

	for (unsigned combination = 0; combination < 4; combination++) {
		const struct virtio_queue *q;

		vnet_begin(combination, &one);
		ops = vnw.dev->dev.ops;
		q = &vnw.dev->queues[VNET_RX];
		vnet_post(VNET_RX, 20, 500);
		for (unsigned i = 0; i < 3; i++) {
			host_send(0, 60, (uint8_t)i);
			cr_assert_eq(vnet_receive(VNET_RX), i);
		}
		cr_assert_eq(ops->quiesce(&vnw.dev->dev, 10 * NS_PER_S, &err), 0);
		cr_assert_eq(q->vq.at.avail, q->vq.at.used);
		cr_assert_eq(q->vq.at.used, 3);
		host_send(0, 60, 9);
		vnet_post(VNET_RX, 4, 500);
		vnet_expect_idle();
		cr_assert_not(vnet_has_frame(VNET_RX));
		ops->resume(&vnw.dev->dev);
		cr_assert_eq(vnet_receive(VNET_RX), 9);
		for (unsigned i = 0; i < 20; i++) {
			host_send(0, 60, (uint8_t)i);
			cr_assert_eq(vnet_receive(VNET_RX), i);
		}
		if (combination < 3)
			vnet_end();
	}
}

Test(virtio_net_life, new_device_goes_on_where_the_old_one_was_under_traffic)
{
	const uint8_t mac[6] = {2, 1, 2, 3, 4, 5};

	for (unsigned combination = 0; combination < 8; combination++) {
		unsigned sent = 0;

		vnet_begin(combination, &one);
		cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_MAC, 1, mac, 6), VIRTIO_NET_OK);
		for (unsigned round = 0; round < 20; round++) {
			vnet_post(VNET_RX, 3, 2048);
			for (unsigned i = 0; i < 3; i++) {
				host_send(0, 60, (uint8_t)sent);
				cr_assert_eq(vnet_receive(VNET_RX), (uint8_t)sent);
				vnet_send(VNET_TX, 60, (uint8_t)sent);
				cr_assert_eq(host_receive(0), (uint8_t)sent);
				sent++;
			}
			vnet_post(VNET_RX, 3, 2048);
			vnet_replace();
			for (unsigned i = 0; i < 3; i++) {
				host_send(0, 60, (uint8_t)i);
				cr_assert_eq(vnet_receive(VNET_RX), i, "%u", combination);
			}
			vnet_sent(VNET_TX, 3);
		}
		cr_assert_eq(vdev_config(&vnw, MAC_AT, 4), 0x03020102);
		if (combination < 7)
			vnet_end();
	}
}

Test(virtio_net_life, frames_that_wait_to_be_sent_are_sent_by_the_new_device)
{
	unsigned n = 0;

	vnet_begin(1, &(struct vnet_options){.features = COMMANDS, .size = 256});
	for (unsigned i = 0; i < 100; i++)
		vnet_send(VNET_TX, 10000, (uint8_t)i);
	vnet_await_stat("tx_waits", 1);
	vdev_settle(&vnw);
	n = (unsigned)vnet_stat("tx_packets");
	vnet_replace();
	for (; n < 100; n++)
		cr_assert_eq(host_receive(0), n);
	vnet_sent(VNET_TX, 100);
}

Test(virtio_net_life, guest_is_asked_to_announce_itself_after_it_was_loaded)
{
	vnet_begin(0, &one);
	vnet_replace();
	await_status(VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_ANNOUNCE, 0, NULL, 0), VIRTIO_NET_OK);
	cr_assert_eq(status(), VIRTIO_NET_S_LINK_UP);
	vnet_replace();
	await_status(VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	vdev_reset(&vnw);
	cr_assert_eq(status(), VIRTIO_NET_S_LINK_UP);
}

Test(virtio_net_life, guest_that_can_not_announce_itself_is_not_asked)
{
	vnet_begin(0, &(struct vnet_options){.features = NET(STATUS) | NET(CTRL_VQ)});
	vnet_replace();
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_ANNOUNCE, 0, NULL, 0), VIRTIO_NET_ERR);
	cr_assert_eq(status(), VIRTIO_NET_S_LINK_UP);
}

Test(virtio_net_life, pairs_and_offloads_are_saved)
{
	const uint64_t bits = QUEUES | NET(GUEST_CSUM) | NET(GUEST_TSO4) | NET(CTRL_GUEST_OFFLOADS);
	le64_t csum = le64_make(NET(GUEST_CSUM));

	vnet_begin(0, &(struct vnet_options){.features = bits, .ports = 3});
	cr_assert_eq(set_pairs(2), VIRTIO_NET_OK);
	cr_assert_eq(vnet_command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &csum, 8), VIRTIO_NET_OK);
	vnet_replace();
	vdev_settle(&vnw);
	cr_assert_eq(atomic_load(&fake->offloads), NET_OFFLOAD_CSUM);
	check_pairs(2);
}

static void take_state(struct saved *saved, const struct vnet_options *options)
{
	struct err err = {0};

	vnet_begin(0, options);
	cr_assert_eq(vnw.dev->dev.ops->quiesce(&vnw.dev->dev, 10 * NS_PER_S, &err), 0);
	saved_take(saved, &vnw.dev->dev);
	vnet_end();
}

Test(virtio_net_life, state_that_does_not_fit_is_refused)
{
	static struct saved saved;
	struct err err = {0};

	take_state(&saved, &three);
	vnet_begin(0, &one);
	cr_assert_lt(saved_load(&saved, &vnw.dev->dev, &err), 0, "another number of queues");
	vnet_end();
	vnet_begin(0, &three);
	vdev_reset(&vnw);
	saved_check_lengths(&saved, &vnw.dev->dev);
}

static void use(struct device *dev)
{
	(void)dev;
	vnw.dev->dev.ops->resume(&vnw.dev->dev);
	vdev_settle(&vnw);
	vnw.dev->dev.ops->reset(&vnw.dev->dev);
}

Test(virtio_net_life, spoilt_state_is_survived)
{
	static struct saved saved;

	take_state(&saved, &one);
	vnet_begin(0, &one);
	vdev_reset(&vnw);
	saved_check_bytes(&saved, &vnw.dev->dev, use);
}
