/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio over MMIO (virtio 1.2, 4.2), version 2: a page of registers and one interrupt, an edge on
 * a pin of the IOAPIC. The driver reads from InterruptStatus what an interrupt was for, so that it
 * is set first, and no interrupt goes by the queue's call_fd alone.
 *
 * The selectors belong to the device's lock, like what they select.
 */
#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>

#include "base/endian.h"
#include "base/fd.h"
#include "base/log.h"
#include "virtio/transport.h"

enum {
	MAGIC = 0x74726976,
	VERSION = 2,
	VENDOR = 0x1af4, /* as on PCI */
	QUEUE_RESET = 0xc0,
	REGISTER = 4, /* bytes, and the only width that counts */
};

struct virtio_mmio {
	struct virtio_transport transport;
	struct virtio_dev *dev;
	struct io_region region;
	struct doorbell *bells[VIRTIO_MAX_QUEUES];
	unsigned n_bells;
	int irq_fd;
	_Atomic uint32_t interrupt; /* InterruptStatus */

	/* Under the device's lock: */
	uint32_t device_feature_select, driver_feature_select, queue_select;
};

static struct virtio_mmio *mmio_of(struct virtio_transport *t)
{
	return container_of(t, struct virtio_mmio, transport);
}

/* ---- interrupts ---- */

/* The bit before the edge: the driver's handler finds it (4.2.2, InterruptStatus). */
static void interrupt(struct virtio_mmio *m, uint32_t why)
{
	atomic_fetch_or(&m->interrupt, why);
	eventfd_kick(m->irq_fd);
}

static void config_irq(struct virtio_transport *t)
{
	interrupt(mmio_of(t), VIRTIO_MMIO_INT_CONFIG);
}

static void queue_irq(struct virtio_transport *t, struct virtio_queue *q)
{
	(void)q;
	interrupt(mmio_of(t), VIRTIO_MMIO_INT_VRING);
}

/* ---- registers ---- */

static uint32_t selected(struct virtio_mmio *m, const uint32_t *selector)
{
	uint32_t value;

	mutex_lock(&m->dev->lock);
	value = *selector;
	mutex_unlock(&m->dev->lock);
	return value;
}

static void set_selector(struct virtio_mmio *m, uint32_t *selector, uint32_t value)
{
	mutex_lock(&m->dev->lock);
	*selector = value;
	mutex_unlock(&m->dev->lock);
}

static uint32_t read_queue(struct virtio_mmio *m, uint64_t offset)
{
	uint32_t queue = selected(m, &m->queue_select);
	struct virtio_queue_regs regs;

	if (!virtio_dev_queue_regs(m->dev, queue, &regs))
		return 0;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return m->dev->queues[queue].max_size;
	case VIRTIO_MMIO_QUEUE_READY:
		return regs.enabled;
	default:
		return regs.resetting;
	}
}

static uint32_t read_register(struct virtio_mmio *m, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return m->dev->type;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return virtio_dev_offered(m->dev, selected(m, &m->device_feature_select));
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
	case VIRTIO_MMIO_QUEUE_READY:
	case QUEUE_RESET:
		return read_queue(m, offset);
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return atomic_load(&m->interrupt);
	case VIRTIO_MMIO_STATUS:
		return virtio_dev_status(m->dev);
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX; /* there is no such region */
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return virtio_dev_generation(m->dev);
	default:
		return 0;
	}
}

static uint64_t mmio_read(struct io_region *region, uint64_t offset, unsigned size)
{
	struct virtio_mmio *m = container_of(region, struct virtio_mmio, region);
	uint8_t bytes[REGISTER] = {0};

	if (offset >= VIRTIO_MMIO_CONFIG) {
		virtio_dev_read_config(m->dev, (unsigned)offset - VIRTIO_MMIO_CONFIG, size, bytes);
		return get_le_n(bytes, size);
	}
	return size == REGISTER && offset % REGISTER == 0 ? read_register(m, offset) : 0;
}

/* Half of an address: QueueDesc, QueueDriver and QueueDevice lie 16 bytes apart. */
static void write_address(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
	static const enum virtio_queue_field fields[] = {VIRTIO_QUEUE_DESC, VIRTIO_QUEUE_DRIVER,
							 VIRTIO_QUEUE_DEVICE};
	uint64_t at = offset - VIRTIO_MMIO_QUEUE_DESC_LOW;

	virtio_dev_set_queue_half(m->dev, selected(m, &m->queue_select), fields[at / 16],
				  at % 16 ? 32 : 0, value);
}

static void write_queue(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
	uint32_t queue = selected(m, &m->queue_select);

	if (offset == VIRTIO_MMIO_QUEUE_NUM && value <= VIRTQ_MAX_SIZE)
		virtio_dev_set_queue_size(m->dev, queue, (uint16_t)value);
	else if (offset == VIRTIO_MMIO_QUEUE_READY && value == 1)
		virtio_dev_enable_queue(m->dev, queue);
	else if (offset == VIRTIO_MMIO_QUEUE_READY && value == 0)
		virtio_dev_disable_queue(m->dev, queue);
	else if (offset == QUEUE_RESET && value == 1)
		virtio_dev_reset_queue(m->dev, queue);
}

/* Linux takes a device on MMIO to be reset when the write is done (4.2.3.1 lets it), so that the
 * vCPU waits here, under no lock. */
