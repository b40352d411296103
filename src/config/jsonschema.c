/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema, draft 2020-12, of the configuration file. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "config/config.h"
#include "config/schema.h"
#include "config/tree.h"
#include "config/value.h"

DEFINE_CLEANUP(json_t *, json_decref);

#define SIZE_PATTERN	    "^[0-9]+([KMGTkmgt](i?B)?)?$"
#define TIME_PATTERN	    "^[0-9]+(\\.[0-9]+)?(ns|us|ms|s|m|h)?$"
#define TIME_OR_OFF_PATTERN "^(off|[0-9]+(\\.[0-9]+)?(ns|us|ms|s|m|h)?)$"
#define NAME_PATTERN	    "^[A-Za-z0-9_][A-Za-z0-9._-]*$"

/* "^(stdio|pty|file=.+|none)$"; names hold no character that a pattern knows. */
static void add_stream_pattern(json_t *into, const struct schema_row *row)
{
	struct str s = {0};
	_cleanup_free_ char *pattern = NULL;

	str_add(&s, "^(");
	for (size_t i = 0; i < row->n_choices; i++) {
		size_t path_at = choice_path_at(&row->choices[i]);

		str_add(&s, i ? "|" : "");
		str_addn(&s, row->choices[i].name,
			 path_at ? path_at : strlen(row->choices[i].name));
		str_add(&s, path_at ? ".+" : "");
	}
	str_add(&s, ")$");
	pattern = str_steal(&s);
	(void)json_object_set_new(into, "pattern", json_string(pattern));
}

static void add_enum(json_t *into, const struct schema_row *row)
{
	json_t *names = json_array();

	for (size_t i = 0; i < row->n_choices; i++)
		(void)json_array_append_new(names, json_string(row->choices[i].name));
	(void)json_object_set_new(into, "enum", names);
}

static void add_string(json_t *into, const struct schema_row *row)
{
	(void)json_object_set_new(into, "type", json_string("string"));
	if (row->type == VALUE_PATH || row->type == VALUE_NAME)
		(void)json_object_set_new(into, "minLength", json_integer(1));
	if (row->max)
		(void)json_object_set_new(into, "maxLength", json_integer((json_int_t)row->max));
	if (row->type == VALUE_NAME || row->pattern)
		(void)json_object_set_new(into, "pattern",
					  json_string(row->pattern ? row->pattern : NAME_PATTERN));
	if (row->type == VALUE_STREAM)
		add_stream_pattern(into, row);
}

static void add_limits(json_t *into, uint64_t min, uint64_t max)
{
	(void)json_object_set_new(into, "minimum", json_integer((json_int_t)min));
	(void)json_object_set_new(into, "maximum", json_integer((json_int_t)max));
}

/* A string with a unit, or an integer that counts `unit`; a minimum below one unit rounds up. */
static void add_quantity(json_t *into, const struct schema_row *row, uint64_t unit,
			 const char *pattern)
{
	(void)json_object_set_new(into, "type", json_pack("[ss]", "string", "integer"));
	(void)json_object_set_new(into, "pattern", json_string(pattern));
	add_limits(into, (row->min + unit - 1) / unit, row->max / unit);
}

static void add_type(json_t *into, const struct schema_row *row)
{
	switch (row->type) {
	case VALUE_NONE:
	case VALUE_LIST:
	case VALUE_OBJECT:
		break;
	case VALUE_STRING:
	case VALUE_PATH:
	case VALUE_NAME:
	case VALUE_STREAM:
		add_string(into, row);
		break;
	case VALUE_BOOL:
		(void)json_object_set_new(into, "type", json_string("boolean"));
		break;
	case VALUE_UINT:
	case VALUE_INDEX:
		(void)json_object_set_new(into, "type", json_string("integer"));
		add_limits(into, row->min, row->max);
		break;
	case VALUE_SIZE:
		add_quantity(into, row, row->unit, SIZE_PATTERN);
		break;
	case VALUE_DURATION:
		add_quantity(into, row, NS_PER_S, row->min ? TIME_PATTERN : TIME_OR_OFF_PATTERN);
		break;
	case VALUE_PAGE:
	case VALUE_ENUM:
		add_enum(into, row);
		break;
	case VALUE_FIXED:
		(void)json_object_set_new(into, "const", json_integer((json_int_t)row->min));
		break;
	case VALUE_CMDLINE:
		(void)json_object_set_new(into, "type", json_string("string"));
		(void)json_object_set_new(into, "readOnly", json_true());
		break;
	}
}

