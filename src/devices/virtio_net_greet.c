/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the host's side comes back, nobody there knows the guest: a passt that was started again, or
 * a switch behind another peer, would send frames to no one until the guest happens to speak. So it
 * is told the guest's address by a RARP request (RFC 903), which asks for nothing that matters and
 * from which switches learn.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/compiler.h"
#include "devices/virtio_net_internal.h"

enum {
	FRAME_LEN = 60,
	MAC_LEN = 6,
	DESTINATION_AT = 0,
	SOURCE_AT = 6,
	PACKET_AT = 12,
	SENDER_AT = 22,
	TARGET_AT = 32,
};

static void make_frame(struct vnet *n, uint8_t frame[FRAME_LEN])
{
	/* Its type; Ethernet, IPv4 and the lengths of their addresses; "request reverse". */
	static const uint8_t packet[] = {0x80, 0x35, 0, 1, 0x08, 0x00, 6, 4, 0, 3};
	uint8_t mac[MAC_LEN];

	virtio_dev_read_config(&n->virtio, offsetof(struct virtio_net_config, mac), sizeof(mac),
			       mac);
	memset(frame, 0, FRAME_LEN);
	memset(frame + DESTINATION_AT, 0xff, MAC_LEN);
	memcpy(frame + SOURCE_AT, mac, MAC_LEN);
	memcpy(frame + PACKET_AT, packet, sizeof(packet));
	memcpy(frame + SENDER_AT, mac, MAC_LEN);
	memcpy(frame + TARGET_AT, mac, MAC_LEN);
}

/* A guest that isn't there yet will speak first. */
void vnet_greet(struct vnet_pair *p)
{
	struct virtio_net_hdr_v1 header = {0};
	uint8_t frame[FRAME_LEN];
	struct iovec iov[] = {{.iov_base = &header, .iov_len = sizeof(header)},
			      {.iov_base = frame, .iov_len = sizeof(frame)}};

	if (p->index != 0 || !p->tx.q || !vnet_link_is_up(p->dev) ||
	    !atomic_exchange_explicit(&p->dev->greet, false, memory_order_relaxed))
		return;
	make_frame(p->dev, frame);
	/* On the next occasion, then. */
	if (net_send(p->port, iov, ARRAY_SIZE(iov)) == -EAGAIN)
		atomic_store_explicit(&p->dev->greet, true, memory_order_relaxed);
}
