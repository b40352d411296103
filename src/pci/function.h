/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct pci_function: 4 KiB of configuration space and which bits of it the guest may write (PCI
 * Local Bus 3.0, chapter 6; PCI Express Base, chapter 7), and its memory BARs. A device or
 * transport embeds it, and gives it to a bus (pci/bus.h). vCPU threads call it under the bus's
 * lock, its hooks included; BAR accesses run outside that lock.
 */
#ifndef VMM_PCI_FUNCTION_H
#define VMM_PCI_FUNCTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

enum { PCI_CONFIG_SIZE = 4096, PCI_BARS = 6 };

struct pci_function;
struct state_writer;
struct state_reader;

/* All optional. */
struct pci_function_ops {
	/* Before a read, to refresh what the guest is about to see; after a write has reached
	 * config. vCPU thread, under the bus's lock. */
	void (*config_read)(struct pci_function *f, unsigned offset, unsigned size);
	void (*config_written)(struct pci_function *f, unsigned offset, unsigned size);
	/* The BAR decodes at base from now on, or nowhere. Under the bus's lock. */
	void (*bar_moved)(struct pci_function *f, unsigned bar, bool decodes, uint64_t base);
	/* An access to the BAR: size 1, 2, 4 or 8, inside it. vCPU thread, no lock held. */
	uint64_t (*bar_read)(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size);
	void (*bar_write)(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size,
			  uint64_t value);
	/* Function Level Reset (PCI Express Base, 6.6.2): configuration space is in its power-on
	 * state already; the rest of the device has to follow. Under the bus's lock: begin it,
	 * don't wait for it. */
	void (*flr)(struct pci_function *f);
};

struct pci_bar {
	uint64_t size; /* bytes, a power of two from 4 KiB; 0: no such BAR */
	bool is_64;    /* takes the next BAR's register too */
	bool prefetchable;
	uint64_t base; /* where it decodes now */
	bool decodes;
};

/* What the bridge hands on to its bus: a BAR outside of these decodes nowhere. */
enum { PCI_WINDOWS = 2 };
struct pci_window {
	uint64_t base, size; /* size 0: none */
};

struct pci_function {
	const struct pci_function_ops *ops; /* NULL: plain configuration space */
	uint8_t config[PCI_CONFIG_SIZE];    /* what the guest reads */
	uint8_t writable[PCI_CONFIG_SIZE];  /* 1: the guest's write reaches this bit */
	uint8_t power_on[PCI_CONFIG_SIZE];  /* config after a reset */
	struct pci_bar bars[PCI_BARS];
	const struct pci_window *windows; /* the bus's; NULL while it is on none: anywhere */
	unsigned express;		  /* the PCI Express capability; 0: none */
	unsigned next_capability;	  /* free room in configuration space, from 0x40 */
	unsigned last_capability;	  /* where the next pointer is put; 0: the header's */
};

struct pci_identity {
	uint16_t vendor, device;
	uint32_t class_code; /* base class, sub-class, interface in 24 bits */
	uint16_t subsystem_vendor, subsystem;
	uint8_t revision;
};

/* A type 0 header without BARs, its command register writable. ops may be NULL. */
void pci_function_init(struct pci_function *f, const struct pci_identity *identity,
		       const struct pci_function_ops *ops);

/* Before the function is on a bus. `base` is where it is after a reset, aligned to its size, 0: the
 * guest has to place it. Memory decoding is off until the guest turns it on. */
void pci_function_add_bar(struct pci_function *f, unsigned bar, const struct pci_bar *layout,
			  uint64_t base);

/*
 * Adds a capability of len bytes (with its two-byte header, which is filled in here) and returns
 * its offset. writable (may be NULL) is a mask of len bytes. vmm_assert()s that there is room.
 */
unsigned pci_function_add_capability(struct pci_function *f, uint8_t id, const void *bytes,
				     const void *writable, unsigned len);

/*
 * A PCI Express capability with Function Level Reset: a device that sits on the root bus is an
 * integrated endpoint, which has no link (PCI Express Base, 1.3.2.3, 7.8). Linux drives a function
 * without it as conventional PCI, but knows no way then to reset it.
 */
void pci_function_add_express(struct pci_function *f);

/* Into the power-on state: config, and BARs moved where they were (bar_moved is called). */
void pci_function_reset(struct pci_function *f);

/* size is 1, 2 or 4, and offset + size lies in the space. */
uint32_t pci_function_read(struct pci_function *f, unsigned offset, unsigned size);
void pci_function_write(struct pci_function *f, unsigned offset, unsigned size, uint32_t value);

/* The bus master bit of the command register: whether the device may touch memory or interrupt. */
bool pci_function_is_bus_master(const struct pci_function *f);

/* What the guest has written; the layout is the reader's own. load calls bar_moved for what
 * decodes. Main, quiesced. */
void pci_function_save(const struct pci_function *f, struct state_writer *w);
void pci_function_load(struct pci_function *f, struct state_reader *r);

#endif
