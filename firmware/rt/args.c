/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/args.h"

#include <stddef.h>

static const char *line = "";

void args_init(const char *cmdline)
{
	line = cmdline ? cmdline : "";
}

const char *args_line(void)
{
	return line;
}

static bool blank_or_end(char c)
{
	return c == ' ' || c == '\0';
}

/* The value behind `name` if the word at p is that one. */
static const char *match(const char *p, const char *name)
{
	while (*name && *p == *name) {
		p++;
		name++;
	}
	if (*name)
		return NULL;
	if (*p == '=')
		return p + 1;
	return blank_or_end(*p) ? p : NULL;
}

const char *args_find(const char *name)
{
	const char *found = NULL;

	for (const char *p = line; *p;) {
		const char *value = match(p, name);

		if (value)
			found = value;
		while (!blank_or_end(*p))
			p++;
		while (*p == ' ')
			p++;
	}
	return found;
}

bool args_is(const char *name, const char *value)
{
	const char *p = args_find(name);

	if (!p)
		return false;
	while (*value && *p == *value) {
		p++;
		value++;
	}
	return !*value && blank_or_end(*p);
}

static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a' + 10);
	return 255;
}

uint64_t args_number(const char *name, uint64_t fallback)
{
	const char *p = args_find(name);
	unsigned base = 10;
	uint64_t n = 0;

	if (!p)
		return fallback;
	if (p[0] == '0' && p[1] == 'x') {
		base = 16;
		p += 2;
	}
	for (; digit(*p) < base; p++)
		n = n * base + digit(*p);
	return n;
}
