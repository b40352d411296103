/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/vdev.h"

#include "abi.h"

#include "rt/apic.h"
#include "rt/args.h"
#include "rt/io.h"
#include "rt/pci.h"

enum {
	/* PCI configuration space */
	PCI_CAPABILITIES = 0x34,
	PCI_COMMAND = 0x04,
	COMMAND_MASTER = 4,
	CAP_VENDOR = 0x09,
	CAP_MSIX = 0x11,
	MSIX_ENABLE = 1u << 31, /* in the dword at the capability */
	VIRTIO_VENDOR = 0x1af4,
	VIRTIO_DEVICE = 0x1040,

	/* struct virtio_pci_common_cfg, 4.1.4.3 */
	C_DEVICE_FEATURE_SELECT = 0,
	C_DEVICE_FEATURE = 4,
	C_DRIVER_FEATURE_SELECT = 8,
	C_DRIVER_FEATURE = 12,
	C_STATUS = 20,
	C_QUEUE_SELECT = 22,
	C_QUEUE_SIZE = 24,
	C_QUEUE_VECTOR = 26,
	C_QUEUE_ENABLE = 28,
	C_QUEUE_NOTIFY_OFF = 30,
	C_QUEUE_DESC = 32,
	C_QUEUE_DRIVER = 40,
	C_QUEUE_DEVICE = 48,
	C_QUEUE_RESET = 58,

	/* 4.2.2 */
	M_MAGIC = 0x00,
	M_DEVICE_ID = 0x08,
	M_DEVICE_FEATURES = 0x10,
	M_DEVICE_FEATURES_SEL = 0x14,
	M_DRIVER_FEATURES = 0x20,
	M_DRIVER_FEATURES_SEL = 0x24,
	M_QUEUE_SEL = 0x30,
	M_QUEUE_NUM_MAX = 0x34,
	M_QUEUE_NUM = 0x38,
	M_QUEUE_READY = 0x44,
	M_QUEUE_NOTIFY = 0x50,
	M_INTERRUPT_STATUS = 0x60,
	M_INTERRUPT_ACK = 0x64,
	M_STATUS = 0x70,
	M_QUEUE_DESC = 0x80,
	M_QUEUE_DRIVER = 0x90,
	M_QUEUE_DEVICE = 0xa0,
	M_QUEUE_RESET = 0xc0,
	M_CONFIG = 0x100,
	M_MAGIC_VALUE = 0x74726976,
};

static uint16_t read16(uintptr_t at)
{
	uint16_t value;

	__asm__ volatile("movw (%1), %0" : "=r"(value) : "r"(at) : "memory");
	return value;
}

static void write16(uintptr_t at, uint16_t value)
{
	__asm__ volatile("movw %0, (%1)" : : "r"(value), "r"(at) : "memory");
}

static uint8_t read8(uintptr_t at)
{
	uint8_t value;

	__asm__ volatile("movb (%1), %0" : "=q"(value) : "r"(at) : "memory");
	return value;
}

static void write8(uintptr_t at, uint8_t value)
{
	__asm__ volatile("movb %0, (%1)" : : "q"(value), "r"(at) : "memory");
}

/* ---- finding ---- */

static void take_vendor_capability(struct vdev *dev, unsigned slot, unsigned cap)
{
	uintptr_t at = pci_bar_address(slot, pci_read8(slot, cap + 4)) + pci_read(slot, cap + 8);

	switch (pci_read8(slot, cap + 3)) {
	case 1:
		dev->common = at;
		break;
	case 2:
		dev->notify = at;
		dev->notify_multiplier = pci_read(slot, cap + 16);
		break;
	case 3:
		dev->isr = at;
		break;
	case 4:
		dev->device = at;
		break;
	}
}

static void take_capabilities(struct vdev *dev, unsigned slot)
{
	unsigned cap = pci_read8(slot, PCI_CAPABILITIES);

	for (unsigned left = 48; cap && left > 0; left--, cap = pci_read8(slot, cap + 1)) {
		uint8_t id = pci_read8(slot, cap);
		uint32_t table;

		if (id == CAP_VENDOR && pci_read8(slot, cap + 3) <= 4)
			take_vendor_capability(dev, slot, cap);
		if (id != CAP_MSIX)
			continue;
		table = pci_read(slot, cap + 4);
		dev->msix = pci_bar_address(slot, table & 7) + (table & ~7u);
		dev->msix_at = slot << 11 | cap;
	}
}

