/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device with both of its ends: a guest that posts buffers, sends and receives frames,
 * and the host's side of a fake back end. Frames carry their length and a mark, and are checked
 * byte by byte on arrival.
 */
#ifndef VMM_TESTS_VNET_WORLD_H
#define VMM_TESTS_VNET_WORLD_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio_net.h"
#include "tests/fakes/net.h"
#include "tests/unit/devices/vdev_world.h"

#define NET(name) VIRTIO_BIT(VIRTIO_NET_F_##name)

enum { VNET_RX = 0, VNET_TX = 1, VNET_HEADER = 12, VNET_CTRL = 2, VNET_MOST_PORTS = 3 };

extern struct vdev_world vnw;
extern struct fake_net *fake;
extern const uint8_t vnet_mac[6];

struct vnet_options {
	unsigned ports; /* 0: one */
	uint64_t features;
	uint64_t bw, pps;
	bool two_loops;
	uint16_t size;		       /* of the queues; 0: VDEV_QUEUE_SIZE */
	bool plain;		       /* no offloads */
	struct net *(*make_net)(void); /* NULL: a fake one */
};

/* A device and a driver that is up, without buffers. */
void vnet_begin(unsigned combination, const struct vnet_options *options);
void vnet_end(void);
/* Resets the device and brings the driver up again with these features. */
void vnet_again(uint64_t features);
/* Takes the device's state over into a new one on a new back end, as vdev_replace(). */
void vnet_replace(void);

/* ---- the guest ---- */

/* Posts n receive buffers of so many bytes, in one segment or in `segs`. */
void vnet_post(unsigned queue, unsigned n, uint32_t size);
void vnet_post_segs(unsigned queue, const uint32_t *segs, unsigned n);
/* Waits for the next frame and checks that it is as vnet_frame() makes it; returns its mark. Its
 * buffers are free then. vnet_header is its header. */
uint8_t vnet_receive(unsigned queue);
extern struct virtio_net_hdr_v1 vnet_header;
extern size_t vnet_len;
/* False: no frame is there. */
bool vnet_has_frame(unsigned queue);
/* Sends a frame and kicks; vnet_sent() waits until n of them are done. */
void vnet_send(unsigned queue, size_t len, uint8_t mark);
void vnet_send_header(unsigned queue, const struct virtio_net_hdr_v1 *header, size_t len,
		      uint8_t mark);
void vnet_sent(unsigned queue, unsigned n);
/* Keeps the second loop from doing anything. */
void vnet_block_second(void);
void vnet_unblock_second(void);
/* Sends a command: the answer, or 0xff when no byte was written. */
uint8_t vnet_command(uint8_t class, uint8_t command, const void *data, uint32_t len);

/* ---- the host ---- */

/* A frame of this many bytes, 16 at least. */
void vnet_frame(uint8_t *to, size_t len, uint8_t mark);
/* Waits for the next frame of the guest's, checks it and returns its mark; vnet_header, vnet_len.
 */
uint8_t host_receive(unsigned port);
bool host_has_frame(unsigned port);
bool host_has_room(unsigned port);
void host_send(unsigned port, size_t len, uint8_t mark);
void host_send_header(unsigned port, const struct virtio_net_hdr_v1 *header, size_t len,
		      uint8_t mark);

/* Waits until a counter has this value, or more. */
void vnet_await_stat(const char *name, uint64_t value);
uint64_t vnet_stat(const char *name);
/* Runs the verb of this name. */
int vnet_verb(const char *name, const char *const *texts, struct err *err);

/* The loop does next to nothing: it does not spin. */
void vnet_expect_idle(void);

#endif
