/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio 1.2, 5.19. One sync is under way at a time. What the guest asks for meanwhile stays in the
 * ring and is served together by the next: a sync covers only what was written before it began.
 */
#include "devices/virtio_pmem.h"

#include <errno.h>
#include <linux/virtio_pmem.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "base/iov.h"
#include "base/log.h"

enum {
	BATCH = 64,	 /* requests that one sync answers */
	SEGMENTS = 16,	 /* of a request; Linux gives two */
	REQUEST_LEN = 4, /* struct virtio_pmem_req (5.19.6) */
	RESPONSE_LEN = 4,

	/* 5.19.6.1; the kernel's header has no names for them */
	RESPONSE_OK = 0,
	RESPONSE_EIO = 1,

	CONFIG_START = 0, /* struct virtio_pmem_config (5.19.4) */
	CONFIG_SIZE = 8,
	CONFIG_LEN = 16,
};

struct request {
	struct virtq_chain chain;
	bool unknown;
	struct iovec iov[SEGMENTS];
};

struct virtio_pmem {
	struct virtio_dev vdev; /* first, for DEVICE_STAT */
	bool ro;

	/* Of the queue's thread: */
	struct loop_io sync;
	bool syncing, stopping;
	unsigned n;
	struct request batch[BATCH];

	_Atomic uint64_t flushes, syncs, errors;
};

static struct virtio_pmem *pmem_of(struct virtio_dev *vdev)
{
	return container_of(vdev, struct virtio_pmem, vdev);
}

static void answer(struct virtio_queue *q, const struct request *request, uint32_t response)
{
	const struct virtq_chain *chain = &request->chain;
	struct iov writable = {.at = chain->iov + chain->n_out, .n = chain->n_in};
	uint8_t bytes[RESPONSE_LEN];

	put_le32(bytes, request->unknown ? RESPONSE_EIO : response);
	(void)iov_copy_in(&writable, bytes, sizeof(bytes));
	virtio_queue_done(q, chain, sizeof(bytes));
}

/* False when the driver has broken the rules. */
static bool check(struct virtio_queue *q, struct request *request)
{
	const struct virtq_chain *chain = &request->chain;
	struct iov readable = {.at = chain->iov, .n = chain->n_out};
	uint8_t type[REQUEST_LEN];

	if (iov_copy_out(&readable, type, sizeof(type)) < sizeof(type) ||
	    chain->in_bytes < RESPONSE_LEN) {
		virtio_queue_broken(q, "a request without room for its type or its answer");
		return false;
	}
	request->unknown = get_le32(type) != VIRTIO_PMEM_REQ_TYPE_FLUSH;
	if (request->unknown)
		log_guest("%s: request type %u is unknown", q->dev->dev.id, get_le32(type));
	return true;
}

static bool take(struct virtio_queue *q)
{
	struct virtio_pmem *p = pmem_of(q->dev);
	struct request *request = &p->batch[p->n];

	if (p->n == BATCH || !virtio_queue_pop(q, &request->chain, request->iov, SEGMENTS) ||
	    !check(q, request))
		return false;
	device_count_own(&p->flushes, 1);
	if (p->ro)
		answer(q, request, RESPONSE_OK);
	else
		p->n++;
	return true;
}

static void answer_all(struct virtio_pmem *p, struct virtio_queue *q, uint32_t response)
{
	for (unsigned i = 0; i < p->n; i++)
		answer(q, &p->batch[i], response);
	p->n = 0;
}

static void queue_kick(struct virtio_queue *q)
{
	struct virtio_pmem *p = pmem_of(q->dev);

	if (p->syncing)
		return; /* synced() looks again */
	virtio_queue_drain(q, take);
	if (!p->n)
		return;
	p->syncing = true;
	device_count_own(&p->syncs, 1);
	loop_io_submit(q->loop, &p->sync);
}

static void synced(struct loop_io *io, int result)
{
	struct virtio_pmem *p = container_of(io, struct virtio_pmem, sync);
	struct virtio_queue *q = &p->vdev.queues[0];

	if (result < 0) {
		static struct log_limit limit;

		device_count_own(&p->errors, 1);
		if (log_limit_pass(&limit))
			log_warn("%s: can't write to the file: %s", p->vdev.dev.id,
				 strerror(-result));
	}
	answer_all(p, q, result < 0 ? RESPONSE_EIO : RESPONSE_OK);
	p->syncing = false;
	if (p->stopping)
		virtio_queue_stopped(q);
	else
		queue_kick(q);
}

static void queue_start(struct virtio_queue *q)
{
	pmem_of(q->dev)->stopping = false;
}

static void queue_stop(struct virtio_queue *q)
{
	struct virtio_pmem *p = pmem_of(q->dev);

	p->stopping = true;
	if (!p->syncing)
		virtio_queue_stopped(q);
}

static const struct device_stat stats[] = {
	DEVICE_STAT(struct virtio_pmem, flushes, "flushes that the guest asked for"),
	DEVICE_STAT(struct virtio_pmem, syncs,
		    "times that the file was written to its disk for them"),
	DEVICE_STAT(struct virtio_pmem, errors, "times that this failed"),
};

static void pmem_device_free(struct device *dev)
{
	struct virtio_pmem *p = pmem_of(container_of(dev, struct virtio_dev, dev));

	virtio_dev_done(&p->vdev);
	free(p);
}

static const struct device_ops device_ops = {
	VIRTIO_DEVICE_OPS,	     .free = pmem_device_free, .state_type = "virtio-pmem",
	.help = "persistent memory", .stats = stats,	       .n_stats = ARRAY_SIZE(stats),
};

static const struct virtio_dev_ops virtio_ops = {
	.queue_start = queue_start,
	.queue_kick = queue_kick,
	.queue_stop = queue_stop,
};

static int init_virtio(struct virtio_pmem *p, const struct virtio_pmem_setup *setup)
{
	uint64_t features = VIRTIO_FEATURES_COMMON | VIRTIO_BIT(VIRTIO_F_IN_ORDER);
	uint8_t config[CONFIG_LEN];

	if (!setup->packed)
		features &= ~VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	put_le64(config + CONFIG_START, setup->gpa);
	put_le64(config + CONFIG_SIZE, setup->size);
	return virtio_dev_init(&p->vdev, &(struct virtio_dev_setup){
						 .id = setup->id,
						 .device = &device_ops,
						 .ops = &virtio_ops,
						 .type = VIRTIO_ID_PMEM,
						 .features = features,
						 .map = setup->map,
						 .config = config,
						 .config_len = sizeof(config),
						 .n_queues = 1,
						 .queue_size = setup->queue_size,
						 .loops = setup->loops,
						 .n_loops = setup->n_loops,
					 });
}

int virtio_pmem_new(const struct virtio_pmem_setup *setup, struct virtio_dev **ret)
{
	struct virtio_pmem *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->ro = setup->ro;
	r = init_virtio(p, setup);
	if (r == 0)
		r = loop_add_file(setup->loops[0], setup->fd);
	if (r < 0) {
		pmem_device_free(&p->vdev.dev);
		return r;
	}
	p->sync = (struct loop_io){.done = synced, .op = LOOP_IO_FDATASYNC, .file = r};
	*ret = &p->vdev;
	return 0;
}