static void write_status(struct virtio_mmio *m, uint8_t status)
{
	virtio_dev_write_status(m->dev, status);
	if (status == 0)
		virtio_dev_await_reset(m->dev);
}

/* Kicks are counted in the kernel; here come those of a host that can't. */
static void ring(struct virtio_mmio *m, uint32_t queue)
{
	if (queue < m->n_bells)
		eventfd_kick(m->bells[queue]->fd);
}

static void write_register(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		set_selector(m, &m->device_feature_select, value);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		set_selector(m, &m->driver_feature_select, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		set_selector(m, &m->queue_select, value);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		virtio_dev_ack(m->dev, selected(m, &m->driver_feature_select), value);
		break;
	case VIRTIO_MMIO_QUEUE_NUM:
	case VIRTIO_MMIO_QUEUE_READY:
	case QUEUE_RESET:
		write_queue(m, offset, value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		ring(m, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		atomic_fetch_and(&m->interrupt, ~value);
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(m, (uint8_t)value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		write_address(m, offset, value);
		break;
	}
}

static void mmio_write(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_mmio *m = container_of(region, struct virtio_mmio, region);
	uint8_t bytes[REGISTER];

	if (offset >= VIRTIO_MMIO_CONFIG) {
		put_le_n(bytes, size, value);
		virtio_dev_write_config(m->dev, (unsigned)offset - VIRTIO_MMIO_CONFIG, size, bytes);
	} else if (size == REGISTER && offset % REGISTER == 0) {
		write_register(m, offset, (uint32_t)value);
	}
}

static const struct io_ops mmio_ops = {
	.read = mmio_read, .write = mmio_write, .max_size = REGISTER};

/* ---- reset, save and load ---- */

static void driver_reset(struct virtio_transport *t)
{
	struct virtio_mmio *m = mmio_of(t);

	m->device_feature_select = m->driver_feature_select = m->queue_select = 0;
	atomic_store(&m->interrupt, 0);
}

static void reset(struct virtio_transport *t)
{
	mutex_lock(&mmio_of(t)->dev->lock);
	driver_reset(t);
	mutex_unlock(&mmio_of(t)->dev->lock);
}

static void save(struct virtio_transport *t, struct state_writer *w)
{
	struct virtio_mmio *m = mmio_of(t);

	mutex_lock(&m->dev->lock);
	state_put_u32(w, m->device_feature_select);
	state_put_u32(w, m->driver_feature_select);
	state_put_u32(w, m->queue_select);
	state_put_u32(w, atomic_load(&m->interrupt));
	mutex_unlock(&m->dev->lock);
}

/* The edge is given again where the driver has not acknowledged it: it may have been on its way.
 * One too many does no harm. */
static void load(struct virtio_transport *t, struct state_reader *r)
{
	struct virtio_mmio *m = mmio_of(t);
	uint32_t why;

	mutex_lock(&m->dev->lock);
	m->device_feature_select = state_get_u32(r);
	m->driver_feature_select = state_get_u32(r);
	m->queue_select = state_get_u32(r);
	mutex_unlock(&m->dev->lock);
	why = state_get_u32(r) & (VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG);
	atomic_store(&m->interrupt, 0);
	if (why)
		interrupt(m, why);
}

/* ---- making ---- */

static void mmio_free(struct virtio_transport *t)
{
	struct virtio_mmio *m = mmio_of(t);

	for (unsigned i = 0; i < m->n_bells; i++)
		m->bells[i]->ops->detach(m->bells[i]);
	free(m);
}

static const struct virtio_transport_ops transport_ops = {
	.config_irq = config_irq,
	.queue_irq = queue_irq,
	.driver_reset = driver_reset,
	.reset = reset,
	.save = save,
	.load = load,
	.free = mmio_free,
};

/* The one notify register: who is meant is what is written. */
static int hang_bells(struct virtio_mmio *m, struct wire_maker *maker)
{
	uint64_t at = m->region.base + VIRTIO_MMIO_QUEUE_NOTIFY;

	for (unsigned i = 0; i < m->dev->n_queues; i++) {
		struct doorbell *bell;
		int r = maker->ops->doorbell(maker, &bell);

		if (r < 0)
			return r;
		m->bells[m->n_bells++] = bell;
		virtio_queue_set_kick(&m->dev->queues[i], bell->fd);
		r = bell->ops->attach(bell, at, REGISTER, true, i);
		if (r < 0)
			log_debug("%s: queue %u: each kick leaves the kernel: error %d",
				  m->dev->dev.id, i, -r);
	}
	return 0;
}

int virtio_mmio_new(struct virtio_dev *dev, struct io_bus *memory, uint64_t base, unsigned gsi,
		    struct wire_maker *maker, struct virtio_transport **ret)
{
	struct virtio_mmio *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->transport.ops = &transport_ops;
	m->dev = dev;
	m->region = (struct io_region){
		.ops = &mmio_ops, .name = dev->dev.id, .base = base, .size = VIRTIO_MMIO_SIZE};
	r = maker->ops->edge(maker, gsi, &m->irq_fd);
	if (r == 0)
		r = hang_bells(m, maker);
	if (r == 0)
		r = io_bus_add(memory, &m->region);
	if (r < 0) {
		mmio_free(&m->transport);
		return r;
	}
	dev->transport = *ret = &m->transport;
	return 0;
}
