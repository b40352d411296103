/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix time as a date of the Gregorian calendar, in UTC. Not gmtime_r(): on its first call libc
 * opens the time zone file, which a locked-down process can't.
 */
#ifndef VMM_BASE_UTC_H
#define VMM_BASE_UTC_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct utc {
	unsigned year, month, day;     /* 1 is January, 1 the first */
	unsigned weekday;	       /* 0 is Sunday */
	unsigned hour, minute, second; /* no leap seconds */
};

/* From 1970 on. */
struct utc utc_from_unix(uint64_t seconds);

/* "2026-11-22T10:00:00.123456Z" of nanoseconds since 1970; returns buf. */
enum { UTC_TEXT_LEN = 28 };
char *utc_format(uint64_t unix_ns, char *buf);

#endif
