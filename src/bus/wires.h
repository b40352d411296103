/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The abstract wires between devices and the rest of the machine. kvm/ and machine/ implement them,
 * tests bring fakes; a device sees nothing else of the VM.
 */
#ifndef VMM_BUS_WIRES_H
#define VMM_BUS_WIRES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/*
 * An interrupt line into the IOAPIC. Any thread. An implementation is a leaf: it takes no lock of a
 * device and calls no device back, so a device may set its line under its own lock. It should: set
 * after the lock is dropped, the levels of two threads could arrive in the wrong order and the line
 * would stay where it is not.
 */
struct irq_line;
struct irq_line_ops {
	void (*set_level)(struct irq_line *line, bool high);
};
struct irq_line {
	const struct irq_line_ops *ops;
};

static inline void irq_line_set(struct irq_line *line, bool high)
{
	line->ops->set_level(line, high);
}

/*
 * A message-signalled interrupt. Whoever raises it, on any thread, writes 1 to fd (eventfd_kick()),
 * masked or not: while the route is masked the eventfd remembers it, which is the pending bit, and
 * unmasking delivers it. set, unmask and mask are for one thread at a time (the owner's lock); they
 * are leaves.
 */
struct msi_route;
struct msi_route_ops {
	/* Lets it through to this address and data (again, when they changed). 0 or -errno; then it
	 * is masked. */
	int (*unmask)(struct msi_route *route, uint64_t address, uint32_t data);
	void (*mask)(struct msi_route *route);
	bool (*pending)(struct msi_route *route); /* while masked */
	void (*clear)(struct msi_route *route);	  /* masks it and forgets what is pending */
};
struct msi_route {
	const struct msi_route_ops *ops;
	int fd;
};

/*
 * A doorbell: guest writes to an address that become a count in fd, in the kernel, without the vCPU
 * leaving to user space. Where it is not attached (or the host can't), the device's write handler
 * kicks fd itself. attach and detach: one thread at a time.
 */
struct doorbell;
struct doorbell_ops {
	/* Writes of any value, or with `match` of `value` only, of `size` bytes (0: any size).
	 * Moves it if it is attached already. */
	int (*attach)(struct doorbell *bell, uint64_t address, unsigned size, bool match,
		      uint64_t value);
	void (*detach)(struct doorbell *bell);
};
struct doorbell {
	const struct doorbell_ops *ops;
	int fd;
};

/* Makes wires while the machine is built, on main; they live as long as the VM. 0 or -errno. */
struct wire_maker;
struct wire_maker_ops {
	int (*msi)(struct wire_maker *maker, struct msi_route **ret);
	int (*doorbell)(struct wire_maker *maker, struct doorbell **ret);
	/* An eventfd, owned by the maker, each write to which is an edge on the IOAPIC pin. */
	int (*edge)(struct wire_maker *maker, unsigned gsi, int *ret_fd);
};
struct wire_maker {
	const struct wire_maker_ops *ops;
};

/* What a guest can ask of the machine as a whole. */
enum guest_request {
	GUEST_POWER_OFF, /* ACPI S5 */
	GUEST_RESET,	 /* FADT reset register, i8042 0xfe, port 0xcf9 */
	GUEST_EXIT,	 /* byte on the exit port; value is the code */
	GUEST_PANICKED,	 /* pvpanic; value 1: the guest stops, 2: it goes on with a crash kernel */
	GUEST_WATCHDOG,	 /* the guest hangs; value is an enum watchdog_action; on main */
};

/* What a watchdog does that has expired; an event tells of it in any case. */
enum watchdog_action { WATCHDOG_RESET, WATCHDOG_POWEROFF, WATCHDOG_PAUSE, WATCHDOG_NONE };

/*
 * request() runs on the vCPU thread whose access made it, under no lock of the device's, and
 * returns at once; the machine stops the vCPU before it enters the guest again. A watchdog's comes
 * on main, out of the loop.
 */
struct run_wire;
struct run_wire_ops {
	void (*request)(struct run_wire *wire, enum guest_request what, unsigned value);
};
struct run_wire {
	const struct run_wire_ops *ops;
};

static inline void run_wire_request(struct run_wire *wire, enum guest_request what, unsigned value)
{
	wire->ops->request(wire, what, value);
}

#endif
