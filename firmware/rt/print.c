/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/print.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rt/serial.h"

struct out {
	char buf[255];
	size_t n;
};

static void put(struct out *out, char c)
{
	if (out->n < sizeof(out->buf))
		out->buf[out->n++] = c;
}

static void put_text(struct out *out, const char *text)
{
	while (*text)
		put(out, *text++);
}

static void put_number(struct out *out, uint64_t value, unsigned base, unsigned width)
{
	char digits[20];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	for (unsigned i = n; i < width; i++)
		put(out, '0');
	while (n)
		put(out, digits[--n]);
}

static void put_signed(struct out *out, int value)
{
	if (value < 0)
		put(out, '-');
	put_number(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, 0);
}

/* One conversion, format behind its %; returns where the text goes on. */
static const char *convert(struct out *out, const char *format, va_list *args)
{
	unsigned width = 0;
	bool is_long = false;

	for (; *format >= '0' && *format <= '9'; format++)
		width = width * 10 + (unsigned)(*format - '0');
	for (; *format == 'l'; format++)
		is_long = true;
	if (*format == 's')
		put_text(out, va_arg(*args, const char *));
	else if (*format == 'c')
		put(out, (char)va_arg(*args, int));
	else if (*format == 'd')
		put_signed(out, va_arg(*args, int));
	else if (*format == 'u' || *format == 'x')
		put_number(out, is_long ? va_arg(*args, unsigned long) : va_arg(*args, unsigned),
			   *format == 'u' ? 10 : 16, width);
	else
		put(out, *format);
	return *format ? format + 1 : format;
}

void print(const char *format, ...)
{
	struct out out;
	va_list args;

	out.n = 0;
	va_start(args, format);
	while (*format) {
		if (*format == '%')
			format = convert(&out, format + 1, &args);
		else
			put(&out, *format++);
	}
	va_end(args);
	serial_write(out.buf, out.n);
}
