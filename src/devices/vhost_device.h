/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device of any kind whose queues and whose configuration space are a vhost back end's:
 * what it offers is what the guest sees, as far as the transport can carry it. Of disks, the number
 * of queues is that of the front end.
 */
#ifndef VMM_DEVICES_VHOST_DEVICE_H
#define VMM_DEVICES_VHOST_DEVICE_H

#include "vhost/vhost_virtio.h"

struct vhost_device_setup {
	const char *id; /* borrowed */
	const struct mm_map *map;
	struct loop *const *loops; /* the first is taken */
	struct vhost_dev *vhost;   /* taken over, also on failure */
	unsigned type;		   /* virtio 1.2, chapter 5 */
	unsigned n_queues;	   /* 0: what the type has, of disks max_auto at most */
	unsigned max_auto;
	uint16_t queue_size;
	bool packed; /* see vhost_virtio_features() */
	enum vhost_on_lost on_lost;
	struct vhost_watch *watch; /* may be NULL; lives as long as the device */
};

/* 0 or -errno with a message. Main. */
int vhost_device_new(const struct vhost_device_setup *setup, struct virtio_dev **ret,
		     struct err *err) must_check;

/* How long the configuration space of a type may be, for vhost_user_setup; type 0: not known yet.
 */
const uint16_t *vhost_device_config_sizes(unsigned type);
/* The type, as far as features and configuration tell it; 0: they don't. */
unsigned vhost_device_recognize(const struct vhost_dev *d);

#endif
