/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <time.h>

#include "base/utc.h"

/* libc's own calendar is the other opinion: every day of 600 years. */
Test(utc, agrees_with_libc_on_every_day)
{
	for (uint64_t day = 0; day < 600 * 365; day++) {
		time_t t = (time_t)(day * 86400 + day % 86400);
		struct utc utc = utc_from_unix((uint64_t)t);
		struct tm tm;

		cr_assert(gmtime_r(&t, &tm));
		cr_assert(utc.year == (unsigned)tm.tm_year + 1900 &&
				  utc.month == (unsigned)tm.tm_mon + 1 &&
				  utc.day == (unsigned)tm.tm_mday &&
				  utc.weekday == (unsigned)tm.tm_wday,
			  "day %llu is %u-%u-%u, weekday %u", (unsigned long long)day, utc.year,
			  utc.month, utc.day, utc.weekday);
		cr_assert(utc.hour == (unsigned)tm.tm_hour && utc.minute == (unsigned)tm.tm_min &&
			  utc.second == (unsigned)tm.tm_sec);
	}
}

Test(utc, text_has_microseconds)
{
	char buf[UTC_TEXT_LEN];

	cr_expect_str_eq(utc_format(UINT64_C(951782399123456789), buf),
			 "2000-02-28T23:59:59.123456Z");
	cr_expect_str_eq(utc_format(UINT64_C(951782400000000000), buf),
			 "2000-02-29T00:00:00.000000Z");
	cr_expect_str_eq(utc_format(0, buf), "1970-01-01T00:00:00.000000Z");
}
