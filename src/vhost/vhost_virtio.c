/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/vhost_virtio.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"

static struct vhost_virtio *of_virtio(struct virtio_dev *dev)
{
	return container_of(dev, struct vhost_virtio, virtio);
}

static const struct vhost_dev_events events;

static struct vhost_virtio *of_vhost(struct vhost_dev *d)
{
	return d->owner;
}

/* ---- features ---- */

/* Bits that only make sense with a part of ours that is not there: the log of dirty memory, an
 * IOMMU, ordering by the platform, virtual functions, data in notifications. */
uint64_t vhost_virtio_features(const struct vhost_dev *d, bool packed)
{
	static const uint64_t not_passed = VIRTIO_BIT(26) | VIRTIO_BIT(27) | VIRTIO_BIT(30) |
					   VIRTIO_BIT(33) | VIRTIO_BIT(36) | VIRTIO_BIT(37) |
					   VIRTIO_BIT(38) | VIRTIO_BIT(39);

	uint64_t features = d->features & ~not_passed & ~(UINT64_MAX << 41);

	if (!packed && d->recovery != VHOST_RECOVERY_EXACT)
		features &= ~VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	return features;
}

/* ---- interrupts ---- */

static void pass_interrupt_on(struct vhost_virtio_queue *vq)
{
	unsigned ring = (unsigned)(vq - vq->v->queues);
	uint64_t n;

	if (read(vq->call.fd, &n, sizeof(n)) == sizeof(n) && vq->given)
		virtio_queue_interrupt(&vq->v->virtio.queues[ring]);
}

static void on_call(struct loop_fd *source, uint32_t events_)
{
	(void)events_;
	pass_interrupt_on(container_of(source, struct vhost_virtio_queue, call));
}

/* The vector's own eventfd, or ours. */
static int choose_call(const struct vhost_virtio *v, unsigned ring)
{
	int fd = atomic_load_explicit(&v->virtio.queues[ring].call_fd, memory_order_relaxed);

	return fd >= 0 ? fd : v->queues[ring].call.fd;
}

static void update_calls(struct loop_work *work)
{
	struct vhost_virtio *v = container_of(work, struct vhost_virtio, calls);
	struct vhost_dev *d = v->vhost;

	for (unsigned i = 0; i < v->n_queues; i++) {
		int call = choose_call(v, i);

		if (!v->queues[i].given || d->rings[i].call == call)
			continue;
		d->rings[i].call = call;
		d->ops->set_call(d, i);
	}
}

void vhost_virtio_queue_call(struct virtio_queue *q)
{
	struct vhost_virtio *v = of_virtio(q->dev);

	loop_post(v->loop, &v->calls);
}

/* ---- starting ---- */

static void fill_ring(struct vhost_virtio *v, struct virtio_queue *q)
{
	struct vhost_ring *ring = &v->vhost->rings[q->index];
	struct virtq_config config;

	mutex_lock(&q->dev->lock);
	config = q->config;
	v->acked = q->dev->acked;
	mutex_unlock(&q->dev->lock);
	*ring = (struct vhost_ring){
		.wanted = true,
		.size = config.size,
		.desc = GPA(config.desc),
		.driver = GPA(config.driver),
		.device = GPA(config.device),
		.base = virtq_vhost_base(&q->vq),
		.kick = q->kick_fd,
		.call = choose_call(v, q->index),
		.enabled = ring->enabled,
	};
	v->queues[q->index].given = true;
}

/* A driver's queues come one after the other, and some back ends count them by what they are told
 * first: it begins when all are there. */
static bool all_are_given(struct vhost_virtio *v)
{
	struct virtio_dev *dev = &v->virtio;
	bool all = true;

	mutex_lock(&dev->lock);
	for (unsigned i = 0; i < v->n_queues; i++)
		if (dev->queues[i].wanted && !dev->holds && !v->queues[i].given)
			all = false;
	mutex_unlock(&dev->lock);
	return all;
}

static void start_rings(struct loop_work *work)
{
	struct vhost_virtio *v = container_of(work, struct vhost_virtio, start);

	if (v->failed || !all_are_given(v))
		return;
	v->vhost->acked = v->acked & v->passed;
	v->vhost->ops->start(v->vhost);
}

static void catch_up(struct vhost_virtio *v)
{
	if (!atomic_exchange(&v->forget, false))
		return;
	v->failed = false;
	v->acked = v->vhost->acked = 0;
	if (v->begins_anew)
		v->begins_anew(v);
	v->vhost->ops->reset(v->vhost);
}

/* A new driver's start may be posted ahead of what the old one's reset has posted. */
void vhost_virtio_queue_start(struct virtio_queue *q)
{
	struct vhost_virtio *v = of_virtio(q->dev);

	catch_up(v);
	fill_ring(v, q);
	loop_defer(v->loop, &v->start);
}

/* ---- stopping ---- */

