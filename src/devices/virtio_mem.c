/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio 1.2, 5.15. Requests are carried out at once, on the queue's thread, which alone knows
 * which blocks are plugged; main looks only while the queue stands still.
 *
 * A guest that touches blocks which it has not plugged gets memory nevertheless: it is one slot,
 * and a hole in it would be a fault in vmm's own devices. It could have more than was asked for,
 * but never more than the region, and every unplug discards what is there.
 */
#include "devices/virtio_mem.h"

#include <errno.h>
#include <linux/virtio_mem.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/endian.h"
#include "base/iov.h"
#include "base/log.h"
#include "base/text.h"
#include "mm/discard.h"

enum {
	SEGMENTS = 16,	  /* of a request; Linux gives two */
	REQUEST_LEN = 24, /* struct virtio_mem_req (5.15.6) */
	REQUEST_ADDR = 8,
	REQUEST_BLOCKS = 16,
	RESPONSE_LEN = 10, /* struct virtio_mem_resp */
	RESPONSE_STATE = 8,

	/* struct virtio_mem_config (5.15.4) */
	CONFIG_BLOCK_SIZE = 0,
	CONFIG_ADDR = 16,
	CONFIG_REGION_SIZE = 24,
	CONFIG_USABLE_SIZE = 32,
	CONFIG_PLUGGED_SIZE = 40,
	CONFIG_REQUESTED_SIZE = 48,
	CONFIG_LEN = 56,

	WORD_BITS = 64,
};

struct virtio_mem {
	struct virtio_dev vdev; /* first, for DEVICE_STAT */
	uint64_t gpa, size, block_size;
	uint64_t n_blocks;

	/* Of the queue's thread: */
	uint64_t *plugged; /* a bit for each block */
	struct iovec iov[SEGMENTS];

	_Atomic uint64_t region_bytes, requested_bytes, plugged_bytes;
	_Atomic uint64_t plugs, unplugs, unplug_alls, refusals, shortages, errors;
};

/* A request's range in blocks. */
struct range {
	uint64_t first, n;
};

static struct virtio_mem *mem_of(struct virtio_dev *vdev)
{
	return container_of(vdev, struct virtio_mem, vdev);
}

