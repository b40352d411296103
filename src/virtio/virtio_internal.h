/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of struct virtio_dev share. */
#ifndef VMM_VIRTIO_VIRTIO_INTERNAL_H
#define VMM_VIRTIO_VIRTIO_INTERNAL_H

#include "virtio/virtio.h"

/* Sets up what the core needs of a queue; queue.c. */
void virtio_queue_init(struct virtio_queue *q, struct virtio_dev *dev, unsigned index);
/* Takes it off its loop, whose thread runs no more, or is the caller. */
void virtio_queue_done_with(struct virtio_queue *q);

/* Device's lock: what is wanted of the queue may have changed; its loop is told if it has to do
 * something. */
void virtio_queue_update(struct virtio_dev *dev, struct virtio_queue *q) REQUIRES(dev->lock);
/* The same at once, on the calling thread, if no other runs the queue's loop. Under no lock. */
void virtio_queue_settle(struct virtio_queue *q);
/* Device's lock, queue not live: forgets what the driver had set. */
void virtio_queue_clear(struct virtio_dev *dev, struct virtio_queue *q) REQUIRES(dev->lock);

/* Device's lock: a queue is not live any more. */
void virtio_dev_queue_idle(struct virtio_dev *dev) REQUIRES(dev->lock);
/* Device's lock: the driver is told that the configuration or the status has changed. */
void virtio_dev_config_irq(struct virtio_dev *dev) REQUIRES(dev->lock);
/* Device's lock: as if the driver had written 0 to the status. */
void virtio_dev_begin_reset(struct virtio_dev *dev) REQUIRES(dev->lock);
/* Device's lock: do they allow FEATURES_OK? The device hears of them. */
bool virtio_dev_features_are_fine(struct virtio_dev *dev) REQUIRES(dev->lock);
/* Device's lock. */
bool virtio_dev_any_live(const struct virtio_dev *dev) REQUIRES(dev->lock);
/* Waits until no queue is live and no reset is under way: 0 or -ETIMEDOUT. */
int virtio_dev_await_idle(struct virtio_dev *dev, uint64_t timeout_ns) REQUIRES(dev->lock);

#endif
