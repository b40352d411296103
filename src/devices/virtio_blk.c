/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio_blk.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/text.h"
#include "devices/virtio_blk_internal.h"

enum {
	CONFIG_LEN = offsetof(struct virtio_blk_config, max_secure_erase_sectors),
	WCE_AT = offsetof(struct virtio_blk_config, wce),
};
static_assert(WCE_AT == 32 && CONFIG_LEN == 60, "virtio 1.2, 5.2.4");

static struct vblk *disk_of(struct virtio_dev *dev)
{
	return container_of(dev, struct vblk, virtio);
}

/* ---- configuration space ---- */

static void config_written(struct virtio_dev *dev, unsigned offset, unsigned len)
{
	if (range_inside(WCE_AT, 1, offset, len))
		atomic_store_explicit(&disk_of(dev)->writeback, dev->config[WCE_AT],
				      memory_order_relaxed);
}

static void disk_reset(struct virtio_dev *dev)
{
	dev->config[WCE_AT] = 1;
	atomic_store_explicit(&disk_of(dev)->writeback, true, memory_order_relaxed);
}

/* The configuration space, write cache mode included, is there already. */
static void disk_load(struct virtio_dev *dev, struct state_reader *reader)
{
	struct vblk *d = disk_of(dev);
	uint64_t sectors;

	mutex_lock(&dev->lock);
	sectors = get_le64(dev->config);
	atomic_store_explicit(&d->writeback, dev->config[WCE_AT], memory_order_relaxed);
	mutex_unlock(&dev->lock);
	if (sectors > blk_size(d->blk) / BLK_SECTOR)
		state_fail(reader, "the disk was larger when it was saved");
}

static void fill_config(const struct vblk *d, const struct virtio_blk_setup *setup,
			struct virtio_blk_config *c)
{
	const struct blk_info *info = blk_info(d->blk);
	uint32_t per_physical = info->physical_block / info->logical_block;

	*c = (struct virtio_blk_config){
		.capacity = htole64(blk_size(d->blk) / BLK_SECTOR),
		.seg_max = htole32(MIN((uint32_t)VBLK_MAX_DATA_SEGS, setup->queue_size - 2U)),
		.blk_size = htole32(info->logical_block),
		.physical_block_exp = (uint8_t)__builtin_ctz(per_physical),
		.min_io_size = htole16((uint16_t)per_physical),
		.wce = 1,
		.num_queues = htole16((uint16_t)setup->n_queues),
	};
	if (info->ro)
		return;
	c->max_write_zeroes_sectors = htole32(VBLK_MAX_ZERO_SECTORS);
	c->max_write_zeroes_seg = htole32(VBLK_MAX_RANGES);
	c->write_zeroes_may_unmap = 1;
	if (info->discard_granularity == 0)
		return;
	c->max_discard_sectors = htole32(VBLK_MAX_DISCARD_SECTORS);
	c->max_discard_seg = htole32(VBLK_MAX_RANGES);
	c->discard_sector_alignment = htole32(info->discard_granularity / BLK_SECTOR);
}

static uint64_t features(const struct blk_info *info, const struct virtio_blk_setup *setup)
{
	uint64_t bits = VIRTIO_FEATURES_COMMON | VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) |
			VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) |
			VIRTIO_BIT(VIRTIO_BLK_F_MQ);

	if (!setup->packed)
		bits &= ~VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	if (info->flush)
		bits |= VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);
	if (info->ro)
		return bits | VIRTIO_BIT(VIRTIO_BLK_F_RO);
	bits |= VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	if (info->flush)
		bits |= VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE);
	if (info->discard_granularity)
		bits |= VIRTIO_BIT(VIRTIO_BLK_F_DISCARD);
	return bits;
}

/* ---- verbs ---- */

static int parse_size(const struct device_param *param, const struct device_value *value,
		      uint64_t *ret, struct err *err)
{
	int r = value->given ? text_parse_size(value->text, 1, ret) : 0;

	return r < 0 ? err_set(err, r, "%s: '%s' is not a size; say 10G, 512M or a number of bytes",
			       param->name, value->text)
		     : 0;
}

static const struct device_param resize_params[] = {
	{.name = "size",
	 .type = DEVICE_PARAM_TEXT,
	 .optional = true,
	 .min = 1,
	 .max = 32,
	 .help = "of the file, larger than it is (20G); left out: as large as it is now"},
};

static int verb_resize(struct device *device, const struct device_value *values, struct err *err)
{
	struct vblk *d = container_of(device, struct vblk, virtio.dev);
	uint64_t before = blk_size(d->blk), size = 0;
	int r = parse_size(&resize_params[0], &values[0], &size, err);
	le64_t sectors;

	if (r == 0 && values[0].given && size == 0)
		r = err_set(err, -EINVAL, "size: 0 is not a size for a disk");
	if (r == 0)
		r = blk_resize(d->blk, size, err);
	if (r < 0 || blk_size(d->blk) == before)
		return r;
	sectors = le64_make(blk_size(d->blk) / BLK_SECTOR);
	virtio_dev_set_config(&d->virtio, offsetof(struct virtio_blk_config, capacity), &sectors,
			      sizeof(sectors));
	return 0;
}

#define RATE_PARAM(param, text)                                                                    \
	{                                                                                          \
		.name = (param), .type = DEVICE_PARAM_TEXT, .optional = true, .min = 1, .max = 32, \
		.help = (text)                                                                     \
	}
