/* SPDX-License-Identifier: Apache-2.0 */
/* --set KEY=VALUE: the keys of the JSON file, with dots. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "config/set.h"
#include "config/tree.h"
#include "config/value.h"

enum { WHERE_LEN = 160, MAX_NAMES = 256, MAX_DIGITS = 6 };

struct assignment {
	struct config_draft *draft;
	const char *key, *value, *shown;
	struct err *err;
};

/* The keys that can be set, groups' ones with index 0; names[MAX_NAMES]. */
static size_t list_names(char (*names)[SCHEMA_POINTER_LEN])
{
	size_t n = 0;

	for (size_t i = 0; i < schema_n_rows; i++) {
		const struct schema_row *row = &schema_rows[i], *key = NULL;

		if (!row->name)
			continue;
		if (!schema_is_group(row) && n < MAX_NAMES)
			schema_dotted(row, names[n++]);
		while (schema_is_group(row) && (key = schema_next_key(row, key)) && n < MAX_NAMES)
			schema_group_dotted(row, key, names[n++]);
	}
	return n;
}

/* A name whose last part is the whole word: its object is missing, as in hugepages=2M. */
static const char *find_last_part(const char *word, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *dot = strrchr(names[i], '.');

		if (dot && strcmp(dot + 1, word) == 0)
			return names[i];
	}
	return NULL;
}

/* The dotted path that is nearest to a wrong one. */
static int unknown_key(const struct assignment *a)
{
	_cleanup_free_ char(*names)[SCHEMA_POINTER_LEN] = calloc(MAX_NAMES, sizeof(*names));
	const char *list[MAX_NAMES], *near;
	size_t n = names ? list_names(names) : 0;

	for (size_t i = 0; i < n; i++)
		list[i] = names[i];
	near = find_last_part(a->key, list, n);
	if (!near)
		near = schema_nearest(a->key, list, n);
	return err_set(a->err, -EINVAL, "%s: unknown key '%s': %s%s%s", a->shown, a->key,
		       near ? "did you mean '" : "see vmm config schema", near ? near : "",
		       near ? "'?" : "");
}

static int set_row(const struct assignment *a, const struct schema_row *row, void *base)
{
	struct err why = {0};

	if (value_set(row, base, a->value, &why) < 0)
		return err_set(a->err, why.code, "%s %s: %s", a->shown, a->key, why.msg);
	return 0;
}

/* A key of an element; `key` is the last part of a->key. */
static int set_element(const struct assignment *a, const struct schema_row *group, void *element,
		       const char *key)
{
	const struct schema_row *row = schema_find_row(group->table, key), *next = NULL;
	const char *names[SCHEMA_MAX_ROWS], *near;
	size_t n = 0;

	if (row)
		return set_row(a, row, element);
	while ((next = schema_next_key(group, next)))
		names[n++] = next->name;
	near = schema_nearest(key, names, n);
	return err_set(a->err, -EINVAL, "%s: unknown key '%s': %s%.*s%s%s", a->shown, a->key,
		       near ? "did you mean '" : "see vmm config schema",
		       near ? (int)(key - a->key) : 0, a->key, near ? near : "", near ? "'?" : "");
}

/* "balloon=on" and "balloon.size=1G"; rest is what follows the group's name. */
static int set_object(const struct assignment *a, const struct schema_row *group, const char *rest)
{
	void *element;
	int r;

	if (!*rest && strcmp(a->value, "on") != 0 && strcmp(a->value, "off") != 0)
		return err_set(a->err, -EINVAL, "%s %s: '%s' is neither on nor off", a->shown,
			       a->key, a->value);
	if (!*rest)
		return set_flag(a->draft, group, a->value, a->shown, a->err);
	r = tree_object(group, a->draft->config, &element, a->err);
	return r < 0 ? r : set_element(a, group, element, rest + 1);
}

