/* SPDX-License-Identifier: Apache-2.0 */
/* A device whose back end is a fake one, which takes no request: what the guest sees of that. */
#include <criterion/criterion.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "base/fd.h"
#include "base/log.h"
#include "devices/vhost_device.h"
#include "tests/fakes/back_end.h"
#include "tests/unit/devices/vdev_world.h"
#include "vhost/vhost_user.h"

enum { PACKED = 1, IN_ORDER = 8 };

static struct vdev_world w;
static struct back_end back_end;
static struct vhost_dev *vhost;
static char path[64];
static unsigned type, combination;
static enum vhost_on_lost on_lost;

static void set_up(void)
{
	signal(SIGPIPE, SIG_IGN);
	log_init(-1, LOG_ERROR);
	strcpy(path, "/tmp/vmm-vhost-XXXXXX");
	cr_assert_not_null(mkdtemp(path));
	strcat(path, "/sock");
	back_end = BACK_END(path);
	back_end.features |= VIRTIO_FEATURES_COMMON | VIRTIO_BIT(35 /* IN_ORDER */);
	type = VIRTIO_ID_RNG;
}

static void tear_down(void)
{
	vdev_world_done(&w);
	back_end_stop(&back_end);
	*strrchr(path, '/') = '\0';
	cr_assert_eq(rmdir(path), 0);
}

TestSuite(vhost_device, .init = set_up, .fini = tear_down, .timeout = 60);

static void make(void)
{
	const struct vhost_user_setup user = {.what = "--vhost-user",
					      .path = path,
					      .wait_ns = 10 * NS_PER_S,
					      .reconnect_ns = NS_PER_MS,
					      .config_sizes = vhost_device_config_sizes(type)};
	struct vhost_device_setup setup = {.id = "vhost0",
					   .map = &w.mem.map,
					   .loops = &w.loop,
					   .type = type,
					   .max_auto = 2,
					   .queue_size = VDEV_QUEUE_SIZE,
					   .packed = true,
					   .on_lost = on_lost};
	struct virtio_dev *dev = NULL;
	struct err err = {0};

	back_end_start(&back_end);
	vdev_world_init(&w, combination);
	cr_assert_eq(vhost_user_open(&user, &vhost, &err), 0, "%s", err.msg);
	setup.vhost = vhost;
	cr_assert_eq(vhost_device_new(&setup, &dev, &err), 0, "%s", err.msg);
	vdev_take(&w, dev);
}

static void await(bool (*done)(void))
{
	for (int i = 0; i < 20000 && !done(); i++)
		(void)poll(NULL, 0, 1);
	cr_assert(done());
}

static bool ring_is_told(void)
{
	return back_end_count(&back_end, VHOST_USER_SET_VRING_ENABLE) > 0;
}

static void begin(void)
{
	make();
	vdev_up(&w, 0);
	await(ring_is_told);
}

/* Makes n requests available; nobody does them. */
static void request(unsigned n)
{
	const struct driver_seg seg = {guest_alloc(&w.mem, 64, 8), 64};

	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(driver_add(&w.q[0].dq, &seg, 0, 1, NULL), 0);
	vdev_publish(&w, 0);
}

static bool is_back(void)
{
	return vdev_stat(&w, "reconnects") > 0;
}

static bool was_told_twice(void)
{
	return back_end_count(&back_end, VHOST_USER_SET_VRING_KICK) == 2;
}

static void lose(void)
{
	back_end_cut(&back_end);
	await(is_back);
	vdev_settle(&w);
}

static bool needs_reset(void)
{
	return virtio_dev_status(w.dev) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void goes_on(void)
{
	await(was_told_twice);
	cr_assert_not(needs_reset());
	cr_assert_eq(vdev_stat(&w, "unrecovered"), 0);
}

static void fails(void)
{
	cr_assert(needs_reset());
	cr_assert_eq(vdev_stat(&w, "unrecovered"), 1);
	cr_assert_not(was_told_twice(), "the next back end gets nothing of it");
	/* The driver begins anew, and so does the back end. */
	vdev_reset(&w);
	vdev_up(&w, 0);
	await(was_told_twice);
	cr_assert_not(needs_reset());
}

static void without_record(void)
{
	back_end.protocol &= ~(UINT64_C(1) << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
}

/* ---- losing it ---- */

Test(vhost_device, several_requests_without_a_record_fail_the_device)
{
	without_record();
	begin();
	request(3);
	lose();
	fails();
}

Test(vhost_device, several_requests_without_a_record_are_replayed_where_that_is_wanted)
{
	without_record();
	on_lost = VHOST_ON_LOST_REPLAY;
	begin();
	request(3);
	lose();
	goes_on();
	cr_assert_eq(back_end.log[back_end_find(&back_end, VHOST_USER_SET_VRING_BASE, 1)].first, 0);
}

Test(vhost_device, several_requests_with_a_record_are_the_next_ones_business)
{
	begin();
	request(3);
	lose();
	goes_on();
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_SET_INFLIGHT_FD), 2);
}

