/* SPDX-License-Identifier: Apache-2.0 */
#include "echo.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/fd.h"

enum { PATIENCE_MS = 20000 };

static struct echo *echo_of(const struct virtio_dev *dev)
{
	return (struct echo *)((uintptr_t)dev - offsetof(struct echo, virtio));
}

static struct echo_queue *queue_of(const struct virtio_queue *q)
{
	return &echo_of(q->dev)->queues[q->index];
}

static void news(struct echo *e, atomic_uint *count)
{
	atomic_fetch_add(count, 1);
	eventfd_kick(e->news);
}

static uint64_t roll(struct echo_queue *eq)
{
	eq->dice ^= eq->dice << 13;
	eq->dice ^= eq->dice >> 7;
	eq->dice ^= eq->dice << 17;
	return eq->dice;
}

static void answer(struct echo_queue *eq, const struct echo_chain *c)
{
	uint32_t word = 0;

	if (c->chain.n_out)
		memcpy(&word, c->iov[0].iov_base, sizeof(word));
	word = ~word;
	memcpy(c->iov[c->chain.n_out].iov_base, &word, sizeof(word));
	virtio_queue_done(eq->q, &c->chain, sizeof(word));
}

static void give(struct echo_queue *eq, unsigned i)
{
	struct echo_chain c = eq->kept[i];

	c.chain.iov = c.iov;
	eq->kept[i] = eq->kept[--eq->n_kept];
	answer(eq, &c);
}

static void look_if_done(struct echo_queue *eq)
{
	if (!eq->stops || eq->n_kept)
		return;
	eq->stops = false;
	virtio_queue_stopped(eq->q);
}

static void arm(struct echo_queue *eq)
{
	if (eq->later.deadline_ns == 0)
		loop_timer_arm(eq->q->loop, &eq->later, roll(eq) % 20000);
}

static bool take(struct virtio_queue *q)
{
	struct echo_queue *eq = queue_of(q);
	struct echo *e = echo_of(q->dev);
	struct echo_chain *c = &eq->kept[eq->n_kept];
	int mode = atomic_load(&e->mode); /* once: another thread changes it */

	if (eq->n_kept == ECHO_QUEUE_SIZE || !virtio_queue_pop(q, &c->chain, c->iov, ECHO_SEGMENTS))
		return false;
	if (mode == ECHO_NOW) {
		answer(eq, c);
		return true;
	}
	eq->n_kept++;
	if (mode == ECHO_LATER)
		arm(eq);
	news(e, &e->kept);
	return true;
}

static void fired(struct loop_timer *timer)
{
	struct echo_queue *eq = container_of(timer, struct echo_queue, later);

	for (uint64_t n = roll(eq) % (eq->n_kept + 1); eq->n_kept && n > 0; n--)
		give(eq, (unsigned)(roll(eq) % eq->n_kept));
	if (eq->n_kept)
		arm(eq);
	look_if_done(eq);
}

static void let_go(struct loop_work *work)
{
	struct echo_queue *eq = container_of(work, struct echo_queue, let_go);

	while (eq->n_kept)
		give(eq, 0);
	look_if_done(eq);
}

static void queue_start(struct virtio_queue *q)
{
	struct echo_queue *eq = queue_of(q);

	vmm_assert(!eq->runs && !eq->stops && eq->n_kept == 0);
	vmm_assert(q->started && q->state == VIRTIO_QUEUE_RUNNING);
	eq->runs = true;
	news(echo_of(q->dev), &echo_of(q->dev)->starts);
}

static void queue_kick(struct virtio_queue *q)
{
	vmm_assert(queue_of(q)->runs);
	virtio_queue_drain(q, take);
}

static void queue_stop(struct virtio_queue *q)
{
	struct echo_queue *eq = queue_of(q);

	vmm_assert(eq->runs && !eq->stops);
	eq->runs = false;
	eq->stops = true;
	news(echo_of(q->dev), &echo_of(q->dev)->stops);
	look_if_done(eq);
}

static int dev_accept(struct virtio_dev *dev, uint64_t features)
{
	vmm_assert(features & VIRTIO_BIT(VIRTIO_F_VERSION_1));
	return atomic_load(&echo_of(dev)->refuse) ? -EINVAL : 0;
}

static void config_written(struct virtio_dev *dev, unsigned offset, unsigned len)
{
	vmm_assert(offset + len <= ECHO_CONFIG_LEN);
	atomic_fetch_add(&echo_of(dev)->written, 1);
}

static void dev_reset(struct virtio_dev *dev)
{
	struct echo *e = echo_of(dev);

	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		vmm_assert(!e->queues[i].stops && e->queues[i].n_kept == 0);
	atomic_fetch_add(&e->resets, 1);
}

static void echo_free(struct device *dev)
{
	struct echo *e = echo_of(container_of(dev, struct virtio_dev, dev));

	for (unsigned i = 0; i < ECHO_QUEUES; i++) {
		loop_timer_cancel(e->queues[i].q->loop, &e->queues[i].later);
		loop_work_cancel(e->queues[i].q->loop, &e->queues[i].let_go);
	}
	virtio_dev_done(&e->virtio);
	(void)fd_close(e->news);
	free(e);
}

static const struct device_ops device_ops = {VIRTIO_DEVICE_OPS, .free = echo_free,
					     .state_type = "echo"};
static const struct virtio_dev_ops virtio_ops = {
	.accept = dev_accept,
	.config_written = config_written,
	.queue_start = queue_start,
	.queue_kick = queue_kick,
	.queue_stop = queue_stop,
	.reset = dev_reset,
};

struct echo *echo_new(const struct mm_map *map, struct loop *const *loops, unsigned n_loops)
{
	static const uint8_t writable[ECHO_CONFIG_LEN] = {[8] = 0xff, 0xff, 0xff, 0x0f};
	uint8_t config[ECHO_CONFIG_LEN] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
	const struct virtio_dev_setup setup = {
		.id = "echo0",
		.device = &device_ops,
		.ops = &virtio_ops,
		.type = VIRTIO_ID_RNG,
		.features = VIRTIO_FEATURES_COMMON | 5,
		.map = map,
		.config = config,
		.writable = writable,
		.config_len = sizeof(config),
		.n_queues = ECHO_QUEUES,
		.queue_size = ECHO_QUEUE_SIZE,
		.loops = loops,
		.n_loops = n_loops,
	};
	struct echo *e = calloc(1, sizeof(*e));

	cr_assert_not_null(e);
	cr_assert_eq(virtio_dev_init(&e->virtio, &setup), 0);
	e->news = eventfd_new();
	cr_assert_geq(e->news, 0);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		e->queues[i] = (struct echo_queue){.q = &e->virtio.queues[i],
						   .dice = 88172645463325252u + i,
						   .later.fired = fired,
						   .let_go.run = let_go};
	return e;
}

void echo_await(struct echo *echo, atomic_uint *count, unsigned n)
{
	while (atomic_load(count) < n) {
		struct pollfd p = {.fd = echo->news, .events = POLLIN};
		eventfd_t read;

		cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "waited in vain");
		(void)eventfd_read(echo->news, &read);
	}
}

void echo_let_go(struct echo *echo, unsigned queue)
{
	loop_post(echo->queues[queue].q->loop, &echo->queues[queue].let_go);
}