static void set(_Atomic uint64_t *gauge, uint64_t v)
{
	atomic_store_explicit(gauge, v, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *gauge)
{
	return atomic_load_explicit(gauge, memory_order_relaxed);
}

/* ---- blocks ---- */

static uint64_t n_words(const struct virtio_mem *m)
{
	return (m->n_blocks + WORD_BITS - 1) / WORD_BITS;
}

static bool is_plugged(const struct virtio_mem *m, uint64_t block)
{
	return m->plugged[block / WORD_BITS] >> (block % WORD_BITS) & 1;
}

static void mark(struct virtio_mem *m, struct range r, bool plugged)
{
	for (uint64_t i = r.first; i < r.first + r.n; i++) {
		uint64_t bit = UINT64_C(1) << (i % WORD_BITS);

		if (plugged)
			m->plugged[i / WORD_BITS] |= bit;
		else
			m->plugged[i / WORD_BITS] &= ~bit;
	}
}

static uint64_t count_plugged(const struct virtio_mem *m, struct range r)
{
	uint64_t n = 0;

	for (uint64_t i = r.first; i < r.first + r.n; i++)
		n += is_plugged(m, i);
	return n;
}

static gpa_t gpa_of(const struct virtio_mem *m, struct range r)
{
	return GPA(m->gpa + r.first * m->block_size);
}

static struct range all_blocks(const struct virtio_mem *m)
{
	return (struct range){.first = 0, .n = m->n_blocks};
}

/* Without an interrupt: the driver knows what it has asked for (5.15.4). */
static void set_plugged_bytes(struct virtio_mem *m, uint64_t bytes)
{
	set(&m->plugged_bytes, bytes);
	mutex_lock(&m->vdev.lock);
	put_le64(m->vdev.config + CONFIG_PLUGGED_SIZE, bytes);
	m->vdev.generation++;
	mutex_unlock(&m->vdev.lock);
}

/* ---- requests (5.15.6) ---- */

static bool parse_range(const struct virtio_mem *m, const uint8_t *request, struct range *ret)
{
	uint64_t addr = get_le64(request + REQUEST_ADDR), n = get_le16(request + REQUEST_BLOCKS);

	/* n has 16 bits and a block has at most 2^47 bytes, so that the product does not wrap. */
	if (n == 0 || !is_aligned(addr, m->block_size) ||
	    !range_inside(addr, n * m->block_size, m->gpa, m->size))
		return false;
	*ret = (struct range){.first = (addr - m->gpa) / m->block_size, .n = n};
	return true;
}

static int discard(struct virtio_mem *m, struct range r)
{
	uint64_t bytes;

	return mm_discard(m->vdev.map, gpa_of(m, r), r.n * m->block_size, &bytes);
}

static uint16_t plug(struct virtio_mem *m, struct range r)
{
	uint64_t bytes = r.n * m->block_size, plugged = get(&m->plugged_bytes);

	if (plugged + bytes > get(&m->requested_bytes))
		return VIRTIO_MEM_RESP_NACK;
	if (count_plugged(m, r) != 0)
		return VIRTIO_MEM_RESP_ERROR;
	if (mm_claim(m->vdev.map, gpa_of(m, r), bytes) < 0) {
		(void)discard(m, r);
		device_count_own(&m->shortages, 1);
		return VIRTIO_MEM_RESP_BUSY;
	}
	mark(m, r, true);
	set_plugged_bytes(m, plugged + bytes);
	device_count_own(&m->plugs, 1);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t unplug(struct virtio_mem *m, struct range r)
{
	if (count_plugged(m, r) != r.n)
		return VIRTIO_MEM_RESP_ERROR;
	if (discard(m, r) < 0)
		return VIRTIO_MEM_RESP_BUSY;
	mark(m, r, false);
	set_plugged_bytes(m, get(&m->plugged_bytes) - r.n * m->block_size);
	device_count_own(&m->unplugs, 1);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t unplug_all(struct virtio_mem *m)
{
	if (discard(m, all_blocks(m)) < 0)
		return VIRTIO_MEM_RESP_BUSY;
	mark(m, all_blocks(m), false);
	set_plugged_bytes(m, 0);
	device_count_own(&m->unplug_alls, 1);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t state_of(const struct virtio_mem *m, struct range r)
{
	uint64_t n = count_plugged(m, r);

	return n == r.n ? VIRTIO_MEM_STATE_PLUGGED
	       : n == 0 ? VIRTIO_MEM_STATE_UNPLUGGED
			: VIRTIO_MEM_STATE_MIXED;
}

/* The response's type; *state is for VIRTIO_MEM_REQ_STATE only. */
static uint16_t carry_out(struct virtio_mem *m, const uint8_t *request, uint16_t *state)
{
	uint16_t type = get_le16(request);
	struct range r;

	if (type == VIRTIO_MEM_REQ_UNPLUG_ALL)
		return unplug_all(m);
	if (!parse_range(m, request, &r))
		return VIRTIO_MEM_RESP_ERROR;
	switch (type) {
	case VIRTIO_MEM_REQ_PLUG:
		return plug(m, r);
	case VIRTIO_MEM_REQ_UNPLUG:
		return unplug(m, r);
	case VIRTIO_MEM_REQ_STATE:
		*state = state_of(m, r);
		return VIRTIO_MEM_RESP_ACK;
	default:
		return VIRTIO_MEM_RESP_ERROR;
	}
}

static void respond(struct virtio_queue *q, const struct virtq_chain *chain, uint16_t type,
		    uint16_t state)
{
	struct iov writable = {.at = chain->iov + chain->n_out, .n = chain->n_in};
	uint8_t response[RESPONSE_LEN] = {0};

	put_le16(response, type);
	put_le16(response + RESPONSE_STATE, state);
	(void)iov_copy_in(&writable, response, sizeof(response));
	virtio_queue_done(q, chain, sizeof(response));
}

static void count_response(struct virtio_mem *m, uint16_t type, uint16_t request)
{
	if (type == VIRTIO_MEM_RESP_NACK)
		device_count_own(&m->refusals, 1);
	if (type != VIRTIO_MEM_RESP_ERROR)
		return;
	device_count_own(&m->errors, 1);
	log_guest("%s: request %u is not possible", m->vdev.dev.id, request);
}

static bool take(struct virtio_queue *q)
{
	struct virtio_mem *m = mem_of(q->dev);
	uint8_t request[REQUEST_LEN];
	struct virtq_chain chain;
	struct iov readable;
	uint16_t type, state = 0;

	if (!virtio_queue_pop(q, &chain, m->iov, SEGMENTS))
		return false;
	readable = (struct iov){.at = chain.iov, .n = chain.n_out};
	if (iov_copy_out(&readable, request, sizeof(request)) < sizeof(request) ||
	    chain.in_bytes < RESPONSE_LEN) {
		virtio_queue_broken(q, "a request or the room for its answer is too short");
		return false;
	}
	type = carry_out(m, request, &state);
	count_response(m, type, get_le16(request));
	respond(q, &chain, type, state);
	return true;
}

static void queue_kick(struct virtio_queue *q)
{
	virtio_queue_drain(q, take);
}

/* ---- reset, save and load ---- */

/* A driver that goes leaves its blocks as they are (5.15.5); a machine that starts anew has none.
 */
static void reset(struct device *dev)
{
	struct virtio_mem *m = mem_of(container_of(dev, struct virtio_dev, dev));

	virtio_device_reset(dev);
	if (unplug_all(m) != VIRTIO_MEM_RESP_ACK)
		log_error("%s: the host does not take memory back", dev->id);
}

static void save(struct virtio_dev *vdev, struct state_writer *w)
{
	const struct virtio_mem *m = mem_of(vdev);

	state_put_u64(w, m->block_size);
	state_put_u64(w, m->n_blocks);
	state_put_u64(w, get(&m->requested_bytes));
	for (uint64_t i = 0; i < n_words(m); i++)
		state_put_u64(w, m->plugged[i]);
}

/* What the guest had plugged must not be lacking when it touches it. */
static bool claim_plugged(const struct virtio_mem *m)
{
	for (uint64_t i = 0; i < m->n_blocks; i++)
		if (is_plugged(m, i) &&
		    mm_claim(m->vdev.map, gpa_of(m, (struct range){i, 1}), m->block_size) < 0)
			return false;
	return true;
}

static void put_config(const struct virtio_mem *m, uint8_t *config)
{
	put_le64(config + CONFIG_BLOCK_SIZE, m->block_size);
	put_le64(config + CONFIG_ADDR, m->gpa);
	put_le64(config + CONFIG_REGION_SIZE, m->size);
	put_le64(config + CONFIG_USABLE_SIZE, m->size);
	put_le64(config + CONFIG_PLUGGED_SIZE, get(&m->plugged_bytes));
	put_le64(config + CONFIG_REQUESTED_SIZE, get(&m->requested_bytes));
}

static bool can_be_requested(const struct virtio_mem *m, uint64_t bytes)
{
	return bytes <= m->size && is_aligned(bytes, m->block_size);
}

static void load(struct virtio_dev *vdev, struct state_reader *r)
{
	struct virtio_mem *m = mem_of(vdev);
	uint64_t requested;

	if (state_get_u64(r) != m->block_size || state_get_u64(r) != m->n_blocks) {
		state_fail(r, "the memory region has another size, or other blocks");
		return;
	}
	requested = state_get_u64(r);
	for (uint64_t i = 0; i < n_words(m); i++)
		m->plugged[i] = state_get_u64(r);
	if (m->n_blocks % WORD_BITS && m->plugged[n_words(m) - 1] >> m->n_blocks % WORD_BITS)
		state_fail(r, "memory is plugged outside of the region");
	if (!can_be_requested(m, requested))
		state_fail(r, "more memory is requested than there is");
	set(&m->requested_bytes, requested);
	set(&m->plugged_bytes, count_plugged(m, all_blocks(m)) * m->block_size);
	put_config(m, m->vdev.config);
	if (!claim_plugged(m))
		state_fail(r, "there are not enough free huge pages for the plugged memory");
}

/* ---- the verb ---- */

static int verb_set(struct device *dev, const struct device_value *values, struct err *err)
{
	struct virtio_mem *m = mem_of(container_of(dev, struct virtio_dev, dev));
	char most[16], step[16];
	uint64_t bytes;
	uint8_t raw[8];

	if (text_parse_size(values[0].text, MIB(1), &bytes) < 0 || !can_be_requested(m, bytes))
		return err_set(err, -EINVAL,
			       "\"size\" must be 0 to %s in steps of %s, and not \"%s\"",
			       text_format_size(m->size, most, sizeof(most)),
			       text_format_size(m->block_size, step, sizeof(step)), values[0].text);
	set(&m->requested_bytes, bytes);
	put_le64(raw, bytes);
	virtio_dev_set_config(&m->vdev, CONFIG_REQUESTED_SIZE, raw, sizeof(raw));
	return 0;
}

static const struct device_param set_params[] = {
	{.name = "size",
	 .type = DEVICE_PARAM_TEXT,
	 .min = 1,
	 .max = 32,
	 .help = "memory on top of what the guest started with, with K, M, G or T; a bare number "
		 "counts MiB"},
};

static const struct device_verb verbs[] = {
	{.name = "set",
	 .help = "give the guest more memory, or ask for some back",
	 .params = set_params,
	 .n_params = ARRAY_SIZE(set_params),
	 .run = verb_set},
};

static const struct device_stat stats[] = {
	DEVICE_STAT(struct virtio_mem, region_bytes, "the most that can be plugged, in bytes"),
	DEVICE_STAT(struct virtio_mem, requested_bytes, "bytes that the guest shall plug"),
	DEVICE_STAT(struct virtio_mem, plugged_bytes, "bytes that it has plugged"),
	DEVICE_STAT(struct virtio_mem, plugs, "requests to plug that were done"),
	DEVICE_STAT(struct virtio_mem, unplugs, "requests to unplug that were done"),
	DEVICE_STAT(struct virtio_mem, unplug_alls,
		    "times that all was unplugged, by the guest or a reset"),
	DEVICE_STAT(struct virtio_mem, refusals, "requests for more than it shall plug"),
	DEVICE_STAT(struct virtio_mem, shortages,
		    "requests to plug for which the host had no huge pages"),
	DEVICE_STAT(struct virtio_mem, errors, "requests that were not possible"),
};

/* ---- making and freeing ---- */

static void mem_free(struct device *dev)
{
	struct virtio_mem *m = mem_of(container_of(dev, struct virtio_dev, dev));

	virtio_dev_done(&m->vdev);
	free(m->plugged);
	free(m);
}

static const struct device_ops device_ops = {
	.reset = reset,
	.quiesce = virtio_device_quiesce,
	.resume = virtio_device_resume,
	.save = virtio_device_save,
	.load = virtio_device_load,
	.state_version = 1,
	VIRTIO_DEVICE_STATS,
	.free = mem_free,
	.state_type = "virtio-mem",
	.help = "memory that can be plugged",
	.stats = stats,
	.n_stats = ARRAY_SIZE(stats),
	.verbs = verbs,
	.n_verbs = ARRAY_SIZE(verbs),
};

static const struct virtio_dev_ops virtio_ops = {
	.queue_kick = queue_kick,
	.save = save,
	.load = load,
};

static int init_virtio(struct virtio_mem *m, const struct virtio_mem_setup *setup)
{
	uint64_t features = VIRTIO_FEATURES_COMMON | VIRTIO_BIT(VIRTIO_F_IN_ORDER) |
			    VIRTIO_BIT(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE);
	uint8_t config[CONFIG_LEN] = {0};

	if (!setup->packed)
		features &= ~VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	put_config(m, config);
	return virtio_dev_init(&m->vdev, &(struct virtio_dev_setup){
						 .id = setup->id,
						 .device = &device_ops,
						 .ops = &virtio_ops,
						 .type = VIRTIO_ID_MEM,
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

static bool is_made_of_blocks(const struct virtio_mem *m)
{
	return (m->block_size & (m->block_size - 1)) == 0 && m->size &&
	       is_aligned(m->gpa, m->block_size) && is_aligned(m->size, m->block_size) &&
	       mm_map_host(m->vdev.map, GPA(m->gpa), m->size);
}

int virtio_mem_new(const struct virtio_mem_setup *setup, struct virtio_dev **ret)
{
	struct virtio_mem *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->gpa = setup->gpa;
	m->size = setup->size;
	m->block_size =
		setup->block_size ? setup->block_size : MAX(MIB(2), mm_discard_granule(setup->map));
	m->n_blocks = m->size / m->block_size;
	set(&m->region_bytes, m->size);
	set(&m->requested_bytes, setup->requested);
	m->plugged = calloc(n_words(m), sizeof(*m->plugged));
	r = init_virtio(m, setup);
	if (r == 0 && !m->plugged)
		r = -ENOMEM;
	if (r == 0 && (!is_made_of_blocks(m) || !can_be_requested(m, setup->requested)))
		r = -EINVAL;
	if (r < 0) {
		mem_free(&m->vdev.dev);
		return r;
	}
	*ret = &m->vdev;
	return 0;
}
