/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio over PCI (virtio 1.2, 4.1), modern only: one memory BAR with a page for each structure,
 * and MSI-X. There is no interrupt line: a driver that can't do MSI-X has to poll the ISR byte.
 *
 * Registers that select something belong to the device's lock, like what they select.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"
#include "pci/msix.h"
#include "virtio/pci_abi.h"
#include "virtio/transport.h"

enum {
	BAR = 0,
	BAR_SIZE = 0x8000,
	COMMON_AT = 0x0000,
	ISR_AT = 0x1000,
	DEVICE_AT = 0x2000,
	MSIX_TABLE_AT = 0x3000,
	MSIX_PBA_AT = 0x3800,
	NOTIFY_AT = 0x4000,
	PAGE = 0x1000,
	NOTIFY_MULTIPLIER = 4,
	NO_VECTOR = 0xffff, /* VIRTIO_MSI_NO_VECTOR */
};
static_assert(VIRTIO_MAX_QUEUES * NOTIFY_MULTIPLIER <= PAGE, "a doorbell for each queue");
static_assert(PCI_MSIX_MAX_VECTORS * 16 <= MSIX_PBA_AT - MSIX_TABLE_AT, "room for the table");
static_assert(VIRTIO_MAX_QUEUES + 1 <= PCI_MSIX_MAX_VECTORS, "a vector for each queue");

struct virtio_pci {
	struct virtio_transport transport;
	struct virtio_dev *dev;
	struct pci_bus *bus;
	struct pci_function function;
	struct pci_msix msix;
	struct doorbell *bells[VIRTIO_MAX_QUEUES];
	unsigned pci_cap; /* where the window capability lies in configuration space */
	atomic_uint isr;

	/* Under the device's lock: */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select, config_vector;
	uint16_t vectors[VIRTIO_MAX_QUEUES];
};

/* ---- interrupts ---- */

/* Where a queue's interrupt goes now; nowhere while MSI-X is off. */
static void route_queue(struct virtio_pci *p, unsigned i) REQUIRES(p->dev->lock)
{
	int fd = pci_msix_is_enabled(&p->msix) ? pci_msix_fd(&p->msix, p->vectors[i]) : -1;

	virtio_queue_set_call(&p->dev->queues[i], fd);
}

static void config_irq(struct virtio_transport *t)
{
	struct virtio_pci *p = container_of(t, struct virtio_pci, transport);
	int fd = pci_msix_fd(&p->msix, p->config_vector);

	if (!pci_msix_is_enabled(&p->msix))
		atomic_fetch_or(&p->isr, VIRTIO_ISR_CONFIG);
	else if (fd >= 0)
		eventfd_kick(fd);
}

/* Only without a vector: for a driver that polls. */
static void queue_irq(struct virtio_transport *t, struct virtio_queue *q)
{
	struct virtio_pci *p = container_of(t, struct virtio_pci, transport);

	(void)q;
	if (!pci_msix_is_enabled(&p->msix))
		atomic_fetch_or(&p->isr, VIRTIO_ISR_QUEUE);
}

static uint16_t valid_vector(const struct virtio_pci *p, uint64_t vector)
{
	return vector < p->msix.n ? (uint16_t)vector : NO_VECTOR;
}

/* ---- the common configuration ---- */

static void fill_queue(struct virtio_pci *p, unsigned select, struct virtio_common_cfg *c)
{
	struct virtio_queue_regs regs;

	if (!virtio_dev_queue_regs(p->dev, select, &regs))
		return; /* queue_size 0: there is none */
	c->queue_size = le16_make(regs.size);
	c->queue_enable = le16_make(regs.enabled);
	c->queue_notify_off = le16_make((uint16_t)select);
	c->queue_notify_data = le16_make((uint16_t)select);
	c->queue_reset = le16_make(regs.resetting);
	for (unsigned i = 0; i < 2; i++) {
		c->queue_desc[i] = le32_make((uint32_t)(regs.desc >> (32 * i)));
		c->queue_driver[i] = le32_make((uint32_t)(regs.driver >> (32 * i)));
		c->queue_device[i] = le32_make((uint32_t)(regs.device >> (32 * i)));
	}
}

