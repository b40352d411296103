/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock (virtio 1.2, 5.10) in user space: stream sockets between the guest and unix sockets
 * of the host, by the protocol of backend/vsock_uds.h.
 *
 * Everything runs on one loop, that of its queues. While the guest has no driver, and while it is
 * paused, clients of the host wait in the listening socket's queue. A pause keeps the connections;
 * a reset by the driver closes them. They are no saved state: a device that is loaded tells its
 * driver that the transport was reset (5.10.6.7), and old connections are reset one by one should
 * it use them all the same.
 */
#ifndef VMM_DEVICES_VIRTIO_VSOCK_H
#define VMM_DEVICES_VIRTIO_VSOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct loop;
struct mm_map;
struct virtio_dev;

enum { VIRTIO_VSOCK_MAX_QUEUE_SIZE = 512 };

/* All borrowed. */
struct virtio_vsock_setup {
	const char *id; /* "vsock0" */
	const struct mm_map *map;
	struct loop *const *loops; /* the first is used */
	unsigned n_loops;
	bool packed;
	uint16_t queue_size; /* at most VIRTIO_VSOCK_MAX_QUEUE_SIZE */
	uint64_t cid;	     /* the guest's, 3 to 0xfffffffe */
	int listener;	     /* listening on path, non-blocking */
	const char *path;    /* copied; at most VSOCK_UDS_PATH_MAX bytes. The guest's connections go
			      * to PATH_PORT, opened on the loop's thread */
};

/* 0 or -errno. */
int virtio_vsock_new(const struct virtio_vsock_setup *setup, struct virtio_dev **ret) must_check;

#endif
