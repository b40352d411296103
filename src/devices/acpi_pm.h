/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power management of a hardware-reduced ACPI machine, five one-byte ports:
 *
 *   +0 sleep control (ACPI 6.4, 4.8.3.7): SLP_EN with SLP_TYP 5 powers off
 *   +1 sleep status
 *   +2 reset register: 1 resets
 *   +4 pending events of the Generic Event Device, read and cleared by its _EVT method;
 *      bit 0: power button
 *
 * Registers on the vCPU threads, the button on main.
 */
#ifndef VMM_DEVICES_ACPI_PM_H
#define VMM_DEVICES_ACPI_PM_H

#include <stdint.h>

#include "base/compiler.h"

struct device;
struct io_bus;
struct irq_line;
struct run_wire;

/* ged is the event device's line, edge-triggered. All borrowed. 0 or -errno. */
int acpi_pm_new(struct io_bus *pio, uint16_t port, struct run_wire *run, struct irq_line *ged,
		struct device **ret) must_check;

void acpi_pm_press_power_button(struct device *dev);

#endif
