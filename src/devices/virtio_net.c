/* SPDX-License-Identifier: Apache-2.0 */
/* The device: features, which queue is what, link, verbs, life. */
#include "devices/virtio_net.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/endian.h"
#include "base/log.h"
#include "base/text.h"
#include "devices/virtio_net_internal.h"

enum {
	CONFIG_LEN = offsetof(struct virtio_net_config, rss_max_key_size),
	STATUS_AT = offsetof(struct virtio_net_config, status),
	SPEED_MBIT = 10000, /* what the host says of a tap */
	FULL_DUPLEX = 1,
};
static_assert(CONFIG_LEN == 17 && STATUS_AT == 6, "virtio 1.2, 5.1.4");

/* ---- features (5.1.3) ---- */

#define BIT(name) VIRTIO_BIT(VIRTIO_NET_F_##name)

static uint64_t offload_features(unsigned offloads)
{
	uint64_t bits = 0;

	if (offloads & NET_OFFLOAD_CSUM)
		bits |= BIT(CSUM) | BIT(GUEST_CSUM) | BIT(CTRL_GUEST_OFFLOADS);
	if (offloads & NET_OFFLOAD_TSO4)
		bits |= BIT(HOST_TSO4) | BIT(GUEST_TSO4);
	if (offloads & NET_OFFLOAD_TSO6)
		bits |= BIT(HOST_TSO6) | BIT(GUEST_TSO6);
	if (offloads & NET_OFFLOAD_ECN)
		bits |= BIT(HOST_ECN) | BIT(GUEST_ECN);
	return bits;
}

static uint64_t features(const struct virtio_net_setup *setup)
{
	uint64_t bits = VIRTIO_FEATURES_COMMON | VIRTIO_BIT(VIRTIO_F_IN_ORDER) | BIT(MAC) |
			BIT(MRG_RXBUF) | BIT(STATUS) | BIT(CTRL_VQ) | BIT(CTRL_RX) |
			BIT(CTRL_RX_EXTRA) | BIT(CTRL_VLAN) | BIT(CTRL_MAC_ADDR) |
			BIT(GUEST_ANNOUNCE) | BIT(SPEED_DUPLEX);

	if (!setup->packed)
		bits &= ~VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	if (setup->offload)
		bits |= offload_features(net_offloads(setup->net));
	if (setup->mtu)
		bits |= BIT(MTU);
	if (net_n_ports(setup->net) > 1)
		bits |= BIT(MQ);
	return bits;
}

unsigned vnet_offloads(uint64_t bits)
{
	return (bits & BIT(GUEST_CSUM) ? NET_OFFLOAD_CSUM : 0U) |
	       (bits & BIT(GUEST_TSO4) ? NET_OFFLOAD_TSO4 : 0U) |
	       (bits & BIT(GUEST_TSO6) ? NET_OFFLOAD_TSO6 : 0U) |
	       (bits & BIT(GUEST_ECN) ? NET_OFFLOAD_ECN : 0U);
}

/* What a bit needs one of (5.1.3.1). */
static const struct {
	uint64_t bits, need_one_of;
} requirements[] = {
	{BIT(GUEST_TSO4) | BIT(GUEST_TSO6), BIT(GUEST_CSUM)},
	{BIT(GUEST_ECN), BIT(GUEST_TSO4) | BIT(GUEST_TSO6)},
	{BIT(HOST_TSO4) | BIT(HOST_TSO6), BIT(CSUM)},
	{BIT(HOST_ECN), BIT(HOST_TSO4) | BIT(HOST_TSO6)},
	{BIT(CTRL_RX) | BIT(CTRL_VLAN) | BIT(GUEST_ANNOUNCE) | BIT(MQ) | BIT(CTRL_MAC_ADDR),
	 BIT(CTRL_VQ)},
};

static int net_accept(struct virtio_dev *dev, uint64_t bits)
{
	for (size_t i = 0; i < ARRAY_SIZE(requirements); i++)
		if (bits & requirements[i].bits && !(bits & requirements[i].need_one_of))
			return -EINVAL;
	atomic_store_explicit(&vnet_of(dev)->guest_offloads, vnet_offloads(bits),
			      memory_order_relaxed);
	return 0;
}

/* ---- queues (5.1.2) ---- */

enum role { ROLE_RX, ROLE_TX, ROLE_CTRL, ROLE_NONE };

