/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/devices/vdev_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "base/fd.h"
#include "tests/unit/event/engine.h"

enum { PATIENCE_MS = 20000, VDEV_DEPTH = 64 };

/* ---- its thread ---- */

static void *run_loop(void *arg)
{
	struct vdev_world *w = arg;
	struct loop *loop = w->loop;

	loop_claim(loop);
	cr_assert_eq(sem_post(&w->claimed), 0);
	cr_assert_eq(loop_run(loop), 0);
	return NULL;
}

static void start_thread(struct vdev_world *w)
{
	cr_assert_not(w->running);
	cr_assert_eq(sem_init(&w->claimed, 0, 0), 0);
	cr_assert_eq(pthread_create(&w->thread, NULL, run_loop, w), 0);
	while (sem_wait(&w->claimed) != 0)
		;
	w->running = true;
}

static void stop_thread(struct vdev_world *w)
{
	if (!w->running)
		return;
	loop_stop(w->loop);
	cr_assert_eq(pthread_join(w->thread, NULL), 0);
	w->running = false;
}

/* ---- the transport that is none ---- */

static void config_irq(struct virtio_transport *t)
{
	eventfd_kick(container_of(t, struct vdev_world, transport)->config_fd);
}

static void ignore(struct virtio_transport *t)
{
	(void)t;
}

static void save_nothing(struct virtio_transport *t, struct state_writer *w)
{
	(void)t;
	(void)w;
}

static void load_nothing(struct virtio_transport *t, struct state_reader *r)
{
	(void)t;
	(void)r;
}

static void connect_transport(struct vdev_world *w)
{
	static const struct virtio_transport_ops ops = {
		.config_irq = config_irq,
		.driver_reset = ignore,
		.reset = ignore,
		.save = save_nothing,
		.load = load_nothing,
		.free = ignore,
	};

	w->transport.ops = &ops;
	w->dev->transport = &w->transport;
	cr_assert_leq(w->dev->n_queues, VDEV_QUEUES);
	for (unsigned i = 0; i < w->dev->n_queues; i++) {
		virtio_queue_set_kick(&w->dev->queues[i], w->q[i].kick);
		virtio_queue_set_call(&w->dev->queues[i], w->q[i].call);
	}
}

/* ---- making and freeing ---- */

void vdev_world_init(struct vdev_world *w, unsigned combination)
{
	*w = (struct vdev_world){.setup = {.size = VDEV_QUEUE_SIZE,
					   .packed = combination & 1,
					   .event_idx = combination & 2,
					   .indirect = combination & 4,
					   .in_order = combination & 8}};
	guest_mem_init(&w->mem);
	w->loop = engine_loop(VDEV_DEPTH, 0);
	w->config_fd = eventfd_new();
	cr_assert_geq(w->config_fd, 0);
	for (unsigned i = 0; i < VDEV_QUEUES; i++) {
		w->q[i].kick = eventfd_new();
		w->q[i].call = eventfd_new();
		cr_assert(w->q[i].kick >= 0 && w->q[i].call >= 0);
	}
}

static void forget_queues(struct vdev_world *w)
{
	for (unsigned i = 0; i < VDEV_QUEUES; i++) {
		if (w->q[i].set_up)
			driver_done(&w->q[i].dq);
		w->q[i].set_up = false;
	}
}

void vdev_world_done(struct vdev_world *w)
{
	stop_thread(w);
	if (w->dev)
		device_free(&w->dev->dev);
	if (w->loop_ends)
		w->loop_ends();
	loop_free(w->loop);
	forget_queues(w);
	for (unsigned i = 0; i < VDEV_QUEUES; i++) {
		(void)close(w->q[i].kick);
		(void)close(w->q[i].call);
	}
	(void)close(w->config_fd);
	guest_mem_done(&w->mem);
}

static void check_stats(const struct device *dev)
{
	const struct device_stat *a, *b;

	for (unsigned i = 0; (a = device_stat_at(dev, i)); i++)
		for (unsigned j = 0; j < i && (b = device_stat_at(dev, j)); j++)
			cr_assert_str_neq(a->name, b->name);
}

void vdev_take(struct vdev_world *w, struct virtio_dev *dev)
{
	w->dev = dev;
	check_stats(&dev->dev);
	connect_transport(w);
	start_thread(w);
}

void vdev_replace(struct vdev_world *w, struct virtio_dev *(*make)(void))
{
	struct err err = {0};
	struct saved saved;

	cr_assert_eq(w->dev->dev.ops->quiesce(&w->dev->dev, 10 * NS_PER_S, &err), 0, "%s", err.msg);
	saved_take(&saved, &w->dev->dev);
	stop_thread(w);
	device_free(&w->dev->dev);
	if (w->loop_ends)
		w->loop_ends();
	loop_free(w->loop);
	w->loop = engine_loop(VDEV_DEPTH, 0);
	w->dev = make();
	connect_transport(w);
	cr_assert_eq(saved_load(&saved, &w->dev->dev, &err), 0, "%s", err.msg);
	start_thread(w);
	w->dev->dev.ops->resume(&w->dev->dev);
}

/* ---- what a driver does through registers ---- */

static void set_area(struct vdev_world *w, unsigned i, enum virtio_queue_field field, uint64_t gpa)
{
	virtio_dev_set_queue_half(w->dev, i, field, 0, (uint32_t)gpa);
	virtio_dev_set_queue_half(w->dev, i, field, 32, (uint32_t)(gpa >> 32));
}

