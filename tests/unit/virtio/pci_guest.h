/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest with the echo device in slot 1 of its PCI bus, as its driver reaches it: capabilities in
 * configuration space, registers and doorbells in the BAR, MSI-X.
 */
#ifndef VMM_TESTS_PCI_GUEST_H
#define VMM_TESTS_PCI_GUEST_H

#include "dev_world.h"

#include "base/checked.h"
#include "tests/fakes/wires.h"
#include "tests/unit/pci/pci_world.h"
#include "virtio/pci_abi.h"
#include "virtio/transport.h"

struct pci_place {
	uint64_t offset, len; /* in the BAR */
};

struct pci_guest {
	struct guest_mem mem;
	struct pci_world pci;
	struct fake_wires wires;
	struct loop *loop;
	pthread_t thread;
	bool running, no_msix;
	struct echo *echo; /* NULL: bare */
	struct virtio_dev *dev;

	/* As pci_guest_probe() found it: */
	struct pci_place place[5]; /* by cfg_type */
	uint64_t bar;
	unsigned window, msix; /* capabilities */
	uint32_t notify_multiplier;

	struct driver_queue dq[ECHO_QUEUES];
	bool has_queues;
	unsigned vectors[ECHO_QUEUES];
	uint64_t buffers; /* ECHO_QUEUES of 8 bytes */
};

void pci_guest_init(struct pci_guest *g);
void pci_guest_init_bare(struct pci_guest *g); /* without a device */
void pci_guest_start(struct pci_guest *g);     /* the loop's thread */
void pci_guest_done(struct pci_guest *g);
/* What the guest of another machine knows, and its memory; and back. */
void pci_guest_inherit(struct pci_guest *g, const struct pci_guest *from);
void pci_guest_disinherit(struct pci_guest *g);

/* Walks the capabilities, turns decoding and bus mastering on. */
void pci_guest_probe(struct pci_guest *g);
uint64_t pci_guest_bar(struct pci_guest *g, unsigned slot);
void pci_guest_move_bar(struct pci_guest *g, uint64_t base);

/* The common configuration, and the other structures by cfg_type. */
uint64_t pci_get(struct pci_guest *g, uint64_t offset, unsigned size);
void pci_set(struct pci_guest *g, uint64_t offset, unsigned size, uint64_t value);
uint64_t pci_guest_load(struct pci_guest *g, unsigned type, uint64_t offset, unsigned size);
void pci_guest_store(struct pci_guest *g, unsigned type, uint64_t offset, unsigned size,
		     uint64_t value);

/* Up to FEATURES_OK; a queue; all of it, vector 0 for the configuration and i + 1 for queue i. */
void pci_guest_agree(struct pci_guest *g, const struct driver_setup *setup);
void pci_guest_set_up_queue(struct pci_guest *g, unsigned i);
void pci_guest_up(struct pci_guest *g, const struct driver_setup *setup);
void pci_guest_reset(struct pci_guest *g);

uint64_t pci_guest_bell(struct pci_guest *g, unsigned i);
/* One request at a time on each queue. */
bool pci_guest_add(struct pci_guest *g, unsigned i);
void pci_guest_kick(struct pci_guest *g, unsigned i);
bool pci_guest_collect(struct pci_guest *g, unsigned i);
void pci_guest_await(struct pci_guest *g, unsigned i);
void pci_guest_works(struct pci_guest *g);
void pci_guest_settle(struct pci_guest *g);

#endif
