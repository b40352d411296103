/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The abstract wires between devices and the rest of the machine. kvm/ and machine/ implement them,
 * tests bring fakes; a device sees nothing else of the VM.
 */
#ifndef VMM_BUS_WIRES_H
#define VMM_BUS_WIRES_H

#include <stdbool.h>

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

/* What a guest can ask of the machine as a whole. */
enum guest_request {
	GUEST_POWER_OFF, /* ACPI S5 */
	GUEST_RESET,	 /* FADT reset register, i8042 0xfe, port 0xcf9 */
	GUEST_EXIT,	 /* byte on the exit port; value is the code */
	GUEST_PANICKED,	 /* pvpanic; value 1: the guest stops, 2: it goes on with a crash kernel */
};

/*
 * request() runs on the vCPU thread whose access made it, under no lock of the device's, and
 * returns at once; the machine stops the vCPU before it enters the guest again.
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