/* Without MQ there is one pair, and the control queue comes right behind it. */
static enum role role_of(const struct virtio_queue *q)
{
	const struct vnet *n = vnet_of(q->dev);
	unsigned pairs = virtio_dev_has(q->dev, VIRTIO_NET_F_MQ) ? n->n_pairs : 1;

	if (q->index < 2 * pairs)
		return q->index % 2 == 0 ? ROLE_RX : ROLE_TX;
	if (q->index == 2 * pairs && virtio_dev_has(q->dev, VIRTIO_NET_F_CTRL_VQ))
		return ROLE_CTRL;
	return ROLE_NONE;
}

static struct vnet_pair *pair_of(const struct virtio_queue *q)
{
	return &vnet_of(q->dev)->pairs[q->index / 2];
}

static void queue_start(struct virtio_queue *q)
{
	switch (role_of(q)) {
	case ROLE_RX:
		vnet_rx_start(pair_of(q), q);
		break;
	case ROLE_TX:
		vnet_tx_start(pair_of(q), q);
		break;
	case ROLE_CTRL:
		vnet_ctrl_start(vnet_of(q->dev), q);
		break;
	case ROLE_NONE:
		break;
	}
}

static void queue_kick(struct virtio_queue *q)
{
	switch (role_of(q)) {
	case ROLE_RX:
		vnet_rx_kick(pair_of(q));
		break;
	case ROLE_TX:
		vnet_tx_run(pair_of(q));
		break;
	case ROLE_CTRL:
		vnet_ctrl_run(vnet_of(q->dev));
		break;
	case ROLE_NONE:
		break;
	}
}

static void queue_stop(struct virtio_queue *q)
{
	switch (role_of(q)) {
	case ROLE_RX:
		vnet_rx_stop(pair_of(q));
		break;
	case ROLE_TX:
		vnet_tx_stop(pair_of(q));
		break;
	case ROLE_CTRL:
		vnet_ctrl_stop(vnet_of(q->dev));
		break;
	case ROLE_NONE:
		virtio_queue_stopped(q);
		break;
	}
}

/* ---- the port's side ---- */

static struct vnet_pair *pair_of_user(struct net_user *user)
{
	return container_of(user, struct vnet_pair, user);
}

static void on_readable(struct net_user *user)
{
	vnet_rx_readable(pair_of_user(user));
}

static void on_writable(struct net_user *user)
{
	vnet_tx_run(pair_of_user(user));
}

/* In the middle of receiving or sending, maybe: what follows from it is posted. */
static void on_link(struct net_user *user, bool up, const char *why)
{
	struct vnet *n = pair_of_user(user)->dev;

	if (up) {
		log_info("%s: %s: %s", n->virtio.dev.id, net_describe(n->net), why);
		atomic_store_explicit(&n->greet, true, memory_order_relaxed);
	} else {
		log_warn("%s: the link is down: %s: %s", n->virtio.dev.id, net_describe(n->net),
			 why);
		device_count(&n->link_downs, 1);
	}
	vnet_update_status(n);
	vnet_poke(n);
}

static const struct net_user_ops user_ops = {
	.readable = on_readable, .writable = on_writable, .link = on_link};

void vnet_apply_offloads(struct vnet *n)
{
	unsigned offloads = atomic_load_explicit(&n->guest_offloads, memory_order_relaxed);
	int r = net_set_offloads(n->net, offloads);

	if (r < 0 && net_is_up(n->net))
		log_warn("%s: %s: offloads can't be set: %s", n->virtio.dev.id,
			 net_describe(n->net), strerror(-r));
}

void vnet_enable_port(struct vnet_pair *p, bool on)
{
	int r = net_port_enable(p->port, on);

	if (r < 0 && net_is_up(p->dev->net))
		log_warn("%s: %s: queue %u can't be %s: %s", p->dev->virtio.dev.id,
			 net_describe(p->dev->net), p->index, on ? "attached" : "detached",
			 strerror(-r));
}

static void on_poke(struct loop_work *work)
{
	struct vnet_pair *p = container_of(work, struct vnet_pair, poke);

	vnet_greet(p);
	vnet_rx_poke(p);
	vnet_tx_run(p);
}

void vnet_poke(struct vnet *n)
{
	for (unsigned i = 0; i < n->n_pairs; i++)
		loop_post(n->pairs[i].loop, &n->pairs[i].poke);
}

