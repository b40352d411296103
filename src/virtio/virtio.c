/* SPDX-License-Identifier: Apache-2.0 */
/* The device's registers as the guest sees them, and the status machine behind them. */
#include "virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "virtio/virtio_internal.h"

enum {
	/* virtio 1.2, 2.1; DEVICE_NEEDS_RESET is ours to set */
	STATUS_OF_DRIVER = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			   VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
			   VIRTIO_CONFIG_S_FAILED,
};

#define RESET_PATIENCE_NS NS_PER_S

/* ---- making and freeing ---- */

static void wait_by_monotonic_clock(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(cond, &attr);
	(void)pthread_condattr_destroy(&attr);
}

int virtio_dev_init(struct virtio_dev *dev, const struct virtio_dev_setup *setup)
{
	vmm_assert(setup->n_queues >= 1 && setup->n_queues <= VIRTIO_MAX_QUEUES);
	vmm_assert(setup->n_loops >= 1);
	dev->dev = (struct device){.ops = setup->device, .id = setup->id};
	dev->ops = setup->ops;
	dev->type = setup->type;
	dev->map = setup->map;
	dev->n_queues = setup->n_queues;
	dev->transport = NULL;
	mutex_init(&dev->lock);
	wait_by_monotonic_clock(&dev->changed);
	mutex_lock(&dev->lock);
	dev->offered = setup->features;
	dev->writable = setup->writable;
	dev->config_len = setup->config_len;
	dev->config = malloc(MAX(setup->config_len, 1u));
	dev->queues = calloc(setup->n_queues, sizeof(*dev->queues));
	if (dev->config && setup->config_len)
		memcpy(dev->config, setup->config, setup->config_len);
	for (unsigned i = 0; dev->queues && i < dev->n_queues; i++) {
		struct virtio_queue *q = &dev->queues[i];

		q->loop = setup->loops[i % setup->n_loops];
		q->max_size = setup->queue_size;
		q->given_away = i < setup->n_given_away;
		virtio_queue_init(q, dev, i);
	}
	mutex_unlock(&dev->lock);
	return dev->config && dev->queues ? 0 : -ENOMEM;
}

void virtio_dev_done(struct virtio_dev *dev)
{
	if (dev->transport)
		dev->transport->ops->free(dev->transport);
	for (unsigned i = 0; dev->queues && i < dev->n_queues; i++)
		virtio_queue_done_with(&dev->queues[i]);
	free(dev->queues);
	free(dev->config);
	(void)pthread_cond_destroy(&dev->changed);
}

/* ---- reset ---- */

bool virtio_dev_any_live(const struct virtio_dev *dev)
{
	for (unsigned i = 0; i < dev->n_queues; i++)
		if (dev->queues[i].live)
			return true;
	return false;
}

static void finish_reset(struct virtio_dev *dev) REQUIRES(dev->lock)
{
	for (unsigned i = 0; i < dev->n_queues; i++)
		virtio_queue_clear(dev, &dev->queues[i]);
	dev->acked = 0;
	dev->status = 0;
	dev->reset_wanted = false;
	if (dev->ops->reset)
		dev->ops->reset(dev);
	if (dev->transport)
		dev->transport->ops->driver_reset(dev->transport);
}

void virtio_dev_begin_reset(struct virtio_dev *dev)
{
	device_count(&dev->resets, 1);
	dev->reset_wanted = true;
	for (unsigned i = 0; i < dev->n_queues; i++) {
		dev->queues[i].wanted = false;
		virtio_queue_update(dev, &dev->queues[i]);
	}
	if (!virtio_dev_any_live(dev))
		finish_reset(dev);
}

void virtio_dev_queue_idle(struct virtio_dev *dev)
{
	if (dev->reset_wanted && !virtio_dev_any_live(dev))
		finish_reset(dev);
	(void)pthread_cond_broadcast(&dev->changed);
}

