/* SPDX-License-Identifier: Apache-2.0 */
#include "config/set.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "config/tree.h"
#include "config/value.h"

enum { WHERE_LEN = 160, MAX_NAMES = 256 };

/* A flag that is being applied. */
struct flag {
	struct config_draft *draft;
	const struct schema_row *row;
	const char *shown;
	void *base; /* of its keys: the configuration or an element */
	struct err *err;
};

/* Sets one value; `where` names it in the message. */
static int set_row(const struct schema_row *row, void *base, const char *text, const char *where,
		   struct err *err)
{
	struct err why = {0};

	if (value_set(row, base, text, &why) < 0)
		return err_set(err, why.code, "%s: %s", where, why.msg);
	return 0;
}

/* One of the flag's keys. */
static int set_key(const struct flag *flag, const struct schema_row *row, const char *text,
		   const char *where)
{
	int r = set_row(row, flag->base, text, where, flag->err);

	if (r == 0 && !schema_is_group(flag->row))
		config_draft_mark(flag->draft, row);
	return r;
}

/* The flag's key nearest to a word, or NULL; the list of all in *list. */
static const char *nearest_key(const struct flag *flag, const char *word, struct str *list)
{
	const struct schema_row *row = NULL;
	const char *keys[SCHEMA_MAX_ROWS];
	size_t n = 0;

	while ((row = schema_next_key(flag->row, row))) {
		str_addf(list, "%s%s", n ? ", " : "", schema_key(row));
		keys[n++] = schema_key(row);
	}
	return schema_nearest(word, keys, n);
}

static int unknown_part(const struct flag *flag, const char *key)
{
	struct str list = {0};
	const char *near = nearest_key(flag, key, &list);
	_cleanup_free_ char *shown = str_steal(&list);

	return err_set(flag->err, -EINVAL, "%s: unknown key '%s'%s%s%s (keys: %s)", flag->shown,
		       key, near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "",
		       shown ? shown : "");
}

/* A part that is neither KEY=VALUE nor the flag's bare value. */
static int set_bare(const struct flag *flag, const char *part)
{
	const struct schema_row *row = schema_find_key(flag->row, part);
	struct str list = {0};
	_cleanup_free_ char *keys = NULL;
	char where[WHERE_LEN];
	bool near;

	(void)snprintf(where, sizeof(where), "%s: %s", flag->shown, part);
	if (row && row->type == VALUE_BOOL)
		return set_key(flag, row, "on", where);
	if (row)
		return err_set(flag->err, -EINVAL, "%s needs a value: %s=%s", where, part,
			       row->arg ? row->arg : "VALUE");
	near = nearest_key(flag, part, &list) != NULL;
	keys = str_steal(&list);
	if (near)
		return unknown_part(flag, part);
	return err_set(flag->err, -EINVAL, "%s: '%s' is not %sKEY=VALUE (keys: %s)", flag->shown,
		       part, schema_value_is_optional(flag->row) ? "on, off or " : "",
		       keys ? keys : "");
}

/* The length of the key of "key=value"; 0 when there is none: a path may have a "=" in it. */
static size_t key_length(const char *part)
{
	size_t len = strcspn(part, "=/,");

	return part[len] == '=' ? len : 0;
}

static int set_part(const struct flag *flag, char *part, bool first)
{
	const struct schema_row *bare = first ? schema_bare_key(flag->row) : NULL;
	size_t len = key_length(part);
	const struct schema_row *row;
	char where[WHERE_LEN];

	if (!*part)
		return err_set(flag->err, -EINVAL,
			       "%s: nothing stands before or after a comma (a comma of a value is "
			       "written ,,)",
			       flag->shown);
	if (!len && bare)
		return set_key(flag, bare, part, flag->shown);
	if (!len)
		return set_bare(flag, part);
	part[len] = '\0';
	row = schema_find_key(flag->row, part);
	if (!row)
		return unknown_part(flag, part);
	(void)snprintf(where, sizeof(where), "%s: %s", flag->shown, part);
	return set_key(flag, row, part + len + 1, where);
}

/* Cuts off the part before the next single comma, and makes ",," of it a comma. */
static char *next_part(char **rest)
{
	char *part = *rest, *to = part, *from = part;

	if (!part)
		return NULL;
	while (*from && (*from != ',' || from[1] == ',')) {
		from += *from == ',';
		*to++ = *from++;
	}
	*rest = *from ? from + 1 : NULL;
	*to = '\0';
	return part;
}

static int set_compound(const struct flag *flag, const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	char *rest = copy, *part;
	int r = 0;

	if (!copy)
		return err_set(flag->err, -ENOMEM, "out of memory");
	while (r == 0 && (part = next_part(&rest)))
		r = set_part(flag, part, part == copy);
	return r;
}

static bool is_on(const char *text)
{
	return strcmp(text, "on") == 0 || strcmp(text, "true") == 0;
}

static bool is_off(const char *text)
{
	return strcmp(text, "off") == 0 || strcmp(text, "false") == 0;
}

/* "on", "off", nothing, or keys of the only element. */
static int set_object(struct flag *flag, struct vm_config *config, const char *text)
{
	int r;

	if (text && is_off(text)) {
		tree_clear(flag->row, config);
		return 0;
	}
	r = tree_object(flag->row, config, &flag->base, flag->err);
	if (r < 0 || !text || is_on(text))
		return r;
	return set_compound(flag, text);
}

/* A new element of a list. */
static int set_list(struct flag *flag, struct vm_config *config, const char *text)
{
	const struct schema_table *table = flag->row->table;
	struct err why = {0};

	if (tree_append(flag->row, config, &flag->base, &why) < 0)
		return err_set(flag->err, why.code, "%s: %s", flag->shown, why.msg);
	if (table->plain)
		return set_row(&table->rows[0], flag->base, text, flag->shown, flag->err);
	return set_compound(flag, text);
}

int set_flag(struct config_draft *draft, const struct schema_row *row, const char *text,
	     const char *shown, struct err *err)
{
	struct flag flag = {
		.draft = draft, .row = row, .shown = shown, .base = draft->config, .err = err};
	int r;

	if (row->type == VALUE_OBJECT)
		r = set_object(&flag, draft->config, text);
	else if (row->type == VALUE_LIST)
		r = set_list(&flag, draft->config, text);
	else
		r = schema_is_compound(row) ? set_compound(&flag, text)
					    : set_key(&flag, row, text, shown);
	if (r == 0 && schema_is_group(row))
		config_draft_mark(draft, row);
	return r;
}