static void on_apply(struct loop_work *work)
{
	vnet_ctrl_apply(container_of(work, struct vnet_pair, apply));
}

/* ---- status (5.1.4) ---- */

static le16_t status_wanted(const struct vnet *n)
{
	bool announce = atomic_load_explicit(&n->announce, memory_order_relaxed);

	return le16_make((uint16_t)((vnet_link_is_up(n) ? VIRTIO_NET_S_LINK_UP : 0) |
				    (announce ? VIRTIO_NET_S_ANNOUNCE : 0)));
}

/* Whoever changes what it is made of comes here afterwards, on any thread; so the last to look has
 * seen all changes. */
void vnet_update_status(struct vnet *n)
{
	le16_t status;

	do {
		status = status_wanted(n);
		virtio_dev_set_config(&n->virtio, STATUS_AT, &status, sizeof(status));
	} while (status.raw != status_wanted(n).raw);
}

/* ---- rate limits ---- */

uint64_t vnet_limit_wait(const struct vnet_limit *limit)
{
	uint64_t now;

	if (!limit_is_on(&limit->bytes) && !limit_is_on(&limit->frames))
		return 0;
	now = clock_now_ns();
	return MAX(limit_wait(&limit->bytes, now), limit_wait(&limit->frames, now));
}

void vnet_limit_charge(struct vnet_limit *limit, uint64_t bytes)
{
	uint64_t now;

	if (!limit_is_on(&limit->bytes) && !limit_is_on(&limit->frames))
		return;
	now = clock_now_ns();
	limit_charge(&limit->bytes, now, bytes);
	limit_charge(&limit->frames, now, 1);
}

/* ---- verbs ---- */

static const struct device_param link_params[] = {
	{.name = "state", .type = DEVICE_PARAM_TEXT, .min = 2, .max = 4, .help = "up or down"},
};

static int verb_link(struct device *device, const struct device_value *values, struct err *err)
{
	struct vnet *n = container_of(device, struct vnet, virtio.dev);
	bool up = strcmp(values[0].text, "up") == 0;

	if (!up && strcmp(values[0].text, "down") != 0)
		return err_set(err, -EINVAL, "state: '%s' is not up or down", values[0].text);
	atomic_store_explicit(&n->link_wanted, up, memory_order_relaxed);
	vnet_update_status(n);
	vnet_poke(n);
	return 0;
}

#define RATE_PARAM(param, text)                                                                    \
	{                                                                                          \
		.name = (param), .type = DEVICE_PARAM_TEXT, .optional = true, .min = 1, .max = 32, \
		.help = (text)                                                                     \
	}
static const struct device_param limit_params[] = {
	RATE_PARAM("rx_bw", "bytes a second to the guest (100M); 0: no limit"),
	RATE_PARAM("tx_bw", "bytes a second from the guest; 0: no limit"),
	RATE_PARAM("rx_pps", "packets a second to the guest; 0: no limit"),
	RATE_PARAM("tx_pps", "packets a second from the guest; 0: no limit"),
};

/* What is left out stays as it is; nothing changes when one of them is wrong. */
static int verb_limit(struct device *device, const struct device_value *values, struct err *err)
{
	struct vnet *n = container_of(device, struct vnet, virtio.dev);
	struct limit *const limits[] = {&n->rx_limit.bytes, &n->tx_limit.bytes, &n->rx_limit.frames,
					&n->tx_limit.frames};
	uint64_t rates[ARRAY_SIZE(limits)] = {0};
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		int r = values[i].given ? text_parse_size(values[i].text, 1, &rates[i]) : 0;

		if (r < 0)
			return err_set(err, r, "%s: '%s' is not a rate; say 100M, or a number",
				       limit_params[i].name, values[i].text);
		any |= values[i].given;
	}
	if (!any)
		return err_set(err, -EINVAL, "limit: say which: rx_bw=, tx_bw=, rx_pps=, tx_pps=");
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (values[i].given)
			limit_set(limits[i], rates[i], 0);
	vnet_poke(n);
	return 0;
}

static const struct device_verb verbs[] = {
	{.name = "link",
	 .help = "takes the guest's link down or up",
	 .params = link_params,
	 .n_params = ARRAY_SIZE(link_params),
	 .run = verb_link},
	{.name = "limit",
	 .help = "changes the rate limits, at once",
	 .params = limit_params,
	 .n_params = ARRAY_SIZE(limit_params),
	 .run = verb_limit},
};

