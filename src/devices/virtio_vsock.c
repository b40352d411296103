/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio_vsock.h"

#include <errno.h>
#include <linux/virtio_vsock.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/endian.h"
#include "base/iov.h"
#include "devices/vsock_mux.h"
#include "virtio/virtio.h"

enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT, QUEUES };
enum {
	F_STREAM = 0,	    /* VIRTIO_VSOCK_F_STREAM */
	MAX_BATCH = 16,	    /* buffers for one read of the host's socket */
	MAX_IOVECS = 1024,  /* IOV_MAX: two chains as long as the queue */
	TURN_BUDGET = 1024, /* packets and pages in one turn; other handlers want theirs */
};

static_assert(MAX_IOVECS == 2 * VIRTIO_VSOCK_MAX_QUEUE_SIZE, "a batch is full before the array is");

struct virtio_vsock {
	struct virtio_dev virtio;
	struct vsock_mux mux;
	struct loop_work more; /* the budget was used up */
	unsigned budget;
	bool rx_runs, tx_runs;
	bool tx_waits;			/* packets were left in the queue */
	bool tell_reset;		/* of the transport */
	atomic_bool forget;		/* what is left of a driver that has been reset */
	struct loop_work forgets;	/* posted with it */
	struct iovec *popped, *payload; /* MAX_IOVECS each */
};

static struct virtio_vsock *vsock_of(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_vsock, virtio);
}

static void spend(struct virtio_vsock *v, uint64_t bytes)
{
	uint64_t cost = 1 + bytes / 4096;

	v->budget -= (unsigned)MIN(cost, (uint64_t)v->budget);
}

/* ---- to the guest ---- */

static struct iov writable(const struct virtq_chain *chain)
{
	return (struct iov){.at = chain->iov + chain->n_out, .n = chain->n_in};
}

/* A buffer that holds no payload can't be of use to anybody. */
static bool pop_buffer(struct virtio_queue *q, struct virtq_chain *chain, struct iovec *iov)
{
	if (!virtio_queue_pop(q, chain, iov, VIRTIO_VSOCK_MAX_QUEUE_SIZE))
		return false;
	if (chain->in_bytes > VSOCK_HEADER_LEN)
		return true;
	virtio_queue_broken(q, "a receive buffer is too small");
	return false;
}

static void put_packet(struct virtio_queue *q, const struct virtq_chain *chain,
		       const struct vsock_packet *p)
{
	uint8_t header[VSOCK_HEADER_LEN];
	struct iov to = writable(chain);

	vsock_packet_encode(p, header);
	(void)iov_copy_in(&to, header, sizeof(header));
	virtio_queue_done(q, chain, VSOCK_HEADER_LEN + p->len);
	spend(vsock_of(q->dev), p->len);
}

/* Several buffers that one read of a socket fills. */
struct batch {
	struct virtq_chain chains[MAX_BATCH];
	unsigned n, n_popped; /* chains; their iovecs */
	struct iov payload;
	uint64_t space;
};

/* What lies behind the header. */
static void add_payload(struct batch *b, const struct virtq_chain *chain)
{
	size_t skip = VSOCK_HEADER_LEN;

	for (unsigned i = 0; i < chain->n_in; i++) {
		struct iovec seg = chain->iov[chain->n_out + i];
		size_t n = MIN(skip, seg.iov_len);

		skip -= n;
		seg.iov_base = (char *)seg.iov_base + n;
		seg.iov_len -= n;
		if (seg.iov_len > 0)
			b->payload.at[b->payload.n++] = seg;
	}
	b->space += chain->in_bytes - VSOCK_HEADER_LEN;
	b->n_popped += chain->n_out + chain->n_in;
	b->n++;
}

