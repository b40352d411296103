/* SPDX-License-Identifier: Apache-2.0 */
/* The option list of vmm(1), as roff for the man macros. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "config/config.h"
#include "config/doc.h"

/* Text with what roff would read as its own escaped; a line never starts with a dot or a quote. */
static void print_escaped(const char *text, FILE *out)
{
	if (*text == '.' || *text == '\'')
		(void)fputs("\\&", out);
	for (; *text; text++) {
		if (*text == '-')
			(void)fputc('\\', out);
		(void)fputs(*text == '\\' ? "\\e" : (const char[]){*text, '\0'}, out);
	}
}

static void print_marked(const char *font, const char *text, FILE *out)
{
	(void)fprintf(out, "\\f%s", font);
	print_escaped(text, out);
	(void)fputs("\\fR", out);
}

static void print_argument(const struct schema_row *row, FILE *out)
{
	struct str s = {0};
	_cleanup_free_ char *text = NULL;

	doc_argument(row, &s);
	text = str_steal(&s);
	if (text)
		print_marked(row->arg ? "I" : "B", text, out);
}

static void print_flag(const struct schema_row *row, FILE *out)
{
	for (const char *letter = row->letters; letter && *letter; letter++) {
		print_marked("B", (const char[]){'-', *letter, '\0'}, out);
		(void)fputs(", ", out);
	}
	print_marked("B", "--", out);
	print_marked("B", row->flag, out);
	if (schema_value_is_optional(row)) {
		(void)fputs(" [\\fBon\\fR|\\fBoff\\fR|\\fIKEY\\fR=\\fIVALUE\\fR...]", out);
	} else if (row->type != VALUE_NONE) {
		(void)fputc(' ', out);
		print_argument(row, out);
	}
	if (schema_is_compound(row) && !schema_value_is_optional(row))
		(void)fputs("[,\\fIKEY\\fR=\\fIVALUE\\fR...]", out);
}

static void print_key(const struct schema_row *row, FILE *out)
{
	print_marked("B", schema_key(row), out);
	(void)fputc('=', out);
	print_argument(row, out);
}

static void print_text(const struct schema_row *row, const struct schema_row *group, FILE *out)
{
	struct str s = {0};
	_cleanup_free_ char *text = NULL;
	char name[SCHEMA_POINTER_LEN];

	doc_text(row, &s);
	if (group)
		str_addf(&s, ". In JSON: %s.", schema_group_name(group, row, name));
	else if (row->name)
		str_addf(&s, ". In JSON: %s.", schema_dotted(row, name));
	else
		str_add(&s, ".");
	text = str_steal(&s);
	if (text)
		print_escaped(text, out);
	(void)fputc('\n', out);
}

/* Keys of a compound flag are indented below its head; group is that of an element's row. */
static void print_row(const struct schema_row *row, const struct schema_row *group, FILE *out)
{
	bool head = schema_is_head(row);

	(void)fputs(head ? ".TP\n" : ".RS\n.TP\n", out);
	if (head)
		print_flag(row, out);
	else
		print_key(row, out);
	(void)fputc('\n', out);
	print_text(row, group, out);
	if (!head)
		(void)fputs(".RE\n", out);
}

/* The keys of a group but for the one that stands in the flag's line. */
static void print_group_keys(const struct schema_row *group, FILE *out)
{
	const struct schema_row *bare = schema_bare_key(group), *row = NULL;

	while ((row = schema_next_key(group, row)))
		if (row != bare)
			print_row(row, group, out);
}

void config_print_man_options(FILE *out)
{
	for (size_t i = 0; i < schema_n_rows; i++) {
		const struct schema_row *row = &schema_rows[i];

		if (!row->flag)
			continue;
		if (row->heading)
			(void)fprintf(out, ".SS %s\n", row->heading);
		print_row(row, NULL, out);
		if (schema_is_group(row))
			print_group_keys(row, out);
	}
}
