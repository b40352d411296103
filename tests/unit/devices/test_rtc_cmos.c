/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <time.h>

#include "bus/device.h"
#include "bus/io_bus.h"
#include "devices/rtc_cmos.h"

static struct io_bus pio;
static struct device *dev;
static int64_t now;

static int64_t fake_clock(void)
{
	return now;
}

static void set_up(void)
{
	cr_assert_eq(rtc_cmos_new(&pio, fake_clock, &dev), 0);
}

static void tear_down(void)
{
	dev = device_free(dev);
}

TestSuite(rtc_cmos, .init = set_up, .fini = tear_down);

static uint8_t get(uint8_t index)
{
	uint8_t value;

	cr_assert(io_bus_write(&pio, 0x70, 1, &index));
	cr_assert(io_bus_read(&pio, 0x71, 1, &value));
	return value;
}

static void set(uint8_t index, uint8_t value)
{
	cr_assert(io_bus_write(&pio, 0x70, 1, &index));
	cr_assert(io_bus_write(&pio, 0x71, 1, &value));
}

static int from_bcd(uint8_t v)
{
	cr_assert_leq(v & 0xf, 9);
	return (v >> 4) * 10 + (v & 0xf);
}

static void assert_shows(int64_t seconds)
{
	time_t t = seconds;
	struct tm tm;

	now = seconds;
	gmtime_r(&t, &tm);
	cr_assert_eq(from_bcd(get(0x00)), tm.tm_sec);
	cr_assert_eq(from_bcd(get(0x02)), tm.tm_min);
	cr_assert_eq(from_bcd(get(0x04)), tm.tm_hour);
	cr_assert_eq(from_bcd(get(0x06)), tm.tm_wday + 1);
	cr_assert_eq(from_bcd(get(0x07)), tm.tm_mday);
	cr_assert_eq(from_bcd(get(0x08)), tm.tm_mon + 1);
	cr_assert_eq(from_bcd(get(0x09)), tm.tm_year % 100);
	cr_assert_eq(from_bcd(get(0x32)), (tm.tm_year + 1900) / 100);
}

Test(rtc_cmos, shows_the_same_date_as_libc_for_three_centuries)
{
	/* Every 13 days and some: all times of day come by, until the kernel's clock ends. */
	for (int64_t t = 0; t < 9223372036; t += 13 * 86400 + 3671)
		assert_shows(t);
	assert_shows(951782399);  /* 2000-02-28 23:59:59 */
	assert_shows(951868799);  /* 2000-02-29 23:59:59 */
	assert_shows(951868800);  /* 2000-03-01 */
	assert_shows(4107542399); /* 2100-02-28 23:59:59 */
	assert_shows(4107542400); /* 2100-03-01 */
}

Test(rtc_cmos, reads_of_the_time_are_counted_and_others_are_not)
{
	cr_assert_eq(dev->ops->n_stats, 1);
	(void)get(0x00);
	(void)get(0x32);
	(void)get(0x0b);
	set(0x00, 0);
	cr_assert_eq(device_stat_value(dev, &dev->ops->stats[0]), 2);
}

Test(rtc_cmos, clock_before_1970_shows_1970)
{
	now = -5;
	cr_assert_eq(get(0x09), 0x70);
	cr_assert_eq(get(0x32), 0x19);
}

Test(rtc_cmos, format_bits_are_the_guests_choice)
{
	now = 23 * 3600 + 45 * 60 + 59;
	cr_assert_eq(get(0x0b), 0x02);
	cr_assert_eq(get(0x04), 0x23);
	set(0x0b, 0x06);
	cr_assert_eq(get(0x04), 23);
	cr_assert_eq(get(0x02), 45);
	set(0x0b, 0x00);
	cr_assert_eq(get(0x04), 0x80 | 0x11);
	now = 0;
	cr_assert_eq(get(0x04), 0x12, "midnight is 12 AM");
	now = 12 * 3600;
	cr_assert_eq(get(0x04), 0x80 | 0x12, "noon is 12 PM");
}

Test(rtc_cmos, no_update_is_in_progress_and_the_battery_is_good)
{
	cr_assert_eq(get(0x0a), 0x26);
	cr_assert_eq(get(0x0d), 0x80, "bits 0-6 are 0, or Linux takes it for no clock");
	cr_assert_eq(get(0x0c), 0);
	set(0x0a, 0xff);
	cr_assert_eq(get(0x0a) & 0x80, 0);
	set(0x0c, 0xff);
	set(0x0d, 0x00);
	cr_assert_eq(get(0x0c), 0);
	cr_assert_eq(get(0x0d), 0x80);
}

Test(rtc_cmos, alarm_and_ram_keep_what_is_written)
{
	for (unsigned i = 0x0e; i < 128; i++)
		if (i != 0x32)
			set((uint8_t)i, (uint8_t)(i * 3));
	set(0x01, 0x59);
	set(0x03, 0x58);
	set(0x05, 0xc0);
	for (unsigned i = 0x0e; i < 128; i++)
		if (i != 0x32)
			cr_assert_eq(get((uint8_t)i), (uint8_t)(i * 3));
	cr_assert_eq(get(0x01), 0x59);
	cr_assert_eq(get(0x03), 0x58);
	cr_assert_eq(get(0x05), 0xc0);
	dev->ops->reset(dev);
	cr_assert_eq(get(0x7f), 0);
	cr_assert_eq(get(0x01), 0);
}

Test(rtc_cmos, time_cannot_be_set)
{
	now = 3661;
	set(0x00, 0x30);
	set(0x04, 0x12);
	set(0x32, 0x21);
	cr_assert_eq(get(0x00), 0x01);
	cr_assert_eq(get(0x04), 0x01);
	cr_assert_eq(get(0x32), 0x19);
}

Test(rtc_cmos, nmi_mask_bit_is_no_part_of_the_index)
{
	set(0x40, 0x5a);
	cr_assert_eq(get(0x80 | 0x40), 0x5a);
}

Test(rtc_cmos, wide_write_sets_index_and_data)
{
	uint16_t both = 0x7700 | 0x41, value;

	cr_assert(io_bus_write(&pio, 0x70, 2, &both));
	cr_assert_eq(get(0x41), 0x77);
	cr_assert(io_bus_read(&pio, 0x70, 2, &value));
	cr_assert_eq(value, 0x77ff);
}

Test(rtc_cmos, wall_clock_is_the_default)
{
	struct device *host;
	struct io_bus other = {0};
	uint8_t index = 0x32, value;

	cr_assert_eq(rtc_cmos_new(&other, NULL, &host), 0);
	cr_assert(io_bus_write(&other, 0x70, 1, &index));
	cr_assert(io_bus_read(&other, 0x71, 1, &value));
	cr_assert_eq(value, 0x20);
	device_free(host);
}
