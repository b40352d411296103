/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/vhost_device.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"

enum { VIRTIO_ID_SOUND_ = 25, VIRTIO_ID_I2C = 34, VIRTIO_ID_GPIO_ = 41 };

struct vhost_device {
	struct vhost_virtio v;
	unsigned n_queues;
	struct vhost_watch *watch;
	uint8_t writable[VHOST_MAX_CONFIG];
};

/* ---- kinds ---- */

/* Lengths that were in use, the newest first. */
static const uint16_t blk_sizes[] = {72, 60, 0};
static const uint16_t console_sizes[] = {12, 8, 4, 0};
static const uint16_t sound_sizes[] = {16, 12, 0};
static const uint16_t scsi_sizes[] = {36, 0};
static const uint16_t eight[] = {8, 0};
static const uint16_t none[] = {0};
/* A back end says no to what is longer than what it has. */
static const uint16_t any_sizes[] = {256, 136, 128, 96, 72, 64, 60, 48, 36, 32,
				     24,  20,  16,  12, 8,  4,	2,  1,	0};

static const struct kind {
	unsigned type, n_queues;
	const uint16_t *config_sizes;
} kinds[] = {
	{VIRTIO_ID_NET, 2, none},
	{VIRTIO_ID_BLOCK, 0, blk_sizes},
	{VIRTIO_ID_CONSOLE, 2, console_sizes},
	{VIRTIO_ID_RNG, 1, none},
	{VIRTIO_ID_SCSI, 3, scsi_sizes},
	{VIRTIO_ID_VSOCK, 3, eight},
	{VIRTIO_ID_SOUND_, 4, sound_sizes},
	{VIRTIO_ID_I2C, 1, none},
	{VIRTIO_ID_GPIO_, 1, eight},
};
static const struct kind unknown = {0, 1, any_sizes};

static const struct kind *kind_of(unsigned type)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].type == type)
			return &kinds[i];
	return &unknown;
}

const uint16_t *vhost_device_config_sizes(unsigned type)
{
	/* Disks are recognized by it. */
	return kind_of(type ? type : VIRTIO_ID_BLOCK)->config_sizes;
}

unsigned vhost_device_recognize(const struct vhost_dev *d)
{
	static const uint64_t blk = VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) |
				    VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) |
				    VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);

	static const uint64_t net = VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) |
				    VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) | VIRTIO_BIT(VIRTIO_NET_F_MQ);

	if (d->config_len == 0 && d->features & net)
		return VIRTIO_ID_NET;
	return d->config_len >= 60 && d->config_len <= 72 && d->features & blk ? VIRTIO_ID_BLOCK
									       : 0;
}

/* ---- disks ---- */

static const size_t num_queues_at = offsetof(struct virtio_blk_config, num_queues);

static bool is_disk(const struct vhost_device *dev)
{
	return dev->v.virtio.type == VIRTIO_ID_BLOCK;
}

static unsigned disk_queues(const struct vhost_dev *d, unsigned max_auto)
{
	unsigned has = 1;

	if (d->features & VIRTIO_BIT(VIRTIO_BLK_F_MQ) && d->config_len >= num_queues_at + 2)
		has = get_le16(d->config + num_queues_at);
	return MAX(MIN(has, max_auto), 1u);
}

/* What the guest sees of the back end's configuration. */
static void translate(const struct vhost_device *dev, uint8_t *config, unsigned len)
{
	if (is_disk(dev) && len >= num_queues_at + 2)
		put_le16(config + num_queues_at, (uint16_t)dev->n_queues);
}

/* ---- the device ---- */

static void on_config(struct vhost_virtio *v, const uint8_t *bytes, unsigned len)
{
	struct vhost_device *dev = container_of(v, struct vhost_device, v);
	uint8_t config[VHOST_MAX_CONFIG];

	if (len != v->virtio.config_len)
		return; /* of another length than the guest has seen */
	memcpy(config, bytes, len);
	translate(dev, config, len);
	vhost_virtio_set_config(v, config, len);
}

static void on_connected(struct vhost_virtio *v, bool connected)
{
	struct vhost_device *dev = container_of(v, struct vhost_device, v);

	if (dev->watch)
		dev->watch->changed(dev->watch, connected);
}

static void device_done(struct device *device)
{
	struct vhost_device *dev = container_of(device, struct vhost_device, v.virtio.dev);

	vhost_virtio_done(&dev->v);
	free(dev);
}

static const struct device_ops device_ops = {
	VIRTIO_DEVICE_OPS,
	VHOST_VIRTIO_STATS,
	.free = device_done,
	.state_type = "vhost",
	.help = "device of a vhost-user back end",
};

static const struct virtio_dev_ops virtio_ops = {VHOST_VIRTIO_OPS};

static int check_config(const struct vhost_device_setup *s, struct err *err)
{
	const struct kind *kind = kind_of(s->type);

	if (s->vhost->config_len > 0 || kind == &unknown || kind->config_sizes[0] == 0 ||
	    s->type == VIRTIO_ID_CONSOLE)
		return 0;
	return err_set(err, -EINVAL,
		       "%s: the back end has no configuration of a device of type %u: is it one?",
		       s->id, s->type);
}

static int count_queues(const struct vhost_device_setup *s, unsigned *ret, struct err *err)
{
	unsigned n = s->n_queues;

	if (n == 0 && s->type == VIRTIO_ID_BLOCK)
		n = disk_queues(s->vhost, s->max_auto);
	else if (n == 0)
		n = kind_of(s->type)->n_queues;
	if (n > s->vhost->max_rings)
		return err_set(err, -EINVAL,
			       "%s: %u queues are wanted, and the back end has %u: use queues=%u",
			       s->id, n, s->vhost->max_rings, s->vhost->max_rings);
	*ret = n;
	return 0;
}

static int init(struct vhost_device *dev, const struct vhost_device_setup *s, struct err *err)
{
	uint8_t config[VHOST_MAX_CONFIG];
	const struct vhost_virtio_setup setup = {
		.virtio = {.id = s->id,
			   .device = &device_ops,
			   .ops = &virtio_ops,
			   .type = (uint16_t)s->type,
			   .features = vhost_virtio_features(s->vhost, s->packed),
			   .map = s->map,
			   .config = config,
			   .writable = dev->writable,
			   .config_len = s->vhost->config_len,
			   .n_queues = dev->n_queues,
			   .queue_size = s->queue_size,
			   .loops = s->loops,
			   .n_loops = 1,
			   .n_given_away = dev->n_queues},
		.vhost = s->vhost,
		.on_lost = s->on_lost,
	};

	memcpy(config, s->vhost->config, s->vhost->config_len);
	memset(dev->writable, 0xff, sizeof(dev->writable));
	dev->v.virtio.type = (uint16_t)s->type;
	dev->v.config = on_config;
	dev->v.connected = on_connected;
	dev->watch = s->watch;
	translate(dev, config, s->vhost->config_len);
	return vhost_virtio_init(&dev->v, &setup, err);
}

int vhost_device_new(const struct vhost_device_setup *s, struct virtio_dev **ret, struct err *err)
{
	struct vhost_device *dev = calloc(1, sizeof(*dev));
	int r = dev ? check_config(s, err) : -ENOMEM;

	if (r == 0)
		r = count_queues(s, &dev->n_queues, err);
	if (r < 0) {
		(void)vhost_dev_free(s->vhost);
		free(dev);
		return r;
	}
	r = init(dev, s, err);
	if (r < 0)
		device_done(&dev->v.virtio.dev);
	else
		*ret = &dev->v.virtio;
	return r;
}