/* What the back end said before it stopped is passed on first. */
static void give_back(struct vhost_virtio *v, unsigned ring)
{
	pass_interrupt_on(&v->queues[ring]);
	v->queues[ring].given = false;
	virtio_queue_stopped(&v->virtio.queues[ring]);
}

void vhost_virtio_queue_stop(struct virtio_queue *q)
{
	struct vhost_virtio *v = of_virtio(q->dev);

	v->vhost->ops->stop(v->vhost, q->index);
}

static void break_queue(struct vhost_virtio *v, unsigned ring, const char *why)
{
	log_warn("%s: queue %u: %s; the device needs a reset", v->virtio.dev.id, ring, why);
	v->failed = true;
	device_count(&v->failures_of_requests, 1);
	virtio_dev_needs_reset(&v->virtio);
}

static void on_stopped(struct vhost_dev *d, unsigned ring)
{
	struct vhost_virtio *v = of_vhost(d);
	struct virtq *vq = &v->virtio.queues[ring].vq;

	if (!virtq_take_vhost_base(vq, d->rings[ring].base) && virtq_rewind(vq) > 0 &&
	    !atomic_load(&v->forget))
		break_queue(v, ring, "the back end stopped where it can't have come to");
	give_back(v, ring);
}

/* ---- a back end goes, another one comes ---- */

/* True when all is known that the next one has to know. */
static bool recover(struct vhost_virtio *v, unsigned ring)
{
	struct vhost_dev *d = v->vhost;
	struct virtq *vq = &v->virtio.queues[ring].vq;
	uint32_t begun = virtq_rewind(vq);

	d->rings[ring].base = virtq_vhost_base(vq);
	if (d->recovery == VHOST_RECOVERY_EXACT || begun <= 1)
		return true;
	return begun <= vq->size && (vq->in_order || v->on_lost == VHOST_ON_LOST_REPLAY);
}

/* False in a reset: what was under way is nobody's then. In a pause it still is the driver's. */
static bool driver_waits(struct vhost_virtio *v, unsigned ring)
{
	bool wanted;

	mutex_lock(&v->virtio.lock);
	wanted = v->virtio.queues[ring].wanted;
	mutex_unlock(&v->virtio.lock);
	return wanted;
}

static void on_lost(struct vhost_dev *d, const char *why)
{
	struct vhost_virtio *v = of_vhost(d);

	(void)why;
	device_count_own(&v->lost, 1);
	for (unsigned i = 0; i < v->n_queues; i++) {
		if (!v->queues[i].given)
			continue;
		if (!recover(v, i) && !v->failed && driver_waits(v, i))
			break_queue(v, i,
				    "the back end has left, and which requests it has done is not "
				    "known");
		if (!d->rings[i].wanted) /* it was being stopped */
			give_back(v, i);
	}
	if (v->connected)
		v->connected(v, false);
}

static void pass_on_written(struct vhost_virtio *v)
{
	struct virtio_dev *dev = &v->virtio;
	uint8_t bytes[VHOST_MAX_CONFIG];
	unsigned from, to;

	if (!atomic_load_explicit(&v->vhost->connected, memory_order_relaxed))
		return; /* when there is somebody to tell */
	mutex_lock(&dev->lock);
	from = v->written_from;
	to = v->written_to;
	v->written_from = v->written_to = 0;
	memcpy(bytes, dev->config + from, to - from);
	mutex_unlock(&dev->lock);
	if (to > from)
		v->vhost->ops->set_config(v->vhost, from, bytes, to - from);
}

void vhost_virtio_set_config(struct vhost_virtio *v, const uint8_t *bytes, unsigned len)
{
	struct virtio_dev *dev = &v->virtio;
	bool changed = false;

	mutex_lock(&dev->lock);
	for (unsigned i = 0; i < len; i++) {
		if ((i >= v->written_from && i < v->written_to) || dev->config[i] == bytes[i])
			continue;
		dev->config[i] = bytes[i];
		changed = true;
	}
	if (changed)
		virtio_dev_config_changed(dev);
	mutex_unlock(&dev->lock);
}

static void on_ready(struct vhost_dev *d)
{
	struct vhost_virtio *v = of_vhost(d);

	if (v->connected)
		v->connected(v, true);
	pass_on_written(v);
	start_rings(&v->start);
}

static void on_go_on(struct vhost_dev *d)
{
	start_rings(&of_vhost(d)->start);
}

static void on_up(struct vhost_dev *d)
{
	(void)d;
}

static void on_failed(struct vhost_dev *d, const char *why)
{
	struct vhost_virtio *v = of_vhost(d);

	if (v->failed)
		return;
	log_warn("%s: the back end is cut off: %s; the device needs a reset", v->virtio.dev.id,
		 why);
	v->failed = true;
	virtio_dev_needs_reset(&v->virtio);
}

/* ---- configuration and reset ---- */

static void on_config(struct vhost_dev *d, const uint8_t *bytes, unsigned len)
{
	struct vhost_virtio *v = of_vhost(d);

	if (v->config)
		v->config(v, bytes, len);
}

