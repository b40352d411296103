/* SPDX-License-Identifier: Apache-2.0 */
/* Stand-ins for the wires of bus/wires.h. They record; a test looks. All in this header. */
#ifndef VMM_TESTS_FAKES_H
#define VMM_TESTS_FAKES_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/compiler.h"
#include "bus/wires.h"

/* Atomic, since several threads may set one line. */
struct fake_irq {
	struct irq_line line;
	atomic_bool high;
	atomic_uint rises, sets;
};

static inline void fake_irq_set_level(struct irq_line *line, bool high)
{
	struct fake_irq *irq = container_of(line, struct fake_irq, line);

	atomic_fetch_add(&irq->sets, 1);
	if (!atomic_exchange(&irq->high, high) && high)
		atomic_fetch_add(&irq->rises, 1);
}

static inline void fake_irq_init(struct fake_irq *irq)
{
	static const struct irq_line_ops ops = {.set_level = fake_irq_set_level};

	*irq = (struct fake_irq){.line.ops = &ops};
}

struct fake_run {
	struct run_wire wire;
	unsigned requests;
	enum guest_request what; /* the last one */
	unsigned value;
};

static inline void fake_run_request(struct run_wire *wire, enum guest_request what, unsigned value)
{
	struct fake_run *run = container_of(wire, struct fake_run, wire);

	run->requests++;
	run->what = what;
	run->value = value;
}

static inline void fake_run_init(struct fake_run *run)
{
	static const struct run_wire_ops ops = {.request = fake_run_request};

	*run = (struct fake_run){.wire.ops = &ops};
}

#endif
