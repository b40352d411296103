/* SPDX-License-Identifier: Apache-2.0 */
#include "config/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/text.h"

enum { NUMBER_LEN = 32 };

/* Where the row's value lives. */
static void *slot(const struct schema_row *row, void *base)
{
	return (char *)base + row->offset;
}

static const void *const_slot(const struct schema_row *row, const void *base)
{
	return (const char *)base + row->offset;
}

static bool is_text(const struct schema_row *row)
{
	return row->type == VALUE_STRING || row->type == VALUE_PATH || row->type == VALUE_NAME ||
	       row->type == VALUE_STREAM;
}

static uint64_t get_number(const struct schema_row *row, const void *base)
{
	const void *at = const_slot(row, base);

	switch (row->type) {
	case VALUE_BOOL:
		return *(const bool *)at;
	case VALUE_UINT:
		return *(const uint32_t *)at;
	case VALUE_ENUM:
	case VALUE_INDEX:
		return (uint64_t) * (const int *)at;
	case VALUE_SIZE:
	case VALUE_PAGE:
	case VALUE_DURATION:
		return *(const uint64_t *)at;
	case VALUE_FIXED:
		return row->min;
	case VALUE_NONE:
	case VALUE_STRING:
	case VALUE_PATH:
	case VALUE_NAME:
	case VALUE_STREAM:
	case VALUE_LIST:
	case VALUE_OBJECT:
	case VALUE_CMDLINE:
		break;
	}
	return 0;
}

static void put_number(const struct schema_row *row, void *base, uint64_t v)
{
	void *at = slot(row, base);

	switch (row->type) {
	case VALUE_BOOL:
		*(bool *)at = v != 0;
		break;
	case VALUE_UINT:
		*(uint32_t *)at = (uint32_t)v; /* limits are checked before */
		break;
	case VALUE_ENUM:
	case VALUE_INDEX:
		*(int *)at = (int)v;
		break;
	case VALUE_SIZE:
	case VALUE_PAGE:
	case VALUE_DURATION:
		*(uint64_t *)at = v;
		break;
	case VALUE_NONE:
	case VALUE_STRING:
	case VALUE_PATH:
	case VALUE_NAME:
	case VALUE_STREAM:
	case VALUE_LIST:
	case VALUE_OBJECT:
	case VALUE_FIXED:
	case VALUE_CMDLINE:
		break;
	}
}

static const char *get_text(const struct schema_row *row, const void *base)
{
	return *(char *const *)const_slot(row, base);
}

/* A number the way people write it. Returns buf of NUMBER_LEN bytes. */
static const char *format_number(const struct schema_row *row, uint64_t v, char *buf)
{
	if (row->type == VALUE_SIZE)
		return text_format_size(v, buf, NUMBER_LEN);
	if (row->type == VALUE_DURATION)
		return text_format_duration(v, buf, NUMBER_LEN);
	(void)snprintf(buf, NUMBER_LEN, "%" PRIu64, v);
	return buf;
}

static int not_power_of_two(const struct schema_row *row, uint64_t v, struct err *err)
{
	char shown[NUMBER_LEN], below[NUMBER_LEN], above[NUMBER_LEN];
	uint64_t power = 1;

	while (power <= v / 2)
		power *= 2;
	return err_set(err, -EINVAL, "%s is not a power of two: use %s or %s",
		       format_number(row, v, shown), format_number(row, power, below),
		       format_number(row, power * 2, above));
}

static int check_number(const struct schema_row *row, uint64_t v, struct err *err)
{
	char shown[NUMBER_LEN], limit[NUMBER_LEN];

	format_number(row, v, shown);
	if (row->type == VALUE_FIXED && v != row->min)
		return err_set(err, -ERANGE, "is %s, but only %s is known", shown,
			       format_number(row, row->min, limit));
	if (v < row->min)
		return err_set(err, -ERANGE, "%s is too small: at least %s", shown,
			       format_number(row, row->min, limit));
	if (row->max && v > row->max)
		return err_set(err, -ERANGE, "%s is too large: at most %s", shown,
			       format_number(row, row->max, limit));
	if (row->multiple && v % row->multiple)
		return err_set(err, -EINVAL, "%s is not a multiple of %s", shown,
			       format_number(row, row->multiple, limit));
	if (row->power_of_two && v & (v - 1))
		return not_power_of_two(row, v, err);
	return 0;
}

