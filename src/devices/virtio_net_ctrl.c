/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control queue (virtio 1.2, 5.1.6.5). Commands are done at once, but for the number of pairs:
 * each pair applies that on its own loop, and the command is done when all have, since no frame may
 * come in a queue that the driver has given up.
 *
 * Frames are not filtered: the receive modes, the table of addresses and the VLAN filter are
 * accepted when they are well made, and the guest sees more frames than it asked for, which it must
 * expect (5.1.6.5.1, 5.1.6.5.3).
 */
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "base/iov.h"
#include "devices/virtio_net_internal.h"

enum { MAC_LEN = 6, HEAD_LEN = 2, MULTICAST = 1 };

/* What comes behind class and command. */
struct command {
	struct iov data;
	uint64_t len;
};

static bool has(const struct vnet *n, unsigned bit)
{
	return virtio_dev_has(&n->virtio, bit);
}

/* Exactly `len` bytes of data. */
static bool get(const struct command *c, void *to, size_t len)
{
	return c->len == len && iov_copy_out(&c->data, to, len) == len;
}

/* ---- the classes: true when it was done ---- */

static bool set_receive_mode(struct vnet *n, uint8_t cmd, struct command *c)
{
	uint8_t on;

	if (cmd <= VIRTIO_NET_CTRL_RX_ALLMULTI)
		return has(n, VIRTIO_NET_F_CTRL_RX) && get(c, &on, sizeof(on));
	return cmd <= VIRTIO_NET_CTRL_RX_NOBCAST && has(n, VIRTIO_NET_F_CTRL_RX_EXTRA) &&
	       get(c, &on, sizeof(on));
}

/* One of the two tables: a count and so many addresses (5.1.6.5.2). */
static bool skip_table(struct command *c)
{
	le32_t entries;
	uint64_t len;

	if (iov_copy_out(&c->data, &entries, sizeof(entries)) < sizeof(entries))
		return false;
	len = sizeof(entries) + (uint64_t)le32_get(entries) * MAC_LEN;
	if (c->len < len)
		return false;
	iov_skip(&c->data, len);
	c->len -= len;
	return true;
}

static bool set_address(struct vnet *n, const struct command *c)
{
	uint8_t mac[MAC_LEN];

	if (!has(n, VIRTIO_NET_F_CTRL_MAC_ADDR) || !get(c, mac, sizeof(mac)) || mac[0] & MULTICAST)
		return false;
	device_count(&n->mac_changes, 1);
	virtio_dev_set_config(&n->virtio, offsetof(struct virtio_net_config, mac), mac,
			      sizeof(mac));
	return true;
}

static bool set_addresses(struct vnet *n, uint8_t cmd, struct command *c)
{
	if (cmd == VIRTIO_NET_CTRL_MAC_ADDR_SET)
		return set_address(n, c);
	return cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET && has(n, VIRTIO_NET_F_CTRL_RX) &&
	       skip_table(c) && skip_table(c) && c->len == 0;
}

static bool set_vlan(struct vnet *n, uint8_t cmd, struct command *c)
{
	le16_t id;

	return cmd <= VIRTIO_NET_CTRL_VLAN_DEL && has(n, VIRTIO_NET_F_CTRL_VLAN) &&
	       get(c, &id, sizeof(id));
}

static bool acknowledge(struct vnet *n, uint8_t cmd, struct command *c)
{
	if (cmd != VIRTIO_NET_CTRL_ANNOUNCE_ACK || !has(n, VIRTIO_NET_F_GUEST_ANNOUNCE) || c->len)
		return false;
	atomic_store_explicit(&n->announce, false, memory_order_relaxed);
	vnet_update_status(n);
	return true;
}

static bool set_offloads(struct vnet *n, uint8_t cmd, struct command *c)
{
	uint64_t allowed =
		n->virtio.acked &
		(VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) |
		 VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN));
	le64_t offloads;

	if (cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    !has(n, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) || !get(c, &offloads, sizeof(offloads)) ||
	    le64_get(offloads) & ~allowed)
		return false;
	atomic_store_explicit(&n->guest_offloads, vnet_offloads(le64_get(offloads)),
			      memory_order_relaxed);
	vnet_apply_offloads(n);
	return true;
}

/* ---- the number of pairs ---- */

static void answer(struct vnet *n, const struct virtq_chain *chain, bool done)
{
	struct iov in = {.at = chain->iov + chain->n_out, .n = chain->n_in};
	uint8_t ack = done ? VIRTIO_NET_OK : VIRTIO_NET_ERR;

	if (!done)
		device_count(&n->bad_commands, 1);
	(void)iov_copy_in(&in, &ack, sizeof(ack));
	virtio_queue_done(n->ctrl.q, chain, sizeof(ack));
}

