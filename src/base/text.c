/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"

int text_parse_uint(const char *s, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)s[0]))
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &end, s[0] == '0' && tolower((unsigned char)s[1]) == 'x' ? 16 : 10);
	if (*end)
		return -EINVAL;
	if (errno)
		return -ERANGE;
	*ret = v;
	return 0;
}

static bool size_unit(const char *s, uint64_t bare_unit, uint64_t *ret_unit)
{
	static const char letters[] = "KMGT";
	const char *letter;

	if (!*s) {
		*ret_unit = bare_unit;
		return true;
	}
	letter = strchr(letters, toupper((unsigned char)*s));
	if (!letter)
		return false;
	*ret_unit = KIB(1) << (10 * (letter - letters));
	s++;
	return !*s || strcmp(s, "B") == 0 || strcmp(s, "iB") == 0;
}

int text_parse_size(const char *s, uint64_t bare_unit, uint64_t *ret_bytes)
{
	unsigned long long n;
	uint64_t unit, bytes;
	char *end;

	if (!isdigit((unsigned char)s[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(s, &end, 10);
	if (!size_unit(end, bare_unit, &unit))
		return -EINVAL;
	if (errno || ckd_mul(&bytes, (uint64_t)n, unit))
		return -ERANGE;
	*ret_bytes = bytes;
	return 0;
}

struct unit {
	const char *name;
	uint64_t size;
};

static const struct unit time_units[] = {
	{"h", 3600 * NS_PER_S}, {"m", 60 * NS_PER_S}, {"s", NS_PER_S},
	{"ms", NS_PER_MS},	{"us", NS_PER_US},    {"ns", 1},
};

static int time_unit(const char *s, uint64_t *ret)
{
	if (!*s)
		s = "s";
	for (size_t i = 0; i < ARRAY_SIZE(time_units); i++)
		if (strcmp(s, time_units[i].name) == 0) {
			*ret = time_units[i].size;
			return 0;
		}
	return -EINVAL;
}

/* "." and up to nine digits: *ret_scale is 10^digits. */
static const char *parse_fraction(const char *s, uint64_t *ret_digits, uint64_t *ret_scale)
{
	*ret_digits = 0;
	*ret_scale = 1;
	if (*s != '.' || !isdigit((unsigned char)s[1]))
		return s;
	for (s++; isdigit((unsigned char)*s); s++)
		if (*ret_scale < NS_PER_S) {
			*ret_digits = *ret_digits * 10 + (uint64_t)(*s - '0');
			*ret_scale *= 10;
		}
	return s;
}

int text_parse_duration(const char *s, uint64_t *ret_ns)
{
	uint64_t unit, ns, part, digits, scale;
	unsigned long long n;
	char *end;
	int r;

	if (!isdigit((unsigned char)s[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(s, &end, 10);
	r = time_unit(parse_fraction(end, &digits, &scale), &unit);
	if (r < 0)
		return r;
	part = (uint64_t)((unsigned __int128)unit * digits / scale);
	if (errno || ckd_mul(&ns, (uint64_t)n, unit) || ckd_add(&ns, ns, part))
		return -ERANGE;
	*ret_ns = ns;
	return 0;
}

char *text_format_size(uint64_t bytes, char *buf, size_t len)
{
	static const char units[] = "TGMK";

	for (int i = 0; units[i]; i++) {
		uint64_t unit = KIB(1) << (10 * (3 - i));

		if (bytes && bytes % unit == 0) {
			(void)snprintf(buf, len, "%llu%c", (unsigned long long)(bytes / unit),
				       units[i]);
			return buf;
		}
	}
	(void)snprintf(buf, len, "%llu", (unsigned long long)bytes);
	return buf;
}

char *text_format_duration(uint64_t ns, char *buf, size_t len)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(time_units) - 1; i++)
		if (ns % time_units[i].size == 0 && ns)
			break;
	if (ns == 0)
		i = 2;
	(void)snprintf(buf, len, "%llu%s", (unsigned long long)(ns / time_units[i].size),
		       time_units[i].name);
	return buf;
}

enum { NAME_MAX_LEN = 63 };

/* Levenshtein's distance; names longer than NAME_MAX_LEN count as far away. */
static unsigned edit_distance(const char *a, const char *b)
{
	unsigned row[NAME_MAX_LEN + 1];
	size_t la = strlen(a), lb = strlen(b);

	if (la > NAME_MAX_LEN || lb > NAME_MAX_LEN)
		return NAME_MAX_LEN;
	for (unsigned j = 0; j <= lb; j++)
		row[j] = j;
	for (unsigned i = 1; i <= la; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned above = row[j];
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);
			unsigned insert_or_drop = MIN(above, row[j - 1]) + 1;

			row[j] = MIN(change, insert_or_drop);
			diagonal = above;
		}
	}
	return row[lb];
}

const char *text_nearest(const char *s, const char *const *names, size_t n)
{
	const char *best = NULL;
	unsigned best_distance = (unsigned)strlen(s) / 3 + 2;

	for (size_t i = 0; i < n; i++) {
		unsigned d = edit_distance(s, names[i]);

		if (d < best_distance) {
			best_distance = d;
			best = names[i];
		}
	}
	return best;
}

static bool str_grow(struct str *s, size_t extra)
{
	size_t need, cap;
	char *buf;

	if (s->failed || ckd_add(&need, s->len, extra + 1)) {
		s->failed = true;
		return false;
	}
	if (need <= s->cap)
		return true;
	cap = MAX(need, s->cap * 2);
	buf = realloc(s->buf, cap);
	if (!buf) {
		s->failed = true;
		return false;
	}
	s->buf = buf;
	s->cap = cap;
	return true;
}

void str_addn(struct str *s, const char *bytes, size_t len)
{
	if (!str_grow(s, len))
		return;
	memcpy(s->buf + s->len, bytes, len);
	s->len += len;
	s->buf[s->len] = '\0';
}

void str_add(struct str *s, const char *text)
{
	str_addn(s, text, strlen(text));
}

void str_addf(struct str *s, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n >= 0 && str_grow(s, (size_t)n)) {
		(void)vsnprintf(s->buf + s->len, (size_t)n + 1, fmt, again);
		s->len += (size_t)n;
	}
	va_end(again);
}

char *str_steal(struct str *s)
{
	char *buf;

	str_addn(s, "", 0);
	buf = s->failed ? NULL : s->buf;
	if (s->failed)
		free(s->buf);
	*s = (struct str){0};
	return buf;
}

void str_done(struct str *s)
{
	free(s->buf);
	*s = (struct str){0};
}