static void enable_queue(struct vdev_world *w, unsigned i)
{
	const struct driver_queue *dq = &w->q[i].dq;

	virtio_dev_set_queue_size(w->dev, i, w->setup.size);
	set_area(w, i, VIRTIO_QUEUE_DESC, dq->desc_gpa);
	set_area(w, i, VIRTIO_QUEUE_DRIVER, dq->driver_gpa);
	set_area(w, i, VIRTIO_QUEUE_DEVICE, dq->device_gpa);
	virtio_dev_enable_queue(w->dev, i);
	virtio_queue_set_call(&w->dev->queues[i], w->q[i].call);
}

void vdev_up(struct vdev_world *w, uint64_t features)
{
	unsigned status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	forget_queues(w);
	for (unsigned i = 0; i < w->dev->n_queues; i++) {
		driver_init(&w->q[i].dq, &w->mem, &w->setup);
		w->q[i].set_up = true;
	}
	features |= driver_features(&w->q[0].dq);
	virtio_dev_write_status(w->dev, (uint8_t)status);
	virtio_dev_ack(w->dev, 0, (uint32_t)features);
	virtio_dev_ack(w->dev, 1, (uint32_t)(features >> 32));
	cr_assert_eq(w->dev->acked, features, "offered %#llx, wanted %#llx",
		     (unsigned long long)w->dev->offered, (unsigned long long)features);
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	virtio_dev_write_status(w->dev, (uint8_t)status);
	cr_assert_eq(virtio_dev_status(w->dev), status);
	for (unsigned i = 0; i < w->dev->n_queues; i++)
		enable_queue(w, i);
	virtio_dev_write_status(w->dev, (uint8_t)(status | VIRTIO_CONFIG_S_DRIVER_OK));
}

void vdev_reset(struct vdev_world *w)
{
	virtio_dev_write_status(w->dev, 0);
	virtio_dev_await_reset(w->dev);
	cr_assert_eq(virtio_dev_status(w->dev), 0);
}

/* ---- requests ---- */

void vdev_publish(struct vdev_world *w, unsigned queue)
{
	if (driver_publish(&w->q[queue].dq))
		eventfd_kick(w->q[queue].kick);
}

static void await_fd(int fd, const char *what)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t count;

	cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "%s does not come", what);
	cr_assert_eq(read(fd, &count, sizeof(count)), sizeof(count));
}

uint32_t vdev_await_used(struct vdev_world *w, unsigned queue)
{
	struct vdev_queue *q = &w->q[queue];
	struct driver_used used;

	while (!driver_collect(&q->dq, &used))
		if (!driver_interrupts_on(&q->dq))
			await_fd(q->call, "an interrupt");
	return used.len;
}

uint32_t vdev_request(struct vdev_world *w, unsigned queue, const struct driver_seg *segs,
		      unsigned n_out, unsigned n_in)
{
	struct driver_queue *dq = &w->q[queue].dq;

	if (w->setup.indirect)
		cr_assert_eq(driver_add_indirect(dq, segs, n_out, n_in, NULL), 0);
	else
		cr_assert_eq(driver_add(dq, segs, n_out, n_in, NULL), 0);
	vdev_publish(w, queue);
	return vdev_await_used(w, queue);
}

void vdev_break(struct vdev_world *w, unsigned queue, const struct driver_desc *descs, unsigned n)
{
	if (driver_add_raw(&w->q[queue].dq, descs, n, 0))
		eventfd_kick(w->q[queue].kick);
	while (!(virtio_dev_status(w->dev) & VIRTIO_CONFIG_S_NEEDS_RESET))
		vdev_await_config(w);
}

/* ---- configuration and the rest ---- */

void vdev_await_config(struct vdev_world *w)
{
	await_fd(w->config_fd, "a change of the configuration");
}

uint64_t vdev_config_changes(struct vdev_world *w)
{
	uint64_t count;

	return read(w->config_fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

uint64_t vdev_config(struct vdev_world *w, unsigned offset, unsigned size)
{
	uint8_t bytes[8] = {0};

	virtio_dev_read_config(w->dev, offset, size, bytes);
	return get_le_n(bytes, size);
}

void vdev_write_config(struct vdev_world *w, unsigned offset, unsigned size, uint64_t value)
{
	uint8_t bytes[8];

	put_le_n(bytes, size, value);
	virtio_dev_write_config(w->dev, offset, size, bytes);
}

struct settle {
	struct loop_work work;
	int fd;
};

static void settled(struct loop_work *work)
{
	eventfd_kick(container_of(work, struct settle, work)->fd);
}

void vdev_settle(struct vdev_world *w)
{
	struct settle settle = {.work.run = settled, .fd = eventfd_new()};

	loop_post(w->loop, &settle.work);
	await_fd(settle.fd, "the loop");
	(void)close(settle.fd);
}

uint64_t vdev_stat(const struct vdev_world *w, const char *name)
{
	const struct device_stat *stat;

	for (unsigned i = 0; (stat = device_stat_at(&w->dev->dev, i)); i++)
		if (strcmp(stat->name, name) == 0)
			return device_stat_value(&w->dev->dev, stat);
	cr_assert_fail("there is no counter %s", name);
	return 0;
}

int vdev_verb(struct vdev_world *w, const char *first, const char *second, struct err *err)
{
	const struct device_verb *verb = &w->dev->dev.ops->verbs[0];
	struct device_value values[2] = {
		{.given = first, .text = first, .len = first ? strlen(first) : 0},
		{.given = second, .text = second, .len = second ? strlen(second) : 0},
	};

	*err = (struct err){0};
	return verb->run(&w->dev->dev, values, err);
}

uint64_t vdev_bytes(struct vdev_world *w, const void *bytes, uint32_t len)
{
	uint64_t gpa = guest_alloc(&w->mem, len, 8);

	memcpy(guest_ptr(&w->mem, gpa, len), bytes, len);
	return gpa;
}
