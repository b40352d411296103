/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vhost/vhost_world.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "tests/unit/event/engine.h"

struct vhost_world vw;
struct back_end back_end;

static const uint16_t no_config[] = {0};

static struct mm_region memory(uint64_t gpa)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, WORLD_REGION), 0);
	return (struct mm_region){
		.gpa = GPA(gpa),
		.size = WORLD_REGION,
		.host = mmap(NULL, WORLD_REGION, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
		.fd = fd};
}

void vhost_world_set_up(void)
{
	struct mm_region low = memory(0), high = memory(WORLD_HIGH);

	signal(SIGPIPE, SIG_IGN);
	world_loop = engine_loop(0, 0);
	strcpy(vw.path, "/tmp/vmm-vhost-XXXXXX");
	cr_assert_not_null(mkdtemp(vw.path));
	strcat(vw.path, "/sock");
	vw.setup = (struct vhost_user_setup){.what = "--vhost-user",
					     .path = vw.path,
					     .wait_ns = 10 * NS_PER_S,
					     .reconnect_ns = NS_PER_S / 1000,
					     .config_sizes = no_config};
	cr_assert_eq(mm_map_add(&vw.map, &low), 0);
	cr_assert_eq(mm_map_add(&vw.map, &high), 0);
	back_end = BACK_END(vw.path);
}

void vhost_world_tear_down(void)
{
	vw.dev = vhost_dev_free(vw.dev);
	back_end_stop(&back_end);
	world_loop = loop_free(world_loop);
	*strrchr(vw.path, '/') = '\0';
	cr_assert_eq(rmdir(vw.path), 0, "nothing is left behind");
}

void vhost_open(void)
{
	cr_assert_eq(vhost_user_open(&vw.setup, &vw.dev, &vw.err), 0, "%s", vw.err.msg);
}

void vhost_open_fails(void)
{
	cr_assert_lt(vhost_user_open(&vw.setup, &vw.dev, &vw.err), 0);
	vw.dev = NULL;
}

/* ---- the owner ---- */

static void on_ready(struct vhost_dev *d)
{
	vw.readies++;
	d->ops->start(d);
}

static void on_go_on(struct vhost_dev *d)
{
	d->ops->start(d);
}

static void on_up(struct vhost_dev *d)
{
	(void)d;
	vw.ups++;
}

static void on_lost(struct vhost_dev *d, const char *why)
{
	(void)d;
	vw.losts++;
	(void)snprintf(vw.why, sizeof(vw.why), "%s", why);
}

static void on_failed(struct vhost_dev *d, const char *why)
{
	(void)d;
	(void)why;
	vw.faileds++;
}

static void on_stopped(struct vhost_dev *d, unsigned ring)
{
	(void)d;
	vw.stoppeds[ring]++;
}

static void on_config(struct vhost_dev *d, const uint8_t *bytes, unsigned len)
{
	(void)d;
	(void)bytes;
	(void)len;
	vw.configs++;
}

static const struct vhost_dev_events events = {
	.ready = on_ready,
	.go_on = on_go_on,
	.up = on_up,
	.lost = on_lost,
	.failed = on_failed,
	.stopped = on_stopped,
	.config = on_config,
};

void vhost_attach(void)
{
	struct vhost_dev *d = vw.dev;

	d->events = &events;
	d->map = &vw.map;
	d->n_rings = WORLD_RINGS;
	d->queue_size = WORLD_RING_SIZE;
	d->acked = d->features;
	for (unsigned i = 0; i < WORLD_RINGS; i++)
		d->rings[i] = (struct vhost_ring){.size = WORLD_RING_SIZE,
						  .desc = GPA(0x1000 + i * 0x10000),
						  .driver = GPA(0x2000 + i * 0x10000),
						  .device = GPA(WORLD_HIGH + i * 0x10000),
						  .enabled = true,
						  .kick = eventfd_new(),
						  .call = eventfd_new()};
	cr_assert_eq(d->ops->attach(d, world_loop), 0);
	cr_assert_eq(vw.readies, 1);
	vw.configs = 0; /* but for the first */
}

void vhost_start(void)
{
	unsigned ups = vw.ups;

	for (unsigned i = 0; i < WORLD_RINGS; i++)
		vw.dev->rings[i].wanted = true;
	vw.dev->ops->start(vw.dev);
	vhost_await(&vw.ups, ups + 1);
}

void vhost_stop(unsigned ring)
{
	unsigned before = vw.stoppeds[ring];

	vw.dev->ops->stop(vw.dev, ring);
	vhost_await(&vw.stoppeds[ring], before + 1);
}

struct awaited {
	const unsigned *counter;
	unsigned n;
};

static bool has_come(void *arg)
{
	const struct awaited *a = arg;

	return *a->counter >= a->n;
}

void vhost_await(const unsigned *counter, unsigned n)
{
	struct awaited a = {counter, n};

	world_run_until(has_come, &a);
}

static bool is_connected(void *arg)
{
	return atomic_load(&vw.dev->connected) == *(bool *)arg;
}

void vhost_await_connected(bool connected)
{
	world_run_until(is_connected, &connected);
}