Test(vhost_device, several_requests_in_order_need_no_record)
{
	without_record();
	combination = IN_ORDER;
	begin();
	request(3);
	lose();
	goes_on();
}

Test(vhost_device, one_request_needs_no_record)
{
	without_record();
	begin();
	request(1);
	lose();
	goes_on();
}

Test(vhost_device, packed_ring_without_a_record_fails_the_device)
{
	without_record();
	combination = PACKED;
	begin();
	lose();
	fails();
}

Test(vhost_device, packed_ring_with_a_record_goes_on)
{
	combination = PACKED;
	begin();
	request(3);
	lose();
	goes_on();
}

/* ---- stopping ---- */

static void pause_and_resume(void)
{
	struct err err = {0};

	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0, "%s", err.msg);
	w.dev->dev.ops->resume(&w.dev->dev);
}

Test(vhost_device, ring_goes_on_where_it_stopped)
{
	begin();
	request(3);
	back_end.base[0] = 2;
	pause_and_resume();
	await(was_told_twice);
	cr_assert_eq(back_end.log[back_end_find(&back_end, VHOST_USER_SET_VRING_BASE, 1)].first,
		     (uint64_t)2 << 32);
	cr_assert_not(needs_reset());
}

Test(vhost_device, stop_where_it_cannot_have_come_to_fails_the_device)
{
	begin();
	request(3);
	back_end.base[0] = 0xffff;
	pause_and_resume();
	vdev_settle(&w);
	cr_assert(needs_reset());
}

Test(vhost_device, driver_resets_keep_the_connection)
{
	begin();
	for (unsigned i = 0; i < 100; i++) {
		vdev_reset(&w);
		vdev_up(&w, 0);
	}
	vdev_settle(&w);
	cr_assert_eq(back_end.connections, 1);
	cr_assert_not(needs_reset());
}

Test(vhost_device, reset_while_nobody_is_there)
{
	begin();
	request(3);
	back_end_stop(&back_end);
	while (vdev_stat(&w, "connected"))
		vdev_settle(&w);
	vdev_reset(&w);
	vdev_up(&w, 0);
	vdev_reset(&w);
	back_end_start(&back_end);
	vdev_up(&w, 0);
	await(is_back);
	await(was_told_twice);
	cr_assert_not(needs_reset());
}

static enum back_end_verdict leave_when_stopped(struct back_end *b, int fd,
						struct vhost_user_message *m)
{
	(void)b;
	(void)fd;
	return m->header.request == VHOST_USER_GET_VRING_BASE ? BACK_END_HANGS_UP
							      : BACK_END_GOES_ON;
}

Test(vhost_device, loss_in_a_pause_is_a_loss)
{
	struct err err = {0};

	without_record();
	back_end.hook = leave_when_stopped;
	begin();
	request(3);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0, "%s", err.msg);
	cr_assert(needs_reset());
	w.dev->dev.ops->resume(&w.dev->dev);
	await(is_back);
	vdev_settle(&w);
	cr_assert_not(was_told_twice());
}

/* The answer about the record comes when the test says so. */
static struct vhost_user_message held;
static _Atomic int held_fd = -1;

static enum back_end_verdict hold_record(struct back_end *b, int fd, struct vhost_user_message *m)
{
	(void)b;
	if (m->header.request != VHOST_USER_GET_INFLIGHT_FD || held_fd >= 0)
		return BACK_END_GOES_ON;
	held = *m;
	held_fd = fd;
	return BACK_END_IS_DONE;
}

static bool is_held(void)
{
	return held_fd >= 0;
}

