/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utc.h"

#include <stdio.h>

#include "base/clock.h"

enum {
	DAYS_IN_4_YEARS = 4 * 365 + 1,
	DAYS_IN_100_YEARS = 25 * DAYS_IN_4_YEARS - 1,
	DAYS_IN_400_YEARS = 4 * DAYS_IN_100_YEARS + 1,
	/* From 0000-03-01 to 1970-01-01. */
	DAYS_BEFORE_1970 = 719468,
	SECONDS_IN_DAY = 24 * 3600,
};

/* The year is taken to begin in March, so that the leap day is its last and months have a rule. */
static void set_date(struct utc *utc, uint64_t days_since_1970)
{
	uint64_t days = days_since_1970 + DAYS_BEFORE_1970;
	unsigned era = (unsigned)(days / DAYS_IN_400_YEARS);
	unsigned day = (unsigned)(days % DAYS_IN_400_YEARS);
	unsigned year = (day - day / (DAYS_IN_4_YEARS - 1) + day / DAYS_IN_100_YEARS -
			 day / (DAYS_IN_400_YEARS - 1)) /
			365;
	unsigned of_year = day - (365 * year + year / 4 - year / 100);
	unsigned month = (5 * of_year + 2) / 153; /* 153 days in each five months from March */

	utc->day = of_year - (153 * month + 2) / 5 + 1;
	utc->month = month < 10 ? month + 3 : month - 9;
	utc->year = 400 * era + year + (utc->month <= 2);
	utc->weekday = (unsigned)((days_since_1970 + 4) % 7); /* 1970-01-01 was a Thursday */
}

struct utc utc_from_unix(uint64_t seconds)
{
	unsigned of_day = (unsigned)(seconds % SECONDS_IN_DAY);
	struct utc utc = {.hour = of_day / 3600, .minute = of_day / 60 % 60, .second = of_day % 60};

	set_date(&utc, seconds / SECONDS_IN_DAY);
	return utc;
}

char *utc_format(uint64_t unix_ns, char *buf)
{
	struct utc utc = utc_from_unix(unix_ns / NS_PER_S);

	(void)snprintf(buf, UTC_TEXT_LEN, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ", utc.year % 10000,
		       utc.month, utc.day, utc.hour, utc.minute, utc.second,
		       (unsigned)(unix_ns % NS_PER_S / NS_PER_US));
	return buf;
}