static void take_news(struct loop_work *work)
{
	struct vhost_virtio *v = container_of(work, struct vhost_virtio, news);

	catch_up(v);
	pass_on_written(v);
}

void vhost_virtio_config_written(struct virtio_dev *dev, unsigned offset, unsigned len)
{
	struct vhost_virtio *v = of_virtio(dev);

	if (v->written_to == v->written_from) {
		v->written_from = offset;
		v->written_to = offset + len;
	} else {
		v->written_from = MIN(v->written_from, offset);
		v->written_to = MAX(v->written_to, offset + len);
	}
	loop_post(v->loop, &v->news);
}

/* On a vCPU's thread where no queue was live, and the back end is the loop's. */
void vhost_virtio_reset(struct virtio_dev *dev)
{
	struct vhost_virtio *v = of_virtio(dev);

	atomic_store(&v->forget, true);
	loop_post(v->loop, &v->news);
}

/* ---- counters ---- */

static const struct vhost_virtio *of_device(const struct device *dev)
{
	return (const void *)((const char *)dev - offsetof(struct vhost_virtio, virtio.dev));
}

static uint64_t read_connected(const struct device *dev)
{
	return atomic_load_explicit(&of_device(dev)->vhost->connected, memory_order_relaxed);
}

static uint64_t read_reconnects(const struct device *dev)
{
	return atomic_load_explicit(&of_device(dev)->vhost->reconnects, memory_order_relaxed);
}

const struct device_stat vhost_virtio_stats[VHOST_VIRTIO_N_STATS] = {
	{.name = "connected", .help = "1 while a back end is there", .read = read_connected},
	{.name = "lost",
	 .help = "times that the back end was lost",
	 .offset = offsetof(struct vhost_virtio, lost)},
	{.name = "reconnects", .help = "times that one came back", .read = read_reconnects},
	{.name = "unrecovered",
	 .help = "queues whose requests under way could not be told from those done",
	 .offset = offsetof(struct vhost_virtio, failures_of_requests)},
};

/* ---- life ---- */

static const struct vhost_dev_events events = {
	.ready = on_ready,
	.go_on = on_go_on,
	.up = on_up,
	.lost = on_lost,
	.stopped = on_stopped,
	.failed = on_failed,
	.config = on_config,
};

static int make_calls(struct vhost_virtio *v)
{
	for (unsigned i = 0; i < v->n_queues; i++) {
		struct loop_fd *call = &v->queues[i].call;

		v->queues[i].v = v;
		call->ready = on_call;
		call->fd = eventfd_new();
		if (call->fd < 0)
			return call->fd;
	}
	for (unsigned i = 0; i < v->n_queues; i++) {
		int r = loop_add_fd(v->loop, &v->queues[i].call, EPOLLIN);

		if (r < 0)
			return r;
	}
	return 0;
}

static int attach(struct vhost_virtio *v, const struct vhost_virtio_setup *setup)
{
	struct vhost_dev *d = v->vhost;

	d->events = &events;
	d->owner = v;
	d->map = setup->virtio.map;
	d->n_rings = v->n_queues;
	d->queue_size = setup->virtio.queue_size;
	d->needs_rings = setup->needs_rings ? setup->needs_rings : v->n_queues;
	d->shown = setup->virtio.features & v->passed;
	for (unsigned i = 0; i < d->n_rings; i++)
		d->rings[i].enabled = true;
	return d->ops->attach(d, v->loop);
}

int vhost_virtio_init(struct vhost_virtio *v, const struct vhost_virtio_setup *setup,
		      struct err *err)
{
	int r;

	vmm_assert(setup->virtio.n_given_away <= VHOST_MAX_RINGS);
	v->vhost = setup->vhost;
	v->loop = setup->virtio.loops[0];
	v->on_lost = setup->on_lost;
	v->passed = setup->passed ? setup->passed : UINT64_MAX;
	v->n_queues = setup->virtio.n_given_away;
	v->start.run = start_rings;
	v->calls.run = update_calls;
	v->news.run = take_news;
	for (unsigned i = 0; i < v->n_queues; i++)
		v->queues[i].call.fd = -1;
	r = virtio_dev_init(&v->virtio, &setup->virtio);
	if (r == 0)
		r = make_calls(v);
	if (r == 0)
		r = attach(v, setup);
	if (r == -E2BIG)
		return err_set(err, r,
			       "%s: the back end takes fewer memory regions than the guest has",
			       setup->virtio.id);
	return r;
}

void vhost_virtio_done(struct vhost_virtio *v)
{
	v->vhost = vhost_dev_free(v->vhost);
	loop_work_cancel(v->loop, &v->start);
	loop_work_cancel(v->loop, &v->calls);
	loop_work_cancel(v->loop, &v->news);
	for (unsigned i = 0; i < v->n_queues; i++) {
		loop_del_fd(v->loop, &v->queues[i].call);
		(void)fd_close(v->queues[i].call.fd);
	}
	virtio_dev_done(&v->virtio);
}
