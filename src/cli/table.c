/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"

static void add_owned(struct table *table, char *text)
{
	char **cells = realloc(table->cells, (table->n_cells + 1) * sizeof(*cells));

	if (!cells) {
		free(text);
		table->failed = true;
		return;
	}
	for (char *c = text; c && *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	cells[table->n_cells++] = text;
	table->cells = cells;
}

void table_add(struct table *table, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		table->failed = true;
	add_owned(table, copy);
}

void table_addf(struct table *table, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0) {
		table->failed = true;
		text = NULL;
	}
	va_end(ap);
	add_owned(table, text);
}

static const char *cell(const struct table *table, size_t index)
{
	return table->cells[index] ? table->cells[index] : "-";
}

/* As a terminal shows it: the bytes that go on a character of UTF-8 take no room. */
static size_t width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static size_t column_width(const struct table *table, unsigned column)
{
	size_t widest = width(table->columns[column].title);

	for (size_t i = column; i < table->n_cells; i += table->n_columns)
		widest = MAX(widest, width(cell(table, i)));
	return widest;
}

static void add_padded(struct str *out, const char *text, size_t room, bool right, bool last)
{
	int pad = (int)(room - width(text));

	if (right)
		str_addf(out, "%*s%s", pad, "", text);
	else
		str_addf(out, "%s%*s", text, last ? 0 : pad, "");
	str_add(out, last ? "\n" : "  ");
}

char *table_text(const struct table *table)
{
	_cleanup_free_ size_t *widths = calloc(table->n_columns, sizeof(*widths));
	struct str out = {0};

	if (!widths || table->failed)
		return NULL;
	for (unsigned c = 0; c < table->n_columns; c++)
		widths[c] = column_width(table, c);
	for (unsigned c = 0; c < table->n_columns; c++)
		add_padded(&out, table->columns[c].title, widths[c], table->columns[c].right,
			   c + 1 == table->n_columns);
	for (size_t i = 0; i < table->n_cells; i++) {
		unsigned c = (unsigned)(i % table->n_columns);

		add_padded(&out, cell(table, i), widths[c], table->columns[c].right,
			   c + 1 == table->n_columns);
	}
	return str_steal(&out);
}

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i]);
	free(table->cells);
	table->cells = NULL;
	table->n_cells = 0;
}

char *table_duration(uint64_t ms, char *buf, size_t len)
{
	static const struct {
		uint64_t seconds;
		char letter;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	uint64_t seconds = ms / 1000;
	size_t i = 0;

	while (i < ARRAY_SIZE(units) - 1 && seconds < units[i].seconds)
		i++;
	if (i == ARRAY_SIZE(units) - 1)
		(void)snprintf(buf, len, "%llus", (unsigned long long)seconds);
	else
		(void)snprintf(
			buf, len, "%llu%c %llu%c", (unsigned long long)(seconds / units[i].seconds),
			units[i].letter,
			(unsigned long long)(seconds % units[i].seconds / units[i + 1].seconds),
			units[i + 1].letter);
	return buf;
}

static void finish_line(struct lines *lines)
{
	char *text = str_steal(&lines->pending);

	if (text)
		lines->line(lines, text);
	free(text);
}

void lines_feed(struct lines *lines, const char *bytes, size_t n)
{
	while (n > 0) {
		const char *end = memchr(bytes, '\n', n);
		size_t len = end ? (size_t)(end - bytes) : n;

		str_addn(&lines->pending, bytes, len);
		if (end)
			finish_line(lines);
		len += end != NULL;
		bytes += len;
		n -= len;
	}
}

void lines_done(struct lines *lines)
{
	if (lines->pending.len)
		finish_line(lines);
	str_done(&lines->pending);
}
