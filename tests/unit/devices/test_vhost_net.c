/* SPDX-License-Identifier: Apache-2.0 */
/* A network card whose back end is a fake one: what stays here, and what goes there. */
#include <criterion/criterion.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "base/log.h"
#include "devices/vhost_net.h"
#include "tests/fakes/back_end.h"
#include "tests/unit/devices/vdev_world.h"
#include "vhost/vhost_user.h"

#define BIT(name) VIRTIO_BIT(VIRTIO_NET_F_##name)
enum { PAIRS = 2, CONTROL = 2 * PAIRS };

static struct vdev_world w;
static struct back_end back_end;
static char path[64];

static void set_up(void)
{
	static const uint16_t no_config[] = {0};
	static const struct vhost_user_setup user = {.what = "--vhost-user",
						     .path = path,
						     .wait_ns = 10 * NS_PER_S,
						     .reconnect_ns = NS_PER_MS,
						     .config_sizes = no_config};
	struct vhost_net_setup setup = {.id = "vhost0",
					.map = &w.mem.map,
					.loops = &w.loop,
					.mac = {0x52, 0x54, 0, 1, 2, 3},
					.mtu = 1400,
					.n_pairs = PAIRS,
					.queue_size = VDEV_QUEUE_SIZE};
	struct virtio_dev *dev = NULL;
	struct err err = {0};

	signal(SIGPIPE, SIG_IGN);
	log_init(-1, LOG_ERROR);
	strcpy(path, "/tmp/vmm-vhost-XXXXXX");
	cr_assert_not_null(mkdtemp(path));
	strcat(path, "/sock");
	back_end = BACK_END(path);
	/* As DPDK does, it offers what is about a control queue; no address and no link. */
	back_end.features |= VIRTIO_FEATURES_COMMON | BIT(MQ) | BIT(CTRL_VQ) | BIT(CTRL_RX) |
			     BIT(GUEST_ANNOUNCE) | BIT(MRG_RXBUF) | BIT(CSUM);
	back_end_start(&back_end);
	vdev_world_init(&w, 0);
	cr_assert_eq(vhost_user_open(&user, &setup.vhost, &err), 0, "%s", err.msg);
	cr_assert_eq(vhost_net_new(&setup, &dev, &err), 0, "%s", err.msg);
	vdev_take(&w, dev);
}

static void tear_down(void)
{
	vdev_world_done(&w);
	back_end_stop(&back_end);
	*strrchr(path, '/') = '\0';
	cr_assert_eq(rmdir(path), 0);
}

TestSuite(vhost_net, .init = set_up, .fini = tear_down, .timeout = 60);

static void await_enables(unsigned n)
{
	for (int i = 0; i < 20000 && back_end_count(&back_end, VHOST_USER_SET_VRING_ENABLE) < n;
	     i++)
		(void)poll(NULL, 0, 1);
	vdev_settle(&w);
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_SET_VRING_ENABLE), n);
}

/* The n-th of them: ring and whether. */
static void expect_enable(unsigned n, unsigned ring, bool on)
{
	int at = back_end_find(&back_end, VHOST_USER_SET_VRING_ENABLE, n);

	cr_assert_eq(back_end.log[at].first, ring | (uint64_t)on << 32, "%u: %lx", n,
		     back_end.log[at].first);
}

static uint8_t command(uint8_t class, uint8_t cmd, uint16_t value, uint32_t len)
{
	uint8_t bytes[4] = {class, cmd};
	struct driver_seg segs[2];

	put_le16(bytes + 2, value);
	segs[0] = (struct driver_seg){vdev_bytes(&w, bytes, sizeof(bytes)), len};
	segs[1] = (struct driver_seg){vdev_bytes(&w, "\xff", 1), 1};
	cr_assert_eq(vdev_request(&w, CONTROL, segs, 1, 1), 1);
	return *(uint8_t *)guest_ptr(&w.mem, segs[1].gpa, 1);
}

