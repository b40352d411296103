/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network card whose receive and transmit queues are a vhost back end's (virtio 1.2, 5.1).
 * Address, MTU, number of pairs and link are ours: the link is up while a back end is there. The
 * control queue, which there is with more than one pair, stays here.
 */
#ifndef VMM_DEVICES_VHOST_NET_H
#define VMM_DEVICES_VHOST_NET_H

#include "vhost/vhost_virtio.h"

struct vhost_net_setup {
	const char *id; /* borrowed */
	const struct mm_map *map;
	struct loop *const *loops; /* the first is taken */
	struct vhost_dev *vhost;   /* taken over, also on failure */
	uint8_t mac[6];
	uint16_t mtu;	  /* 0: not told */
	unsigned n_pairs; /* 1 to VHOST_NET_MAX_PAIRS */
	uint16_t queue_size;
	bool packed;		   /* see vhost_virtio_features() */
	struct vhost_watch *watch; /* may be NULL; lives as long as the device */
};
enum { VHOST_NET_MAX_PAIRS = 16 };

/* 0 or -errno with a message. Main. */
int vhost_net_new(const struct vhost_net_setup *setup, struct virtio_dev **ret,
		  struct err *err) must_check;

#endif
