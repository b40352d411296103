/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and numbers for people. Pure. */
#ifndef VMM_CLI_TABLE_H
#define VMM_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/text.h"

struct table_column {
	const char *title;
	bool right; /* numbers */
};

/* Cells row by row. */
struct table {
	const struct table_column *columns;
	unsigned n_columns;
	char **cells; /* owned; NULL is shown as "-" */
	size_t n_cells;
	bool failed; /* out of memory */
};

/* The next cell; control characters, which a terminal would obey, become '?'. NULL is "-". */
void table_add(struct table *table, const char *text);
void table_addf(struct table *table, const char *fmt, ...) printf_like(2, 3);
/* The whole with its heading, malloc()ed; columns are as wide as what they hold, two blanks apart,
 * and no line ends with a blank. */
char *table_text(const struct table *table) must_check;
void table_done(struct table *table);

/* 7384000 -> "2h 3m"; the two largest units. Returns buf. */
char *table_duration(uint64_t ms, char *buf, size_t len);

/* Cuts bytes into lines, however they come in. */
struct lines {
	void (*line)(struct lines *lines, const char *text); /* without its newline */
	struct str pending;
};
void lines_feed(struct lines *lines, const char *bytes, size_t n);
/* What is left without a newline is a line too. */
void lines_done(struct lines *lines);

#endif