/* A size that text_parse_size() did not take: the unit is what people get wrong. */
static int bad_size(const char *text, struct err *err)
{
	const char *unit = text + strspn(text, "0123456789");

	if (unit > text && isalpha((unsigned char)*unit))
		return err_set(err, -EINVAL,
			       "'%s' has the unknown unit '%s': K, M, G and T are known", text,
			       unit);
	return err_set(err, -EINVAL,
		       "'%s' is not a size: a whole number and K, M, G or T, such as 512M", text);
}

static int bad_duration(const char *text, struct err *err)
{
	const char *unit = text + strspn(text, "0123456789.");

	if (unit > text && isalpha((unsigned char)*unit))
		return err_set(err, -EINVAL,
			       "'%s' has the unknown unit '%s': ns, us, ms, s, m and h are known",
			       text, unit);
	return err_set(err, -EINVAL, "'%s' is not a time: a number and ms, s, m or h, such as 30s",
		       text);
}

static int bad_number(const struct schema_row *row, const char *text, struct err *err)
{
	if (row->type == VALUE_SIZE)
		return bad_size(text, err);
	if (row->type == VALUE_DURATION)
		return bad_duration(text, err);
	return err_set(err, -EINVAL, "'%s' is not a whole number", text);
}

static int parse_number(const struct schema_row *row, const char *text, uint64_t *ret)
{
	if (row->type == VALUE_SIZE)
		return text_parse_size(text, row->unit, ret);
	if (row->type == VALUE_DURATION && row->min == 0 && strcmp(text, "off") == 0)
		text = "0";
	if (row->type == VALUE_DURATION)
		return text_parse_duration(text, ret);
	return text_parse_uint(text, ret);
}

static int set_number(const struct schema_row *row, void *base, const char *text, struct err *err)
{
	char limit[NUMBER_LEN];
	uint64_t v;
	int r = parse_number(row, text, &v);

	if (r == -ERANGE)
		return err_set(err, r, "%s is too large: at most %s", text,
			       format_number(row, row->max, limit));
	if (r < 0)
		return bad_number(row, text, err);
	r = check_number(row, v, err);
	if (r == 0)
		put_number(row, base, v);
	return r;
}

size_t choice_path_at(const struct choice *choice)
{
	const char *equals = strchr(choice->name, '=');

	return equals ? (size_t)(equals - choice->name) + 1 : 0;
}

const struct choice *value_find_choice(const struct schema_row *row, const char *text)
{
	for (size_t i = 0; i < row->n_choices; i++) {
		const char *name = row->choices[i].name;
		size_t path_at = choice_path_at(&row->choices[i]);

		if (path_at ? strncmp(name, text, path_at) == 0 : strcmp(name, text) == 0)
			return &row->choices[i];
	}
	return NULL;
}

static int bad_choice(const struct schema_row *row, const char *text, struct err *err)
{
	const char *names[SCHEMA_MAX_ROWS], *near;
	struct str list = {0};
	_cleanup_free_ char *shown = NULL;

	for (size_t i = 0; i < row->n_choices; i++)
		names[i] = row->choices[i].name;
	near = schema_nearest(text, names, row->n_choices);
	schema_list_choices(row, ", ", &list);
	shown = str_steal(&list);
	if (!near)
		return err_set(err, -EINVAL, "'%s' is not one of %s", text, shown ? shown : "");
	return err_set(err, -EINVAL, "'%s' is not one of %s: did you mean '%s'?", text,
		       shown ? shown : "", near);
}

static int set_choice(const struct schema_row *row, void *base, const char *text, struct err *err)
{
	const struct choice *choice = value_find_choice(row, text);

	if (!choice)
		return bad_choice(row, text, err);
	put_number(row, base, choice->value);
	return 0;
}

static int set_bool(const struct schema_row *row, void *base, const char *text, struct err *err)
{
	bool on = strcmp(text, "on") == 0 || strcmp(text, "true") == 0;

	if (!on && strcmp(text, "off") != 0 && strcmp(text, "false") != 0)
		return err_set(err, -EINVAL, "'%s' is neither on nor off", text);
	put_number(row, base, on);
	return 0;
}

