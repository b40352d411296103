/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ways in which a guest sees a virtio device. Either takes the device (dev->transport) and
 * is freed by virtio_dev_done(). Main, while the machine is built; 0 or -errno.
 */
#ifndef VMM_VIRTIO_TRANSPORT_H
#define VMM_VIRTIO_TRANSPORT_H

#include <stdint.h>

#include "base/compiler.h"
#include "bus/io_bus.h"
#include "bus/wires.h"
#include "pci/bus.h"
#include "virtio/virtio.h"

/* Virtio over PCI, modern only (virtio 1.2, 4.1), in this slot. */
int virtio_pci_new(struct virtio_dev *dev, struct pci_bus *bus, unsigned slot,
		   struct wire_maker *maker, struct virtio_transport **ret) must_check;

/* Virtio over MMIO, version 2 (4.2), at base, interrupt on the GSI. */
enum { VIRTIO_MMIO_SIZE = 0x1000 };
int virtio_mmio_new(struct virtio_dev *dev, struct io_bus *memory, uint64_t base, unsigned gsi,
		    struct wire_maker *maker, struct virtio_transport **ret) must_check;

#endif
