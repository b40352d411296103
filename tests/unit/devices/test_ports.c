/* SPDX-License-Identifier: Apache-2.0 */
/* The devices that are one port and no state: pvpanic, debugcon, exit_port, i8042. */
#include "chr_world.h"

#include <criterion/criterion.h>
#include <unistd.h>

#include "bus/device.h"
#include "bus/io_bus.h"
#include "devices/debugcon.h"
#include "devices/exit_port.h"
#include "devices/i8042.h"
#include "devices/pvpanic.h"
#include "tests/fakes/fakes.h"

static struct io_bus pio;
static struct fake_run run;
static struct device *dev;

static void set_up(void)
{
	world_set_up();
	fake_run_init(&run);
}

static void tear_down(void)
{
	dev = device_free(dev);
	world_tear_down();
}

TestSuite(pvpanic, .init = set_up, .fini = tear_down);
TestSuite(debugcon, .init = set_up, .fini = tear_down);
TestSuite(exit_port, .init = set_up, .fini = tear_down);
TestSuite(i8042, .init = set_up, .fini = tear_down);

static uint32_t in(uint16_t port, unsigned size)
{
	uint32_t value = 0;

	cr_assert(io_bus_read(&pio, port, size, &value));
	return value;
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
	cr_assert(io_bus_write(&pio, port, size, &value));
}

static void assert_request(unsigned n, enum guest_request what, unsigned value)
{
	cr_assert_eq(run.requests, n);
	cr_assert_eq(run.what, what);
	cr_assert_eq(run.value, value);
}

static uint64_t stat(unsigned i, const char *name)
{
	cr_assert_lt(i, dev->ops->n_stats);
	cr_assert_str_eq(dev->ops->stats[i].name, name);
	return device_stat_value(dev, &dev->ops->stats[i]);
}

Test(pvpanic, tells_its_events_and_reports_each)
{
	cr_assert_eq(pvpanic_new(&pio, 0x505, &run.wire, &dev), 0);
	cr_assert_eq(in(0x505, 1), 3);
	out(0x505, 1, 0);
	out(0x505, 1, 4);
	cr_assert_eq(run.requests, 0);
	out(0x505, 1, 1);
	assert_request(1, GUEST_PANICKED, 1);
	out(0x505, 1, 2);
	assert_request(2, GUEST_PANICKED, 2);
	out(0x505, 1, 3);
	assert_request(3, GUEST_PANICKED, 1);
	cr_assert_eq(stat(0, "panics"), 2);
	cr_assert_eq(stat(1, "crash_kernels"), 1);
	dev->ops->reset(dev);
}

Test(exit_port, every_byte_is_the_code_unchanged)
{
	cr_assert_eq(exit_port_new(&pio, 0xf4, &run.wire, &dev), 0);
	for (unsigned code = 0; code < 256; code++) {
		out(0xf4, 1, code);
		assert_request(code + 1, GUEST_EXIT, code);
	}
}

Test(exit_port, wide_write_is_one_request_with_its_low_byte)
{
	cr_assert_eq(exit_port_new(&pio, 0xf4, &run.wire, &dev), 0);
	out(0xf4, 4, 0x11223344);
	assert_request(1, GUEST_EXIT, 0x44);
	out(0xf4, 2, 0x0107);
	assert_request(2, GUEST_EXIT, 0x07);
}

Test(exit_port, only_the_first_port_counts)
{
	cr_assert_eq(exit_port_new(&pio, 0xf4, &run.wire, &dev), 0);
	out(0xf5, 1, 1);
	out(0xf6, 2, 1);
	out(0xf7, 1, 1);
	cr_assert_eq(run.requests, 0);
	cr_assert_eq(in(0xf4, 1), 0);
}

Test(i8042, only_the_reset_pulse_does_anything)
{
	cr_assert_eq(i8042_new(&pio, &run.wire, &dev), 0);
	for (unsigned value = 0; value < 256; value++) {
		out(0x60, 1, value);
		if (value != 0xfe)
			out(0x64, 1, value);
	}
	cr_assert_eq(run.requests, 0);
	cr_assert_eq(in(0x60, 1), 0);
	cr_assert_eq(in(0x64, 1), 0);
	cr_assert_eq(stat(0, "reset_pulses"), 0);
	out(0x64, 1, 0xfe);
	assert_request(1, GUEST_RESET, 0);
	cr_assert_eq(stat(0, "reset_pulses"), 1);
}

Test(i8042, port_between_its_two_is_free)
{
	uint8_t value = 0;

	cr_assert_eq(i8042_new(&pio, &run.wire, &dev), 0);
	cr_assert_not(io_bus_read(&pio, 0x61, 1, &value));
}

Test(debugcon, bytes_go_to_the_stream_and_reads_identify_it)
{
	int far_end = world_pipe_as_stdout();
	struct chr *chr = world_start("stdio", NULL);
	char buf[8];

	cr_assert_eq(debugcon_new(&pio, 0xe9, chr, &dev), 0);
	cr_assert_eq(in(0xe9, 1), 0xe9);
	out(0xe9, 1, 'h');
	out(0xe9, 1, 'i');
	cr_assert_eq(stat(0, "tx_bytes"), 2);
	chr_flush(chr, 1000);
	cr_assert_eq(read(far_end, buf, sizeof(buf)), 2);
	cr_assert_arr_eq(buf, "hi", 2);
	dev = device_free(dev);
	chr_free(chr);
	close(far_end);
}