static const struct device_param limit_params[] = {
	RATE_PARAM("bw", "bytes a second (100M); 0: no limit"),
	RATE_PARAM("bw_burst", "bytes that may go at once after a pause; 0: a tenth of bw"),
	RATE_PARAM("iops", "requests a second; 0: no limit"),
	RATE_PARAM("iops_burst", "requests that may go at once after a pause; 0: a tenth of iops"),
};

/* What is left out stays as it is. */
static int verb_limit(struct device *device, const struct device_value *values, struct err *err)
{
	struct vblk *d = container_of(device, struct vblk, virtio.dev);
	struct blk_limits limits = *blk_limits(d->blk);
	uint64_t *const members[] = {&limits.bw, &limits.bw_burst, &limits.iops,
				     &limits.iops_burst};
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		int r = parse_size(&limit_params[i], &values[i], members[i], err);

		if (r < 0)
			return r;
		any |= values[i].given;
	}
	if (!any)
		return err_set(err, -EINVAL,
			       "limit: say which: bw=, iops=, bw_burst=, iops_burst=");
	blk_set_limits(d->blk, &limits);
	return 0;
}

static const struct device_verb verbs[] = {
	{.name = "resize",
	 .help = "makes the disk larger, or tells the guest the size that the image has now",
	 .params = resize_params,
	 .n_params = ARRAY_SIZE(resize_params),
	 .run = verb_resize},
	{.name = "limit",
	 .help = "changes the rate limits, at once",
	 .params = limit_params,
	 .n_params = ARRAY_SIZE(limit_params),
	 .run = verb_limit},
};

static const struct device_stat stats[] = {
	DEVICE_STAT(struct vblk, reads, "reads done"),
	DEVICE_STAT(struct vblk, writes, "writes done"),
	DEVICE_STAT(struct vblk, read_bytes, "bytes read"),
	DEVICE_STAT(struct vblk, written_bytes, "bytes written"),
	DEVICE_STAT(struct vblk, flushes, "flushes done"),
	DEVICE_STAT(struct vblk, discards, "discards done"),
	DEVICE_STAT(struct vblk, write_zeroes, "requests to write zeroes done"),
	DEVICE_STAT(struct vblk, errors, "requests that ended with an I/O error"),
	DEVICE_STAT(struct vblk, throttled, "requests that had to wait for a rate limit"),
	DEVICE_STAT(struct vblk, unsupported, "requests of a kind that the disk does not have"),
};

/* ---- life ---- */

static void disk_free(struct device *device)
{
	struct vblk *d = container_of(device, struct vblk, virtio.dev);

	for (unsigned i = 0; d->queues && i < d->virtio.n_queues; i++)
		vblk_queue_free(&d->queues[i]);
	free(d->queues);
	virtio_dev_done(&d->virtio);
	free(d);
}

static int init(struct vblk *d, const struct virtio_blk_setup *setup)
{
	static const uint8_t writable[CONFIG_LEN] = {[WCE_AT] = 1};
	static const struct device_ops device_ops = {VIRTIO_DEVICE_OPS,
						     .free = disk_free,
						     .state_type = "virtio-blk",
						     .help = "virtio disk",
						     .stats = stats,
						     .n_stats = ARRAY_SIZE(stats),
						     .verbs = verbs,
						     .n_verbs = ARRAY_SIZE(verbs)};
	static const struct virtio_dev_ops ops = {.config_written = config_written,
						  .queue_start = vblk_queue_start,
						  .queue_kick = vblk_queue_kick,
						  .queue_stop = vblk_queue_stop,
						  .reset = disk_reset,
						  .load = disk_load};
	struct virtio_blk_config config;

	fill_config(d, setup, &config);
	return virtio_dev_init(&d->virtio, &(struct virtio_dev_setup){
						   .id = setup->id,
						   .device = &device_ops,
						   .ops = &ops,
						   .type = VIRTIO_ID_BLOCK,
						   .features = features(blk_info(d->blk), setup),
						   .map = setup->map,
						   .config = &config,
						   .writable = writable,
						   .config_len = CONFIG_LEN,
						   .n_queues = setup->n_queues,
						   .queue_size = setup->queue_size,
						   .loops = setup->loops,
						   .n_loops = setup->n_loops});
}

int virtio_blk_new(const struct virtio_blk_setup *setup, struct virtio_dev **ret)
{
	const char *serial = setup->serial ? setup->serial : setup->id;
	struct vblk *d;
	int r;

	if (setup->queue_size < VIRTIO_BLK_MIN_QUEUE_SIZE || setup->queue_size > VIRTQ_MAX_SIZE ||
	    setup->n_queues < 1 || setup->n_queues > VIRTIO_MAX_QUEUES)
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->blk = setup->blk;
	d->writeback = true;
	memcpy(d->serial, serial, strnlen(serial, sizeof(d->serial)));
	d->queues = calloc(setup->n_queues, sizeof(*d->queues));
	r = d->queues ? init(d, setup) : -ENOMEM;
	for (unsigned i = 0; r == 0 && i < setup->n_queues; i++)
		r = vblk_queue_init(d, &d->virtio.queues[i]);
	if (r < 0) {
		disk_free(&d->virtio.dev);
		return r;
	}
	*ret = &d->virtio;
	return 0;
}