Test(vhost_net, what_it_shows_is_the_back_ends_but_for_what_is_ours)
{
	cr_assert(w.dev->offered & BIT(MRG_RXBUF));
	cr_assert(w.dev->offered & BIT(CSUM));
	cr_assert(w.dev->offered & BIT(MAC));
	cr_assert(w.dev->offered & BIT(STATUS));
	cr_assert(w.dev->offered & BIT(MTU));
	cr_assert(w.dev->offered & BIT(MQ));
	cr_assert_not(w.dev->offered & BIT(CTRL_RX), "nobody would do it");
	cr_assert_not(w.dev->offered & BIT(GUEST_ANNOUNCE));
	cr_assert_eq(vdev_config(&w, 0, 4), 0x01005452);
	cr_assert_eq(vdev_config(&w, 8, 2), PAIRS);
	cr_assert_eq(vdev_config(&w, 10, 2), 1400);
}

Test(vhost_net, back_end_hears_of_its_own_features_only)
{
	uint64_t told;

	vdev_up(&w, BIT(MAC) | BIT(STATUS) | BIT(MTU) | BIT(CTRL_VQ) | BIT(MQ) | BIT(CSUM));
	await_enables(2 * PAIRS);
	told = back_end.log[back_end_find(&back_end, VHOST_USER_SET_FEATURES, 0)].first;
	cr_assert_eq(told & ~back_end.features, 0);
	cr_assert(told & BIT(CSUM));
	cr_assert(told & BIT(MQ));
}

Test(vhost_net, pairs_are_in_use_as_the_driver_says)
{
	vdev_up(&w, BIT(CTRL_VQ) | BIT(MQ));
	await_enables(4);
	for (unsigned i = 0; i < 4; i++)
		expect_enable(i, i, i < 2);
	cr_assert_eq(command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2, 4),
		     VIRTIO_NET_OK);
	await_enables(6);
	expect_enable(4, 2, true);
	expect_enable(5, 3, true);
	cr_assert_eq(command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 1, 4),
		     VIRTIO_NET_OK);
	await_enables(8);
	expect_enable(7, 3, false);
}

Test(vhost_net, commands_that_cannot_be_are_refused)
{
	vdev_up(&w, BIT(CTRL_VQ) | BIT(MQ));
	await_enables(4);
	cr_assert_eq(command(VIRTIO_NET_CTRL_MQ, 0, 0, 4), VIRTIO_NET_ERR);
	cr_assert_eq(command(VIRTIO_NET_CTRL_MQ, 0, PAIRS + 1, 4), VIRTIO_NET_ERR);
	cr_assert_eq(command(VIRTIO_NET_CTRL_MQ, 0, 2, 3), VIRTIO_NET_ERR);
	cr_assert_eq(command(VIRTIO_NET_CTRL_MQ, 0, 2, 1), VIRTIO_NET_ERR);
	cr_assert_eq(command(VIRTIO_NET_CTRL_RX, 0, 1, 3), VIRTIO_NET_ERR);
	await_enables(4);
}

Test(vhost_net, driver_that_begins_anew_has_one_pair)
{
	vdev_up(&w, BIT(CTRL_VQ) | BIT(MQ));
	await_enables(4);
	cr_assert_eq(command(VIRTIO_NET_CTRL_MQ, 0, 2, 4), VIRTIO_NET_OK);
	await_enables(6);
	vdev_reset(&w);
	vdev_up(&w, BIT(CTRL_VQ) | BIT(MQ));
	await_enables(6 + 4 + 4);
	for (unsigned i = 0; i < 4; i++)
		expect_enable(10 + i, i, i < 2);
}

Test(vhost_net, link_is_up_while_there_is_a_back_end)
{
	vdev_up(&w, BIT(STATUS));
	await_enables(4);
	cr_assert_eq(vdev_config(&w, 6, 2), VIRTIO_NET_S_LINK_UP);
	back_end_stop(&back_end);
	while (vdev_config(&w, 6, 2) != 0)
		vdev_await_config(&w);
	back_end_start(&back_end);
	while (vdev_config(&w, 6, 2) != VIRTIO_NET_S_LINK_UP)
		vdev_await_config(&w);
	cr_assert_not(virtio_dev_status(w.dev) & VIRTIO_CONFIG_S_NEEDS_RESET);
}
