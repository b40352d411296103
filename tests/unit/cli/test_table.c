/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"

static const struct table_column columns[] = {{"NAME", false}, {"SIZE", true}, {"WHAT", false}};

static void expect_table(struct table *table, const char *expected)
{
	char *text = table_text(table);

	cr_assert_not_null(text);
	cr_assert_str_eq(text, expected);
	free(text);
	table_done(table);
}

Test(table, without_rows_is_its_heading)
{
	struct table table = {.columns = columns, .n_columns = 3};

	expect_table(&table, "NAME  SIZE  WHAT\n");
}

Test(table, columns_are_as_wide_as_what_they_hold_and_numbers_stand_right)
{
	struct table table = {.columns = columns, .n_columns = 3};

	table_add(&table, "a");
	table_addf(&table, "%d", 123456);
	table_add(&table, "x");
	table_add(&table, "longer");
	table_add(&table, NULL);
	table_add(&table, "");
	expect_table(&table, "NAME      SIZE  WHAT\n"
			     "a       123456  x\n"
			     "longer       -  \n");
}

Test(table, a_terminal_is_not_given_orders)
{
	struct table table = {.columns = columns, .n_columns = 3};

	table_add(&table, "a\033[2Jb");
	table_add(&table, "1\n2");
	table_add(&table, "\177");
	expect_table(&table, "NAME    SIZE  WHAT\na?[2Jb   1?2  ?\n");
}

Test(table, letters_outside_of_ascii_take_one_place)
{
	struct table table = {.columns = columns, .n_columns = 3};

	table_add(&table, "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f!");
	table_add(&table, "1");
	table_add(&table, "x");
	expect_table(&table, "NAME   SIZE  WHAT\n\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f!     1  x\n");
}

Test(table, a_duration_has_its_two_largest_units)
{
	char text[32];

	cr_assert_str_eq(table_duration(0, text, sizeof(text)), "0s");
	cr_assert_str_eq(table_duration(59999, text, sizeof(text)), "59s");
	cr_assert_str_eq(table_duration(60000, text, sizeof(text)), "1m 0s");
	cr_assert_str_eq(table_duration(7384000, text, sizeof(text)), "2h 3m");
	cr_assert_str_eq(table_duration(UINT64_C(86400000) * 40 + 3600000, text, sizeof(text)),
			 "40d 1h");
}

struct seen {
	struct lines lines;
	char text[128];
};

static void note_line(struct lines *lines, const char *text)
{
	struct seen *seen = container_of(lines, struct seen, lines);

	(void)strcat(strcat(seen->text, text), "|");
}

Test(lines, are_cut_however_the_bytes_come)
{
	static const char bytes[] = "one\n\ntwo and\nthree";

	for (size_t piece = 1; piece < sizeof(bytes); piece++) {
		struct seen seen = {.lines.line = note_line};

		for (size_t at = 0; at < sizeof(bytes) - 1; at += piece) {
			size_t left = sizeof(bytes) - 1 - at;

			lines_feed(&seen.lines, bytes + at, left < piece ? left : piece);
		}
		cr_assert_str_eq(seen.text, "one||two and|");
		lines_done(&seen.lines);
		cr_assert_str_eq(seen.text, "one||two and|three|");
	}
}

Test(lines, nothing_left_is_no_line)
{
	struct seen seen = {.lines.line = note_line};

	lines_feed(&seen.lines, "a\n", 2);
	lines_done(&seen.lines);
	cr_assert_str_eq(seen.text, "a|");
}