/* All of it, of which an access takes its bytes: so any width and offset is right. */
static void fill_common(struct virtio_pci *p, struct virtio_common_cfg *c)
{
	struct virtio_dev *dev = p->dev;
	uint16_t select;

	*c = (struct virtio_common_cfg){0};
	mutex_lock(&dev->lock);
	select = p->queue_select;
	c->device_feature_select = le32_make(p->device_feature_select);
	c->driver_feature_select = le32_make(p->driver_feature_select);
	c->config_msix_vector = le16_make(p->config_vector);
	c->queue_select = le16_make(select);
	c->queue_msix_vector =
		le16_make(select < dev->n_queues ? p->vectors[select] : (uint16_t)NO_VECTOR);
	mutex_unlock(&dev->lock);
	c->device_feature = le32_make(virtio_dev_offered(dev, le32_get(c->device_feature_select)));
	c->driver_feature = le32_make(virtio_dev_acked(dev, le32_get(c->driver_feature_select)));
	c->num_queues = le16_make((uint16_t)dev->n_queues);
	c->device_status = virtio_dev_status(dev);
	c->config_generation = (uint8_t)virtio_dev_generation(dev);
	fill_queue(p, select, c);
}

static uint64_t read_common(struct virtio_pci *p, uint64_t offset, unsigned size)
{
	struct virtio_common_cfg image;

	if (!range_inside(offset, size, 0, sizeof(image)))
		return 0;
	fill_common(p, &image);
	return get_le_n((const uint8_t *)&image + offset, size);
}

static void write_selector(struct virtio_pci *p, uint64_t offset, uint64_t value)
{
	mutex_lock(&p->dev->lock);
	switch (offset) {
	case offsetof(struct virtio_common_cfg, device_feature_select):
		p->device_feature_select = (uint32_t)value;
		break;
	case offsetof(struct virtio_common_cfg, driver_feature_select):
		p->driver_feature_select = (uint32_t)value;
		break;
	case offsetof(struct virtio_common_cfg, queue_select):
		p->queue_select = (uint16_t)value;
		break;
	case offsetof(struct virtio_common_cfg, config_msix_vector):
		p->config_vector = valid_vector(p, value);
		break;
	case offsetof(struct virtio_common_cfg, queue_msix_vector):
		if (p->queue_select < p->dev->n_queues) {
			p->vectors[p->queue_select] = valid_vector(p, value);
			route_queue(p, p->queue_select);
		}
		break;
	}
	mutex_unlock(&p->dev->lock);
}

static unsigned selected_queue(struct virtio_pci *p)
{
	unsigned select;

	mutex_lock(&p->dev->lock);
	select = p->queue_select;
	mutex_unlock(&p->dev->lock);
	return select;
}

static void write_driver_feature(struct virtio_pci *p, uint32_t bits)
{
	unsigned word;

	mutex_lock(&p->dev->lock);
	word = p->driver_feature_select;
	mutex_unlock(&p->dev->lock);
	virtio_dev_ack(p->dev, word, bits);
}

/* One half of an address, at offset from queue_desc on. */
static void write_address(struct virtio_pci *p, uint64_t offset, uint32_t value)
{
	static const enum virtio_queue_field fields[] = {VIRTIO_QUEUE_DESC, VIRTIO_QUEUE_DRIVER,
							 VIRTIO_QUEUE_DEVICE};
	uint64_t half = (offset - offsetof(struct virtio_common_cfg, queue_desc)) / 4;

	virtio_dev_set_queue_half(p->dev, selected_queue(p), fields[half / 2], half % 2 ? 32 : 0,
				  value);
}

static void write_narrow(struct virtio_pci *p, uint64_t offset, uint64_t value)
{
	switch (offset) {
	case offsetof(struct virtio_common_cfg, device_status):
		virtio_dev_write_status(p->dev, (uint8_t)value);
		break;
	case offsetof(struct virtio_common_cfg, queue_size):
		virtio_dev_set_queue_size(p->dev, selected_queue(p), (uint16_t)value);
		break;
	case offsetof(struct virtio_common_cfg, queue_enable):
		if (value == 1)
			virtio_dev_enable_queue(p->dev, selected_queue(p));
		break;
	case offsetof(struct virtio_common_cfg, queue_reset):
		if (value == 1)
			virtio_dev_reset_queue(p->dev, selected_queue(p));
		break;
	default:
		write_selector(p, offset, value);
	}
}

/* A field is written in its own width; of the 64-bit ones either half, or both (4.1.3.1). */
static void write_common(struct virtio_pci *p, uint64_t offset, unsigned size, uint64_t value)
{
	enum {
		STATUS = offsetof(struct virtio_common_cfg, device_status),
		ADDRESSES = offsetof(struct virtio_common_cfg, queue_desc),
		ADDRESSES_END = offsetof(struct virtio_common_cfg, queue_notify_data),
	};

	if (offset % size != 0)
		return;
	if (offset >= ADDRESSES && offset < ADDRESSES_END) {
		if (size < 4)
			return;
		write_address(p, offset, (uint32_t)value);
		if (size == 8)
			write_address(p, offset + 4, (uint32_t)(value >> 32));
	} else if (offset == offsetof(struct virtio_common_cfg, driver_feature) && size == 4) {
		write_driver_feature(p, (uint32_t)value);
	} else if (size == (offset < 16 ? 4 : offset == STATUS ? 1 : 2)) {
		write_narrow(p, offset, value);
	}
}