static const struct device_stat stats[] = {
	DEVICE_STAT(struct vnet, rx_packets, "packets that the guest got"),
	DEVICE_STAT(struct vnet, rx_bytes, "bytes of these"),
	DEVICE_STAT(struct vnet, rx_dropped, "packets that came and could not be given to it"),
	DEVICE_STAT(struct vnet, rx_starved, "times that it had no buffers for packets"),
	DEVICE_STAT(struct vnet, rx_throttled, "times that packets to it waited for a rate limit"),
	DEVICE_STAT(struct vnet, rx_copied, "packets that were larger than expected and copied"),
	DEVICE_STAT(struct vnet, tx_packets, "packets that the guest sent"),
	DEVICE_STAT(struct vnet, tx_bytes, "bytes of these"),
	DEVICE_STAT(struct vnet, tx_dropped, "packets that it sent and nobody took"),
	DEVICE_STAT(struct vnet, tx_waits, "times that a packet waited for the host to take it"),
	DEVICE_STAT(struct vnet, tx_throttled, "times that packets waited for a rate limit"),
	DEVICE_STAT(struct vnet, link_downs, "times that the host's side went away"),
	DEVICE_STAT(struct vnet, mac_changes, "times that the guest set its address"),
	DEVICE_STAT(struct vnet, bad_headers, "packets with a header that can't be"),
	DEVICE_STAT(struct vnet, bad_commands, "commands that failed or that nobody knows"),
};

/* ---- reset, save and load ---- */

/* What the driver had set. Device's lock, so the status is written here. */
static void net_reset(struct virtio_dev *dev)
{
	struct vnet *n = vnet_of(dev);
	le16_t status;

	atomic_store_explicit(&n->pairs_in_use, 1, memory_order_relaxed);
	atomic_store_explicit(&n->guest_offloads, 0, memory_order_relaxed);
	atomic_store_explicit(&n->announce, false, memory_order_relaxed);
	atomic_store_explicit(&n->announce_wanted, false, memory_order_relaxed);
	memcpy(dev->config, n->mac, sizeof(n->mac));
	status = status_wanted(n);
	memcpy(dev->config + STATUS_AT, &status, sizeof(status));
}

static void net_save(struct virtio_dev *dev, struct state_writer *w)
{
	struct vnet *n = vnet_of(dev);

	state_put_u16(w, (uint16_t)atomic_load(&n->pairs_in_use));
	state_put_u32(w, atomic_load(&n->guest_offloads));
}

/* The address is in the configuration space, which is there already, but with the link of the other
 * side. The guest will be asked to announce itself, since it is elsewhere now. */
static void net_load(struct virtio_dev *dev, struct state_reader *r)
{
	struct vnet *n = vnet_of(dev);
	unsigned pairs = state_get_u16(r), offloads = state_get_u32(r);
	le16_t status;

	if (pairs < 1 || pairs > n->n_pairs || offloads & ~vnet_offloads(dev->acked)) {
		state_fail(r, "more pairs of queues or offloads than this device has");
		return;
	}
	atomic_store(&n->pairs_in_use, pairs);
	atomic_store(&n->guest_offloads, offloads);
	atomic_store(&n->announce_wanted, true);
	mutex_lock(&dev->lock);
	status = status_wanted(n);
	memcpy(dev->config + STATUS_AT, &status, sizeof(status));
	mutex_unlock(&dev->lock);
}

/* ---- life ---- */

static void free_pairs(struct vnet *n)
{
	for (unsigned i = 0; n->pairs && i < n->n_pairs; i++) {
		struct vnet_pair *p = &n->pairs[i];

		vnet_rx_done(p);
		vnet_tx_done(p);
		loop_work_cancel(p->loop, &p->poke);
		loop_work_cancel(p->loop, &p->apply);
	}
	free(n->pairs);
}

static void net_device_free(struct device *device)
{
	struct vnet *n = container_of(device, struct vnet, virtio.dev);

	loop_work_cancel(vnet_ctrl_loop(n), &n->ctrl.done);
	free_pairs(n);
	(void)net_free(n->net);
	virtio_dev_done(&n->virtio);
	free(n);
}

