/* SPDX-License-Identifier: Apache-2.0 */
#include "mmio_world.h"

#include <criterion/criterion.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/endian.h"
#include "base/fd.h"

/* ---- the device ---- */

static struct mmio_world *world_of(const struct virtio_queue *q)
{
	return container_of(q->dev, struct mmio_device, virtio)->world;
}

static void answer(struct virtio_queue *q, const struct virtq_chain *chain)
{
	memset(chain->iov[0].iov_base, 0x5a, 1);
	virtio_queue_done(q, chain, 1);
}

static bool take(struct virtio_queue *q)
{
	struct mmio_world *w = world_of(q);
	struct virtq_chain chain;

	if (!virtio_queue_pop(q, &chain, w->iov, ARRAY_SIZE(w->iov)))
		return false;
	if (!atomic_load(&w->hold)) {
		answer(q, &chain);
		return true;
	}
	w->kept = chain;
	w->held_queue = q;
	eventfd_kick(w->held);
	return true;
}

static void queue_kick(struct virtio_queue *q)
{
	virtio_queue_drain(q, take);
}

static void queue_stop(struct virtio_queue *q)
{
	struct mmio_world *w = world_of(q);

	if (w->held_queue != q) {
		virtio_queue_stopped(q);
		return;
	}
	eventfd_kick(w->stopping);
}

static void let_go(struct loop_work *work)
{
	struct mmio_world *w = container_of(work, struct mmio_world, let_go);
	struct virtio_queue *q = w->held_queue;

	w->held_queue = NULL;
	answer(q, &w->kept);
	if (q->state == VIRTIO_QUEUE_STOPPING)
		virtio_queue_stopped(q);
}

static void dev_reset(struct virtio_dev *dev)
{
	container_of(dev, struct mmio_device, virtio)->resets++;
}

static void device_done(struct device *dev)
{
	virtio_dev_done(container_of(dev, struct virtio_dev, dev));
}

static const struct virtio_dev_ops dev_ops = {
	.queue_kick = queue_kick, .queue_stop = queue_stop, .reset = dev_reset};
static const struct device_ops device_ops = {VIRTIO_DEVICE_OPS, .free = device_done,
					     .state_type = "virtio-test", .help = "test"};

/* ---- making and freeing ---- */

void mmio_world_init(struct mmio_world *w)
{
	*w = (struct mmio_world){.device.world = w, .let_go.run = let_go};
	guest_mem_init(&w->mem);
	fake_wires_init(&w->wires);
	cr_assert_eq(loop_new(&w->loop), 0);
	w->held = eventfd_new();
	w->stopping = eventfd_new();
	cr_assert(w->held >= 0 && w->stopping >= 0);
}

int mmio_world_make(struct mmio_world *w)
{
	static const uint8_t config[MMIO_CONFIG_LEN] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
	static const uint8_t writable[MMIO_CONFIG_LEN] = {[8] = 0xff, 0xff, 0xff, 0x0f};
	uint8_t copy[MMIO_CONFIG_LEN];
	struct virtio_transport *transport;
	const struct virtio_dev_setup setup = {
		.id = "test0",
		.device = &device_ops,
		.ops = &dev_ops,
		.type = VIRTIO_ID_RNG,
		.features = VIRTIO_FEATURES_COMMON | 0x5,
		.map = &w->mem.map,
		.config = copy,
		.writable = writable,
		.config_len = MMIO_CONFIG_LEN,
		.n_queues = MMIO_QUEUES,
		.queue_size = MMIO_QUEUE_SIZE,
		.loops = &w->loop,
		.n_loops = 1,
	};

	memcpy(copy, config, sizeof(copy));
	w->dev = &w->device.virtio;
	cr_assert_eq(virtio_dev_init(w->dev, &setup), 0);
	return virtio_mmio_new(w->dev, &w->memory, MMIO_BASE, MMIO_GSI, &w->wires.maker,
			       &transport);
}

static void *run_loop(void *arg)
{
	struct mmio_world *w = arg;

	cr_assert_eq(loop_run(w->loop), 0);
	return NULL;
}

void mmio_world_start(struct mmio_world *w)
{
	cr_assert_eq(pthread_create(&w->thread, NULL, run_loop, w), 0);
}

static void forget_queues(struct mmio_world *w)
{
	for (unsigned i = 0; w->has_queues && i < MMIO_QUEUES; i++)
		driver_done(&w->dq[i]);
	w->has_queues = false;
}

void mmio_world_done(struct mmio_world *w)
{
	if (w->thread) {
		loop_stop(w->loop);
		cr_assert_eq(pthread_join(w->thread, NULL), 0);
	}
	(void)device_free(&w->dev->dev);
	(void)loop_free(w->loop);
	forget_queues(w);
	fake_wires_done(&w->wires);
	guest_mem_done(&w->mem);
	(void)fd_close(w->held);
	(void)fd_close(w->stopping);
}