/* The first chain is there. As many more as the connection filled the last time. */
static void gather(struct virtio_queue *q, struct batch *b, unsigned most, uint64_t wanted)
{
	struct virtio_vsock *v = vsock_of(q->dev);

	b->payload = (struct iov){.at = v->payload};
	add_payload(b, &b->chains[0]);
	while (b->n < most && b->space < wanted &&
	       b->n_popped <= MAX_IOVECS - VIRTIO_VSOCK_MAX_QUEUE_SIZE &&
	       pop_buffer(q, &b->chains[b->n], v->popped + b->n_popped))
		add_payload(b, &b->chains[b->n]);
}

/* Buffers that were filled go to the guest, the others back. How many were filled. */
static unsigned deliver(struct virtio_queue *q, struct batch *b, struct vsock_conn *c, size_t bytes)
{
	struct virtio_vsock *v = vsock_of(q->dev);
	unsigned filled = 0;

	for (; bytes > 0; filled++) {
		const struct virtq_chain *chain = &b->chains[filled];
		uint32_t len = (uint32_t)MIN(chain->in_bytes - VSOCK_HEADER_LEN, bytes);
		struct vsock_packet p;

		vsock_mux_data(&v->mux, c, len, &p);
		put_packet(q, chain, &p);
		bytes -= len;
	}
	for (unsigned i = b->n; i > filled; i--)
		virtq_unpop(&q->vq, &b->chains[i - 1]);
	return filled;
}

static void send_data(struct virtio_queue *q, struct batch *b, struct vsock_conn *c)
{
	uint64_t wanted = MIN(vsock_conn_credit(c), (uint32_t)VSOCK_MAX_PAYLOAD);
	size_t space, bytes;
	unsigned filled;

	gather(q, b, c->batch, wanted);
	space = MIN(b->space, wanted);
	iov_limit(&b->payload, space);
	bytes = vsock_conn_read(c, &b->payload, space);
	filled = deliver(q, b, c, bytes);
	if (bytes == space)
		c->batch = MIN(b->n * 2, (unsigned)MAX_BATCH);
	else
		c->batch = MAX(filled, 1U);
}

/* One packet, or several of data for one connection. */
static bool send_one(struct virtio_queue *q)
{
	struct virtio_vsock *v = vsock_of(q->dev);
	struct batch b = {.n = 0};
	struct vsock_packet p;
	struct vsock_conn *c;

	if (v->budget == 0 || !vsock_mux_has_output(&v->mux) ||
	    !pop_buffer(q, &b.chains[0], v->popped))
		return false;
	if (vsock_mux_tell(&v->mux, &p, &c))
		put_packet(q, &b.chains[0], &p);
	else
		send_data(q, &b, c);
	if (c)
		vsock_mux_next(&v->mux, c);
	return true;
}

/* ---- from the guest ---- */

static bool take_one(struct virtio_queue *q)
{
	struct virtio_vsock *v = vsock_of(q->dev);
	uint8_t header[VSOCK_HEADER_LEN];
	struct virtq_chain chain;
	struct vsock_packet p;
	struct iov in;

	v->tx_waits = v->budget == 0 || !vsock_mux_can_take(&v->mux);
	if (v->tx_waits || !virtio_queue_pop(q, &chain, v->popped, VIRTIO_VSOCK_MAX_QUEUE_SIZE))
		return false;
	in = (struct iov){.at = chain.iov, .n = chain.n_out};
	if (iov_copy_out(&in, header, sizeof(header)) < sizeof(header)) {
		virtio_queue_broken(q, "a packet is shorter than its header");
		return false;
	}
	p = vsock_packet_decode(header);
	iov_skip(&in, sizeof(header));
	vsock_mux_take(&v->mux, &p, &in);
	virtio_queue_done(q, &chain, 0);
	spend(v, p.len);
	return true;
}

/* ---- both ---- */

static void send_all(struct virtio_vsock *v)
{
	if (v->rx_runs && vsock_mux_has_output(&v->mux))
		virtio_queue_drain(&v->virtio.queues[QUEUE_RX], send_one);
}

