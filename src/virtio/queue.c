/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a queue on its loop, and what device models do with it there. */
#include <errno.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"
#include "virtio/virtio_internal.h"

enum {
	SHARE = 16
}; /* chains a turn: others on the loop come to their turn, and the driver refills */

/* ---- wanted and real ---- */

static bool should_run(const struct virtio_dev *dev, const struct virtio_queue *q)
	REQUIRES(dev->lock)
{
	return q->wanted && !dev->holds;
}

/* Its loop has something to do: to start it, or, while it may run there, to stop it. */
void virtio_queue_update(struct virtio_dev *dev, struct virtio_queue *q)
{
	if (!should_run(dev, q) && !q->live)
		return;
	q->live = true;
	loop_post(q->loop, &q->work);
}

void virtio_queue_clear(struct virtio_dev *dev, struct virtio_queue *q)
{
	struct virtio_transport *t = dev->transport;

	q->config = (struct virtq_config){.size = q->max_size};
	q->enabled = q->wanted = q->resetting = q->has_position = false;
	q->state = VIRTIO_QUEUE_OFF;
	q->vq.broken = false;
	q->begun = 0;
	virtio_queue_set_call(q, -1);
	if (t && t->ops->queue_reset)
		t->ops->queue_reset(t, q);
}

static void went_idle(struct virtio_dev *dev, struct virtio_queue *q, enum virtio_queue_state state)
	REQUIRES(dev->lock)
{
	q->state = state;
	q->live = false;
	if (q->resetting)
		virtio_queue_clear(dev, q);
	virtio_dev_queue_idle(dev);
	/* Holds may have come and gone while it was stopping. */
	virtio_queue_update(dev, q);
}

/* ---- on the loop ---- */

static void run(struct virtio_queue *q)
{
	q->state = VIRTIO_QUEUE_RUNNING;
	q->started = true;
	if (q->given_away) {
		q->dev->ops->queue_start(q);
		return;
	}
	if (loop_add_fd(q->loop, &q->kick, EPOLLIN | EPOLLET) < 0)
		log_error("%s: queue %u: its kicks can't be watched", q->dev->dev.id, q->index);
	loop_add_poller(q->loop, &q->poller);
	if (q->dev->ops->queue_start)
		q->dev->ops->queue_start(q);
	/* Kicks that came before are no longer told apart; buffers may be there. */
	q->dev->ops->queue_kick(q);
}

static int set_up_rings(struct virtio_queue *q, const struct virtq_config *config,
			const struct virtq_position *position)
{
	int r = virtq_start(&q->vq, config, q->dev->acked, q->dev->map);

	if (r == 0 && position)
		r = virtq_seek(&q->vq, position);
	return r;
}

static void start(struct virtio_queue *q)
{
	struct virtio_dev *dev = q->dev;
	struct virtq_position position;
	struct virtq_config config;
	bool from_position;
	int r;

	if (q->vq.broken) {
		q->state = VIRTIO_QUEUE_RUNNING; /* and does nothing until it is stopped */
		return;
	}
	mutex_lock(&dev->lock);
	config = q->config;
	position = q->position;
	from_position = q->has_position;
	q->has_position = false;
	mutex_unlock(&dev->lock);
	r = q->state == VIRTIO_QUEUE_HELD
		    ? 0
		    : set_up_rings(q, &config, from_position ? &position : NULL);
	if (r == 0) {
		run(q);
		return;
	}
	q->state = VIRTIO_QUEUE_RUNNING; /* likewise */
	virtio_queue_broken(q, r == -EFAULT ? "its rings are not in memory"
					    : "its rings have no valid size or place");
}

static void stop(struct virtio_queue *q)
{
	bool started = q->started;

	q->state = VIRTIO_QUEUE_STOPPING;
	q->started = q->polled = false;
	if (started && !q->given_away) {
		loop_del_fd(q->loop, &q->kick);
		loop_del_poller(q->loop, &q->poller);
		loop_work_cancel(q->loop, &q->go_on);
	}
	if (started && q->dev->ops->queue_stop)
		q->dev->ops->queue_stop(q);
	else
		virtio_queue_stopped(q);
}

/* Brings what is closer to what is wanted; a queue that is stopping comes by again when it has.
 * Decided under the lock: a queue that is not live is anybody's. */
static void work(struct loop_work *posted)
{
	struct virtio_queue *q = container_of(posted, struct virtio_queue, work);
	enum { NOTHING, START, STOP } todo = NOTHING;
	struct virtio_dev *dev = q->dev;
	bool wanted, idle;

	mutex_lock(&dev->lock);
	wanted = should_run(dev, q);
	idle = q->state == VIRTIO_QUEUE_OFF || q->state == VIRTIO_QUEUE_HELD;
	if (q->live && idle && wanted)
		todo = START;
	else if (q->live && idle)
		went_idle(dev, q, q->state); /* it never came to run */
	else if (q->state == VIRTIO_QUEUE_RUNNING && !wanted)
		todo = STOP;
	mutex_unlock(&dev->lock);
	if (todo == START)
		start(q);
	else if (todo == STOP)
		stop(q);
}

void virtio_queue_settle(struct virtio_queue *q)
{
	if (!loop_is_elsewhere(q->loop))
		work(&q->work);
}

