/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wire_maker without KVM: MSI routes, doorbells and edges with real eventfds, and what KVM would
 * have done with them. A test finds the n-th wire that was made by its index.
 *
 *	struct fake_wires wires;
 *	fake_wires_init(&wires);
 *	... virtio_pci_new(dev, bus, 1, &wires.maker, &transport) ...
 *	fake_wires_write(&wires, notify_address, 2, 0);	 -> the doorbell there rings
 *	cr_assert(fake_msi_await(&wires.msi[1]));	 <- the device has raised vector 1
 *	fake_wires_done(&wires);
 */
#ifndef VMM_TESTS_FAKES_WIRES_H
#define VMM_TESTS_FAKES_WIRES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "bus/wires.h"

/* How long an await may take until a test has failed. Nothing waits this long that works. */
enum { FAKE_WIRES_PATIENCE_MS = 10000 };

/*
 * An MSI as KVM treats it: unmasked, each write to the eventfd is an interrupt; masked, writes
 * gather, and are one interrupt when it is unmasked. The thread that masks and unmasks is the one
 * that takes and awaits.
 */
struct fake_msi {
	struct msi_route route;
	struct fake_wires *wires;
	bool unmasked;
	uint64_t address; /* as last unmasked */
	uint32_t data;
	unsigned unmasks, masks, clears;
	uint64_t delivered; /* and not taken yet */
};

struct fake_doorbell {
	struct doorbell bell;
	struct fake_wires *wires;
	bool attached;
	uint64_t address;
	unsigned size;
	bool match;
	uint64_t value;
	unsigned attaches, detaches;
};

struct fake_edge {
	int fd;
	unsigned gsi;
};

enum { FAKE_MSIS = 512, FAKE_DOORBELLS = 256, FAKE_EDGES = 32 };

struct fake_wires {
	struct wire_maker maker;
	struct fake_msi msi[FAKE_MSIS];
	struct fake_doorbell bell[FAKE_DOORBELLS];
	struct fake_edge edge[FAKE_EDGES];
	unsigned n_msis, n_bells, n_edges;
	/* Faults. The maker gives so many wires of a kind and then -ENOSPC; attach and unmask fail
	 * with -ENOSPC and -EINVAL. */
	unsigned most_msis, most_bells, most_edges;
	bool refuse_attach, refuse_unmask;
};

void fake_wires_init(struct fake_wires *wires);
/* Closes all eventfds: after the devices are freed. */
void fake_wires_done(struct fake_wires *wires);

/* What a guest's write does in the kernel: rings the doorbells that are attached there. False when
 * there is none and a vCPU would have to leave to the device's write handler. */
bool fake_wires_write(struct fake_wires *wires, uint64_t address, unsigned size, uint64_t value);

/* Interrupts delivered since the last time. */
uint64_t fake_msi_take(struct fake_msi *msi);
/* Waits until one has been delivered and takes all. False: none came (or it is masked). */
bool fake_msi_await(struct fake_msi *msi);

/* Edges since the last time. */
uint64_t fake_edge_take(struct fake_edge *edge);
bool fake_edge_await(struct fake_edge *edge);

/* Rings of the doorbell that nobody has read yet; reads them. */
uint64_t fake_doorbell_take(struct fake_doorbell *bell);

#endif