static void take_all(struct virtio_vsock *v)
{
	if (v->tx_runs)
		virtio_queue_drain(&v->virtio.queues[QUEUE_TX], take_one);
}

/* Answers that find no room hold up what the guest sends, until it takes some of them. */
static void serve(struct virtio_vsock *v)
{
	send_all(v);
	while (v->tx_waits && v->budget > 0 && vsock_mux_can_take(&v->mux)) {
		take_all(v);
		send_all(v);
	}
	vsock_mux_settle(&v->mux);
	if (v->budget == 0)
		loop_post(v->mux.loop, &v->more);
}

static void serve_mux(struct vsock_mux *mux)
{
	struct virtio_vsock *v = container_of(mux, struct virtio_vsock, mux);

	v->budget = TURN_BUDGET;
	serve(v);
}

static void serve_more(struct loop_work *work)
{
	struct virtio_vsock *v = container_of(work, struct virtio_vsock, more);

	if (!v->mux.running)
		return;
	v->budget = TURN_BUDGET;
	serve(v);
}

static bool send_event(struct virtio_queue *q)
{
	static const uint8_t event[4]; /* VIRTIO_VSOCK_EVENT_TRANSPORT_RESET */
	struct virtio_vsock *v = vsock_of(q->dev);
	struct virtq_chain chain;
	struct iov to;

	if (!v->tell_reset || !virtio_queue_pop(q, &chain, v->popped, VIRTIO_VSOCK_MAX_QUEUE_SIZE))
		return false;
	to = writable(&chain);
	v->tell_reset = false;
	virtio_queue_done(q, &chain, (uint32_t)iov_copy_in(&to, event, sizeof(event)));
	return true;
}

/* ---- queues ---- */

static void catch_up(struct virtio_vsock *v)
{
	if (atomic_exchange(&v->forget, false))
		vsock_mux_forget(&v->mux);
}

static void forget(struct loop_work *work)
{
	catch_up(container_of(work, struct virtio_vsock, forgets));
}

/* A new driver's start may be posted ahead of what the old one's reset has posted. */
static void vsock_queue_start(struct virtio_queue *q)
{
	struct virtio_vsock *v = vsock_of(q->dev);

	catch_up(v);
	if (q->index == QUEUE_EVENT)
		return;
	*(q->index == QUEUE_RX ? &v->rx_runs : &v->tx_runs) = true;
	if (v->rx_runs && v->tx_runs)
		vsock_mux_start(&v->mux);
}

static void vsock_queue_kick(struct virtio_queue *q)
{
	struct virtio_vsock *v = vsock_of(q->dev);

	v->budget = TURN_BUDGET;
	if (q->index == QUEUE_EVENT)
		virtio_queue_drain(q, send_event);
	else if (!v->mux.running)
		v->tx_waits = true; /* until both queues run */
	else if (q->index == QUEUE_RX)
		virtio_queue_drain(q, send_one);
	else
		take_all(v);
	if (v->mux.running)
		serve(v);
}

static void vsock_queue_stop(struct virtio_queue *q)
{
	struct virtio_vsock *v = vsock_of(q->dev);

	if (q->index != QUEUE_EVENT) {
		*(q->index == QUEUE_RX ? &v->rx_runs : &v->tx_runs) = false;
		vsock_mux_stop(&v->mux);
	}
	virtio_queue_stopped(q);
}

/* On a vCPU's thread where no queue was live, and connections are the loop's. */
static void vsock_reset(struct virtio_dev *dev)
{
	struct virtio_vsock *v = vsock_of(dev);

	atomic_store(&v->forget, true);
	loop_post(v->mux.loop, &v->forgets);
	v->tell_reset = false;
	v->tx_waits = false;
}

/* The state has the CID that the guest had; the driver asks for it again. */
static void vsock_load(struct virtio_dev *dev, struct state_reader *r)
{
	struct virtio_vsock *v = vsock_of(dev);

	(void)r;
	mutex_lock(&dev->lock);
	put_le64(dev->config, v->mux.guest_cid);
	mutex_unlock(&dev->lock);
	v->tell_reset = true;
}