/* New: what one key may be; defaults is what the row's offset counts from. */
static json_t *describe_row(const struct schema_row *row, const void *defaults)
{
	json_t *key = json_object(),
	       *fallback = row->fallback ? value_to_json(row, defaults) : NULL;

	(void)json_object_set_new(key, "description", json_string(row->help));
	add_type(key, row);
	if (fallback)
		(void)json_object_set_new(key, "default", fallback);
	return key;
}

/* New: an object without keys yet. */
static json_t *describe_object(const char *help)
{
	json_t *object = json_object();

	(void)json_object_set_new(object, "description", json_string(help));
	(void)json_object_set_new(object, "type", json_string("object"));
	(void)json_object_set_new(object, "additionalProperties", json_false());
	(void)json_object_set_new(object, "properties", json_object());
	return object;
}

/* "required", and "oneOf" for the keys of which exactly one is given. */
static void add_presence(json_t *object, const struct schema_table *table)
{
	json_t *required = json_array(), *one_of = json_array();

	for (size_t i = 0; i < table->n; i++) {
		const struct schema_row *row = &table->rows[i];

		if (row->required)
			(void)json_array_append_new(required, json_string(row->name));
		if (row->one_of)
			(void)json_array_append_new(one_of,
						    json_pack("{s:[s]}", "required", row->name));
	}
	if (json_array_size(required))
		(void)json_object_set(object, "required", required);
	if (json_array_size(one_of))
		(void)json_object_set(object, "oneOf", one_of);
	json_decref(required);
	json_decref(one_of);
}

/* New: an element of a group. */
static json_t *describe_element(const struct schema_row *group)
{
	const struct schema_table *table = group->table;
	void *defaults = calloc(1, table->size);
	json_t *element = table->plain ? NULL : describe_object(group->help);

	if (defaults)
		tree_init(table, defaults);
	if (table->plain)
		element = describe_row(&table->rows[0], defaults);
	for (size_t i = 0; defaults && !table->plain && i < table->n; i++)
		(void)json_object_set_new(json_object_get(element, "properties"),
					  table->rows[i].name,
					  describe_row(&table->rows[i], defaults));
	if (!table->plain)
		add_presence(element, table);
	if (defaults)
		tree_done(table, defaults);
	free(defaults);
	return element;
}

/* New: a list is an array of elements; an object is one, or true for {} and false for none. */
static json_t *describe_group(const struct schema_row *group)
{
	json_t *key, *element = describe_element(group);

	if (group->type == VALUE_OBJECT) {
		(void)json_object_set_new(element, "type", json_pack("[ss]", "object", "boolean"));
		return element;
	}
	key = json_object();
	(void)json_object_set_new(key, "description", json_string(group->help));
	(void)json_object_set_new(key, "type", json_string("array"));
	(void)json_object_set_new(key, "maxItems", json_integer((json_int_t)group->max));
	(void)json_object_set_new(key, "items", element);
	return key;
}

/* The "properties" that the row's key belongs to, made on the way; borrowed. */
static json_t *properties_for(json_t *root, const struct schema_row *row)
{
	json_t *properties = json_object_get(root, "properties");

	if (!row->object)
		return properties;
	if (!json_object_get(properties, row->object))
		(void)json_object_set_new(properties, row->object,
					  describe_object(schema_find_object(row->object)->help));
	return json_object_get(json_object_get(properties, row->object), "properties");
}

static json_t *describe_all(void)
{
	json_t *root = json_object();
	struct vm_config defaults;

	vm_config_init(&defaults);
	(void)json_object_set_new(root, "$schema",
				  json_string("https://json-schema.org/draft/2020-12/schema"));
	(void)json_object_set_new(root, "title", json_string("vmm configuration"));
	(void)json_object_update_new(root,
				     describe_object("one virtual machine, for vmm run --config"));
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_rows[i].name)
			(void)json_object_set_new(
				properties_for(root, &schema_rows[i]), schema_rows[i].name,
				schema_is_group(&schema_rows[i])
					? describe_group(&schema_rows[i])
					: describe_row(&schema_rows[i], &defaults));
	vm_config_done(&defaults);
	return root;
}

int config_print_schema(FILE *out)
{
	_cleanup_(json_decref_cleanup) json_t *root = describe_all();

	if (json_dumpf(root, out, JSON_INDENT(2)) < 0 || fputc('\n', out) == EOF ||
	    fflush(out) == EOF)
		return -EIO;
	return 0;
}