void virtio_queue_stopped(struct virtio_queue *q)
{
	struct virtio_dev *dev = q->dev;

	virtio_queue_flush(q);
	mutex_lock(&dev->lock);
	went_idle(dev, q, q->wanted ? VIRTIO_QUEUE_HELD : VIRTIO_QUEUE_OFF);
	mutex_unlock(&dev->lock);
}

/* ---- the data path ---- */

void virtio_queue_interrupt(struct virtio_queue *q)
{
	struct virtio_transport *t = q->dev->transport;
	int fd = atomic_load_explicit(&q->call_fd, memory_order_relaxed);

	device_count_own(&q->interrupts, 1);
	if (fd >= 0)
		eventfd_kick(fd);
	else if (t && t->ops->queue_irq)
		t->ops->queue_irq(t, q);
}

void virtio_queue_flush(struct virtio_queue *q)
{
	if (q->vq.pushed && virtq_flush(&q->vq))
		virtio_queue_interrupt(q);
}

static void flush(struct loop_work *deferred)
{
	virtio_queue_flush(container_of(deferred, struct virtio_queue, flush));
}

static void kicked(struct loop_fd *source, uint32_t events)
{
	struct virtio_queue *q = container_of(source, struct virtio_queue, kick);

	(void)events;
	device_count_own(&q->kicks, 1);
	q->dev->ops->queue_kick(q);
}

static bool poll_ring(struct loop_poller *poller)
{
	struct virtio_queue *q = container_of(poller, struct virtio_queue, poller);

	if (q->polled ? !virtq_has_new(&q->vq) : !virtq_kick_due(&q->vq))
		return false;
	q->dev->ops->queue_kick(q);
	return true;
}

static bool rest_ring(struct loop_poller *poller)
{
	struct virtio_queue *q = container_of(poller, struct virtio_queue, poller);

	if (!q->polled)
		return false;
	q->polled = false;
	if (!virtq_kicks_on(&q->vq))
		return false;
	q->dev->ops->queue_kick(q);
	return true;
}

void virtio_queue_broken(struct virtio_queue *q, const char *what)
{
	struct virtio_dev *dev = q->dev;

	q->vq.broken = true;
	device_count(&dev->guest_errors, 1);
	log_guest("%s: queue %u: %s; the device needs a reset", dev->dev.id, q->index, what);
	virtio_dev_needs_reset(dev);
}

bool virtio_queue_pop(struct virtio_queue *q, struct virtq_chain *chain, struct iovec *iov,
		      unsigned max)
{
	int r;

	if (q->vq.broken)
		return false;
	r = virtq_pop(&q->vq, chain, iov, max);
	if (r < 0)
		virtio_queue_broken(q, q->vq.why);
	if (r > 0)
		device_count_own(&q->chains, 1);
	return r > 0;
}

void virtio_queue_done(struct virtio_queue *q, const struct virtq_chain *chain, uint32_t written)
{
	virtq_push(&q->vq, chain, written);
	loop_defer(q->loop, &q->flush);
}

static void go_on(struct loop_work *deferred)
{
	struct virtio_queue *q = container_of(deferred, struct virtio_queue, go_on);

	q->dev->ops->queue_kick(q);
}

/* False when its share of this turn is used up. */
static bool take_share(struct virtio_queue *q, bool (*take)(struct virtio_queue *q), bool *waiting)
{
	unsigned n = 0;

	do {
		if (n++ == SHARE)
			return false;
		/* Looked at before `take`: what comes after it has found nothing needs kicks. */
		*waiting = virtq_has_work(&q->vq);
	} while (take(q));
	return true;
}

void virtio_queue_drain(struct virtio_queue *q, bool (*take)(struct virtio_queue *q))
{
	bool waiting;

	q->polled = false;
	while (!q->vq.broken) {
		virtq_kicks_off(&q->vq);
		if (!take_share(q, take, &waiting)) {
			loop_defer_next(q->loop, &q->go_on);
			return;
		}
		if (q->vq.broken || waiting)
			return; /* `take` has no room: kicks stay off */
		q->polled = loop_will_ask(q->loop);
		if (q->polled || !virtq_kicks_on(&q->vq))
			return;
	}
}

/* ---- making and freeing ---- */

void virtio_queue_init(struct virtio_queue *q, struct virtio_dev *dev, unsigned index)
{
	q->dev = dev;
	q->index = index;
	q->config.size = q->max_size;
	q->kick_fd = -1;
	q->kick = (struct loop_fd){.fd = -1, .ready = kicked};
	q->work.run = work;
	q->flush.run = flush;
	q->go_on.run = go_on;
	q->poller = (struct loop_poller){.poll = poll_ring, .rest = rest_ring};
	atomic_store_explicit(&q->call_fd, -1, memory_order_relaxed);
}

void virtio_queue_set_call(struct virtio_queue *q, int fd)
{
	int before = atomic_exchange_explicit(&q->call_fd, fd, memory_order_relaxed);

	if (q->given_away && fd != before && q->dev->ops->queue_call)
		q->dev->ops->queue_call(q);
}

void virtio_queue_set_kick(struct virtio_queue *q, int fd)
{
	q->kick_fd = q->kick.fd = fd;
}

void virtio_queue_done_with(struct virtio_queue *q)
{
	loop_del_fd(q->loop, &q->kick);
	loop_del_poller(q->loop, &q->poller);
	loop_work_cancel(q->loop, &q->work);
	loop_work_cancel(q->loop, &q->flush);
	loop_work_cancel(q->loop, &q->go_on);
}