static struct timespec in_time(uint64_t ns)
{
	uint64_t until = clock_now_ns() + ns;

	return (struct timespec){.tv_sec = (time_t)(until / NS_PER_S),
				 .tv_nsec = (long)(until % NS_PER_S)};
}

int virtio_dev_await_idle(struct virtio_dev *dev, uint64_t timeout_ns)
{
	struct timespec deadline = in_time(timeout_ns);

	/* Queues of the caller's own loop come to rest here, or nobody would let them. */
	mutex_unlock(&dev->lock);
	for (unsigned i = 0; i < dev->n_queues; i++)
		virtio_queue_settle(&dev->queues[i]);
	mutex_lock(&dev->lock);
	while (virtio_dev_any_live(dev))
		if (pthread_cond_timedwait(&dev->changed, &dev->lock.m, &deadline) == ETIMEDOUT)
			return virtio_dev_any_live(dev) ? -ETIMEDOUT : 0;
	return 0;
}

void virtio_dev_await_reset(struct virtio_dev *dev)
{
	mutex_lock(&dev->lock);
	if (dev->reset_wanted && virtio_dev_await_idle(dev, RESET_PATIENCE_NS) < 0)
		log_guest("%s: a reset waits for the host's I/O", dev->dev.id);
	mutex_unlock(&dev->lock);
}

/* ---- status (2.1, 3.1.1) ---- */

bool virtio_dev_features_are_fine(struct virtio_dev *dev)
{
	if (!(dev->acked & VIRTIO_BIT(VIRTIO_F_VERSION_1))) {
		log_guest("%s: the driver is not for virtio 1.0 or later", dev->dev.id);
		return false;
	}
	return !dev->ops->accept || dev->ops->accept(dev, dev->acked) == 0;
}

static void start_queues(struct virtio_dev *dev) REQUIRES(dev->lock)
{
	for (unsigned i = 0; i < dev->n_queues; i++) {
		dev->queues[i].wanted = dev->queues[i].enabled;
		virtio_queue_update(dev, &dev->queues[i]);
	}
}

/* Bits are added only; taking one back is a reset's work. */
static void add_status(struct virtio_dev *dev, uint8_t added) REQUIRES(dev->lock)
{
	if (added & VIRTIO_CONFIG_S_FEATURES_OK && !virtio_dev_features_are_fine(dev))
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	if (added & VIRTIO_CONFIG_S_DRIVER_OK &&
	    !((dev->status | added) & VIRTIO_CONFIG_S_FEATURES_OK)) {
		log_guest("%s: DRIVER_OK before FEATURES_OK", dev->dev.id);
		added &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	}
	dev->status |= added;
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		start_queues(dev);
}

uint8_t virtio_dev_status(struct virtio_dev *dev)
{
	uint8_t status;

	mutex_lock(&dev->lock);
	status = dev->status;
	mutex_unlock(&dev->lock);
	return status;
}

void virtio_dev_write_status(struct virtio_dev *dev, uint8_t status)
{
	mutex_lock(&dev->lock);
	if (dev->reset_wanted)
		; /* not before it is acknowledged */
	else if (status == 0)
		virtio_dev_begin_reset(dev);
	else
		add_status(dev, status & STATUS_OF_DRIVER & (uint8_t)~dev->status);
	mutex_unlock(&dev->lock);
}

bool virtio_dev_is_up(struct virtio_dev *dev)
{
	return virtio_dev_status(dev) & VIRTIO_CONFIG_S_DRIVER_OK;
}

void virtio_dev_hold(struct virtio_dev *dev, enum virtio_hold why, bool hold)
{
	mutex_lock(&dev->lock);
	dev->holds = hold ? dev->holds | (unsigned)why : dev->holds & ~(unsigned)why;
	for (unsigned i = 0; i < dev->n_queues; i++)
		virtio_queue_update(dev, &dev->queues[i]);
	mutex_unlock(&dev->lock);
}

