/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saved state of the legacy devices: one is brought into some state, saved, and loaded into a
 * second one on a bus of its own; from then on both must answer alike, whatever is asked of them.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "backend/chr.h"
#include "bus/device.h"
#include "bus/io_bus.h"
#include "devices/acpi_pm.h"
#include "devices/debugcon.h"
#include "devices/exit_port.h"
#include "devices/i8042.h"
#include "devices/pvpanic.h"
#include "devices/rtc_cmos.h"
#include "devices/serial16550.h"
#include "tests/fakes/fakes.h"
#include "tests/unit/saved.h"

enum { SERIAL = 0x3f8, PM = 0x600, LOOP = 0x10, OUT2 = 0x08 };

static struct side {
	struct io_bus pio;
	struct fake_irq irq;
	struct fake_run run;
	struct chr *chr;
	struct device *dev;
} sides[2];
static struct side *const old = &sides[0], *const new = &sides[1];
static struct saved saved;
static struct err err;

static void set_up(void)
{
	struct chr_spec none = {.kind = CHR_NONE};

	for (int i = 0; i < 2; i++) {
		fake_irq_init(&sides[i].irq);
		fake_run_init(&sides[i].run);
		cr_assert_eq(chr_open(&none, "test", &sides[i].chr, NULL), 0);
	}
}

static void tear_down(void)
{
	for (int i = 0; i < 2; i++) {
		device_free(sides[i].dev);
		chr_free(sides[i].chr);
	}
}

TestSuite(legacy_state, .init = set_up, .fini = tear_down);

static void out_to(struct side *side, uint16_t port, unsigned value)
{
	uint8_t byte = (uint8_t)value;

	cr_assert(io_bus_write(&side->pio, port, 1, &byte));
}

static uint8_t in_from(struct side *side, uint16_t port)
{
	uint8_t value;

	cr_assert(io_bus_read(&side->pio, port, 1, &value));
	return value;
}

static void move(void)
{
	saved_take(&saved, old->dev);
	cr_assert_eq(saved_load(&saved, new->dev, &err), 0, "%s", err.msg);
}

static void out_both(uint16_t port, unsigned value)
{
	out_to(old, port, value);
	out_to(new, port, value);
}

static uint8_t in_both(uint16_t port)
{
	uint8_t a = in_from(old, port), b = in_from(new, port);

	cr_assert_eq(a, b, "port 0x%x: 0x%02x before, 0x%02x after", port, a, b);
	return a;
}

/* ---- serial port ---- */

static void make_serials(void)
{
	for (int i = 0; i < 2; i++)
		cr_assert_eq(serial16550_new(&sides[i].pio, SERIAL, &sides[i].irq.line,
					     sides[i].chr, NULL, &sides[i].dev),
			     0);
}

/* All registers, in an order in which reading one changes the next. */
static void compare_serials(void)
{
	static const uint8_t order[] = {7, 4, 3, 1, 2, 5, 6, 2, 0, 5, 2, 0, 6, 5};

	cr_assert_eq(old->irq.high, new->irq.high);
	for (size_t i = 0; i < sizeof(order); i++) {
		(void)in_both(SERIAL + order[i]);
		cr_assert_eq(old->irq.high, new->irq.high, "after register %u", order[i]);
	}
}

Test(legacy_state, serial_port_just_reset)
{
	make_serials();
	move();
	compare_serials();
}

Test(legacy_state, serial_port_in_all_registers)
{
	make_serials();
	out_to(old, SERIAL + 3, 0x80);
	out_to(old, SERIAL + 0, 0x34);
	out_to(old, SERIAL + 1, 0x12);
	out_to(old, SERIAL + 3, 0x1b);
	out_to(old, SERIAL + 2, 0xc1);
	out_to(old, SERIAL + 7, 0xa5);
	out_to(old, SERIAL + 4, OUT2 | 3);
	out_to(old, SERIAL + 1, 0x0f);
	move();
	cr_assert(new->irq.high, "the transmit interrupt was pending");
	compare_serials();
	out_both(SERIAL + 3, 0x9b);
	cr_assert_eq(in_both(SERIAL + 0), 0x34);
	cr_assert_eq(in_both(SERIAL + 1), 0x12);
}

Test(legacy_state, serial_port_with_a_fifo_that_wraps)
{
	make_serials();
	out_to(old, SERIAL + 2, 0x01);
	out_to(old, SERIAL + 4, LOOP);
	out_to(old, SERIAL + 1, 0x05);
	/* The oldest byte is in the middle of the array. */
	for (int i = 0; i < 10; i++) {
		out_to(old, SERIAL, 'x');
		(void)in_from(old, SERIAL);
	}
	for (int i = 0; i < 17; i++) /* one too many: an overrun is to be told */
		out_to(old, SERIAL, 'a' + i);
	move();
	for (int i = 0; i < 5; i++) {
		(void)in_both(SERIAL + 2);
		(void)in_both(SERIAL + 5);
	}
	for (int i = 0; i < 16; i++)
		cr_assert_eq(in_both(SERIAL), 'a' + i);
	compare_serials();
}

Test(legacy_state, serial_port_with_a_break_at_its_place)
{
	make_serials();
	out_to(old, SERIAL + 2, 0x01);
	out_to(old, SERIAL + 4, OUT2 | 3);
	out_to(old, SERIAL + 1, 0x05);
	cr_assert_eq(old->dev->ops->verbs[0].run(old->dev, NULL, &err), 0, "%s", err.msg);
	out_to(old, SERIAL + 4, LOOP);
	out_to(old, SERIAL, 'x');
	move();
	cr_assert_eq(in_both(SERIAL + 5) & 0x11, 0x11);
	cr_assert_eq(in_both(SERIAL), 0);
	cr_assert_eq(in_both(SERIAL + 5) & 0x11, 0x01);
	cr_assert_eq(in_both(SERIAL), 'x');
	compare_serials();
}

