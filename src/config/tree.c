/* SPDX-License-Identifier: Apache-2.0 */
#include "config/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "config/value.h"

/* The pointers are of many types: moved by bytes. */
static void *get_items(const struct schema_row *group, const void *base)
{
	void *items;

	memcpy(&items, (const char *)base + group->offset, sizeof(items));
	return items;
}

static void put_items(const struct schema_row *group, void *base, void *items)
{
	memcpy((char *)base + group->offset, &items, sizeof(items));
}

static void put_count(const struct schema_row *group, void *base, unsigned n)
{
	if (group->type == VALUE_LIST)
		memcpy((char *)base + group->count_offset, &n, sizeof(n));
}

unsigned tree_count(const struct schema_row *group, const void *base)
{
	unsigned n = get_items(group, base) != NULL;

	if (group->type == VALUE_LIST)
		memcpy(&n, (const char *)base + group->count_offset, sizeof(n));
	return n;
}

void *tree_element(const struct schema_row *group, void *base, unsigned i)
{
	return (char *)get_items(group, base) + i * group->table->size;
}

const void *tree_element_const(const struct schema_row *group, const void *base, unsigned i)
{
	return (const char *)get_items(group, base) + i * group->table->size;
}

/* A row that stands for a value, not for a flag alone. */
static bool has_value(const struct schema_row *row)
{
	return row->name != NULL && !schema_is_group(row);
}

void tree_init(const struct schema_table *table, void *base)
{
	for (size_t i = 0; i < table->n; i++) {
		const struct schema_row *row = &table->rows[i];
		int r = 0;

		if (!has_value(row))
			continue;
		value_clear(row, base);
		if (row->fallback)
			r = value_set(row, base, row->fallback, NULL);
		vmm_assert(r == 0 || r == -ENOMEM);
	}
}

void tree_done(const struct schema_table *table, void *base)
{
	for (size_t i = 0; i < table->n; i++)
		if (has_value(&table->rows[i]))
			value_clear(&table->rows[i], base);
		else if (schema_is_group(&table->rows[i]))
			tree_clear(&table->rows[i], base);
}

void tree_clear(const struct schema_row *group, void *base)
{
	for (unsigned i = 0, n = tree_count(group, base); i < n; i++)
		tree_done(group->table, tree_element(group, base, i));
	free(get_items(group, base));
	put_items(group, base, NULL);
	put_count(group, base, 0);
}

int tree_append(const struct schema_row *group, void *base, void **ret, struct err *err)
{
	unsigned n = tree_count(group, base);
	void *items, *element;

	if (group->type == VALUE_LIST && n >= group->max)
		return err_set(err, -E2BIG, "there are too many: at most %u", (unsigned)group->max);
	items = reallocarray(get_items(group, base), n + 1, group->table->size);
	if (!items)
		return err_set(err, -ENOMEM, "out of memory");
	put_items(group, base, items);
	element = memset(tree_element(group, base, n), 0, group->table->size);
	tree_init(group->table, element);
	put_count(group, base, n + 1);
	*ret = element;
	return 0;
}

int tree_object(const struct schema_row *group, void *base, void **ret, struct err *err)
{
	if (!tree_count(group, base))
		return tree_append(group, base, ret, err);
	*ret = tree_element(group, base, 0);
	return 0;
}

/* "tap, fd, user, stream and none" */
static char *list_alternatives(const struct schema_table *table)
{
	const struct schema_row *last = NULL;
	struct str s = {0};

	for (size_t i = 0; i < table->n; i++) {
		if (!table->rows[i].one_of)
			continue;
		if (last)
			str_addf(&s, "%s%s", s.len ? ", " : "", last->name);
		last = &table->rows[i];
	}
	if (last)
		str_addf(&s, " and %s", last->name);
	return str_steal(&s);
}

static int check_alternatives(const struct schema_table *table, const void *base, struct err *err)
{
	_cleanup_free_ char *names = NULL;
	unsigned n = 0, n_rows = 0;

	for (size_t i = 0; i < table->n; i++) {
		n_rows += table->rows[i].one_of;
		n += table->rows[i].one_of && value_is_set(&table->rows[i], base);
	}
	if (!n_rows || n == 1)
		return 0;
	names = list_alternatives(table);
	return err_set(err, -EINVAL, ": exactly one of %s must be given, and here %s",
		       names ? names : "these", n ? "are several" : "is not one of them");
}

/* Messages of this and the next begin with what the pointer ends in. */
static int check_row(const struct schema_row *row, const void *base, struct err *err)
{
	char pointer[SCHEMA_POINTER_LEN];
	struct err why = {0};

	if (row->required && !value_is_set(row, base))
		return err_set(err, -EINVAL, "/%s: is missing: %s", row->name, row->help);
	if (value_check(row, base, &why) < 0)
		return err_set(err, why.code, "%s: %s", schema_pointer(row, pointer), why.msg);
	return 0;
}

static int check_element(const struct schema_table *table, const void *element, struct err *err)
{
	struct err why = {0};

	if (!table->plain)
		return tree_check(table, element, err);
	if (value_check(&table->rows[0], element, &why) < 0)
		return err_set(err, why.code, ": %s", why.msg);
	return 0;
}

static int check_group(const struct schema_row *group, const void *base, struct err *err)
{
	for (unsigned i = 0; i < tree_count(group, base); i++) {
		struct err why = {0};

		if (check_element(group->table, tree_element_const(group, base, i), &why) == 0)
			continue;
		if (group->type == VALUE_LIST)
			return err_set(err, why.code, "/%s/%u%s", group->name, i, why.msg);
		return err_set(err, why.code, "/%s%s", group->name, why.msg);
	}
	return 0;
}

int tree_check(const struct schema_table *table, const void *base, struct err *err)
{
	int r = check_alternatives(table, base, err);

	for (size_t i = 0; r == 0 && i < table->n; i++)
		if (has_value(&table->rows[i]))
			r = check_row(&table->rows[i], base, err);
		else if (schema_is_group(&table->rows[i]))
			r = check_group(&table->rows[i], base, err);
	return r;
}

static json_t *element_to_json(const struct schema_table *table, const void *element)
{
	json_t *object;
	int r = 0;

	if (table->plain)
		return value_to_json(&table->rows[0], element);
	object = json_object();
	for (size_t i = 0; r == 0 && i < table->n; i++)
		if (value_is_set(&table->rows[i], element))
			r = json_object_set_new(object, table->rows[i].name,
						value_to_json(&table->rows[i], element));
	if (r < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

json_t *tree_group_to_json(const struct schema_row *group, const void *base)
{
	json_t *array;
	int r = 0;

	if (group->type == VALUE_OBJECT)
		return element_to_json(group->table, get_items(group, base));
	array = json_array();
	for (unsigned i = 0; r == 0 && i < tree_count(group, base); i++)
		r = json_array_append_new(
			array, element_to_json(group->table, tree_element_const(group, base, i)));
	if (r < 0) {
		json_decref(array);
		return NULL;
	}
	return array;
}
