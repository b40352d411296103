/* SPDX-License-Identifier: Apache-2.0 */
#include "dev_world.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/checked.h"
#include "base/fd.h"

enum { PATIENCE_MS = 20000 };

/* ---- the transport ---- */

static struct dev_world *world_of(struct virtio_transport *t)
{
	return container_of(t, struct dev_world, transport);
}

static void config_irq(struct virtio_transport *t)
{
	eventfd_kick(world_of(t)->config_fd);
}

static void queue_irq(struct virtio_transport *t, struct virtio_queue *q)
{
	(void)q;
	atomic_fetch_add(&world_of(t)->queue_irqs, 1);
}

static void reset_by_driver(struct virtio_transport *t)
{
	atomic_fetch_add(&world_of(t)->driver_resets, 1);
}

static void machine_reset(struct virtio_transport *t)
{
	atomic_fetch_add(&world_of(t)->machine_resets, 1);
}

static void save(struct virtio_transport *t, struct state_writer *w)
{
	(void)t;
	state_put_u8(w, 0x77);
}

static void load(struct virtio_transport *t, struct state_reader *r)
{
	(void)t;
	if (state_get_u8(r) != 0x77)
		state_fail(r, "not this transport's");
}

static void ignore(struct virtio_transport *t)
{
	(void)t;
}

static const struct virtio_transport_ops ops = {
	.config_irq = config_irq,
	.queue_irq = queue_irq,
	.driver_reset = reset_by_driver,
	.reset = machine_reset,
	.save = save,
	.load = load,
	.free = ignore,
};

/* ---- life ---- */

static void make_device(struct dev_world *w)
{
	w->echo = echo_new(&w->mem.map, w->loops, w->n_loops);
	w->dev = &w->echo->virtio;
	w->dev->transport = &w->transport;
	for (unsigned i = 0; i < ECHO_QUEUES; i++) {
		virtio_queue_set_kick(&w->dev->queues[i], w->kick[i]);
		virtio_queue_set_call(&w->dev->queues[i], w->call[i]);
	}
}

void dev_world_init_polling(struct dev_world *w, const struct driver_setup *setup, unsigned n_loops,
			    uint64_t poll_ns)
{
	const struct loop_opts opts = {.engine = LOOP_EPOLL, .poll_ns = poll_ns};
	struct err err = {0};

	*w = (struct dev_world){.transport.ops = &ops, .n_loops = n_loops, .setup = *setup};
	guest_mem_init(&w->mem);
	for (unsigned i = 0; i < n_loops; i++)
		cr_assert_eq(loop_new_with(&opts, &w->loops[i], &err), 0);
	w->config_fd = eventfd_new();
	for (unsigned i = 0; i < ECHO_QUEUES; i++) {
		w->kick[i] = eventfd_new();
		w->call[i] = eventfd_new();
		for (unsigned j = 0; j < ECHO_QUEUE_SIZE; j++)
			w->requests[i][j].gpa = guest_alloc(&w->mem, 8, 8);
	}
	make_device(w);
}

void dev_world_init(struct dev_world *w, const struct driver_setup *setup, unsigned n_loops)
{
	dev_world_init_polling(w, setup, n_loops, 0);
}

static void *run_loop(void *arg)
{
	cr_assert_eq(loop_run(arg), 0);
	return NULL;
}

void dev_world_start(struct dev_world *w)
{
	for (unsigned i = 0; i < w->n_loops; i++)
		cr_assert_eq(pthread_create(&w->threads[i], NULL, run_loop, w->loops[i]), 0);
	w->running = true;
	dev_settle(w);
}

void dev_world_stop(struct dev_world *w)
{
	for (unsigned i = 0; w->running && i < w->n_loops; i++) {
		loop_stop(w->loops[i]);
		cr_assert_eq(pthread_join(w->threads[i], NULL), 0);
	}
	w->running = false;
}

static void forget_queues(struct dev_world *w)
{
	for (unsigned i = 0; w->has_queues && i < ECHO_QUEUES; i++) {
		driver_done(&w->dq[i]);
		for (unsigned j = 0; j < ECHO_QUEUE_SIZE; j++)
			w->requests[i][j].out = false;
	}
	w->has_queues = false;
}

void dev_world_done(struct dev_world *w)
{
	dev_world_stop(w);
	(void)device_free(&w->dev->dev);
	for (unsigned i = 0; i < w->n_loops; i++)
		(void)loop_free(w->loops[i]);
	forget_queues(w);
	for (unsigned i = 0; i < ECHO_QUEUES; i++) {
		(void)fd_close(w->kick[i]);
		(void)fd_close(w->call[i]);
	}
	(void)fd_close(w->config_fd);
	guest_mem_done(&w->mem);
}

void dev_world_renew(struct dev_world *w)
{
	dev_world_stop(w);
	(void)device_free(&w->dev->dev);
	make_device(w);
}

/* ---- the driver ---- */

void dev_status(struct dev_world *w, uint8_t status)
{
	virtio_dev_write_status(w->dev, status);
}

static void ack(struct dev_world *w, uint64_t features)
{
	virtio_dev_ack(w->dev, 0, (uint32_t)features);
	virtio_dev_ack(w->dev, 1, (uint32_t)(features >> 32));
}

void dev_agree(struct dev_world *w, uint64_t features)
{
	forget_queues(w);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		driver_init(&w->dq[i], &w->mem, &w->setup);
	w->has_queues = true;
	dev_status(w, DEV_FOUND);
	ack(w, driver_features(&w->dq[0]) | features);
	dev_status(w, DEV_AGREED);
	cr_assert_eq(virtio_dev_status(w->dev), DEV_AGREED);
}

