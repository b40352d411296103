/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio_rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "backend/limit.h"
#include "base/checked.h"
#include "base/clock.h"
#include "virtio/virtio.h"

enum { TURN_BUDGET = 4 * VIRTIO_RNG_MOST }; /* bytes; the loop has others to serve */

struct virtio_rng {
	struct virtio_dev virtio; /* first, for DEVICE_STAT */
	struct limit limit;
	struct loop_timer later; /* the rate, or the host's pool */
	struct loop_work more;	 /* the budget was used up */
	bool runs;
	uint64_t budget;
	struct iovec *iov; /* queue_size of them */
	uint16_t queue_size;
	_Atomic uint64_t bytes, requests, throttled;
};

static struct virtio_rng *rng_of(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_rng, virtio);
}

/* Fills what it can, at most VIRTIO_RNG_MOST: bytes. 0: the host has none yet. */
static uint32_t fill(const struct iovec *iov, unsigned n)
{
	uint32_t done = 0;

	for (unsigned i = 0; i < n && done < VIRTIO_RNG_MOST; i++) {
		size_t want = MIN(iov[i].iov_len, (size_t)(VIRTIO_RNG_MOST - done));
		ssize_t got = getrandom(iov[i].iov_base, want, GRND_NONBLOCK);

		if (got <= 0)
			break;
		done += (uint32_t)got;
		if ((size_t)got < want)
			break;
	}
	return done;
}

static void come_back(struct virtio_rng *rng, uint64_t in_ns)
{
	device_count_own(&rng->throttled, 1);
	loop_timer_arm(rng->virtio.queues[0].loop, &rng->later, in_ns);
}

static bool may_begin(struct virtio_rng *rng)
{
	uint64_t wait;

	if (rng->later.deadline_ns != 0)
		return false;
	if (rng->budget == 0) {
		loop_post(rng->virtio.queues[0].loop, &rng->more);
		return false;
	}
	wait = limit_is_on(&rng->limit) ? limit_wait(&rng->limit, clock_now_ns()) : 0;
	if (wait > 0 && virtq_has_work(&rng->virtio.queues[0].vq))
		come_back(rng, wait);
	return wait == 0;
}

static bool take(struct virtio_queue *q)
{
	struct virtio_rng *rng = rng_of(q->dev);
	struct virtq_chain chain;
	uint32_t done;

	if (!may_begin(rng) || !virtio_queue_pop(q, &chain, rng->iov, rng->queue_size))
		return false;
	done = fill(chain.iov + chain.n_out, chain.n_in);
	if (done == 0 && chain.n_in > 0) {
		virtq_unpop(&q->vq, &chain);
		come_back(rng, 100 * NS_PER_MS);
		return false;
	}
	virtio_queue_done(q, &chain, done);
	if (limit_is_on(&rng->limit))
		limit_charge(&rng->limit, clock_now_ns(), done);
	device_count_own(&rng->bytes, done);
	device_count_own(&rng->requests, 1);
	rng->budget -= MIN(rng->budget, (uint64_t)done + 256);
	return true;
}

static void rng_kick(struct virtio_queue *q)
{
	rng_of(q->dev)->budget = TURN_BUDGET;
	virtio_queue_drain(q, take);
}

static void go_on(struct virtio_rng *rng)
{
	if (rng->runs)
		rng_kick(&rng->virtio.queues[0]);
}

static void on_later(struct loop_timer *timer)
{
	go_on(container_of(timer, struct virtio_rng, later));
}

static void on_more(struct loop_work *work)
{
	go_on(container_of(work, struct virtio_rng, more));
}

static void rng_start(struct virtio_queue *q)
{
	rng_of(q->dev)->runs = true;
}

static void rng_stop(struct virtio_queue *q)
{
	struct virtio_rng *rng = rng_of(q->dev);

	rng->runs = false;
	loop_timer_cancel(q->loop, &rng->later);
	virtio_queue_stopped(q);
}

static void rng_free(struct device *dev)
{
	struct virtio_rng *rng = rng_of(container_of(dev, struct virtio_dev, dev));

	if (rng->virtio.queues) {
		struct loop *loop = rng->virtio.queues[0].loop;

		loop_timer_cancel(loop, &rng->later);
		loop_work_cancel(loop, &rng->more);
	}
	virtio_dev_done(&rng->virtio);
	free(rng->iov);
	free(rng);
}

static const struct device_stat stats[] = {
	DEVICE_STAT(struct virtio_rng, bytes, "random bytes that the guest was given"),
	DEVICE_STAT(struct virtio_rng, requests, "buffers that they filled"),
	DEVICE_STAT(struct virtio_rng, throttled, "how often a request had to wait"),
};

static const struct device_ops device_ops = {
	VIRTIO_DEVICE_OPS,
	.free = rng_free,
	.state_type = "virtio-rng",
	.help = "virtio random number generator",
	.stats = stats,
	.n_stats = ARRAY_SIZE(stats),
};

static const struct virtio_dev_ops virtio_ops = {
	.queue_start = rng_start,
	.queue_kick = rng_kick,
	.queue_stop = rng_stop,
};

static int init(struct virtio_rng *rng, const struct virtio_rng_setup *setup)
{
	uint64_t features = VIRTIO_FEATURES_COMMON | VIRTIO_BIT(VIRTIO_F_IN_ORDER);
	struct virtio_dev_setup dev_setup = {
		.id = setup->id,
		.device = &device_ops,
		.ops = &virtio_ops,
		.type = VIRTIO_ID_RNG,
		.features = setup->packed ? features : features & ~VIRTIO_BIT(VIRTIO_F_RING_PACKED),
		.map = setup->map,
		.n_queues = 1,
		.queue_size = setup->queue_size,
		.loops = setup->loops,
		.n_loops = 1,
	};

	rng->later.fired = on_later;
	rng->more.run = on_more;
	limit_set(&rng->limit, setup->bw, 0);
	rng->queue_size = setup->queue_size;
	rng->iov = calloc(setup->queue_size, sizeof(*rng->iov));
	if (!rng->iov)
		return -ENOMEM;
	return virtio_dev_init(&rng->virtio, &dev_setup);
}

int virtio_rng_new(const struct virtio_rng_setup *setup, struct virtio_dev **ret)
{
	struct virtio_rng *rng = calloc(1, sizeof(*rng));
	int r;

	if (!rng)
		return -ENOMEM;
	r = init(rng, setup);
	if (r < 0) {
		rng_free(&rng->virtio.dev);
		return r;
	}
	*ret = &rng->virtio;
	return 0;
}