/* ---- the BAR ---- */

static uint64_t read_device(struct virtio_pci *p, uint64_t offset, unsigned size)
{
	uint8_t bytes[8];

	virtio_dev_read_config(p->dev, (unsigned)offset, size, bytes);
	return get_le_n(bytes, size);
}

static uint64_t bar_read(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, function);

	(void)bar;
	if (range_inside(offset, size, COMMON_AT, PAGE))
		return read_common(p, offset - COMMON_AT, size);
	if (offset == ISR_AT)
		return atomic_exchange(&p->isr, 0); /* 4.1.4.5.1: reading it clears it */
	if (range_inside(offset, size, DEVICE_AT, PAGE))
		return read_device(p, offset - DEVICE_AT, size);
	if (pci_msix_covers(&p->msix, offset))
		return pci_msix_read(&p->msix, offset, size);
	return 0;
}

/* Doorbells ring in the kernel; here come those of a host that can't, and of the window. */
static void ring(struct virtio_pci *p, uint64_t offset)
{
	uint64_t queue = offset / NOTIFY_MULTIPLIER;

	if (queue < p->dev->n_queues)
		eventfd_kick(p->bells[queue]->fd);
}

static void bar_write(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size,
		      uint64_t value)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, function);
	uint8_t bytes[8];

	(void)bar;
	if (range_inside(offset, size, COMMON_AT, PAGE)) {
		write_common(p, offset - COMMON_AT, size, value);
	} else if (range_inside(offset, size, DEVICE_AT, PAGE)) {
		put_le_n(bytes, size, value);
		virtio_dev_write_config(p->dev, (unsigned)(offset - DEVICE_AT), size, bytes);
	} else if (range_inside(offset, size, NOTIFY_AT, PAGE)) {
		ring(p, offset - NOTIFY_AT);
	} else if (pci_msix_covers(&p->msix, offset)) {
		pci_msix_write(&p->msix, offset, size, value);
	}
}

static void bar_moved(struct pci_function *f, unsigned bar, bool decodes, uint64_t base)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, function);

	(void)bar;
	for (unsigned i = 0; i < p->dev->n_queues; i++) {
		struct doorbell *bell = p->bells[i];
		uint64_t at = base + NOTIFY_AT + i * NOTIFY_MULTIPLIER;

		/* Where the kernel can't, the write comes to bar_write(). */
		if (!decodes || bell->ops->attach(bell, at, 0, false, 0) < 0)
			bell->ops->detach(bell);
	}
}

/* ---- configuration space ---- */

/* 4.1.4.9: an access to the BAR through configuration space. False: it is no valid window. */
static bool window(const struct virtio_pci *p, uint64_t *ret_offset, unsigned *ret_size)
{
	const uint8_t *cap = p->function.config + p->pci_cap;
	uint32_t offset = get_le32(cap + offsetof(struct virtio_cap, offset));
	uint32_t size = get_le32(cap + offsetof(struct virtio_cap, length));

	*ret_offset = offset;
	*ret_size = size;
	return cap[offsetof(struct virtio_cap, bar)] == BAR &&
	       (size == 1 || size == 2 || size == 4) && offset % size == 0 &&
	       range_inside(offset, size, 0, BAR_SIZE);
}

static bool touches_window_data(const struct virtio_pci *p, unsigned offset)
{
	unsigned data = p->pci_cap + (unsigned)offsetof(struct virtio_cap_long, extra);

	return offset >= data && offset < data + 4;
}

static void config_read(struct pci_function *f, unsigned offset, unsigned size)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, function);
	uint64_t at;
	unsigned len;

	(void)size;
	if (touches_window_data(p, offset) && window(p, &at, &len))
		put_le32(f->config + p->pci_cap + offsetof(struct virtio_cap_long, extra),
			 (uint32_t)bar_read(f, BAR, at, len));
}

static void route_all(struct virtio_pci *p)
{
	mutex_lock(&p->dev->lock);
	for (unsigned i = 0; i < p->dev->n_queues; i++)
		route_queue(p, i);
	mutex_unlock(&p->dev->lock);
}

