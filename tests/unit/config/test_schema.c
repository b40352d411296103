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
				cr_expect_eq(schema_find_key(schema_find_flag(row->flag), row->key),
					     row, "%s is there twice", row->key);
		}
}

Test(schema, row__letters_are_unique)
{
	for
		EACH_ROW(row)
	for (const char *c = row->letters; c && *c; c++)
		cr_expect_eq(schema_find_letter(*c), row, "-%c is there twice", *c);
	cr_expect_str_eq(schema_find_letter('n')->flag, "net");
	cr_expect_str_eq(schema_find_letter('d')->flag, "disk");
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

			if (!row->fallback || !row->name || schema_is_group(row))
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

/* Each table of a group, and the row that names it. */
static const struct schema_row *next_group(const struct schema_row *row)
{
	for (row = row ? row + 1 : schema_rows; row < schema_rows + schema_n_rows; row++)
		if (schema_is_group(row))
			return row;
	return NULL;
}

Test(schema, group__is_a_flag_and_a_key_of_the_top_level)
{
	const struct schema_row *group = NULL;
	unsigned n = 0;

	while ((group = next_group(group))) {
		n++;
		cr_expect(group->type == VALUE_LIST || group->type == VALUE_OBJECT);
		cr_expect(group->flag && group->name && group->arg && !group->object &&
			  !group->key);
		cr_expect(group->table->n > 0 && group->table->n <= SCHEMA_MAX_ROWS);
		cr_expect(!group->table->plain || group->table->n == 1, "%s", group->name);
		cr_expect_eq(group->type == VALUE_LIST, group->count_offset > 0, "%s", group->name);
	}
	cr_expect_eq(n, 9);
}

Test(schema, element_row__is_a_unique_key_with_a_help)
{
	const struct schema_row *group = NULL;

	while ((group = next_group(group)))
		for (size_t i = 0; i < group->table->n; i++) {
			const struct schema_row *row = &group->table->rows[i];

			cr_expect(row->name && row->help && *row->help, "%s %zu", group->name, i);
			cr_expect(row->help[strlen(row->help) - 1] != '.', "%s", row->help);
			cr_expect(!row->flag && !row->key && !row->object && !row->table, "%s",
				  row->name);
			cr_expect_eq(schema_find_row(group->table, row->name), row,
				     "%s is there twice", row->name);
			cr_expect_eq(schema_find_key(group, row->name), row);
			cr_expect_lt(row->offset, group->table->size, "%s", row->name);
			cr_expect(!row->check || row->pattern, "%s", row->name);
		}
}

Test(schema, element_row__default_is_one_that_the_row_accepts)
{
	const struct schema_row *group = NULL;

	while ((group = next_group(group))) {
		void *element = calloc(1, group->table->size);

		cr_assert_not_null(element);
		for (size_t i = 0; i < group->table->n; i++) {
			const struct schema_row *row = &group->table->rows[i];
			struct err err = {0};

			value_clear(row, element);
			cr_expect_not(row->fallback == NULL && row->type != VALUE_BOOL &&
					      value_is_set(row, element),
				      "%s %s is set before it is given", group->name, row->name);
			if (row->fallback)
				cr_expect_eq(value_set(row, element, row->fallback, &err), 0,
					     "%s: %s", row->name, err.msg);
			cr_expect_eq(value_check(row, element, &err), 0, "%s: %s", row->name,
				     err.msg);
			value_clear(row, element);
		}
		free(element);
	}
}

/* A size is printed with a unit, so that its bare number never counts another one when read back.
 */
static void expect_printable_size(const struct schema_row *row)
{
	if (row->type == VALUE_SIZE && row->unit != 1)
		cr_expect(row->multiple % 1024 == 0 &&
				  (row->multiple || (row->power_of_two && row->min >= 1024)),
			  "%s", row->name);
}

Test(schema, size__is_read_as_it_is_printed)
{
	const struct schema_row *group = NULL;

	for
		EACH_ROW(row)
	expect_printable_size(row);
	while ((group = next_group(group)))
		for (size_t i = 0; i < group->table->n; i++)
			expect_printable_size(&group->table->rows[i]);
}

Test(schema, keys__of_a_flag_are_all_and_only_its_own)
{
	const struct schema_row *mem = schema_find_flag("mem"), *row = NULL;
	unsigned n = 0;

	while ((row = schema_next_key(mem, row))) {
		cr_expect_str_eq(row->flag, "mem");
		n++;
	}
	cr_expect_eq(n, 8);
	cr_expect_null(schema_next_key(schema_find_flag("kernel"), NULL));
	cr_expect_null(schema_next_key(schema_find_flag("help"), NULL), "the last row of all");
	cr_expect_null(schema_find_key(mem, "sockets"));
	cr_expect_eq(schema_bare_key(mem), mem);
	cr_expect_str_eq(schema_bare_key(schema_find_flag("disk"))->name, "path");
	cr_expect_null(schema_bare_key(schema_find_flag("net")));
	cr_expect(schema_value_is_optional(schema_find_flag("rng")));
	cr_expect_not(schema_value_is_optional(schema_find_flag("vsock")));
	cr_expect_not(schema_value_is_optional(schema_find_flag("net")));
}

Test(schema, names__of_an_element_in_each_notation)
{
	const struct schema_row *disk = schema_find_flag("disk"), *rng = schema_find_flag("rng"),
				*publish = schema_find_flag("publish");
	char buf[SCHEMA_POINTER_LEN];

	cr_expect_str_eq(schema_group_pointer(disk, disk->table->rows, buf), "/disks/0/path");
	cr_expect_str_eq(schema_group_dotted(disk, disk->table->rows, buf), "disks.0.path");
	cr_expect_str_eq(schema_group_name(disk, disk->table->rows, buf), "disks[].path");
	cr_expect_str_eq(schema_group_pointer(rng, rng->table->rows, buf), "/rng/bw");
	cr_expect_str_eq(schema_group_dotted(rng, rng->table->rows, buf), "rng.bw");
	cr_expect_str_eq(schema_group_name(rng, rng->table->rows, buf), "rng.bw");
	cr_expect_str_eq(schema_group_pointer(publish, publish->table->rows, buf), "/publish/0");
	cr_expect_str_eq(schema_group_dotted(publish, publish->table->rows, buf), "publish.0");
	cr_expect_str_eq(schema_group_name(publish, publish->table->rows, buf), "publish[]");
}
