/* SPDX-License-Identifier: Apache-2.0 */
/* The option list of `vmm run --help`: two columns in 80. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "config/config.h"
#include "config/doc.h"

enum { TEXT_COLUMN = 30, WIDTH = 80 };

/* "  -k, --kernel FILE" */
static void add_flag(const struct schema_row *row, struct str *out)
{
	const char *letters = row->letters ? row->letters : "";

	str_add(out, *letters ? "  " : "      ");
	for (; *letters; letters++)
		str_addf(out, "-%c, ", *letters);
	str_addf(out, "--%s", row->flag);
	if (schema_value_is_optional(row)) {
		str_add(out, " [on|off|KEY=VALUE...]");
	} else if (row->type != VALUE_NONE) {
		str_add(out, " ");
		doc_argument(row, out);
	}
	if (schema_is_compound(row) && !schema_value_is_optional(row))
		str_add(out, "[,KEY=VALUE...]");
}

/* "        hugepages=2M|1G" */
static void add_key(const struct schema_row *row, struct str *out)
{
	str_addf(out, "        %s=", schema_key(row));
	doc_argument(row, out);
}

/* The end of the line that starts at text: the last blank that fits, or the end of the text. */
static size_t line_length(const char *text, size_t room)
{
	size_t len = strlen(text), cut = room;

	if (len <= room)
		return len;
	while (cut && text[cut] != ' ')
		cut--;
	return cut ? cut : room;
}

static void print_columns(const char *left, const char *text, FILE *out)
{
	int used = (int)strlen(left);

	(void)fputs(left, out);
	if (used > TEXT_COLUMN - 2) {
		(void)fputc('\n', out);
		used = 0;
	}
	while (*text) {
		size_t len = line_length(text, WIDTH - TEXT_COLUMN);

		(void)fprintf(out, "%*s%.*s\n", TEXT_COLUMN - used, "", (int)len, text);
		used = 0;
		text += len + (text[len] == ' ');
	}
}

static void print_row(const struct schema_row *row, FILE *out)
{
	struct str left = {0}, text = {0};
	_cleanup_free_ char *left_shown = NULL, *text_shown = NULL;

	if (schema_is_head(row))
		add_flag(row, &left);
	else
		add_key(row, &left);
	doc_text(row, &text);
	left_shown = str_steal(&left);
	text_shown = str_steal(&text);
	if (left_shown && text_shown)
		print_columns(left_shown, text_shown, out);
}

/* The keys of a group but for the one that stands in the flag's line. */
static void print_group_keys(const struct schema_row *group, FILE *out)
{
	const struct schema_row *bare = schema_bare_key(group), *row = NULL;

	while ((row = schema_next_key(group, row)))
		if (row != bare)
			print_row(row, out);
}

void config_print_help(FILE *out)
{
	bool first = true;

	for (size_t i = 0; i < schema_n_rows; i++) {
		const struct schema_row *row = &schema_rows[i];

		if (!row->flag)
			continue;
		if (row->heading)
			(void)fprintf(out, "%s%s:\n", first ? "" : "\n", row->heading);
		first = false;
		print_row(row, out);
		if (schema_is_group(row))
			print_group_keys(row, out);
	}
}
