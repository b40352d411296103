/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2, 5.1) over a network back end of backend/net.h: as many pairs of queues as
 * that has ports, and a control queue. A pair lives on one loop, with its port; a frame is one
 * system call, from and to the guest's own buffers. Nothing is allocated or locked between a kick
 * and its interrupt.
 *
 * A frame from the host that is larger than was expected ends in a buffer of ours, and is copied to
 * the guest when that has made enough room. What the guest can't be given is dropped and counted.
 * Only what goes through the control queue, verbs and the link itself takes the device's lock.
 *
 * Its verbs: `link` takes the link down and up; `limit` changes the rate limits.
 */
#ifndef VMM_DEVICES_VIRTIO_NET_H
#define VMM_DEVICES_VIRTIO_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/net.h"
#include "base/compiler.h"

struct loop;
struct mm_map;
struct virtio_dev;

enum {
	VIRTIO_NET_MIN_QUEUE_SIZE = 4,
	VIRTIO_NET_QUEUE_SIZE = 256, /* when nobody asks for another one */
};

struct virtio_net_setup {
	const char *id;	 /* "net0"; borrowed for the device's life, as map is */
	struct net *net; /* taken over when it succeeds */
	const struct mm_map *map;
	struct loop *const *loops; /* pair i runs on loops[i % n_loops]; the array is copied from */
	unsigned n_loops;
	uint16_t queue_size; /* VIRTIO_NET_MIN_QUEUE_SIZE and more */
	bool packed;	     /* offer packed rings */
	bool offload;	     /* offer what the back end can do */
	uint8_t mac[6];
	uint16_t mtu;	  /* the guest is told; 0: it isn't */
	uint64_t bw, pps; /* bytes and frames in a second, each way; 0: no limit */
};

/* Before the loops' first run. 0 or -errno; -EINVAL for a number out of range. */
int virtio_net_new(const struct virtio_net_setup *setup, struct virtio_dev **ret) must_check;

#endif