Test(vhost_device, driver_that_changes_while_the_record_is_asked_for)
{
	const struct back_end_entry *e;

	back_end.hook = hold_record;
	/* Whose answer would come before the one that is held. */
	back_end.protocol &= ~(UINT64_C(1) << VHOST_USER_PROTOCOL_F_RESET_DEVICE);
	make();
	vdev_up(&w, 0);
	await(is_held);
	vdev_reset(&w);
	w.setup.size = VDEV_QUEUE_SIZE / 2;
	vdev_up(&w, 0);
	back_end_answer(&back_end, held_fd, &held);
	await(ring_is_told);
	e = &back_end.log[back_end_find(&back_end, VHOST_USER_SET_FEATURES,
					back_end_count(&back_end, VHOST_USER_SET_FEATURES) - 1)];
	cr_assert_eq(e->first & ~(UINT64_C(1) << 30), w.dev->acked);
	e = &back_end.log[back_end_find(&back_end, VHOST_USER_SET_VRING_NUM,
					back_end_count(&back_end, VHOST_USER_SET_VRING_NUM) - 1)];
	cr_assert_eq(e->first, (uint64_t)(VDEV_QUEUE_SIZE / 2) << 32);
}

Test(vhost_device, write_to_the_configuration_waits_for_a_back_end)
{
	type = VIRTIO_ID_BLOCK;
	back_end.config_len = 60;
	back_end.config[32] = 1;
	begin();
	back_end_stop(&back_end);
	while (vdev_stat(&w, "connected"))
		vdev_settle(&w);
	vdev_write_config(&w, 32, 1, 0);
	vdev_settle(&w);
	back_end_start(&back_end);
	while (back_end_count(&back_end, VHOST_USER_SET_CONFIG) == 0)
		vdev_settle(&w);
	cr_assert_eq(vdev_config(&w, 32, 1), 0, "the driver's word stands");
}

/* ---- interrupts and configuration ---- */

static bool readable(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};

	return poll(&p, 1, 0) == 1;
}

static bool has_call(void)
{
	return back_end.call[0] >= 0;
}

static bool call_is_told_twice(void)
{
	return back_end_count(&back_end, VHOST_USER_SET_VRING_CALL) == 2;
}

static bool interrupt_is_passed_on(void)
{
	return vdev_stat(&w, "interrupts") > 0;
}

Test(vhost_device, interrupt_is_the_vectors_own_and_ours_where_there_is_none)
{
	begin();
	await(has_call);
	eventfd_kick(back_end.call[0]);
	cr_assert(readable(w.q[0].call), "nobody is between");
	mutex_lock(&w.dev->lock);
	virtio_queue_set_call(&w.dev->queues[0], -1);
	mutex_unlock(&w.dev->lock);
	await(call_is_told_twice);
	vdev_settle(&w);
	eventfd_kick(back_end.call[0]);
	await(interrupt_is_passed_on);
}

static bool driver_wrote(void)
{
	return back_end_count(&back_end, VHOST_USER_SET_CONFIG) > 0;
}

Test(vhost_device, disks_configuration_is_the_back_ends_but_for_the_queues)
{
	type = VIRTIO_ID_BLOCK;
	back_end.config_len = 60;
	back_end.features |= VIRTIO_BIT(12 /* MQ */) | VIRTIO_BIT(9);
	put_le64(back_end.config, 2048);
	put_le16(back_end.config + 34, 16);
	begin();
	cr_assert_eq(vhost_device_recognize(vhost), VIRTIO_ID_BLOCK);
	cr_assert_eq(w.dev->n_queues, 2, "as many as there are processors");
	cr_assert_eq(vdev_config(&w, 0, 8), 2048);
	cr_assert_eq(vdev_config(&w, 34, 2), 2);
	vdev_write_config(&w, 32, 1, 1);
	await(driver_wrote);
	/* It grows. */
	put_le64(back_end.config, 4096);
	back_end_reply(back_end.requests_fd, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0, NULL, 0);
	vdev_await_config(&w);
	while (vdev_config(&w, 0, 8) != 4096)
		vdev_await_config(&w);
	cr_assert_eq(vdev_config(&w, 34, 2), 2);
}

Test(vhost_device, bits_that_nobody_here_would_honour_are_not_shown)
{
	back_end.features = UINT64_MAX;
	make();
	cr_assert_not(w.dev->offered & VIRTIO_BIT(26), "the log of dirty memory");
	cr_assert_not(w.dev->offered & VIRTIO_BIT(30), "protocol features");
	cr_assert_not(w.dev->offered & VIRTIO_BIT(33), "an IOMMU");
	cr_assert_not(w.dev->offered & VIRTIO_BIT(38), "data in notifications");
	cr_assert(w.dev->offered & VIRTIO_BIT(34), "packed rings");
}