static void fill_config(const struct vnet *n, const struct virtio_net_setup *setup,
			uint8_t config[CONFIG_LEN])
{
	le16_t status = status_wanted(n);

	memset(config, 0, CONFIG_LEN);
	memcpy(config, setup->mac, sizeof(setup->mac));
	memcpy(config + STATUS_AT, &status, sizeof(status));
	put_le16(config + offsetof(struct virtio_net_config, max_virtqueue_pairs),
		 (uint16_t)n->n_pairs);
	put_le16(config + offsetof(struct virtio_net_config, mtu), setup->mtu);
	put_le32(config + offsetof(struct virtio_net_config, speed), SPEED_MBIT);
	config[offsetof(struct virtio_net_config, duplex)] = FULL_DUPLEX;
}

/* The two queues of a pair have a loop in common, that of their port. */
static void choose_loops(const struct vnet *n, const struct virtio_net_setup *setup,
			 struct loop **ret)
{
	for (unsigned i = 0; i < n->n_pairs; i++)
		ret[2 * i] = ret[2 * i + 1] = setup->loops[i % setup->n_loops];
	ret[2 * n->n_pairs] = setup->loops[0];
}

static int init(struct vnet *n, const struct virtio_net_setup *setup)
{
	static const struct device_ops device_ops = {VIRTIO_DEVICE_OPS,
						     .free = net_device_free,
						     .state_type = "virtio-net",
						     .help = "virtio network interface",
						     .stats = stats,
						     .n_stats = ARRAY_SIZE(stats),
						     .verbs = verbs,
						     .n_verbs = ARRAY_SIZE(verbs)};
	static const struct virtio_dev_ops ops = {.accept = net_accept,
						  .queue_start = queue_start,
						  .queue_kick = queue_kick,
						  .queue_stop = queue_stop,
						  .reset = net_reset,
						  .save = net_save,
						  .load = net_load};
	struct loop *loops[2 * NET_MAX_PORTS + 1];
	uint8_t config[CONFIG_LEN];

	fill_config(n, setup, config);
	choose_loops(n, setup, loops);
	return virtio_dev_init(&n->virtio, &(struct virtio_dev_setup){
						   .id = setup->id,
						   .device = &device_ops,
						   .ops = &ops,
						   .type = VIRTIO_ID_NET,
						   .features = features(setup),
						   .map = setup->map,
						   .config = config,
						   .config_len = sizeof(config),
						   .n_queues = 2 * n->n_pairs + 1,
						   .queue_size = setup->queue_size,
						   .loops = loops,
						   .n_loops = 2 * n->n_pairs + 1,
					   });
}

static void init_pair(struct vnet *n, unsigned i)
{
	struct vnet_pair *p = &n->pairs[i];

	p->dev = n;
	p->index = i;
	p->user.ops = &user_ops;
	p->port = net_port(n->net, i);
	p->loop = n->virtio.queues[2 * i].loop;
	p->poke.run = on_poke;
	p->apply.run = on_apply;
	vnet_rx_init(&p->rx);
	vnet_tx_init(&p->tx);
	net_port_attach(p->port, p->loop, &p->user);
}

static void set_up(struct vnet *n, const struct virtio_net_setup *setup)
{
	n->net = setup->net;
	n->n_pairs = net_n_ports(setup->net);
	memcpy(n->mac, setup->mac, sizeof(n->mac));
	atomic_store(&n->pairs_in_use, 1);
	atomic_store(&n->link_wanted, true);
	vnet_ctrl_init(&n->ctrl);
	limit_set(&n->rx_limit.bytes, setup->bw, 0);
	limit_set(&n->tx_limit.bytes, setup->bw, 0);
	limit_set(&n->rx_limit.frames, setup->pps, 0);
	limit_set(&n->tx_limit.frames, setup->pps, 0);
}

int virtio_net_new(const struct virtio_net_setup *setup, struct virtio_dev **ret)
{
	struct vnet *n;
	int r;

	if (setup->queue_size < VIRTIO_NET_MIN_QUEUE_SIZE)
		return -EINVAL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	set_up(n, setup);
	n->pairs = calloc(n->n_pairs, sizeof(*n->pairs));
	r = init(n, setup);
	if (r < 0 || !n->pairs) {
		virtio_dev_done(&n->virtio);
		free(n->pairs);
		free(n);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < n->n_pairs; i++)
		init_pair(n, i);
	*ret = &n->virtio;
	return 0;
}