/* ---- accesses ---- */

uint64_t mmio_read(struct mmio_world *w, unsigned offset, unsigned size)
{
	uint8_t bytes[8];

	cr_assert(io_bus_read(&w->memory, MMIO_BASE + offset, size, bytes));
	return get_le_n(bytes, size);
}

void mmio_write(struct mmio_world *w, unsigned offset, unsigned size, uint64_t value)
{
	uint8_t bytes[8];

	if (fake_wires_write(&w->wires, MMIO_BASE + offset, size, value))
		return;
	put_le_n(bytes, size, value);
	cr_assert(io_bus_write(&w->memory, MMIO_BASE + offset, size, bytes));
}

uint32_t mmio_get(struct mmio_world *w, unsigned offset)
{
	return (uint32_t)mmio_read(w, offset, 4);
}

void mmio_set(struct mmio_world *w, unsigned offset, uint32_t value)
{
	mmio_write(w, offset, 4, value);
}

/* ---- the driver ---- */

static void set_area(struct mmio_world *w, unsigned low, uint64_t gpa)
{
	mmio_set(w, low, (uint32_t)gpa);
	mmio_set(w, low + 4, (uint32_t)(gpa >> 32));
}

void mmio_world_set_up_queue(struct mmio_world *w, unsigned queue)
{
	const struct driver_queue *dq = &w->dq[queue];

	mmio_set(w, VIRTIO_MMIO_QUEUE_SEL, queue);
	cr_assert_eq(mmio_get(w, VIRTIO_MMIO_QUEUE_READY), 0);
	mmio_set(w, VIRTIO_MMIO_QUEUE_NUM, dq->setup.size);
	set_area(w, VIRTIO_MMIO_QUEUE_DESC_LOW, dq->desc_gpa);
	set_area(w, VIRTIO_MMIO_QUEUE_AVAIL_LOW, dq->driver_gpa);
	set_area(w, VIRTIO_MMIO_QUEUE_USED_LOW, dq->device_gpa);
	mmio_set(w, VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert_eq(mmio_get(w, VIRTIO_MMIO_QUEUE_READY), 1);
}

static void ack(struct mmio_world *w, unsigned word, uint32_t bits)
{
	mmio_set(w, VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
	mmio_set(w, VIRTIO_MMIO_DRIVER_FEATURES, bits);
}

void mmio_world_up(struct mmio_world *w, const struct driver_setup *setup)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	uint64_t features;

	forget_queues(w);
	for (unsigned i = 0; i < MMIO_QUEUES; i++)
		driver_init(&w->dq[i], &w->mem, setup);
	w->has_queues = true;
	features = driver_features(&w->dq[0]) | VIRTIO_BIT(40 /* RING_RESET */);
	mmio_set(w, VIRTIO_MMIO_STATUS, status);
	ack(w, 0, (uint32_t)features);
	ack(w, 1, (uint32_t)(features >> 32));
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	mmio_set(w, VIRTIO_MMIO_STATUS, status);
	cr_assert_eq(mmio_get(w, VIRTIO_MMIO_STATUS), status);
	for (unsigned i = 0; i < MMIO_QUEUES; i++)
		mmio_world_set_up_queue(w, i);
	mmio_set(w, VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
}

void mmio_world_request(struct mmio_world *w, unsigned queue)
{
	struct driver_seg seg = {.gpa = guest_alloc(&w->mem, 1, 1), .len = 1};

	cr_assert_eq(driver_add(&w->dq[queue], &seg, 0, 1, NULL), 0);
	if (driver_publish(&w->dq[queue]))
		mmio_set(w, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

void mmio_world_await_used(struct mmio_world *w, unsigned queue)
{
	struct driver_used used;

	while (!driver_collect(&w->dq[queue], &used)) {
		uint32_t why;

		if (driver_interrupts_on(&w->dq[queue]))
			continue;
		cr_assert(fake_edge_await(&w->wires.edge[0]), "no interrupt");
		why = mmio_get(w, VIRTIO_MMIO_INTERRUPT_STATUS);
		mmio_set(w, VIRTIO_MMIO_INTERRUPT_ACK, why);
	}
	cr_assert_eq(used.len, 1);
}

void mmio_world_await(int eventfd, const char *what)
{
	struct pollfd p = {.fd = eventfd, .events = POLLIN};
	eventfd_t count;

	cr_assert_eq(poll(&p, 1, FAKE_WIRES_PATIENCE_MS), 1, "%s does not come", what);
	cr_assert_eq(eventfd_read(eventfd, &count), 0);
}

void mmio_world_let_go(struct mmio_world *w)
{
	loop_post(w->loop, &w->let_go);
}