static void config_written(struct pci_function *f, unsigned offset, unsigned size)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, function);
	uint64_t at;
	unsigned len;

	(void)size;
	if (touches_window_data(p, offset) && window(p, &at, &len)) {
		bar_write(f, BAR, at, len,
			  get_le_n(f->config + p->pci_cap + offsetof(struct virtio_cap_long, extra),
				   len));
		return;
	}
	if (offset <= PCI_COMMAND && offset + size > PCI_COMMAND)
		virtio_dev_hold(p->dev, VIRTIO_HOLD_BUS, !pci_function_is_bus_master(f));
	pci_msix_config_written(&p->msix, f);
	route_all(p);
}

/* A function-level reset (PCI Express Base, 6.6.2): as if the driver had reset the device, too. */
static void flr(struct pci_function *f)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, function);

	pci_msix_reset(&p->msix);
	route_all(p); /* what is still in flight raises nothing */
	virtio_dev_hold(p->dev, VIRTIO_HOLD_BUS, true);
	virtio_dev_write_status(p->dev, 0);
}

static const struct pci_function_ops function_ops = {
	.flr = flr,
	.config_read = config_read,
	.config_written = config_written,
	.bar_moved = bar_moved,
	.bar_read = bar_read,
	.bar_write = bar_write,
};

/* ---- reset, save and load ---- */

static void driver_reset(struct virtio_transport *t)
{
	struct virtio_pci *p = container_of(t, struct virtio_pci, transport);

	p->device_feature_select = p->driver_feature_select = 0;
	p->queue_select = 0;
	p->config_vector = NO_VECTOR;
	for (unsigned i = 0; i < p->dev->n_queues; i++)
		p->vectors[i] = NO_VECTOR; /* their call_fd is -1 already */
	atomic_store(&p->isr, 0);
}

static void queue_reset(struct virtio_transport *t, struct virtio_queue *q)
{
	container_of(t, struct virtio_pci, transport)->vectors[q->index] = NO_VECTOR;
}

static void reset(struct virtio_transport *t)
{
	struct virtio_pci *p = container_of(t, struct virtio_pci, transport);

	pci_bus_lock(p->bus);
	pci_msix_reset(&p->msix);
	pci_function_reset(&p->function);
	pci_bus_unlock(p->bus);
	virtio_dev_hold(p->dev, VIRTIO_HOLD_BUS, true);
}

static void save(struct virtio_transport *t, struct state_writer *w)
{
	struct virtio_pci *p = container_of(t, struct virtio_pci, transport);

	pci_bus_lock(p->bus);
	pci_function_save(&p->function, w);
	pci_msix_save(&p->msix, w);
	pci_bus_unlock(p->bus);
	mutex_lock(&p->dev->lock);
	state_put_u32(w, p->device_feature_select);
	state_put_u32(w, p->driver_feature_select);
	state_put_u16(w, p->queue_select);
	state_put_u16(w, p->config_vector);
	state_put_u8(w, (uint8_t)atomic_load(&p->isr));
	for (unsigned i = 0; i < p->dev->n_queues; i++)
		state_put_u16(w, p->vectors[i]);
	mutex_unlock(&p->dev->lock);
}

static void load(struct virtio_transport *t, struct state_reader *r)
{
	struct virtio_pci *p = container_of(t, struct virtio_pci, transport);

	pci_bus_lock(p->bus);
	pci_function_load(&p->function, r);
	pci_msix_load(&p->msix, &p->function, r);
	virtio_dev_hold(p->dev, VIRTIO_HOLD_BUS, !pci_function_is_bus_master(&p->function));
	pci_bus_unlock(p->bus);
	mutex_lock(&p->dev->lock);
	p->device_feature_select = state_get_u32(r);
	p->driver_feature_select = state_get_u32(r);
	p->queue_select = state_get_u16(r);
	p->config_vector = valid_vector(p, state_get_u16(r));
	atomic_store(&p->isr, state_get_u8(r) & (VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG));
	for (unsigned i = 0; i < p->dev->n_queues; i++)
		p->vectors[i] = valid_vector(p, state_get_u16(r));
	mutex_unlock(&p->dev->lock);
	route_all(p);
}

/* ---- making ---- */

/* Base class and sub-class as other virtio hosts have them: guests sort devices by these. */
static uint32_t class_of(uint16_t type)
{
	switch (type) {
	case VIRTIO_ID_NET:
		return 0x020000;
	case VIRTIO_ID_BLOCK:
	case VIRTIO_ID_SCSI:
		return 0x010000;
	case VIRTIO_ID_CONSOLE:
		return 0x078000;
	case VIRTIO_ID_PMEM:
	case VIRTIO_ID_MEM:
		return 0x058000;
	default:
		return 0x00ff00;
	}
}

