/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio devices as a driver sees them (virtio 1.2), over PCI (4.1, found in configuration space)
 * or over MMIO (4.2, at the addresses that the words mmio=BASE and mmio_step=BYTES name).
 */
#ifndef GUEST_VDEV_H
#define GUEST_VDEV_H

#include <stdbool.h>
#include <stdint.h>

enum vdev_type {
	VDEV_NET = 1,
	VDEV_BLK = 2,
	VDEV_CONSOLE = 3,
	VDEV_RNG = 4,
	VDEV_BALLOON = 5,
	VDEV_VSOCK = 19,
	VDEV_MEM = 24,
	VDEV_PMEM = 27,
};

enum vdev_status {
	VDEV_ACKNOWLEDGE = 1,
	VDEV_DRIVER = 2,
	VDEV_DRIVER_OK = 4,
	VDEV_FEATURES_OK = 8,
	VDEV_NEEDS_RESET = 64,
};

enum vdev_feature {
	VDEV_F_INDIRECT = 28,
	VDEV_F_EVENT_IDX = 29,
	VDEV_F_VERSION_1 = 32,
	VDEV_F_RING_PACKED = 34,
	VDEV_F_RING_RESET = 40,
};

struct vdev {
	bool mmio;
	uintptr_t base;			       /* mmio: registers */
	uintptr_t common, notify, isr, device; /* pci: the four structures */
	uint32_t notify_multiplier;
	uintptr_t msix;	   /* pci: vector table; 0: none */
	unsigned msix_at;  /* its capability */
	unsigned slot;	   /* pci */
	uint64_t features; /* negotiated */
};

/* The nth device of a type, from 0. False: there is none. The word transport=mmio says where to
 * look. */
bool vdev_find(unsigned type, unsigned nth, struct vdev *ret);

/* Reset, ACKNOWLEDGE, DRIVER, `wanted` of what is offered, FEATURES_OK. False: refused. */
bool vdev_begin(struct vdev *dev, uint64_t wanted);
void vdev_driver_ok(struct vdev *dev);
void vdev_reset(struct vdev *dev);
uint8_t vdev_status(struct vdev *dev);

/* The most entries that queue i may have; 0: there is no such queue. */
uint16_t vdev_queue_max(struct vdev *dev, unsigned i);
/* Enables queue i. vector: MSI-X entry, 0xffff for none. */
void vdev_set_queue(struct vdev *dev, unsigned i, uint16_t size, const void *desc,
		    const void *driver, const void *device, uint16_t vector);
/* Stops queue i alone (2.6.1), or on mmio takes QueueReady back (4.2.2.2), and waits until it has.
 */
void vdev_reset_queue(struct vdev *dev, unsigned i);
void vdev_unready_queue(struct vdev *dev, unsigned i);
/* pci: whether the device may reach memory; vdev_find() has let it. */
void vdev_bus_master(struct vdev *dev, bool on);
/* Reads back: the addresses and the size are still what they were after poison was written. */
bool vdev_queue_is_frozen(struct vdev *dev, unsigned i);
/* Where a kick is written, and what. */
volatile uint32_t *vdev_kick_address(struct vdev *dev, unsigned i);
static inline void vdev_kick_at(volatile uint32_t *at, uint32_t queue)
{
	__asm__ volatile("movl %0, (%1)" : : "r"(queue), "r"(at) : "memory");
}

uint32_t vdev_config32(struct vdev *dev, unsigned offset);
uint8_t vdev_config8(struct vdev *dev, unsigned offset);

/* pci: vector i interrupts the calling processor; turns MSI-X on. */
void vdev_msix(struct vdev *dev, unsigned i, uint8_t vector);
/* mmio: acknowledges what the interrupt was for. False: nothing. */
bool vdev_take_interrupt(struct vdev *dev);

#endif