/* ".0.path": the index, and what follows it in *ret_rest; -1 when there is none. */
static int scan_index(const char *rest, const char **ret_rest)
{
	size_t len;

	if (*rest != '.')
		return -1;
	len = strspn(rest + 1, "0123456789");
	*ret_rest = rest + 1 + len;
	if (len == 0 || len > MAX_DIGITS || (**ret_rest && **ret_rest != '.'))
		return -1;
	return atoi(rest + 1);
}

static int bad_element(const struct assignment *a, const struct schema_row *group)
{
	char name[SCHEMA_POINTER_LEN];

	return err_set(a->err, -EINVAL, "%s: '%s' is a list: set %s%s", a->shown, a->key,
		       group->table->plain ? "an element, such as "
					   : "a key of an element, such as ",
		       schema_group_dotted(group, group->table->rows, name));
}

/* Element i, or a new one where the list ends. */
static int take_element(const struct assignment *a, const struct schema_row *group, unsigned i,
			void **ret)
{
	struct vm_config *config = a->draft->config;
	unsigned n = tree_count(group, config);
	struct err why = {0};

	if (i < n) {
		*ret = tree_element(group, config, i);
		return 0;
	}
	if (i > n)
		return err_set(a->err, -ERANGE,
			       "%s %s: index %u is too large: there are %u so far, and %u would "
			       "add one",
			       a->shown, a->key, i, n, n);
	if (tree_append(group, config, ret, &why) < 0)
		return err_set(a->err, why.code, "%s %s: %s", a->shown, a->key, why.msg);
	return 0;
}

static int set_list(const struct assignment *a, const struct schema_row *group, const char *rest)
{
	const char *key = rest;
	int i = scan_index(rest, &key), r;
	void *element;

	if (i < 0 || (*key != '\0') != !group->table->plain)
		return bad_element(a, group);
	if (!group->table->plain && !schema_find_row(group->table, key + 1))
		return set_element(a, group, NULL, key + 1); /* tells what is wrong */
	r = take_element(a, group, (unsigned)i, &element);
	if (r < 0)
		return r;
	return group->table->plain ? set_row(a, group->table->rows, element)
				   : set_element(a, group, element, key + 1);
}

static const struct schema_row *find_scalar(const char *dotted)
{
	char buf[SCHEMA_POINTER_LEN];

	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_rows[i].name && !schema_is_group(&schema_rows[i]) &&
		    strcmp(schema_dotted(&schema_rows[i], buf), dotted) == 0)
			return &schema_rows[i];
	return NULL;
}

/* The group whose name is the first part of the key. */
static const struct schema_row *find_group(const char *dotted, size_t len)
{
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_is_group(&schema_rows[i]) && strlen(schema_rows[i].name) == len &&
		    strncmp(schema_rows[i].name, dotted, len) == 0)
			return &schema_rows[i];
	return NULL;
}

static int assign(const struct assignment *a)
{
	size_t len = strcspn(a->key, ".");
	const struct schema_row *row = find_scalar(a->key), *group = find_group(a->key, len);
	int r;

	if (row)
		r = set_row(a, row, a->draft->config);
	else if (!group)
		return unknown_key(a);
	else
		r = group->type == VALUE_LIST ? set_list(a, group, a->key + len)
					      : set_object(a, group, a->key + len);
	if (r == 0)
		config_draft_mark(a->draft, row ? row : group);
	return r;
}

int set_dotted(struct config_draft *draft, const char *text, const char *shown, struct err *err)
{
	_cleanup_free_ char *copy = strdup(text);
	struct assignment a = {.draft = draft, .key = copy, .shown = shown, .err = err};
	char *equals;

	if (!copy)
		return err_set(err, -ENOMEM, "out of memory");
	equals = strchr(copy, '=');
	if (!equals)
		return err_set(err, -EINVAL, "%s: '%s' is not KEY=VALUE, such as memory.size=1G",
			       shown, copy);
	*equals = '\0';
	a.value = equals + 1;
	return assign(&a);
}
