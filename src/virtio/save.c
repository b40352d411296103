/* SPDX-License-Identifier: Apache-2.0 */
/* What machine/ asks of every virtio device: reset, quiesce and resume, save and load. */
#include <errno.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "virtio/virtio_internal.h"

/* Longer than any disk takes that is still alive; a dead one must not hold the machine for ever. */
#define QUIESCE_PATIENCE_NS (10 * NS_PER_S)

static struct virtio_dev *virtio_of(struct device *dev)
{
	return container_of(dev, struct virtio_dev, dev);
}

void virtio_device_reset(struct device *device)
{
	struct virtio_dev *dev = virtio_of(device);

	mutex_lock(&dev->lock);
	if (!dev->reset_wanted)
		virtio_dev_begin_reset(dev);
	if (virtio_dev_await_idle(dev, QUIESCE_PATIENCE_NS) < 0)
		log_error("%s: requests to the host do not come back; the guest is reset all the "
			  "same",
			  device->id);
	dev->generation = 0;
	mutex_unlock(&dev->lock);
	if (dev->transport)
		dev->transport->ops->reset(dev->transport);
}

int virtio_device_quiesce(struct device *device, uint64_t patience_ns, struct err *err)
{
	struct virtio_dev *dev = virtio_of(device);
	int r;

	virtio_dev_hold(dev, VIRTIO_HOLD_PAUSE, true);
	mutex_lock(&dev->lock);
	r = virtio_dev_await_idle(dev, patience_ns);
	mutex_unlock(&dev->lock);
	if (r == 0)
		return 0;
	return err_set(err, r, "%s: requests to the host do not come back", device->id);
}

void virtio_device_resume(struct device *device)
{
	virtio_dev_hold(virtio_of(device), VIRTIO_HOLD_PAUSE, false);
}

/* ---- save and load ---- */

static void save_queue(const struct virtio_dev *dev, const struct virtio_queue *q,
		       struct state_writer *w) REQUIRES(dev->lock)
{
	const struct virtq_position *at = q->has_position ? &q->position : &q->vq.at;
	bool has_position = q->has_position || q->state == VIRTIO_QUEUE_HELD;

	(void)dev;
	state_put_u16(w, q->config.size);
	state_put_u64(w, q->config.desc);
	state_put_u64(w, q->config.driver);
	state_put_u64(w, q->config.device);
	state_put_bool(w, q->enabled);
	state_put_bool(w, has_position);
	state_put_u16(w, has_position ? at->avail : 0);
	state_put_u16(w, has_position ? at->used : 0);
	state_put_bool(w, has_position && at->avail_wrap);
	state_put_bool(w, has_position && at->used_wrap);
	state_put_bool(w, q->vq.broken);
}

void virtio_device_save(struct device *device, struct state_writer *w)
{
	struct virtio_dev *dev = virtio_of(device);

	mutex_lock(&dev->lock);
	state_put_u8(w, dev->status);
	state_put_u64(w, dev->acked);
	state_put_u32(w, dev->generation);
	state_put_u32(w, dev->config_len);
	state_put_bytes(w, dev->config, dev->config_len);
	state_put_u16(w, (uint16_t)dev->n_queues);
	for (unsigned i = 0; i < dev->n_queues; i++)
		save_queue(dev, &dev->queues[i], w);
	mutex_unlock(&dev->lock);
	if (dev->ops->save)
		dev->ops->save(dev, w);
	if (dev->transport)
		dev->transport->ops->save(dev->transport, w);
}

static void load_queue(const struct virtio_dev *dev, struct virtio_queue *q, struct state_reader *r)
	REQUIRES(dev->lock)
{
	q->config.size = state_get_u16(r);
	q->config.desc = state_get_u64(r);
	q->config.driver = state_get_u64(r);
	q->config.device = state_get_u64(r);
	q->enabled = state_get_bool(r);
	q->has_position = state_get_bool(r);
	q->position.avail = state_get_u16(r);
	q->position.used = state_get_u16(r);
	q->position.avail_wrap = state_get_bool(r);
	q->position.used_wrap = state_get_bool(r);
	q->vq.broken = state_get_bool(r);
	q->wanted = q->enabled && dev->status & VIRTIO_CONFIG_S_DRIVER_OK;
	if (q->config.size == 0 || q->config.size > q->max_size)
		state_fail(r, "a queue is larger than this device's");
}

/* Bits that add_status() would not have let through together. */
static void check_status(struct virtio_dev *dev, struct state_reader *r) REQUIRES(dev->lock)
{
	enum {
		KNOWN = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
			VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED
	};
	bool agreed = dev->status & VIRTIO_CONFIG_S_FEATURES_OK;

	if (dev->acked & ~dev->offered)
		state_fail(r, "the driver uses features that this device does not have");
	else if (dev->status & ~KNOWN || (dev->status & VIRTIO_CONFIG_S_DRIVER_OK && !agreed))
		state_fail(r, "the device has a status that can't be");
	else if (agreed && !virtio_dev_features_are_fine(dev))
		state_fail(r, "the driver uses features that do not go together");
}

/* It is held from here, and goes on with virtio_device_resume(). */
static void load_common(struct virtio_dev *dev, struct state_reader *r) REQUIRES(dev->lock)
{
	dev->holds |= VIRTIO_HOLD_PAUSE;
	dev->status = state_get_u8(r);
	dev->acked = state_get_u64(r);
	dev->generation = state_get_u32(r);
	check_status(dev, r);
	if (state_get_u32(r) != dev->config_len)
		state_fail(r, "the configuration space has another size");
	else
		state_get_bytes(r, dev->config, dev->config_len);
	if (state_get_u16(r) != dev->n_queues) {
		state_fail(r, "the device has another number of queues");
		return;
	}
	for (unsigned i = 0; i < dev->n_queues; i++)
		load_queue(dev, &dev->queues[i], r);
}

void virtio_device_load(struct device *device, struct state_reader *r)
{
	struct virtio_dev *dev = virtio_of(device);

	mutex_lock(&dev->lock);
	load_common(dev, r);
	mutex_unlock(&dev->lock);
	if (dev->ops->load)
		dev->ops->load(dev, r);
	if (dev->transport)
		dev->transport->ops->load(dev->transport, r);
}