static void set_area(struct dev_world *w, unsigned i, enum virtio_queue_field field, uint64_t gpa)
{
	virtio_dev_set_queue_half(w->dev, i, field, 0, (uint32_t)gpa);
	virtio_dev_set_queue_half(w->dev, i, field, 32, (uint32_t)(gpa >> 32));
}

void dev_set_up_queue(struct dev_world *w, unsigned i)
{
	struct virtio_queue_regs regs;

	virtio_dev_set_queue_size(w->dev, i, w->setup.size);
	set_area(w, i, VIRTIO_QUEUE_DESC, w->dq[i].desc_gpa);
	set_area(w, i, VIRTIO_QUEUE_DRIVER, w->dq[i].driver_gpa);
	set_area(w, i, VIRTIO_QUEUE_DEVICE, w->dq[i].device_gpa);
	virtio_queue_set_call(&w->dev->queues[i], w->call[i]);
	virtio_dev_enable_queue(w->dev, i);
	cr_assert(virtio_dev_queue_regs(w->dev, i, &regs));
	cr_assert(regs.enabled);
}

void dev_up(struct dev_world *w)
{
	dev_agree(w, VIRTIO_BIT(40 /* RING_RESET */));
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		dev_set_up_queue(w, i);
	dev_status(w, DEV_UP);
}

void dev_await_status(struct dev_world *w, uint8_t status)
{
	while (virtio_dev_status(w->dev) != status)
		(void)sched_yield();
}

void dev_reset(struct dev_world *w)
{
	dev_status(w, 0);
	dev_await_status(w, 0);
}

void dev_reset_queue(struct dev_world *w, unsigned i)
{
	struct virtio_queue_regs regs;

	virtio_dev_reset_queue(w->dev, i);
	do
		cr_assert(virtio_dev_queue_regs(w->dev, i, &regs));
	while (regs.resetting && sched_yield() == 0);
	driver_reset(&w->dq[i]);
	for (unsigned j = 0; j < ECHO_QUEUE_SIZE; j++)
		w->requests[i][j].out = false;
}

/* ---- requests ---- */

static struct dev_request *free_request(struct dev_world *w, unsigned i)
{
	for (unsigned j = 0; j < w->setup.size && j < ECHO_QUEUE_SIZE; j++)
		if (!w->requests[i][j].out)
			return &w->requests[i][j];
	return NULL;
}

bool dev_request(struct dev_world *w, unsigned i)
{
	struct dev_request *request = free_request(w, i);
	struct driver_seg segs[2];

	if (!request)
		return false;
	segs[0] = (struct driver_seg){.gpa = request->gpa, .len = 4};
	segs[1] = (struct driver_seg){.gpa = request->gpa + 4, .len = 4};
	request->word = w->next_word;
	memcpy(guest_ptr(&w->mem, request->gpa, 4), &request->word, 4);
	memset(guest_ptr(&w->mem, request->gpa + 4, 4), 0, 4);
	if (driver_add(&w->dq[i], segs, 1, 1, request) < 0)
		return false;
	request->out = true;
	w->next_word++;
	if (driver_publish(&w->dq[i]))
		eventfd_kick(w->kick[i]);
	return true;
}

unsigned dev_collect(struct dev_world *w, unsigned i)
{
	struct driver_used used;
	unsigned n = 0;

	for (; driver_collect(&w->dq[i], &used); n++) {
		struct dev_request *request = used.cookie;
		uint32_t word;

		memcpy(&word, guest_ptr(&w->mem, request->gpa + 4, 4), 4);
		cr_assert(request->out);
		cr_assert_eq(used.len, 4);
		cr_assert_eq(word, ~request->word);
		request->out = false;
	}
	return n;
}

void dev_await_all(struct dev_world *w, unsigned i)
{
	while (w->dq[i].n_chains > 0)
		if (!dev_collect(w, i) && !driver_interrupts_on(&w->dq[i]))
			dev_await(w->call[i], "an interrupt");
}

void dev_works(struct dev_world *w)
{
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		cr_assert(dev_request(w, i));
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		dev_await_all(w, i);
}

/* ---- the rest ---- */

struct settle {
	struct loop_work work;
	int fd;
};

static void settled(struct loop_work *work)
{
	eventfd_kick(container_of(work, struct settle, work)->fd);
}

void dev_settle(struct dev_world *w)
{
	for (unsigned i = 0; i < w->n_loops; i++) {
		struct settle settle = {.work.run = settled, .fd = eventfd_new()};

		loop_post(w->loops[i], &settle.work);
		dev_await(settle.fd, "the loop");
		(void)fd_close(settle.fd);
	}
}

uint64_t dev_take(int fd)
{
	eventfd_t count;

	return eventfd_read(fd, &count) == 0 ? count : 0;
}

void dev_await(int fd, const char *what)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "%s does not come", what);
	cr_assert_gt(dev_take(fd), 0);
}

uint64_t dev_stat(const struct dev_world *w, const char *name)
{
	const struct device_stat *stat;

	for (unsigned i = 0; (stat = device_stat_at(&w->dev->dev, i)); i++)
		if (strcmp(stat->name, name) == 0)
			return device_stat_value(&w->dev->dev, stat);
	cr_assert_fail("there is no counter %s", name);
	return 0;
}
