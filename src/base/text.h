/* SPDX-License-Identifier: Apache-2.0 */
/* Text that people write and read: sizes, durations, the nearest right name, a growing string. */
#ifndef VMM_BASE_TEXT_H
#define VMM_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/*
 * "512" (units of bare_unit), "512M", "1.5G" is refused, K/M/G/T/k/m/g/t with an optional "iB" or
 * "B". 0, -EINVAL for no number, -ERANGE when the value does not fit 64 bits.
 */
int text_parse_size(const char *s, uint64_t bare_unit, uint64_t *ret_bytes) must_check;

/* "90" and "90s" seconds, "500ms", "2m", "1h", also "1.5s". 0, -EINVAL or -ERANGE. */
int text_parse_duration(const char *s, uint64_t *ret_ns) must_check;

/* A whole non-negative number, decimal or 0x. 0, -EINVAL or -ERANGE. */
int text_parse_uint(const char *s, uint64_t *ret) must_check;

/* 1073741824 -> "1G"; the largest unit that divides it. Returns buf. */
char *text_format_size(uint64_t bytes, char *buf, size_t len);
/* 1500000000 -> "1500ms"; the largest unit that divides it. Returns buf. */
char *text_format_duration(uint64_t ns, char *buf, size_t len);

/* The name out of names[n] nearest to s, or NULL when none is near enough to be a typing error. */
const char *text_nearest(const char *s, const char *const *names, size_t n);

/* A growing string; all zero is the empty one. Out of memory marks it failed, str_steal then gives
 * NULL. */
struct str {
	char *buf;
	size_t len, cap;
	bool failed;
};
void str_add(struct str *s, const char *text);
void str_addn(struct str *s, const char *bytes, size_t len);
void str_addf(struct str *s, const char *fmt, ...) printf_like(2, 3);
/* Hands the text over (caller frees) and empties s; "" rather than NULL for an empty one. */
char *str_steal(struct str *s) must_check;
void str_done(struct str *s);

#endif