static bool find_pci(unsigned type, unsigned nth, struct vdev *ret)
{
	for (unsigned slot = 1; slot < 32; slot++) {
		if (pci_read(slot, 0) != ((VIRTIO_DEVICE + type) << 16 | VIRTIO_VENDOR) ||
		    nth-- > 0)
			continue;
		*ret = (struct vdev){.slot = slot};
		take_capabilities(ret, slot);
		pci_enable(slot);
		return ret->common && ret->notify;
	}
	return false;
}

static bool find_mmio(unsigned type, unsigned nth, struct vdev *ret)
{
	uintptr_t base = args_number("mmio", 0), step = args_number("mmio_step", 0x1000);

	for (unsigned i = 0; i < 32; i++, base += step) {
		if (mmio_read32(base + M_MAGIC) != M_MAGIC_VALUE ||
		    mmio_read32(base + M_DEVICE_ID) != type || nth-- > 0)
			continue;
		*ret = (struct vdev){.mmio = true, .base = base, .device = base + M_CONFIG};
		return true;
	}
	return false;
}

bool vdev_find(unsigned type, unsigned nth, struct vdev *ret)
{
	return args_is("transport", "mmio") ? find_mmio(type, nth, ret) : find_pci(type, nth, ret);
}

/* ---- registers ---- */

uint8_t vdev_status(struct vdev *dev)
{
	return dev->mmio ? (uint8_t)mmio_read32(dev->base + M_STATUS)
			 : read8(dev->common + C_STATUS);
}

static void add_status(struct vdev *dev, uint8_t bits)
{
	uint8_t status = vdev_status(dev) | bits;

	if (dev->mmio)
		mmio_write32(dev->base + M_STATUS, status);
	else
		write8(dev->common + C_STATUS, status);
}

void vdev_reset(struct vdev *dev)
{
	if (dev->mmio)
		mmio_write32(dev->base + M_STATUS, 0);
	else
		write8(dev->common + C_STATUS, 0);
	while (vdev_status(dev) != 0)
		;
}

static uint32_t offered(struct vdev *dev, unsigned word)
{
	if (dev->mmio) {
		mmio_write32(dev->base + M_DEVICE_FEATURES_SEL, word);
		return mmio_read32(dev->base + M_DEVICE_FEATURES);
	}
	mmio_write32(dev->common + C_DEVICE_FEATURE_SELECT, word);
	return mmio_read32(dev->common + C_DEVICE_FEATURE);
}

static void accept(struct vdev *dev, unsigned word, uint32_t bits)
{
	if (dev->mmio) {
		mmio_write32(dev->base + M_DRIVER_FEATURES_SEL, word);
		mmio_write32(dev->base + M_DRIVER_FEATURES, bits);
		return;
	}
	mmio_write32(dev->common + C_DRIVER_FEATURE_SELECT, word);
	mmio_write32(dev->common + C_DRIVER_FEATURE, bits);
}

bool vdev_begin(struct vdev *dev, uint64_t wanted)
{
	vdev_reset(dev);
	add_status(dev, VDEV_ACKNOWLEDGE);
	add_status(dev, VDEV_DRIVER);
	dev->features = (offered(dev, 0) | (uint64_t)offered(dev, 1) << 32) & wanted;
	accept(dev, 0, (uint32_t)dev->features);
	accept(dev, 1, (uint32_t)(dev->features >> 32));
	add_status(dev, VDEV_FEATURES_OK);
	return vdev_status(dev) & VDEV_FEATURES_OK;
}

void vdev_driver_ok(struct vdev *dev)
{
	add_status(dev, VDEV_DRIVER_OK);
}

static void select_queue(struct vdev *dev, unsigned i)
{
	if (dev->mmio)
		mmio_write32(dev->base + M_QUEUE_SEL, i);
	else
		write16(dev->common + C_QUEUE_SELECT, (uint16_t)i);
}

uint16_t vdev_queue_max(struct vdev *dev, unsigned i)
{
	select_queue(dev, i);
	return dev->mmio ? (uint16_t)mmio_read32(dev->base + M_QUEUE_NUM_MAX)
			 : read16(dev->common + C_QUEUE_SIZE);
}

static void write_address(uintptr_t at, const void *area)
{
	mmio_write32(at, (uint32_t)(uintptr_t)area);
	mmio_write32(at + 4, (uint32_t)((uintptr_t)area >> 32));
}

static void write_queue(struct vdev *dev, uint16_t size, const void *desc, const void *driver,
			const void *device)
{
	if (dev->mmio) {
		mmio_write32(dev->base + M_QUEUE_NUM, size);
		write_address(dev->base + M_QUEUE_DESC, desc);
		write_address(dev->base + M_QUEUE_DRIVER, driver);
		write_address(dev->base + M_QUEUE_DEVICE, device);
		return;
	}
	write16(dev->common + C_QUEUE_SIZE, size);
	write_address(dev->common + C_QUEUE_DESC, desc);
	write_address(dev->common + C_QUEUE_DRIVER, driver);
	write_address(dev->common + C_QUEUE_DEVICE, device);
}

