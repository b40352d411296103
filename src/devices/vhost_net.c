/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/vhost_net.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "base/iov.h"

#define BIT(name) VIRTIO_BIT(VIRTIO_NET_F_##name)

/* What the back end says of these is about a control queue that it doesn't have, or about what is
 * ours to say. */
#define OURS                                                                                       \
	(BIT(CTRL_VQ) | BIT(CTRL_RX) | BIT(CTRL_VLAN) | BIT(CTRL_RX_EXTRA) | BIT(CTRL_MAC_ADDR) |  \
	 BIT(CTRL_GUEST_OFFLOADS) | BIT(GUEST_ANNOUNCE) | BIT(MQ) | BIT(MAC) | BIT(STATUS) |       \
	 BIT(MTU))

enum { HEAD_LEN = 2, MOST_SEGMENTS = 8 };

struct vhost_net {
	struct vhost_virtio v;
	struct virtio_net_config config;
	unsigned n_pairs;
	struct vhost_watch *watch;
	struct iovec iov[MOST_SEGMENTS];
};

static struct vhost_net *of_virtio(struct virtio_dev *dev)
{
	return container_of(dev, struct vhost_net, v.virtio);
}

/* ---- the control queue ---- */

static void use_pairs(struct vhost_net *n, unsigned pairs)
{
	struct vhost_dev *d = n->v.vhost;

	for (unsigned i = 0; i < 2 * n->n_pairs; i++) {
		bool enabled = i < 2 * pairs;

		if (d->rings[i].enabled == enabled)
			continue;
		d->rings[i].enabled = enabled;
		d->ops->set_enabled(d, i);
	}
}

/* VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET is the one command there is (5.1.6.5.5). */
static bool command(struct vhost_net *n, struct iov *in)
{
	uint8_t head[HEAD_LEN], data[2];
	uint16_t pairs;

	if (iov_copy_out(in, head, sizeof(head)) < sizeof(head))
		return false;
	iov_skip(in, sizeof(head));
	if (iov_bytes(in) != sizeof(data) || iov_copy_out(in, data, sizeof(data)) < sizeof(data))
		return false;
	pairs = get_le16(data);
	if (head[0] != VIRTIO_NET_CTRL_MQ || head[1] != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ||
	    pairs < 1 || pairs > n->n_pairs)
		return false;
	use_pairs(n, pairs);
	return true;
}

static bool take(struct virtio_queue *q)
{
	struct vhost_net *n = of_virtio(q->dev);
	struct virtq_chain chain;
	struct iov in, out;
	uint8_t ack;

	if (!virtio_queue_pop(q, &chain, n->iov, MOST_SEGMENTS))
		return false;
	in = (struct iov){.at = chain.iov, .n = chain.n_out};
	out = (struct iov){.at = chain.iov + chain.n_out, .n = chain.n_in};
	ack = command(n, &in) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	virtio_queue_done(q, &chain, (uint32_t)iov_copy_in(&out, &ack, sizeof(ack)));
	return true;
}

static bool is_control(const struct virtio_queue *q)
{
	return !q->given_away;
}

static void queue_start(struct virtio_queue *q)
{
	if (!is_control(q))
		vhost_virtio_queue_start(q);
}

static void queue_kick(struct virtio_queue *q)
{
	virtio_queue_drain(q, take);
}

static void queue_stop(struct virtio_queue *q)
{
	if (is_control(q))
		virtio_queue_stopped(q);
	else
		vhost_virtio_queue_stop(q);
}

/* ---- the link ---- */

static void on_connected(struct vhost_virtio *v, bool connected)
{
	struct vhost_net *n = container_of(v, struct vhost_net, v);
	uint8_t status[2];

	put_le16(status, connected ? VIRTIO_NET_S_LINK_UP : 0);
	virtio_dev_set_config(&v->virtio, offsetof(struct virtio_net_config, status), status,
			      sizeof(status));
	if (n->watch)
		n->watch->changed(n->watch, connected);
}