/* The command waits in ctrl.chain, and the queue with it. */
static void begin_pairs(struct vnet *n, uint16_t pairs, const struct virtq_chain *chain)
{
	n->ctrl.busy = true;
	n->ctrl.chain = *chain;
	atomic_store_explicit(&n->pairs_in_use, pairs, memory_order_release);
	atomic_fetch_add_explicit(&n->ctrl.generation, 1, memory_order_release);
	for (unsigned i = 0; i < n->n_pairs; i++)
		loop_post(n->pairs[i].loop, &n->pairs[i].apply);
}

static bool set_pairs(struct vnet *n, uint8_t cmd, struct command *c,
		      const struct virtq_chain *chain)
{
	le16_t wanted;

	if (cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || !has(n, VIRTIO_NET_F_MQ) ||
	    !get(c, &wanted, sizeof(wanted)) || le16_get(wanted) < 1 ||
	    le16_get(wanted) > n->n_pairs)
		return false;
	begin_pairs(n, le16_get(wanted), chain);
	return true;
}

void vnet_ctrl_apply(struct vnet_pair *p)
{
	struct vnet *n = p->dev;
	uint32_t now = atomic_load_explicit(&n->ctrl.generation, memory_order_acquire);

	vnet_rx_apply(p);
	atomic_store_explicit(&p->applied, now, memory_order_release);
	loop_post(vnet_ctrl_loop(n), &n->ctrl.done);
}

static bool all_have_applied(struct vnet *n)
{
	uint32_t now = atomic_load_explicit(&n->ctrl.generation, memory_order_relaxed);

	for (unsigned i = 0; i < n->n_pairs; i++)
		if (atomic_load_explicit(&n->pairs[i].applied, memory_order_acquire) != now)
			return false;
	return true;
}

static void on_done(struct loop_work *work)
{
	struct vnet_ctrl *ctrl = container_of(work, struct vnet_ctrl, done);
	struct vnet *n = container_of(ctrl, struct vnet, ctrl);

	if (!ctrl->busy || !all_have_applied(n))
		return;
	ctrl->busy = false;
	answer(n, &ctrl->chain, true);
	vnet_ctrl_run(n);
}

/* ---- the queue ---- */

/* False: it failed, or (busy) is not done yet. */
static bool do_command(struct vnet *n, const uint8_t head[HEAD_LEN], struct command *c,
		       const struct virtq_chain *chain)
{
	switch (head[0]) {
	case VIRTIO_NET_CTRL_RX:
		return set_receive_mode(n, head[1], c);
	case VIRTIO_NET_CTRL_MAC:
		return set_addresses(n, head[1], c);
	case VIRTIO_NET_CTRL_VLAN:
		return set_vlan(n, head[1], c);
	case VIRTIO_NET_CTRL_ANNOUNCE:
		return acknowledge(n, head[1], c);
	case VIRTIO_NET_CTRL_MQ:
		return set_pairs(n, head[1], c, chain);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return set_offloads(n, head[1], c);
	default:
		return false;
	}
}

static bool take(struct virtio_queue *q)
{
	struct vnet *n = q->priv;
	struct virtq_chain chain;
	struct command c;
	uint8_t head[HEAD_LEN];
	bool done;

	if (n->ctrl.busy || !virtio_queue_pop(q, &chain, n->ctrl.iov, VNET_SEGS_MAX))
		return false;
	if (chain.out_bytes < HEAD_LEN || chain.in_bytes < 1) {
		virtio_queue_broken(q, "a command without its head or room for an answer");
		return false;
	}
	c = (struct command){.data = {.at = chain.iov, .n = chain.n_out},
			     .len = chain.out_bytes - HEAD_LEN};
	(void)iov_copy_out(&c.data, head, HEAD_LEN);
	iov_skip(&c.data, HEAD_LEN);
	done = do_command(n, head, &c, &chain);
	if (!n->ctrl.busy)
		answer(n, &chain, done);
	return true;
}

void vnet_ctrl_run(struct vnet *n)
{
	if (n->ctrl.q)
		virtio_queue_drain(n->ctrl.q, take);
}

void vnet_ctrl_init(struct vnet_ctrl *ctrl)
{
	ctrl->done.run = on_done;
}

void vnet_ctrl_start(struct vnet *n, struct virtio_queue *q)
{
	q->priv = n;
	n->ctrl.q = q;
	if (atomic_exchange_explicit(&n->announce_wanted, false, memory_order_relaxed) &&
	    has(n, VIRTIO_NET_F_GUEST_ANNOUNCE)) {
		atomic_store_explicit(&n->announce, true, memory_order_relaxed);
		vnet_update_status(n);
	}
}

/* A command that waits for the pairs is given back: it will be done again, or is forgotten. */
void vnet_ctrl_stop(struct vnet *n)
{
	struct virtio_queue *q = n->ctrl.q;

	if (n->ctrl.busy)
		virtq_unpop(&q->vq, &n->ctrl.chain);
	n->ctrl.busy = false;
	n->ctrl.q = NULL;
	virtio_queue_stopped(q);
}