/* ---- features (2.2) ---- */

void virtio_dev_ack(struct virtio_dev *dev, unsigned word, uint32_t bits)
{
	unsigned shift = word * 32;

	if (word > 1)
		return;
	mutex_lock(&dev->lock);
	if (!(dev->status & VIRTIO_CONFIG_S_FEATURES_OK) && !dev->reset_wanted)
		dev->acked = ((dev->acked & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)bits
											<< shift) &
			     dev->offered;
	mutex_unlock(&dev->lock);
}

static uint32_t word_of(uint64_t bits, unsigned word)
{
	return word > 1 ? 0 : (uint32_t)(bits >> (word * 32));
}

uint32_t virtio_dev_offered(struct virtio_dev *dev, unsigned word)
{
	uint32_t bits;

	mutex_lock(&dev->lock);
	bits = word_of(dev->offered, word);
	mutex_unlock(&dev->lock);
	return bits;
}

uint32_t virtio_dev_acked(struct virtio_dev *dev, unsigned word)
{
	uint32_t bits;

	mutex_lock(&dev->lock);
	bits = word_of(dev->acked, word);
	mutex_unlock(&dev->lock);
	return bits;
}

/* ---- configuration space (2.5) ---- */

void virtio_dev_read_config(struct virtio_dev *dev, unsigned offset, unsigned len, void *to)
{
	memset(to, 0, len);
	mutex_lock(&dev->lock);
	if (offset < dev->config_len)
		memcpy(to, dev->config + offset, MIN(len, dev->config_len - offset));
	mutex_unlock(&dev->lock);
}

void virtio_dev_write_config(struct virtio_dev *dev, unsigned offset, unsigned len,
			     const void *from)
{
	const uint8_t *bytes = from;

	mutex_lock(&dev->lock);
	if (dev->writable && range_inside(offset, len, 0, dev->config_len)) {
		for (unsigned i = 0; i < len; i++) {
			uint8_t mask = dev->writable[offset + i], *at = &dev->config[offset + i];

			*at = (uint8_t)((*at & ~mask) | (bytes[i] & mask));
		}
		if (dev->ops->config_written)
			dev->ops->config_written(dev, offset, len);
	}
	mutex_unlock(&dev->lock);
}

uint32_t virtio_dev_generation(struct virtio_dev *dev)
{
	uint32_t generation;

	mutex_lock(&dev->lock);
	generation = dev->generation;
	mutex_unlock(&dev->lock);
	return generation;
}

void virtio_dev_config_irq(struct virtio_dev *dev)
{
	if (dev->status & VIRTIO_CONFIG_S_DRIVER_OK && dev->transport)
		dev->transport->ops->config_irq(dev->transport);
}

void virtio_dev_needs_reset(struct virtio_dev *dev)
{
	mutex_lock(&dev->lock);
	dev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	virtio_dev_config_irq(dev);
	mutex_unlock(&dev->lock);
}

void virtio_dev_config_changed(struct virtio_dev *dev)
{
	dev->generation++;
	virtio_dev_config_irq(dev);
}

void virtio_dev_set_config(struct virtio_dev *dev, unsigned offset, const void *bytes, unsigned len)
{
	vmm_assert(range_inside(offset, len, 0, dev->config_len));
	mutex_lock(&dev->lock);
	memcpy(dev->config + offset, bytes, len);
	virtio_dev_config_changed(dev);
	mutex_unlock(&dev->lock);
}

/* ---- queue registers (4.1.4.3, 4.2.2) ---- */

static struct virtio_queue *queue_at(struct virtio_dev *dev, unsigned index)
{
	return index < dev->n_queues ? &dev->queues[index] : NULL;
}