/* A driver begins with one pair. */
static void on_reset(struct vhost_virtio *v)
{
	use_pairs(container_of(v, struct vhost_net, v), 1);
}

/* ---- life ---- */

static void device_done(struct device *device)
{
	struct vhost_net *n = container_of(device, struct vhost_net, v.virtio.dev);

	vhost_virtio_done(&n->v);
	free(n);
}

static const struct device_ops device_ops = {
	VIRTIO_DEVICE_OPS,
	VHOST_VIRTIO_STATS,
	.free = device_done,
	.state_type = "vhost-net",
	.help = "network card of a vhost-user back end",
};

static const struct virtio_dev_ops virtio_ops = {
	.queue_start = queue_start,
	.queue_kick = queue_kick,
	.queue_stop = queue_stop,
	.queue_call = vhost_virtio_queue_call,
	.reset = vhost_virtio_reset,
};

static uint64_t features_of(const struct vhost_net_setup *s)
{
	uint64_t features = vhost_virtio_features(s->vhost, s->packed) & ~OURS;

	features |= BIT(MAC) | BIT(STATUS);
	if (s->mtu)
		features |= BIT(MTU);
	if (s->n_pairs > 1)
		features |= BIT(CTRL_VQ) | BIT(MQ);
	return features;
}

static int check_pairs(const struct vhost_net_setup *s, struct err *err)
{
	/* Some count queues here and some count pairs: it is pairs where the count is so small. */
	unsigned most = MIN(s->vhost->max_rings, (unsigned)VHOST_NET_MAX_PAIRS);

	if (s->n_pairs <= most)
		return 0;
	return err_set(err, -EINVAL,
		       "%s: %u pairs of queues are wanted, and the back end has %u: use queues=%u",
		       s->id, s->n_pairs, most, most);
}

static int init(struct vhost_net *n, const struct vhost_net_setup *s, struct err *err)
{
	const struct vhost_virtio_setup setup = {
		.virtio = {.id = s->id,
			   .device = &device_ops,
			   .ops = &virtio_ops,
			   .type = VIRTIO_ID_NET,
			   .features = features_of(s),
			   .map = s->map,
			   .config = &n->config,
			   .config_len = sizeof(n->config),
			   .n_queues = 2 * s->n_pairs + (s->n_pairs > 1),
			   .queue_size = s->queue_size,
			   .loops = s->loops,
			   .n_loops = 1,
			   .n_given_away = 2 * s->n_pairs},
		.vhost = s->vhost,
		/* What a network loses or sends twice, those who use it make good. */
		.on_lost = VHOST_ON_LOST_REPLAY,
		.passed = s->vhost->features,
		.needs_rings = s->n_pairs,
	};

	memcpy(n->config.mac, s->mac, sizeof(s->mac));
	put_le16((uint8_t *)&n->config.status, VIRTIO_NET_S_LINK_UP);
	put_le16((uint8_t *)&n->config.max_virtqueue_pairs, (uint16_t)s->n_pairs);
	put_le16((uint8_t *)&n->config.mtu, s->mtu);
	n->n_pairs = s->n_pairs;
	n->watch = s->watch;
	n->v.connected = on_connected;
	n->v.begins_anew = on_reset;
	return vhost_virtio_init(&n->v, &setup, err);
}

int vhost_net_new(const struct vhost_net_setup *s, struct virtio_dev **ret, struct err *err)
{
	struct vhost_net *n = calloc(1, sizeof(*n));
	int r = n ? check_pairs(s, err) : -ENOMEM;

	if (r < 0) {
		(void)vhost_dev_free(s->vhost);
		free(n);
		return r;
	}
	r = init(n, s, err);
	if (r < 0) {
		device_done(&n->v.virtio.dev);
		return r;
	}
	use_pairs(n, 1);
	*ret = &n->v.virtio;
	return 0;
}