/* ---- device ---- */

static void vsock_free(struct device *dev)
{
	struct virtio_vsock *v = vsock_of(container_of(dev, struct virtio_dev, dev));

	if (v->mux.loop) {
		vsock_mux_done(&v->mux);
		loop_work_cancel(v->mux.loop, &v->more);
		loop_work_cancel(v->mux.loop, &v->forgets);
	}
	virtio_dev_done(&v->virtio);
	free(v->popped);
	free(v->payload);
	free(v);
}

#define VSOCK_STAT(member, text)                                                                   \
	{                                                                                          \
		.name = #member, .help = (text),                                                   \
		.offset = offsetof(struct virtio_vsock, mux.counters.member)                       \
	}

static const struct device_stat stats[] = {
	VSOCK_STAT(host_connections, "connections that a program on the host asked for"),
	VSOCK_STAT(guest_connections, "connections of the guest to a program on the host"),
	VSOCK_STAT(refused, "connections and packets of the guest that nobody wanted"),
	VSOCK_STAT(aborted, "connections that came to an end before their time"),
	VSOCK_STAT(dropped, "packets with a wrong sender"),
	VSOCK_STAT(rx_bytes, "bytes to the guest"),
	VSOCK_STAT(rx_packets, "packets to the guest"),
	VSOCK_STAT(tx_bytes, "bytes from the guest"),
	VSOCK_STAT(tx_packets, "packets from the guest"),
};

static const struct device_ops device_ops = {
	VIRTIO_DEVICE_OPS,
	.free = vsock_free,
	.state_type = "virtio-vsock",
	.help = "virtio socket device",
	.stats = stats,
	.n_stats = ARRAY_SIZE(stats),
};

static const struct virtio_dev_ops virtio_ops = {
	.queue_start = vsock_queue_start,
	.queue_kick = vsock_queue_kick,
	.queue_stop = vsock_queue_stop,
	.reset = vsock_reset,
	.load = vsock_load,
};

static int init(struct virtio_vsock *v, const struct virtio_vsock_setup *setup)
{
	uint8_t config[sizeof(struct virtio_vsock_config)];
	uint64_t features =
		VIRTIO_FEATURES_COMMON | VIRTIO_BIT(VIRTIO_F_IN_ORDER) | VIRTIO_BIT(F_STREAM);
	struct virtio_dev_setup dev_setup = {
		.id = setup->id,
		.device = &device_ops,
		.ops = &virtio_ops,
		.type = VIRTIO_ID_VSOCK,
		.features = setup->packed ? features : features & ~VIRTIO_BIT(VIRTIO_F_RING_PACKED),
		.map = setup->map,
		.config = config,
		.config_len = sizeof(config),
		.n_queues = QUEUES,
		.queue_size = setup->queue_size,
		.loops = setup->loops,
		.n_loops = 1,
	};
	int r;

	put_le64(config, setup->cid);
	r = virtio_dev_init(&v->virtio, &dev_setup);
	if (r == 0)
		r = vsock_mux_init(&v->mux, setup->loops[0], setup->cid, setup->listener,
				   setup->path);
	v->mux.serve = serve_mux;
	v->more.run = serve_more;
	v->forgets.run = forget;
	v->popped = calloc(MAX_IOVECS, sizeof(*v->popped));
	v->payload = calloc(MAX_IOVECS, sizeof(*v->payload));
	return v->popped && v->payload ? r : -ENOMEM;
}

int virtio_vsock_new(const struct virtio_vsock_setup *setup, struct virtio_dev **ret)
{
	struct virtio_vsock *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	vmm_assert(setup->queue_size <= VIRTIO_VSOCK_MAX_QUEUE_SIZE);
	r = init(v, setup);
	if (r < 0) {
		vsock_free(&v->virtio.dev);
		return r;
	}
	*ret = &v->virtio;
	return 0;
}