static int check_name(const char *text, struct err *err)
{
	if (!*text || *text == '.' || *text == '-')
		return err_set(err, -EINVAL, "'%s' must begin with a letter, a digit or _", text);
	for (const char *c = text; *c; c++)
		if (!strchr("._-", *c) && !(isascii(*c) && isalnum((unsigned char)*c)))
			return err_set(err, -EINVAL,
				       "'%s' may only have the letters A-Z and a-z, digits and ._-",
				       text);
	return 0;
}

static int check_stream(const struct schema_row *row, const char *text, struct err *err)
{
	const size_t unix_max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	const struct choice *choice = value_find_choice(row, text);
	size_t path_at;

	if (!choice)
		return bad_choice(row, text, err);
	path_at = choice_path_at(choice);
	if (path_at && !text[path_at])
		return err_set(err, -EINVAL, "'%s' has no path: write %s", text, choice->name);
	if (strncmp(text, "unix=", path_at) == 0 && path_at && strlen(text + path_at) > unix_max)
		return err_set(err, -ENAMETOOLONG,
			       "the path of a unix socket has at most %zu bytes, this one has %zu",
			       unix_max, strlen(text + path_at));
	return 0;
}

/* Text that JSON can't hold would be lost by --print-config. */
static bool is_utf8(const char *text)
{
	json_t *json = json_string(text);

	json_decref(json);
	return json != NULL;
}

static int check_text(const struct schema_row *row, const char *text, struct err *err)
{
	if (row->max && strlen(text) > row->max)
		return err_set(err, -ENAMETOOLONG, "%zu bytes are too long: at most %" PRIu64,
			       strlen(text), row->max);
	if (!is_utf8(text))
		return err_set(err, -EILSEQ, "the text is not valid UTF-8");
	if (row->type == VALUE_PATH && !*text)
		return err_set(err, -EINVAL, "the path is empty");
	if (row->type == VALUE_NAME)
		return check_name(text, err);
	if (row->type == VALUE_STREAM)
		return check_stream(row, text, err);
	return row->check ? row->check(text, err) : 0;
}

static int set_text(const struct schema_row *row, void *base, const char *text, struct err *err)
{
	char **at = slot(row, base);
	char *copy;
	int r = check_text(row, text, err);

	if (r < 0)
		return r;
	copy = strdup(text);
	if (!copy)
		return err_set(err, -ENOMEM, "out of memory");
	free(*at);
	*at = copy;
	return 0;
}

int value_set(const struct schema_row *row, void *base, const char *text, struct err *err)
{
	switch (row->type) {
	case VALUE_STRING:
	case VALUE_PATH:
	case VALUE_NAME:
	case VALUE_STREAM:
		return set_text(row, base, text, err);
	case VALUE_BOOL:
		return set_bool(row, base, text, err);
	case VALUE_PAGE:
	case VALUE_ENUM:
		return set_choice(row, base, text, err);
	case VALUE_UINT:
	case VALUE_INDEX:
	case VALUE_SIZE:
	case VALUE_DURATION:
	case VALUE_FIXED:
		return set_number(row, base, text, err);
	case VALUE_CMDLINE:
		return err_set(err, -EPERM, "is made by vmm and can't be set: use kernel.append");
	case VALUE_LIST:
	case VALUE_OBJECT:
	case VALUE_NONE:
		break;
	}
	return err_set(err, -EINVAL, "takes no value");
}

const char *value_expected(const struct schema_row *row)
{
	switch (row->type) {
	case VALUE_BOOL:
		return "true or false";
	case VALUE_UINT:
	case VALUE_INDEX:
	case VALUE_FIXED:
		return "a whole number";
	case VALUE_SIZE:
		return row->unit == 1 ? "a size such as \"512M\", or a whole number of bytes"
				      : "a size such as \"512M\", or a whole number of MiB";
	case VALUE_DURATION:
		return "a time such as \"30s\", or a whole number of seconds";
	case VALUE_LIST:
		return "an array";
	case VALUE_OBJECT:
		return "an object, true or false";
	case VALUE_NONE:
	case VALUE_STRING:
	case VALUE_PATH:
	case VALUE_NAME:
	case VALUE_STREAM:
	case VALUE_PAGE:
	case VALUE_ENUM:
	case VALUE_CMDLINE:
		break;
	}
	return "a string";
}

