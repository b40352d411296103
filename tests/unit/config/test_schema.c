/* SPDX-License-Identifier: Apache-2.0 */
#include "config_test.h"

#include <ctype.h>
#include <jansson.h>

#include "base/text.h"
#include "config/schema.h"
#include "config/value.h"

#define EACH_ROW(row)                                                                              \
	(const struct schema_row *row = schema_rows; row < schema_rows + schema_n_rows; row++)

Test(schema, row__has_help_and_something_to_set_it_by)
{
	for
		EACH_ROW(row)
		{
			cr_expect(row->help && *row->help, "row %td has no help",
				  row - schema_rows);
			cr_expect(row->flag || row->name, "row %td is out of reach",
				  row - schema_rows);
			cr_expect(row->help[strlen(row->help) - 1] != '.', "full stop: %s",
				  row->help);
		}
}

Test(schema, row__json_path_is_unique_and_found)
{
	for
		EACH_ROW(row)
	if (row->name)
		cr_expect_eq(schema_find_name(row->object, row->name), row, "%s is there twice",
			     row->name);
}

Test(schema, row__object_is_described_and_no_key_has_its_name)
{
	for
		EACH_ROW(row)
	if (row->object) {
		cr_expect_not_null(schema_find_object(row->object), "%s", row->object);
		cr_expect_null(schema_find_name(NULL, row->object), "%s", row->object);
	}
}

Test(schema, row__flag_and_key_are_unique)
{
	for
		EACH_ROW(row)
		{
			if (row->flag && !row->key)
				cr_expect_eq(schema_find_flag(row->flag), row,
					     "--%s is there twice", row->flag);
			if (row->key)
				cr_expect_eq(schema_find_key(row->flag, row->key), row,
					     "%s is there twice", row->key);
		}
}

Test(schema, row__letters_are_unique_and_leave_net_and_disk_free)
{
	for
		EACH_ROW(row)
	for (const char *c = row->letters; c && *c; c++)
		cr_expect_eq(schema_find_letter(*c), row, "-%c is there twice", *c);
	cr_expect_null(schema_find_letter('n'));
	cr_expect_null(schema_find_letter('d'));
}

Test(schema, row__compound_keys_follow_their_head)
{
	for
		EACH_ROW(row)
	if (row->key && !schema_is_head(row))
		cr_expect_str_eq(row[-1].flag, row->flag);
}

Test(schema, row__preset_stands_behind_the_row_it_sets)
{
	struct vm_config config;

	vm_config_init(&config);
	for
		EACH_ROW(row)
	if (row->action == FLAG_PRESET)
		cr_expect_eq(value_set(row - 1, &config, row->preset, NULL), 0);
	vm_config_done(&config);
}

Test(schema, row__default_is_one_that_the_row_accepts)
{
	struct vm_config config;

	vm_config_init(&config);
	for
		EACH_ROW(row)
		{
			struct err err = {0};

			if (!row->fallback || !row->name)
				continue;
			cr_expect_eq(value_set(row, &config, row->fallback, &err), 0, "%s: %s",
				     row->name, err.msg);
			cr_expect_eq(value_check(row, &config, &err), 0, "%s: %s", row->name,
				     err.msg);
		}
	vm_config_done(&config);
}

Test(schema, row__fits_its_buffers)
{
	char buf[SCHEMA_POINTER_LEN];

	cr_expect_leq(schema_n_rows, SCHEMA_MAX_ROWS);
	for
		EACH_ROW(row)
	if (row->name)
		cr_expect_lt(strlen(schema_dotted(row, buf)), 31, "%s", buf);
}

Test(schema, nearest__takes_slips_and_beginnings)
{
	static const char *const names[] = {"memory", "kernel", "hugepages"};

	cr_expect_str_eq(schema_nearest("kernal", names, 3), "kernel");
	cr_expect_str_eq(schema_nearest("mem", names, 3), "memory");
	cr_expect_null(schema_nearest("m", names, 3));
	cr_expect_null(schema_nearest("", names, 3));
	cr_expect_null(schema_nearest("zzzzzzz", names, 3));
}