bool virtio_dev_queue_regs(struct virtio_dev *dev, unsigned index, struct virtio_queue_regs *ret)
{
	const struct virtio_queue *q = queue_at(dev, index);

	*ret = (struct virtio_queue_regs){0};
	if (!q)
		return false;
	mutex_lock(&dev->lock);
	*ret = (struct virtio_queue_regs){
		.size = q->config.size,
		.enabled = q->enabled,
		.resetting = q->resetting,
		.desc = q->config.desc,
		.driver = q->config.driver,
		.device = q->config.device,
	};
	mutex_unlock(&dev->lock);
	return true;
}

/* An enabled queue is frozen, and so is every queue of a running device that can't reset one alone.
 */
static bool is_frozen(const struct virtio_dev *dev, const struct virtio_queue *q)
	REQUIRES(dev->lock)
{
	return q->enabled || q->live || dev->reset_wanted ||
	       (dev->status & VIRTIO_CONFIG_S_DRIVER_OK &&
		!(dev->acked & VIRTIO_BIT(VIRTIO_F_RING_RESET)));
}

void virtio_dev_set_queue_size(struct virtio_dev *dev, unsigned index, uint16_t size)
{
	struct virtio_queue *q = queue_at(dev, index);

	if (!q)
		return;
	mutex_lock(&dev->lock);
	if (!is_frozen(dev, q) && size >= 1 && size <= q->max_size)
		q->config.size = size;
	mutex_unlock(&dev->lock);
}

void virtio_dev_set_queue_half(struct virtio_dev *dev, unsigned index,
			       enum virtio_queue_field field, unsigned shift, uint32_t value)
{
	struct virtio_queue *q = queue_at(dev, index);
	uint64_t *address;

	if (!q)
		return;
	mutex_lock(&dev->lock);
	address = field == VIRTIO_QUEUE_DESC	 ? &q->config.desc
		  : field == VIRTIO_QUEUE_DRIVER ? &q->config.driver
						 : &q->config.device;
	if (!is_frozen(dev, q))
		*address = (*address & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
	mutex_unlock(&dev->lock);
}

void virtio_dev_enable_queue(struct virtio_dev *dev, unsigned index)
{
	struct virtio_queue *q = queue_at(dev, index);

	if (!q)
		return;
	mutex_lock(&dev->lock);
	if (!is_frozen(dev, q)) {
		q->enabled = true;
		q->wanted = dev->status & VIRTIO_CONFIG_S_DRIVER_OK;
		virtio_queue_update(dev, q);
	}
	mutex_unlock(&dev->lock);
}

/* Until it has stopped, or a second is over. */
static void await_queue(struct virtio_dev *dev, struct virtio_queue *q) REQUIRES(dev->lock)
{
	struct timespec deadline = in_time(RESET_PATIENCE_NS);

	mutex_unlock(&dev->lock);
	virtio_queue_settle(q);
	mutex_lock(&dev->lock);
	while (q->live)
		if (pthread_cond_timedwait(&dev->changed, &dev->lock.m, &deadline) == ETIMEDOUT)
			break;
}

void virtio_dev_disable_queue(struct virtio_dev *dev, unsigned index)
{
	struct virtio_queue *q = queue_at(dev, index);

	if (!q)
		return;
	mutex_lock(&dev->lock);
	if (q->enabled && !dev->reset_wanted) {
		q->resetting = true;
		q->wanted = false;
		virtio_queue_update(dev, q);
		if (q->live)
			await_queue(dev, q);
		else
			virtio_queue_clear(dev, q);
	}
	mutex_unlock(&dev->lock);
}

void virtio_dev_reset_queue(struct virtio_dev *dev, unsigned index)
{
	struct virtio_queue *q = queue_at(dev, index);

	if (!q)
		return;
	mutex_lock(&dev->lock);
	if (q->enabled && !q->resetting && dev->acked & VIRTIO_BIT(VIRTIO_F_RING_RESET)) {
		q->resetting = true;
		q->wanted = false;
		virtio_queue_update(dev, q);
		if (!q->live)
			virtio_queue_clear(dev, q);
	}
	mutex_unlock(&dev->lock);
}