void vdev_set_queue(struct vdev *dev, unsigned i, uint16_t size, const void *desc,
		    const void *driver, const void *device, uint16_t vector)
{
	select_queue(dev, i);
	write_queue(dev, size, desc, driver, device);
	if (dev->mmio) {
		mmio_write32(dev->base + M_QUEUE_READY, 1);
		return;
	}
	write16(dev->common + C_QUEUE_VECTOR, vector);
	write16(dev->common + C_QUEUE_ENABLE, 1);
}

void vdev_reset_queue(struct vdev *dev, unsigned i)
{
	select_queue(dev, i);
	if (dev->mmio) {
		mmio_write32(dev->base + M_QUEUE_RESET, 1);
		while (mmio_read32(dev->base + M_QUEUE_RESET) != 0)
			;
		return;
	}
	write16(dev->common + C_QUEUE_RESET, 1);
	while (read16(dev->common + C_QUEUE_RESET) != 0)
		;
}

void vdev_unready_queue(struct vdev *dev, unsigned i)
{
	select_queue(dev, i);
	mmio_write32(dev->base + M_QUEUE_READY, 0);
	while (mmio_read32(dev->base + M_QUEUE_READY) != 0)
		;
}

void vdev_bus_master(struct vdev *dev, bool on)
{
	uint32_t command = pci_read(dev->slot, PCI_COMMAND);

	/* The status above it is cleared by ones. */
	command &= 0xffff & ~(uint32_t)COMMAND_MASTER;
	pci_write(dev->slot, PCI_COMMAND, on ? command | COMMAND_MASTER : command);
}

/* mmio's addresses can't be read back: there the proof is that the queue goes on working. */
bool vdev_queue_is_frozen(struct vdev *dev, unsigned i)
{
	static const void *const poison = (const void *)0xdead0000;
	uint32_t desc, driver, device;
	uint16_t size;

	select_queue(dev, i);
	if (dev->mmio) {
		write_queue(dev, 2, poison, poison, poison);
		return mmio_read32(dev->base + M_QUEUE_READY) == 1;
	}
	size = read16(dev->common + C_QUEUE_SIZE);
	desc = mmio_read32(dev->common + C_QUEUE_DESC);
	driver = mmio_read32(dev->common + C_QUEUE_DRIVER);
	device = mmio_read32(dev->common + C_QUEUE_DEVICE);
	write_queue(dev, 2, poison, poison, poison);
	write16(dev->common + C_QUEUE_ENABLE, 0);
	return read16(dev->common + C_QUEUE_SIZE) == size &&
	       read16(dev->common + C_QUEUE_ENABLE) == 1 &&
	       mmio_read32(dev->common + C_QUEUE_DESC) == desc &&
	       mmio_read32(dev->common + C_QUEUE_DRIVER) == driver &&
	       mmio_read32(dev->common + C_QUEUE_DEVICE) == device;
}

volatile uint32_t *vdev_kick_address(struct vdev *dev, unsigned i)
{
	uintptr_t at = dev->base + M_QUEUE_NOTIFY;

	if (!dev->mmio) {
		select_queue(dev, i);
		at = dev->notify +
		     (uintptr_t)read16(dev->common + C_QUEUE_NOTIFY_OFF) * dev->notify_multiplier;
	}
	return (volatile uint32_t *)at;
}

uint32_t vdev_config32(struct vdev *dev, unsigned offset)
{
	return mmio_read32(dev->device + offset);
}

uint8_t vdev_config8(struct vdev *dev, unsigned offset)
{
	return read8(dev->device + offset);
}

void vdev_msix(struct vdev *dev, unsigned i, uint8_t vector)
{
	uintptr_t entry = dev->msix + i * 16;

	mmio_write32(entry, 0xfee00000u | apic_id() << 12);
	mmio_write32(entry + 4, 0);
	mmio_write32(entry + 8, vector);
	mmio_write32(entry + 12, 0);
	outl(VMM_PCI_ADDR_PORT, 0x80000000 | dev->msix_at);
	outl(VMM_PCI_DATA_PORT, inl(VMM_PCI_DATA_PORT) | MSIX_ENABLE);
}

bool vdev_take_interrupt(struct vdev *dev)
{
	uint32_t why = mmio_read32(dev->base + M_INTERRUPT_STATUS);

	mmio_write32(dev->base + M_INTERRUPT_ACK, why);
	return why;
}