Test(legacy_state, serial_port_of_a_polling_guest_goes_on_listening)
{
	make_serials();
	for (int i = 0; i < 16; i++)
		(void)in_from(old, SERIAL + 5);
	move();
	/* What is accepted tells that it listens. */
	cr_assert_eq(new->dev->ops->verbs[0].run(new->dev, NULL, &err), 0, "%s", err.msg);
	cr_assert_eq(in_from(new, SERIAL + 5) & 0x11, 0x11);
}

static void use_serial(struct device *dev)
{
	(void)dev;
	for (unsigned i = 0; i < 40; i++) {
		out_to(new, SERIAL + (uint16_t)(i * 5 % 8), i * 37);
		(void)in_from(new, SERIAL + (uint16_t)(i * 3 % 8));
	}
}

Test(legacy_state, serial_port_survives_what_a_spoilt_file_says)
{
	make_serials();
	out_to(old, SERIAL + 2, 0x01);
	out_to(old, SERIAL + 4, LOOP);
	out_to(old, SERIAL, 'x');
	saved_take(&saved, old->dev);
	saved_check_lengths(&saved, new->dev);
	saved_check_bytes(&saved, new->dev, use_serial);
}

Test(legacy_state, serial_port_refuses_a_fifo_that_is_too_full)
{
	make_serials();
	saved_take(&saved, old->dev);
	saved.payload[10] = 17;
	cr_assert_eq(saved_load(&saved, new->dev, &err), -EINVAL);
	cr_assert(strstr(err.msg, "serial0"), "%s", err.msg);
	saved.payload[10] = 16;
	cr_assert_eq(saved_load(&saved, new->dev, NULL), 0);
}

/* ---- clock ---- */

static int64_t fixed_clock(void)
{
	return 1000000000;
}

static void make_clocks(void)
{
	for (int i = 0; i < 2; i++)
		cr_assert_eq(rtc_cmos_new(&sides[i].pio, fixed_clock, &sides[i].dev), 0);
}

Test(legacy_state, clock_keeps_its_memory_format_and_index)
{
	make_clocks();
	for (unsigned i = 0; i < 128; i++) {
		out_to(old, 0x70, i);
		out_to(old, 0x71, i == 0x0b ? 0x04 : i * 7);
	}
	out_to(old, 0x70, 0x42);
	move();
	cr_assert_eq(in_both(0x71), (uint8_t)(0x42 * 7));
	for (unsigned i = 0; i < 128; i++) {
		out_both(0x70, i);
		(void)in_both(0x71);
	}
}

static void use_clock(struct device *dev)
{
	(void)dev;
	(void)in_from(new, 0x71);
	out_to(new, 0x71, 0x55);
}

Test(legacy_state, clock_survives_what_a_spoilt_file_says)
{
	make_clocks();
	saved_take(&saved, old->dev);
	saved_check_lengths(&saved, new->dev);
	saved_check_bytes(&saved, new->dev, use_clock);
	saved.payload[0] = 0x80;
	cr_assert_eq(saved_load(&saved, new->dev, &err), -EINVAL, "an index outside");
}

/* ---- power management ---- */

static void make_pms(void)
{
	for (int i = 0; i < 2; i++)
		cr_assert_eq(acpi_pm_new(&sides[i].pio, PM, &sides[i].run.wire, &sides[i].irq.line,
					 &sides[i].dev),
			     0);
}

Test(legacy_state, power_button_that_was_not_noticed_is_told_again)
{
	make_pms();
	out_to(old, PM, 0x04);
	acpi_pm_press_power_button(old->dev);
	move();
	cr_assert_eq(new->irq.rises, 1);
	cr_assert_not(new->irq.high);
	cr_assert_eq(in_both(PM), 0x04);
	cr_assert_eq(in_both(PM + 4), 1);
	cr_assert_eq(in_both(PM + 4), 0);
}

Test(legacy_state, power_management_without_events_raises_nothing)
{
	make_pms();
	move();
	cr_assert_eq(new->irq.rises, 0);
	cr_assert_eq(in_both(PM + 4), 0);
}

Test(legacy_state, power_management_refuses_what_there_is_not)
{
	make_pms();
	saved_take(&saved, old->dev);
	saved_check_lengths(&saved, new->dev);
	saved.payload[0] = 0x20; /* SLP_EN is never stored */
	cr_assert_eq(saved_load(&saved, new->dev, NULL), -EINVAL);
	saved.payload[0] = 0;
	saved.payload[1] = 2;
	cr_assert_eq(saved_load(&saved, new->dev, NULL), -EINVAL);
	cr_assert_eq(new->run.requests, 0);
}

/* ---- the others ---- */

Test(legacy_state, devices_without_state_have_no_section)
{
	struct device *devices[4];
	struct run_wire *run = &old->run.wire;

	cr_assert_eq(debugcon_new(&old->pio, 0xe9, old->chr, &devices[0]), 0);
	cr_assert_eq(exit_port_new(&old->pio, 0xf4, run, &devices[1]), 0);
	cr_assert_eq(i8042_new(&old->pio, run, &devices[2]), 0);
	cr_assert_eq(pvpanic_new(&old->pio, 0x505, run, &devices[3]), 0);
	for (int i = 0; i < 4; i++) {
		cr_assert_null(devices[i]->ops->save);
		cr_assert_null(devices[i]->ops->load);
		device_free(devices[i]);
	}
}
