/* SPDX-License-Identifier: Apache-2.0 */
/* MC146818A data sheet; the century byte is where FADT.CENTURY puts it on a PC. */
#include "devices/rtc_cmos.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/mutex.h"
#include "base/utc.h"
#include "bus/device.h"
#include "bus/io_bus.h"
#include "state/state.h"

enum {
	SECONDS = 0x00,
	MINUTES = 0x02,
	HOURS = 0x04,
	WEEKDAY = 0x06,
	DAY = 0x07,
	MONTH = 0x08,
	YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	CENTURY = 0x32,
	CMOS_SIZE = 128,

	A_RESET = 0x26, /* 32768 Hz, 1024 Hz periodic rate; no update is ever in progress */
	A_UPDATE = 0x80,
	B_24H = 0x02,
	B_BINARY = 0x04,
	D_VALID = 0x80, /* the battery is fine */
	HOURS_PM = 0x80,
};

/* All that a guest can tell apart but the time, which is the host's. */
struct rtc_state {
	uint8_t index;
	uint8_t cmos[CMOS_SIZE];
};

struct rtc_cmos {
	struct device dev;
	struct io_region region;
	rtc_cmos_clock clock;
	_Atomic uint64_t time_reads;
	struct mutex lock; /* leaf; guards the rest */
	struct rtc_state now;
};

static int64_t wall_clock(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

static uint8_t encode(const struct rtc_cmos *rtc, unsigned v)
{
	return (uint8_t)(rtc->now.cmos[REG_B] & B_BINARY ? v : v / 10 % 10 * 16 + v % 10);
}

static uint8_t encode_hour(const struct rtc_cmos *rtc, unsigned hour)
{
	if (rtc->now.cmos[REG_B] & B_24H)
		return encode(rtc, hour);
	return encode(rtc, (hour + 11) % 12 + 1) | (hour >= 12 ? HOURS_PM : 0);
}

static bool is_time(uint8_t index)
{
	return index == SECONDS || index == MINUTES || index == HOURS ||
	       (index >= WEEKDAY && index <= YEAR) || index == CENTURY;
}

static uint8_t read_time(struct rtc_cmos *rtc)
{
	int64_t now = rtc->clock();
	/* A host whose clock stands before 1970 shows 1970. */
	struct utc t = utc_from_unix(now > 0 ? (uint64_t)now : 0);

	device_count(&rtc->time_reads, 1);
	switch (rtc->now.index) {
	case SECONDS:
		return encode(rtc, t.second);
	case MINUTES:
		return encode(rtc, t.minute);
	case HOURS:
		return encode_hour(rtc, t.hour);
	case WEEKDAY:
		return encode(rtc, t.weekday + 1); /* Sunday is 1 */
	case DAY:
		return encode(rtc, t.day);
	case MONTH:
		return encode(rtc, t.month);
	case YEAR:
		return encode(rtc, t.year % 100);
	default:
		return encode(rtc, t.year / 100 % 100);
	}
}

static uint64_t rtc_read(struct io_region *region, uint64_t offset, unsigned size)
{
	struct rtc_cmos *rtc = container_of(region, struct rtc_cmos, region);
	uint8_t value;

	(void)size;
	if (offset == 0)
		return 0xff; /* the index is write-only */
	mutex_lock(&rtc->lock);
	value = is_time(rtc->now.index) ? read_time(rtc) : rtc->now.cmos[rtc->now.index];
	mutex_unlock(&rtc->lock);
	return value;
}

static void write_data(struct rtc_cmos *rtc, uint8_t value)
{
	if (is_time(rtc->now.index) || rtc->now.index == REG_C || rtc->now.index == REG_D)
		return;
	if (rtc->now.index == REG_A)
		value &= (uint8_t)~A_UPDATE;
	rtc->now.cmos[rtc->now.index] = value;
}

static void rtc_write(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	struct rtc_cmos *rtc = container_of(region, struct rtc_cmos, region);

	(void)size;
	mutex_lock(&rtc->lock);
	if (offset == 0)
		rtc->now.index =
			value & (CMOS_SIZE - 1); /* bit 7 masks the NMI, which nothing raises */
	else
		write_data(rtc, (uint8_t)value);
	mutex_unlock(&rtc->lock);
}

static void rtc_reset(struct device *dev)
{
	struct rtc_cmos *rtc = container_of(dev, struct rtc_cmos, dev);

	mutex_lock(&rtc->lock);
	rtc->now = (struct rtc_state){0};
	rtc->now.cmos[REG_A] = A_RESET;
	rtc->now.cmos[REG_B] = B_24H;
	rtc->now.cmos[REG_D] = D_VALID;
	mutex_unlock(&rtc->lock);
}

static void rtc_save(struct device *dev, struct state_writer *w)
{
	struct rtc_cmos *rtc = container_of(dev, struct rtc_cmos, dev);

	mutex_lock(&rtc->lock);
	state_put_u8(w, rtc->now.index);
	state_put_bytes(w, rtc->now.cmos, sizeof(rtc->now.cmos));
	mutex_unlock(&rtc->lock);
}

static void rtc_load(struct device *dev, struct state_reader *r)
{
	struct rtc_cmos *rtc = container_of(dev, struct rtc_cmos, dev);
	struct rtc_state now;

	now.index = state_get_u8(r);
	state_get_bytes(r, now.cmos, sizeof(now.cmos));
	if (now.index >= CMOS_SIZE || (now.cmos[REG_A] & A_UPDATE)) {
		state_fail(r, "a register that no clock can have");
		return;
	}
	mutex_lock(&rtc->lock);
	rtc->now = now;
	mutex_unlock(&rtc->lock);
}

static void rtc_free(struct device *dev)
{
	free(container_of(dev, struct rtc_cmos, dev));
}

static const struct device_stat stats[] = {
	DEVICE_STAT(struct rtc_cmos, time_reads, "reads of a register of the time or date"),
};

int rtc_cmos_new(struct io_bus *pio, rtc_cmos_clock clock, struct device **ret)
{
	static const struct device_ops device_ops = {.reset = rtc_reset,
						     .free = rtc_free,
						     .save = rtc_save,
						     .load = rtc_load,
						     .state_type = "rtc-cmos",
						     .state_version = 1,
						     .help = "real-time clock",
						     .stats = stats,
						     .n_stats = ARRAY_SIZE(stats)};
	static const struct io_ops io_ops = {.read = rtc_read, .write = rtc_write};
	struct rtc_cmos *rtc = calloc(1, sizeof(*rtc));
	int r;

	if (!rtc)
		return -ENOMEM;
	rtc->dev = (struct device){.ops = &device_ops, .id = "rtc0"};
	rtc->region = (struct io_region){
		.ops = &io_ops, .name = "rtc0", .base = RTC_CMOS_PORT, .size = 2};
	rtc->clock = clock ? clock : wall_clock;
	mutex_init(&rtc->lock);
	rtc_reset(&rtc->dev);
	r = io_bus_add(pio, &rtc->region);
	if (r < 0) {
		free(rtc);
		return r;
	}
	*ret = &rtc->dev;
	return 0;
}
