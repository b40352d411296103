/* SPDX-License-Identifier: Apache-2.0 */
/* Looking things up in the table, and their names. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "config/schema.h"

/* strcmp() == 0 where NULL equals NULL only. */
static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

const struct schema_row *schema_find_name(const char *object, const char *name)
{
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_rows[i].name && same(schema_rows[i].object, object) &&
		    same(schema_rows[i].name, name))
			return &schema_rows[i];
	return NULL;
}

const struct schema_row *schema_find_flag(const char *flag)
{
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_rows[i].flag && same(schema_rows[i].flag, flag))
			return &schema_rows[i];
	return NULL;
}

const struct schema_row *schema_find_letter(char letter)
{
	for (size_t i = 0; i < schema_n_rows; i++)
		if (letter && schema_rows[i].letters && strchr(schema_rows[i].letters, letter))
			return &schema_rows[i];
	return NULL;
}

const struct schema_object *schema_find_object(const char *name)
{
	for (size_t i = 0; i < schema_n_objects; i++)
		if (same(schema_objects[i].name, name))
			return &schema_objects[i];
	return NULL;
}

const struct schema_row *schema_find_row(const struct schema_table *table, const char *name)
{
	for (size_t i = 0; i < table->n; i++)
		if (same(table->rows[i].name, name))
			return &table->rows[i];
	return NULL;
}

const struct schema_row *schema_next_key(const struct schema_row *row,
					 const struct schema_row *last)
{
	const struct schema_row *first = row->table ? row->table->rows : row;
	const struct schema_row *end =
		row->table ? first + row->table->n : schema_rows + schema_n_rows;
	const struct schema_row *next = last ? last + 1 : first;

	if (next == end || (!row->table && !(next->key && same(next->flag, row->flag))))
		return NULL;
	return next;
}

/* On the command line a dash in a key is as good as an underscore, as it is in flags. */
static bool same_key(const char *name, const char *key)
{
	size_t i = 0;

	while (name[i] && key[i] && (name[i] == key[i] || (name[i] == '_' && key[i] == '-')))
		i++;
	return name[i] == key[i];
}

const struct schema_row *schema_find_key(const struct schema_row *row, const char *key)
{
	const struct schema_row *found = schema_next_key(row, NULL);

	while (found && !same_key(schema_key(found), key))
		found = schema_next_key(row, found);
	return found;
}

const char *schema_key(const struct schema_row *row)
{
	return row->key ? row->key : row->name;
}

const struct schema_row *schema_bare_key(const struct schema_row *row)
{
	if (!row->table)
		return row;
	return row->table->rows[0].required ? &row->table->rows[0] : NULL;
}

bool schema_is_head(const struct schema_row *row)
{
	return row->flag && schema_find_flag(row->flag) == row;
}

bool schema_is_compound(const struct schema_row *row)
{
	return row->key || (row->table && !row->table->plain);
}

bool schema_is_group(const struct schema_row *row)
{
	return row->table != NULL;
}

bool schema_value_is_optional(const struct schema_row *row)
{
	return row->type == VALUE_OBJECT && !schema_bare_key(row);
}

static char *join(const char *a, const char *middle, const char *b, char *buf)
{
	(void)snprintf(buf, SCHEMA_POINTER_LEN, "%s%s%s", a, middle, b);
	return buf;
}

char *schema_pointer(const struct schema_row *row, char *buf)
{
	(void)snprintf(buf, SCHEMA_POINTER_LEN, "%s%s/%s", row->object ? "/" : "",
		       row->object ? row->object : "", row->name);
	return buf;
}

char *schema_dotted(const struct schema_row *row, char *buf)
{
	return row->object ? join(row->object, ".", row->name, buf) : join("", "", row->name, buf);
}

char *schema_group_pointer(const struct schema_row *group, const struct schema_row *row, char *buf)
{
	(void)snprintf(buf, SCHEMA_POINTER_LEN, "/%s%s%s%s", group->name,
		       group->type == VALUE_LIST ? "/0" : "", group->table->plain ? "" : "/",
		       group->table->plain ? "" : row->name);
	return buf;
}

char *schema_group_dotted(const struct schema_row *group, const struct schema_row *row, char *buf)
{
	if (group->table->plain)
		return join(group->name, ".0", "", buf);
	return join(group->name, group->type == VALUE_LIST ? ".0." : ".", row->name, buf);
}

char *schema_group_name(const struct schema_row *group, const struct schema_row *row, char *buf)
{
	if (group->table->plain)
		return join(group->name, "[]", "", buf);
	return join(group->name, group->type == VALUE_LIST ? "[]." : ".", row->name, buf);
}

void schema_list_choices(const struct schema_row *row, const char *separator, struct str *out)
{
	for (size_t i = 0; i < row->n_choices; i++)
		str_addf(out, "%s%s", i ? separator : "", row->choices[i].name);
}

const char *schema_nearest(const char *word, const char *const *names, size_t n)
{
	enum { SHORTENED = 2 }; /* letters that are enough to know a name by its beginning */
	size_t len = strlen(word);
	const char *near = text_nearest(word, names, n);

	for (size_t i = 0; !near && len >= SHORTENED && i < n; i++)
		if (strncmp(names[i], word, len) == 0)
			near = names[i];
	return near;
}
