/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/acpi_pm.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bus/device.h"
#include "bus/io_bus.h"
#include "bus/wires.h"
#include "state/state.h"

enum { SLEEP_CONTROL, SLEEP_STATUS, RESET, HOLE, PENDING_EVENTS, PORTS };

enum {
	SLP_TYP_SHIFT = 2,
	SLP_TYP_MASK = 0x1c,
	SLP_EN = 0x20,
	S5 = 5,
	RESET_VALUE = 1,
	POWER_BUTTON = 0x01,
};

/* All that a guest can tell apart. */
struct acpi_pm_state {
	_Atomic uint8_t sleep_type; /* SLP_TYP as written; SLP_EN is write-only */
	_Atomic uint8_t pending;
};

struct acpi_pm {
	struct device dev;
	struct io_region region;
	struct run_wire *run;
	struct irq_line *ged;
	struct acpi_pm_state now;
	_Atomic uint64_t power_button_presses, power_button_noticed;
};

static uint8_t take_events(struct acpi_pm *pm)
{
	uint8_t events = atomic_exchange(&pm->now.pending, 0);

	if (events & POWER_BUTTON)
		device_count(&pm->power_button_noticed, 1);
	return events;
}

static uint64_t acpi_pm_read(struct io_region *region, uint64_t offset, unsigned size)
{
	struct acpi_pm *pm = container_of(region, struct acpi_pm, region);

	(void)size;
	switch (offset) {
	case SLEEP_CONTROL:
		return atomic_load(&pm->now.sleep_type);
	case PENDING_EVENTS:
		return take_events(pm);
	default:
		return 0;
	}
}

static void write_sleep_control(struct acpi_pm *pm, uint8_t value)
{
	atomic_store(&pm->now.sleep_type, value & SLP_TYP_MASK);
	if ((value & SLP_EN) && (value & SLP_TYP_MASK) >> SLP_TYP_SHIFT == S5)
		run_wire_request(pm->run, GUEST_POWER_OFF, 0);
}

static void acpi_pm_write(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_pm *pm = container_of(region, struct acpi_pm, region);

	(void)size;
	if (offset == SLEEP_CONTROL)
		write_sleep_control(pm, (uint8_t)value);
	else if (offset == RESET && value == RESET_VALUE)
		run_wire_request(pm->run, GUEST_RESET, 0);
}

static void raise_event(struct acpi_pm *pm)
{
	irq_line_set(pm->ged, true);
	irq_line_set(pm->ged, false);
}

void acpi_pm_press_power_button(struct device *dev)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, dev);

	device_count(&pm->power_button_presses, 1);
	/* The bit first: the interrupt may be handled before the second call returns. */
	atomic_fetch_or(&pm->now.pending, POWER_BUTTON);
	raise_event(pm);
}

static void acpi_pm_reset(struct device *dev)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, dev);

	atomic_store(&pm->now.sleep_type, 0);
	atomic_store(&pm->now.pending, 0);
	irq_line_set(pm->ged, false);
}

static void acpi_pm_save(struct device *dev, struct state_writer *w)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, dev);

	state_put_u8(w, atomic_load(&pm->now.sleep_type));
	state_put_u8(w, atomic_load(&pm->now.pending));
}

/* The edge of a pending event is repeated: _EVT, called twice, finds nothing the second time. */
static void acpi_pm_load(struct device *dev, struct state_reader *r)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, dev);
	uint8_t sleep_type = state_get_u8(r), pending = state_get_u8(r);

	if ((sleep_type & ~SLP_TYP_MASK) || (pending & ~POWER_BUTTON)) {
		state_fail(r, "a sleep type or event that there is not");
		return;
	}
	atomic_store(&pm->now.sleep_type, sleep_type);
	atomic_store(&pm->now.pending, pending);
	if (pending)
		raise_event(pm);
}

static void acpi_pm_free(struct device *dev)
{
	free(container_of(dev, struct acpi_pm, dev));
}

static int verb_power_button(struct device *dev, const struct device_value *values, struct err *err)
{
	(void)values;
	(void)err;
	acpi_pm_press_power_button(dev);
	return 0;
}

static const struct device_stat stats[] = {
	DEVICE_STAT(struct acpi_pm, power_button_presses, "how often the power button was pressed"),
	DEVICE_STAT(struct acpi_pm, power_button_noticed,
		    "how often the guest asked and was told that it was"),
};

static const struct device_verb verbs[] = {
	{.name = "power-button", .help = "press the power button", .run = verb_power_button},
};

int acpi_pm_new(struct io_bus *pio, uint16_t port, struct run_wire *run, struct irq_line *ged,
		struct device **ret)
{
	static const struct device_ops device_ops = {.reset = acpi_pm_reset,
						     .free = acpi_pm_free,
						     .save = acpi_pm_save,
						     .load = acpi_pm_load,
						     .state_type = "acpi-pm",
						     .state_version = 1,
						     .help = "ACPI power management",
						     .stats = stats,
						     .n_stats = ARRAY_SIZE(stats),
						     .verbs = verbs,
						     .n_verbs = ARRAY_SIZE(verbs)};
	static const struct io_ops io_ops = {.read = acpi_pm_read, .write = acpi_pm_write};
	struct acpi_pm *pm = calloc(1, sizeof(*pm));
	int r;

	if (!pm)
		return -ENOMEM;
	pm->dev = (struct device){.ops = &device_ops, .id = "acpi_pm"};
	pm->region =
		(struct io_region){.ops = &io_ops, .name = "acpi_pm", .base = port, .size = PORTS};
	pm->run = run;
	pm->ged = ged;
	r = io_bus_add(pio, &pm->region);
	if (r < 0) {
		free(pm);
		return r;
	}
	*ret = &pm->dev;
	return 0;
}
