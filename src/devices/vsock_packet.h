/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a vsock packet (virtio 1.2, 5.10.6), as numbers and as bytes. */
#ifndef VMM_DEVICES_VSOCK_PACKET_H
#define VMM_DEVICES_VSOCK_PACKET_H

#include <assert.h>
#include <linux/virtio_vsock.h>
#include <stdint.h>

#include "base/endian.h"

enum {
	VSOCK_HEADER_LEN = 44,
	VSOCK_HOST_CID = 2,
	/* Most payload of one packet of ours; Linux has the same bound. */
	VSOCK_MAX_PAYLOAD = 64 << 10,
};

/*
 * buf_alloc of a connection's last packet, be it RST or the SHUTDOWN of both ways. Linux takes the
 * credit of either, looks at no later packet, and leaves the socket connected while there is
 * something to read in it: without credit, a program that waits until it can write would never hear
 * that nobody reads any more.
 */
#define VSOCK_NO_LIMIT UINT32_MAX

static_assert(sizeof(struct virtio_vsock_hdr) == VSOCK_HEADER_LEN, "virtio 1.2, 5.10.6");

struct vsock_packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

static inline struct vsock_packet vsock_packet_decode(const uint8_t *from)
{
	return (struct vsock_packet){
		.src_cid = get_le64(from),
		.dst_cid = get_le64(from + 8),
		.src_port = get_le32(from + 16),
		.dst_port = get_le32(from + 20),
		.len = get_le32(from + 24),
		.type = get_le16(from + 28),
		.op = get_le16(from + 30),
		.flags = get_le32(from + 32),
		.buf_alloc = get_le32(from + 36),
		.fwd_cnt = get_le32(from + 40),
	};
}

static inline void vsock_packet_encode(const struct vsock_packet *p, uint8_t *to)
{
	put_le64(to, p->src_cid);
	put_le64(to + 8, p->dst_cid);
	put_le32(to + 16, p->src_port);
	put_le32(to + 20, p->dst_port);
	put_le32(to + 24, p->len);
	put_le16(to + 28, p->type);
	put_le16(to + 30, p->op);
	put_le32(to + 32, p->flags);
	put_le32(to + 36, p->buf_alloc);
	put_le32(to + 40, p->fwd_cnt);
}

#endif
