/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>

#include "bus/device.h"
#include "bus/io_bus.h"
#include "devices/acpi_pm.h"
#include "tests/fakes/fakes.h"

static struct io_bus pio;
static struct fake_run run;
static struct fake_irq ged;
static struct device *dev;

static void set_up(void)
{
	fake_run_init(&run);
	fake_irq_init(&ged);
	cr_assert_eq(acpi_pm_new(&pio, 0x600, &run.wire, &ged.line, &dev), 0);
}

static void tear_down(void)
{
	dev = device_free(dev);
}

TestSuite(acpi_pm, .init = set_up, .fini = tear_down);

static uint8_t in(uint16_t port)
{
	uint8_t value;

	cr_assert(io_bus_read(&pio, port, 1, &value));
	return value;
}

static void out(uint16_t port, uint8_t value)
{
	cr_assert(io_bus_write(&pio, port, 1, &value));
}

Test(acpi_pm, only_s5_with_enable_powers_off)
{
	for (unsigned value = 0; value < 256; value++) {
		run.requests = 0;
		out(0x600, (uint8_t)value);
		if ((value & 0x3c) == (0x20 | 5 << 2)) {
			cr_assert_eq(run.requests, 1, "0x%x", value);
			cr_assert_eq(run.what, GUEST_POWER_OFF);
		} else {
			cr_assert_eq(run.requests, 0, "0x%x", value);
		}
		cr_assert_eq(in(0x600), value & 0x1c, "SLP_EN reads 0");
	}
}

Test(acpi_pm, reset_register_takes_the_value_of_the_fadt_only)
{
	out(0x602, 0);
	out(0x602, 2);
	out(0x601, 1);
	out(0x603, 1);
	cr_assert_eq(run.requests, 0);
	out(0x602, 1);
	cr_assert_eq(run.requests, 1);
	cr_assert_eq(run.what, GUEST_RESET);
}

Test(acpi_pm, button_is_an_edge_and_a_bit_that_reading_clears)
{
	cr_assert_eq(in(0x604), 0);
	acpi_pm_press_power_button(dev);
	cr_assert_eq(ged.rises, 1);
	cr_assert_not(ged.high);
	acpi_pm_press_power_button(dev);
	cr_assert_eq(ged.rises, 2);
	cr_assert_eq(in(0x604), 1);
	cr_assert_eq(in(0x604), 0);
}

Test(acpi_pm, reset_forgets_the_button)
{
	acpi_pm_press_power_button(dev);
	out(0x600, 0x04);
	dev->ops->reset(dev);
	cr_assert_eq(in(0x604), 0);
	cr_assert_eq(in(0x600), 0);
	cr_assert_eq(in(0x601), 0);
}

Test(acpi_pm, verb_presses_the_button_and_both_ends_of_it_are_counted)
{
	const struct device_ops *ops = dev->ops;

	cr_assert_eq(ops->n_verbs, 1);
	cr_assert_str_eq(ops->verbs[0].name, "power-button");
	cr_assert_eq(ops->verbs[0].run(dev, NULL, NULL), 0);
	cr_assert_eq(ged.rises, 1);
	cr_assert_eq(ops->verbs[0].run(dev, NULL, NULL), 0);
	cr_assert_str_eq(ops->stats[0].name, "power_button_presses");
	cr_assert_eq(device_stat_value(dev, &ops->stats[0]), 2);
	cr_assert_str_eq(ops->stats[1].name, "power_button_noticed");
	cr_assert_eq(device_stat_value(dev, &ops->stats[1]), 0);
	cr_assert_eq(in(0x604), 1);
	cr_assert_eq(in(0x604), 0);
	cr_assert_eq(device_stat_value(dev, &ops->stats[1]), 1, "nobody is told a second time");
	dev->ops->reset(dev);
	cr_assert_eq(device_stat_value(dev, &ops->stats[0]), 2, "counters outlive a reset");
}

Test(acpi_pm, taken_port_is_refused)
{
	struct device *second = NULL;

	cr_assert_eq(acpi_pm_new(&pio, 0x604, &run.wire, &ged.line, &second), -EEXIST);
	cr_assert_null(second);
}