const char *value_json_type(const json_t *json)
{
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a whole number";
	case JSON_REAL:
		return "a number with a fraction";
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	case JSON_NULL:
		return "null";
	}
	return "nothing";
}

static bool takes_json_string(const struct schema_row *row)
{
	return row->type != VALUE_BOOL && row->type != VALUE_UINT && row->type != VALUE_INDEX &&
	       row->type != VALUE_FIXED;
}

static bool takes_json_integer(const struct schema_row *row)
{
	return row->type == VALUE_UINT || row->type == VALUE_INDEX || row->type == VALUE_FIXED ||
	       row->type == VALUE_SIZE || row->type == VALUE_DURATION;
}

static int set_json_string(const struct schema_row *row, void *base, const json_t *json,
			   struct err *err)
{
	const char *text = json_string_value(json);

	if (strlen(text) != json_string_length(json))
		return err_set(err, -EINVAL, "the string has a NUL character (\\u0000) in it");
	return value_set(row, base, text, err);
}

int value_set_json(const struct schema_row *row, void *base, const json_t *json, struct err *err)
{
	char digits[NUMBER_LEN];

	if (json_is_boolean(json) && row->type == VALUE_BOOL)
		return value_set(row, base, json_is_true(json) ? "on" : "off", err);
	if (json_is_string(json) && takes_json_string(row))
		return set_json_string(row, base, json, err);
	if (json_is_integer(json) && takes_json_integer(row)) {
		(void)snprintf(digits, sizeof(digits), "%" JSON_INTEGER_FORMAT,
			       json_integer_value(json));
		return value_set(row, base, digits, err);
	}
	return err_set(err, -EINVAL, "must be %s, not %s", value_expected(row),
		       value_json_type(json));
}

bool value_is_set(const struct schema_row *row, const void *base)
{
	if (row->type == VALUE_NONE || row->type == VALUE_CMDLINE || schema_is_group(row))
		return false;
	if (is_text(row))
		return get_text(row, base) != NULL;
	if (row->type == VALUE_INDEX)
		return (int)get_number(row, base) >= 0;
	if (row->one_of && row->type == VALUE_BOOL)
		return get_number(row, base) != 0;
	return row->fallback || row->min == 0 || get_number(row, base) != 0;
}

static const char *choice_name(const struct schema_row *row, uint64_t v)
{
	for (size_t i = 0; i < row->n_choices; i++)
		if (row->choices[i].value == v)
			return row->choices[i].name;
	return NULL;
}

static int check_choice(const struct schema_row *row, uint64_t v, struct err *err)
{
	if (choice_name(row, v))
		return 0;
	return err_set(err, -EINVAL, "%" PRIu64 " stands for none of the choices", v);
}

int value_check(const struct schema_row *row, const void *base, struct err *err)
{
	if (!value_is_set(row, base))
		return row->fallback && is_text(row) ? err_set(err, -ENOMEM, "has no value") : 0;
	if (is_text(row))
		return check_text(row, get_text(row, base), err);
	if (row->type == VALUE_BOOL)
		return 0;
	if (row->n_choices)
		return check_choice(row, get_number(row, base), err);
	return check_number(row, get_number(row, base), err);
}

json_t *value_to_json(const struct schema_row *row, const void *base)
{
	char buf[NUMBER_LEN];

	if (!value_is_set(row, base))
		return NULL;
	if (is_text(row))
		return json_string(get_text(row, base));
	if (row->type == VALUE_BOOL)
		return json_boolean(get_number(row, base) != 0);
	if (row->n_choices)
		return json_string(choice_name(row, get_number(row, base)));
	if (row->type == VALUE_UINT || row->type == VALUE_INDEX || row->type == VALUE_FIXED)
		return json_integer((json_int_t)get_number(row, base));
	return json_string(format_number(row, get_number(row, base), buf));
}

void value_clear(const struct schema_row *row, void *base)
{
	if (is_text(row)) {
		char **at = slot(row, base);

		free(*at);
		*at = NULL;
	} else {
		put_number(row, base, row->type == VALUE_INDEX ? UINT64_MAX : 0);
	}
}
