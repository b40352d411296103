/* SPDX-License-Identifier: Apache-2.0 */
/* The counters of every virtio device: its own, and those of its queues added up. */
#include "virtio/virtio.h"

static uint64_t sum(const struct device *device, size_t offset)
{
	const struct virtio_dev *dev =
		(const void *)((const char *)device - offsetof(struct virtio_dev, dev));
	uint64_t total = 0;

	for (unsigned i = 0; i < dev->n_queues; i++) {
		const char *queue = (const char *)&dev->queues[i];
		const _Atomic uint64_t *counter = (const void *)(queue + offset);

		total += atomic_load_explicit(counter, memory_order_relaxed);
	}
	return total;
}

static uint64_t kicks(const struct device *device)
{
	return sum(device, offsetof(struct virtio_queue, kicks));
}

static uint64_t interrupts(const struct device *device)
{
	return sum(device, offsetof(struct virtio_queue, interrupts));
}

static uint64_t chains(const struct device *device)
{
	return sum(device, offsetof(struct virtio_queue, chains));
}

const struct device_stat virtio_device_stats[VIRTIO_N_DEVICE_STATS] = {
	{.name = "kicks", .help = "times that the guest notified a queue", .read = kicks},
	{.name = "interrupts",
	 .help = "times that the guest was told of used buffers",
	 .read = interrupts},
	{.name = "chains", .help = "requests taken from all queues", .read = chains},
	{.name = "guest_errors",
	 .help = "times that the driver broke the rules",
	 .offset = offsetof(struct virtio_dev, guest_errors)},
	{.name = "resets",
	 .help = "times that the device was reset",
	 .offset = offsetof(struct virtio_dev, resets)},
};
