/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames from the guest: one net_send() each, in the order in which they were made available. The
 * header is copied and checked, so that what was checked is what the host sees.
 */
#include <errno.h>
#include <string.h>

#include "base/iov.h"
#include "devices/virtio_net_internal.h"

static struct vnet_pair *pair_of(struct vnet_tx *tx)
{
	return container_of(tx, struct vnet_pair, tx);
}

/* Segmentation that the guest may ask for, and the header of a frame that is whole (5.1.6.2). */
static bool segmentation_is_fine(const struct virtio_dev *dev, uint8_t gso)
{
	if (gso & VIRTIO_NET_HDR_GSO_ECN && !virtio_dev_has(dev, VIRTIO_NET_F_HOST_ECN))
		return false;
	switch (gso & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return gso == VIRTIO_NET_HDR_GSO_NONE;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return virtio_dev_has(dev, VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return virtio_dev_has(dev, VIRTIO_NET_F_HOST_TSO6);
	default:
		return false;
	}
}

/* Flags that we don't know are ignored (5.1.6.2.2). The rest is the host kernel's to check. */
static bool check_header(struct vnet_pair *p)
{
	const struct virtio_dev *dev = &p->dev->virtio;
	struct virtio_net_hdr_v1 *h = &p->tx.header;

	h->flags =
		virtio_dev_has(dev, VIRTIO_NET_F_CSUM) ? h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM : 0;
	h->num_buffers = 0;
	if (segmentation_is_fine(dev, h->gso_type))
		return true;
	device_count(&p->dev->bad_headers, 1);
	return false;
}

/* Copies the header and puts the copy in place of it. */
static struct iov take_header(struct vnet_tx *tx, const struct virtq_chain *chain)
{
	struct iov v = {.at = chain->iov, .n = chain->n_out};

	(void)iov_copy_out(&v, &tx->header, sizeof(tx->header));
	iov_skip(&v, sizeof(tx->header));
	v.at--;
	v.n++;
	v.at[0] = (struct iovec){.iov_base = &tx->header, .iov_len = sizeof(tx->header)};
	return v;
}

static int send_frame(struct vnet_pair *p, const struct virtq_chain *chain)
{
	struct iov v = take_header(&p->tx, chain);
	uint64_t len = chain->out_bytes - NET_HEADER_LEN;

	if (!vnet_link_is_up(p->dev))
		return -ENOTCONN;
	if (len == 0 || len > NET_FRAME_MAX)
		return -EMSGSIZE;
	if (!check_header(p))
		return -EINVAL;
	return net_send(p->port, v.at, v.n);
}

/* What is too much for one turn goes on in the next; what is too fast waits. */
static bool may_go_on(struct vnet_pair *p)
{
	struct vnet_tx *tx = &p->tx;
	uint64_t wait;

	if (tx->turn_frames + tx->turn_dropped >= VNET_BUDGET_FRAMES ||
	    tx->turn_bytes >= VNET_BUDGET_BYTES) {
		loop_post(p->loop, &p->poke);
		return false;
	}
	wait = vnet_limit_wait(&p->dev->tx_limit);
	if (wait == 0)
		return true;
	device_count(&p->dev->tx_throttled, 1);
	loop_timer_arm(p->loop, &tx->timer, wait);
	return false;
}

static bool take(struct virtio_queue *q)
{
	struct vnet_pair *p = q->priv;
	struct vnet_tx *tx = &p->tx;
	struct virtq_chain chain;
	int r;

	if (!may_go_on(p) || !virtio_queue_pop(q, &chain, tx->iov + 1, VNET_SEGS_MAX))
		return false;
	if (chain.out_bytes < NET_HEADER_LEN) {
		virtio_queue_broken(q, "a frame without a header");
		return false;
	}
	r = send_frame(p, &chain);
	if (r == -EAGAIN) {
		virtq_unpop(&q->vq, &chain);
		device_count(&p->dev->tx_waits, 1);
		net_want_tx(p->port);
		return false;
	}
	if (r == 0) {
		tx->turn_frames++;
		tx->turn_bytes += chain.out_bytes - NET_HEADER_LEN;
		vnet_limit_charge(&p->dev->tx_limit, chain.out_bytes - NET_HEADER_LEN);
	} else {
		tx->turn_dropped++;
	}
	virtio_queue_done(q, &chain, 0);
	return true;
}

/* Several pairs count in one place, so they do it once a turn. */
static void count_turn(struct vnet_pair *p)
{
	struct vnet_tx *tx = &p->tx;

	if (tx->turn_frames) {
		device_count(&p->dev->tx_packets, tx->turn_frames);
		device_count(&p->dev->tx_bytes, tx->turn_bytes);
	}
	if (tx->turn_dropped)
		device_count(&p->dev->tx_dropped, tx->turn_dropped);
	tx->turn_frames = tx->turn_bytes = tx->turn_dropped = 0;
}

void vnet_tx_run(struct vnet_pair *p)
{
	if (!p->tx.q)
		return;
	virtio_queue_drain(p->tx.q, take);
	count_turn(p);
}

static void on_timer(struct loop_timer *timer)
{
	vnet_tx_run(pair_of(container_of(timer, struct vnet_tx, timer)));
}

void vnet_tx_init(struct vnet_tx *tx)
{
	tx->timer.fired = on_timer;
}

void vnet_tx_start(struct vnet_pair *p, struct virtio_queue *q)
{
	q->priv = p;
	p->tx.q = q;
}

/* A frame is sent or still in the ring: nothing is in flight. */
void vnet_tx_stop(struct vnet_pair *p)
{
	struct virtio_queue *q = p->tx.q;

	loop_timer_cancel(p->loop, &p->tx.timer);
	p->tx.q = NULL;
	virtio_queue_stopped(q);
}

void vnet_tx_done(struct vnet_pair *p)
{
	loop_timer_cancel(p->loop, &p->tx.timer);
}