static unsigned add_capability(struct virtio_pci *p, uint8_t cfg_type, uint32_t offset,
			       uint32_t length, uint32_t extra)
{
	static const struct virtio_cap_long window_writable = {
		.cap = {.bar = 0xff, .offset = {UINT32_MAX}, .length = {UINT32_MAX}},
		.extra = {UINT32_MAX}};
	bool is_long = cfg_type == VIRTIO_CAP_NOTIFY || cfg_type == VIRTIO_CAP_PCI;
	struct virtio_cap_long cap = {
		.cap = {.len = is_long ? sizeof(cap) : sizeof(cap.cap),
			.cfg_type = cfg_type,
			.bar = BAR,
			.offset = le32_make(offset),
			.length = le32_make(length)},
		.extra = le32_make(extra),
	};

	return pci_function_add_capability(&p->function, PCI_CAP_ID_VNDR, &cap,
					   cfg_type == VIRTIO_CAP_PCI ? &window_writable : NULL,
					   cap.cap.len);
}

static void set_up_function(struct virtio_pci *p)
{
	const struct virtio_dev *dev = p->dev;
	struct pci_identity identity = {
		.vendor = VIRTIO_PCI_VENDOR,
		.device = (uint16_t)(VIRTIO_PCI_DEVICE_BASE + dev->type),
		.class_code = class_of(dev->type),
		.subsystem_vendor = VIRTIO_PCI_VENDOR,
		.subsystem = (uint16_t)(VIRTIO_PCI_DEVICE_BASE + dev->type),
		.revision = 1,
	};
	static const struct pci_bar layout = {.size = BAR_SIZE, .is_64 = true};

	pci_function_init(&p->function, &identity, &function_ops);
	pci_function_add_bar(&p->function, BAR, &layout, pci_bus_place(p->bus, BAR_SIZE));
	(void)add_capability(p, VIRTIO_CAP_COMMON, COMMON_AT, PAGE, 0);
	(void)add_capability(p, VIRTIO_CAP_ISR, ISR_AT, 1, 0);
	if (dev->config_len)
		(void)add_capability(p, VIRTIO_CAP_DEVICE, DEVICE_AT, PAGE, 0);
	(void)add_capability(p, VIRTIO_CAP_NOTIFY, NOTIFY_AT, dev->n_queues * NOTIFY_MULTIPLIER,
			     NOTIFY_MULTIPLIER);
	p->pci_cap = add_capability(p, VIRTIO_CAP_PCI, 0, 0, 0);
	pci_function_add_express(&p->function);
}

static int set_up_wires(struct virtio_pci *p, struct wire_maker *maker)
{
	const struct pci_msix_layout layout = {
		.n = p->dev->n_queues + 1,
		.bar = BAR,
		.table_offset = MSIX_TABLE_AT,
		.pba_offset = MSIX_PBA_AT,
	};
	int r = pci_msix_init(&p->msix, &p->function, &layout, maker);

	for (unsigned i = 0; i < p->dev->n_queues && r == 0; i++) {
		r = maker->ops->doorbell(maker, &p->bells[i]);
		if (r == 0)
			virtio_queue_set_kick(&p->dev->queues[i], p->bells[i]->fd);
	}
	return r;
}

static void pci_free(struct virtio_transport *t)
{
	struct virtio_pci *p = container_of(t, struct virtio_pci, transport);

	pci_msix_done(&p->msix);
	free(p);
}

static const struct virtio_transport_ops transport_ops = {
	.config_irq = config_irq,
	.queue_irq = queue_irq,
	.driver_reset = driver_reset,
	.queue_reset = queue_reset,
	.reset = reset,
	.save = save,
	.load = load,
	.free = pci_free,
};

int virtio_pci_new(struct virtio_dev *dev, struct pci_bus *bus, unsigned slot,
		   struct wire_maker *maker, struct virtio_transport **ret)
{
	struct virtio_pci *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->transport.ops = &transport_ops;
	p->dev = dev;
	p->bus = bus;
	set_up_function(p);
	r = set_up_wires(p, maker);
	if (r == 0)
		r = pci_bus_attach(bus, slot, &p->function);
	if (r < 0) {
		pci_free(&p->transport);
		return r;
	}
	mutex_lock(&dev->lock);
	driver_reset(&p->transport);
	mutex_unlock(&dev->lock);
	virtio_dev_hold(dev, VIRTIO_HOLD_BUS, true);
	dev->transport = *ret = &p->transport;
	return 0;
}
