/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MC146818 real-time clock and its CMOS memory: index port 0x70, data port 0x71.
 *
 * It shows the host's wall clock in UTC, century in register 0x32. The time registers ignore
 * writes: the host keeps the time. Format bits (BCD or binary, 24 or 12 hours) are the guest's
 * choice, BCD and 24 hours at reset. There are no interrupts; the alarm registers keep what is
 * written. vCPU threads.
 */
#ifndef VMM_DEVICES_RTC_CMOS_H
#define VMM_DEVICES_RTC_CMOS_H

#include <stdint.h>

#include "base/compiler.h"

struct device;
struct io_bus;

enum { RTC_CMOS_PORT = 0x70 };

/* Seconds since 1970 in UTC; in tests another function stands in for the wall clock. */
typedef int64_t (*rtc_cmos_clock)(void);

/* clock NULL: the host's wall clock. 0 or -errno. */
int rtc_cmos_new(struct io_bus *pio, rtc_cmos_clock clock, struct device **ret) must_check;

#endif
