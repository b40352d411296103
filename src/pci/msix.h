/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X of one function (PCI Local Bus 3.0, 6.8.2): the capability, the vector table and the
 * pending bits, both in a BAR of the owner, over one msi_route a vector.
 *
 * The table is our own memory; the guest reads and writes it through pci_msix_read/write. A vector
 * is unmasked in KVM (it is "through") only while MSI-X is on, the function is not masked, the
 * vector is not masked and has been written. What is raised while it is not through stays pending,
 * and is delivered once when it is again; turning MSI-X off forgets it.
 */
#ifndef VMM_PCI_MSIX_H
#define VMM_PCI_MSIX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mutex.h"
#include "bus/wires.h"
#include "pci/function.h"

enum { PCI_MSIX_MAX_VECTORS = 128, PCI_MSIX_NO_VECTOR = 0xffff };

struct pci_msix_vector {
	struct msi_route *route;
	uint64_t address;
	uint32_t data;
	bool masked;  /* its own mask bit */
	bool through; /* KVM delivers it now */
};

struct pci_msix {
	struct mutex
		lock; /* taken under the bus's, and in BAR accesses; the routes' comes after it */
	unsigned n;
	unsigned capability;		   /* its offset in configuration space */
	uint64_t table_offset, pba_offset; /* in the BAR */
	_Atomic bool enabled;		   /* written under the lock */
	bool function_masked;
	struct pci_msix_vector *vectors;
};

struct pci_msix_layout {
	unsigned n;
	unsigned bar;
	uint64_t table_offset; /* 16 bytes a vector */
	uint64_t pba_offset;   /* 8 bytes for each 64 vectors */
};

/* Adds the capability to f and makes a route for each vector; n is 1 to PCI_MSIX_MAX_VECTORS. Main.
 * 0 or -errno; pci_msix_done() either way. */
int pci_msix_init(struct pci_msix *m, struct pci_function *f, const struct pci_msix_layout *layout,
		  struct wire_maker *maker) must_check;
void pci_msix_done(struct pci_msix *m);

/* The owner's hooks pass these on: config_written, and BAR accesses that lie in the table or the
 * PBA (pci_msix_covers). */
void pci_msix_config_written(struct pci_msix *m, const struct pci_function *f);
bool pci_msix_covers(const struct pci_msix *m, uint64_t offset);
uint64_t pci_msix_read(struct pci_msix *m, uint64_t offset, unsigned size);
void pci_msix_write(struct pci_msix *m, uint64_t offset, unsigned size, uint64_t value);

/* Whether the guest has turned MSI-X on; otherwise nothing is raised. Any thread. */
bool pci_msix_is_enabled(const struct pci_msix *m);
/* The eventfd of a vector, -1 when there is no such vector. Constant. */
int pci_msix_fd(const struct pci_msix *m, unsigned vector);

/* Everything masked, nothing pending, the table empty. */
void pci_msix_reset(struct pci_msix *m);
void pci_msix_save(struct pci_msix *m, struct state_writer *w);
/* After the function's own configuration was loaded. */
void pci_msix_load(struct pci_msix *m, const struct pci_function *f, struct state_reader *r);

#endif
