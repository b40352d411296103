/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio over PCI: structures as the driver sees them (virtio 1.2, 4.1.4). */
#ifndef VMM_VIRTIO_PCI_ABI_H
#define VMM_VIRTIO_PCI_ABI_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endian.h"

enum { VIRTIO_PCI_VENDOR = 0x1af4, VIRTIO_PCI_DEVICE_BASE = 0x1040 };

/* cfg_type of a capability */
enum {
	VIRTIO_CAP_COMMON = 1,
	VIRTIO_CAP_NOTIFY = 2,
	VIRTIO_CAP_ISR = 3,
	VIRTIO_CAP_DEVICE = 4,
	VIRTIO_CAP_PCI = 5,
};

/* 4.1.4; the first two bytes are the capability's header */
struct virtio_cap {
	uint8_t id, next, len, cfg_type, bar, instance, padding[2];
	le32_t offset, length;
};
static_assert(sizeof(struct virtio_cap) == 16, "virtio 1.2, 4.1.4");

/* 4.1.4.4: notify_off_multiplier; 4.1.4.9: a window into a BAR */
struct virtio_cap_long {
	struct virtio_cap cap;
	le32_t extra;
};
static_assert(sizeof(struct virtio_cap_long) == 20, "virtio 1.2, 4.1.4.4");

/* 4.1.4.3 */
struct virtio_common_cfg {
	le32_t device_feature_select, device_feature;
	le32_t driver_feature_select, driver_feature;
	le16_t config_msix_vector, num_queues;
	uint8_t device_status, config_generation;
	le16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
	le32_t queue_desc[2], queue_driver[2], queue_device[2];
	le16_t queue_notify_data, queue_reset;
};
static_assert(sizeof(struct virtio_common_cfg) == 60, "virtio 1.2, 4.1.4.3");
static_assert(offsetof(struct virtio_common_cfg, queue_desc) == 32, "virtio 1.2, 4.1.4.3");
static_assert(offsetof(struct virtio_common_cfg, queue_reset) == 58, "virtio 1.2, 4.1.4.3");

/* 4.1.4.5.1 */
enum { VIRTIO_ISR_QUEUE = 1, VIRTIO_ISR_CONFIG = 2 };

#endif
