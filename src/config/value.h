/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One value of the schema: text to storage, storage to JSON, and its limits. `base` is the struct
 * that the row's offset counts from. Messages don't name the option: the caller knows how the value
 * came and prefixes it.
 */
#ifndef VMM_CONFIG_VALUE_H
#define VMM_CONFIG_VALUE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/compiler.h"
#include "base/err.h"
#include "config/schema.h"

/* Parses text as on the command line, checks its limits and stores it. 0 or -errno; then base is as
 * before. */
int value_set(const struct schema_row *row, void *base, const char *text,
	      struct err *err) must_check;

/* The same from a JSON value, whose type must be right: what it says is put into text first. */
int value_set_json(const struct schema_row *row, void *base, const json_t *json,
		   struct err *err) must_check;

/* Checks a stored value against its limits; a value that isn't set passes. */
int value_check(const struct schema_row *row, const void *base, struct err *err) must_check;

bool value_is_set(const struct schema_row *row, const void *base);

/* A new reference, or NULL when not set or out of memory. */
json_t *value_to_json(const struct schema_row *row, const void *base);

/* Frees what the row owns and leaves it unset. */
void value_clear(const struct schema_row *row, void *base);

/* The choice whose name (for "file=PATH" its beginning) is text's, or NULL. */
const struct choice *value_find_choice(const struct schema_row *row, const char *text);

/* "file=" takes a path: the length of the name up to and with the "=", 0 for a choice that is a
 * whole word. */
size_t choice_path_at(const struct choice *choice);

/* How a type reads in messages: "a size such as \"512M\"...". */
const char *value_expected(const struct schema_row *row);
/* How a JSON value reads in messages: "an array". */
const char *value_json_type(const json_t *json);

#endif
