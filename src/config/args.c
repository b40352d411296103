/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of `vmm run`. It is walked twice: for --config files first, then for everything
 * else in its order. An error doesn't end a walk: what follows may be --result, where the error is
 * to be reported.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/config.h"
#include "config/load.h"
#include "config/schema.h"
#include "config/set.h"

enum { SHOWN_LEN = 64 };

struct walk {
	int argc;
	char *const *argv;
	int next;
	const char *letters; /* what is left of a cluster such as -qk */
};

/* One flag as it was found. */
struct found {
	const struct schema_row *row;
	const char *value; /* NULL: takes none, or none was given */
	char shown[SHOWN_LEN];
};

struct run_parse {
	struct config_draft draft;
	struct run_request *request;
	struct err *err;
};

static bool takes_value(const struct schema_row *row)
{
	return row->type != VALUE_NONE;
}

static size_t list_flags(const char **ret)
{
	size_t n = 0;

	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_is_head(&schema_rows[i]))
			ret[n++] = schema_rows[i].flag;
	return n;
}

/* The long flag nearest to the first len bytes of word, or NULL. */
static const char *nearest_flag(const char *word, size_t len)
{
	const char *flags[SCHEMA_MAX_ROWS];
	char name[SHOWN_LEN];

	(void)snprintf(name, sizeof(name), "%.*s", (int)len, word);
	return *name ? schema_nearest(name, flags, list_flags(flags)) : NULL;
}

static int unknown_flag(const char *arg, size_t len, struct err *err)
{
	const char *near = len > 2 ? nearest_flag(arg + 2, len - 2) : NULL;

	if (near)
		return err_set(err, -EINVAL, "unknown option '%.*s': did you mean --%s?", (int)len,
			       arg, near);
	return err_set(err, -EINVAL, "unknown option '%.*s': see vmm run --help", (int)len, arg);
}

static int unknown_letter(char letter, struct err *err)
{
	char shown[8];

	(void)snprintf(shown, sizeof(shown), isprint((unsigned char)letter) ? "%c" : "\\x%02x",
		       (unsigned char)letter);
	return err_set(err, -EINVAL, "unknown option '-%s': see vmm run --help", shown);
}

/* A word that stands alone: "kernel=x" or "mem" probably lacks its dashes. */
static int stray(const char *arg, struct err *err)
{
	const char *near = strpbrk(arg, "/.") ? NULL : nearest_flag(arg, strcspn(arg, "= "));

	if (strcmp(arg, "--") == 0)
		return err_set(
			err, -EINVAL,
			"unexpected argument '--': vmm run takes options only, arguments for the "
			"guest's init are given by --append '-- ...'");
	if (near)
		return err_set(
			err, -EINVAL,
			"unexpected argument '%s': vmm run takes options only, did you mean --%s?",
			arg, near);
	return err_set(err, -EINVAL,
		       "unexpected argument '%s': vmm run takes options only, a kernel is given by "
		       "--kernel FILE",
		       arg);
}

/* Is it a flag that exists? Then it isn't the value of the flag before it. */
static bool is_known_flag(const char *arg)
{
	char name[SHOWN_LEN];

	if (strncmp(arg, "--", 2) != 0)
		return arg[0] == '-' && schema_find_letter(arg[1]) && !arg[2];
	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(arg + 2, "="), arg + 2);
	return schema_find_flag(name) != NULL;
}

/* Takes the next argument as the value of what was found. */
static int take_value(struct walk *walk, struct found *found, struct err *err)
{
	const char *arg = found->row->arg ? found->row->arg : "value";
	const char *next = walk->next < walk->argc ? walk->argv[walk->next] : NULL;

	if (schema_value_is_optional(found->row) && (!next || *next == '-'))
		return 0; /* there are no words that stand alone, so the next is the next flag */
	if (!next)
		return err_set(err, -EINVAL, "%s needs a value: %s %s", found->shown, found->shown,
			       arg);
	if (is_known_flag(next))
		return err_set(err, -EINVAL,
			       "%s needs a value, but the option '%s' follows; if that is the "
			       "value, write "
			       "--%s=%s",
			       found->shown, next, found->row->flag, next);
	found->value = next;
	walk->next++;
	return 0;
}

static int find_long(struct walk *walk, const char *arg, struct found *found, struct err *err)
{
	size_t len = strcspn(arg, "=");

	(void)snprintf(found->shown, sizeof(found->shown), "%.*s", (int)len, arg);
	found->row = len < sizeof(found->shown) ? schema_find_flag(found->shown + 2) : NULL;
	if (!found->row)
		return unknown_flag(arg, len, err);
	if (arg[len] && !takes_value(found->row))
		return err_set(err, -EINVAL, "%s takes no value", found->shown);
	if (arg[len])
		found->value = arg + len + 1;
	else if (takes_value(found->row))
		return take_value(walk, found, err);
	return 0;
}

/* One letter of a cluster; a letter that takes a value takes the rest of the cluster or the next
 * argument. */
static int find_letter(struct walk *walk, struct found *found, struct err *err)
{
	const char *letters = walk->letters;

	walk->letters = NULL;
	found->row = schema_find_letter(letters[0]);
	if (!found->row)
		return unknown_letter(letters[0], err);
	(void)snprintf(found->shown, sizeof(found->shown), "-%c", letters[0]);
	if (!takes_value(found->row)) {
		walk->letters = letters[1] ? letters + 1 : NULL;
		return 0;
	}
	if (!letters[1])
		return take_value(walk, found, err);
	found->value = letters + 1;
	return 0;
}

/* 1 and a flag in *found, 0 at the end, or -EINVAL; the walk goes on after an error. */
static int walk_next(struct walk *walk, struct found *found, struct err *err)
{
	const char *arg;
	int r;

	*found = (struct found){0};
	if (!walk->letters) {
		if (walk->next >= walk->argc)
			return 0;
		arg = walk->argv[walk->next++];
		if (arg[0] != '-' || !arg[1] || strcmp(arg, "--") == 0)
			return stray(arg, err);
		if (arg[1] == '-') {
			r = find_long(walk, arg, found, err);
			return r < 0 ? r : 1;
		}
		walk->letters = arg + 1;
	}
	r = find_letter(walk, found, err);
	return r < 0 ? r : 1;
}

static int apply(struct run_parse *parse, const struct found *found)
{
	switch (found->row->action) {
	case FLAG_VALUE:
		return set_flag(&parse->draft, found->row, found->value, found->shown, parse->err);
	case FLAG_PRESET:
		return set_flag(&parse->draft, found->row - 1, found->row->preset, found->shown,
				parse->err);
	case FLAG_SET:
		return set_dotted(&parse->draft, found->value, found->shown, parse->err);
	case FLAG_PRINT_CONFIG:
		parse->request->print_config = true;
		break;
	case FLAG_DRY_RUN:
		parse->request->dry_run = true;
		break;
	case FLAG_DETACH:
		parse->request->detach = true;
		break;
	case FLAG_REMOVE:
		parse->request->remove = true;
		break;
	case FLAG_HELP:
		parse->request->help = true;
		break;
	case FLAG_CONFIG_FILE: /* done in the first walk */
		break;
	}
	return 0;
}

static int load_file(struct run_parse *parse, const struct found *found)
{
	if (!*found->value)
		return err_set(parse->err, -EINVAL, "%s: the path is empty", found->shown);
	return config_load_path(&parse->draft, found->value, parse->err);
}

/* First walk: the files. What is wrong elsewhere is told by the second walk. */
static int load_files(struct run_parse *parse, struct walk walk)
{
	struct found found;
	int r = 0, n;

	while ((n = walk_next(&walk, &found, NULL)) != 0)
		if (n > 0 && found.row->action == FLAG_CONFIG_FILE && load_file(parse, &found) < 0)
			r = -EINVAL;
	return r;
}

static int apply_flags(struct run_parse *parse, struct walk walk)
{
	struct found found;
	int r = 0, n;

	while ((n = walk_next(&walk, &found, parse->err)) != 0)
		if (n < 0 || apply(parse, &found) < 0)
			r = -EINVAL;
	return r;
}

int config_parse_run(int argc, char *const argv[], struct vm_config *config,
		     struct run_request *ret, struct err *err)
{
	struct run_parse parse = {.draft = {.config = config}, .request = ret, .err = err};
	const struct walk start = {.argc = argc, .argv = argv};
	int r, files;

	vm_config_init(config);
	*ret = (struct run_request){0};
	files = load_files(&parse, start);
	r = apply_flags(&parse, start);
	config_resolve(&parse.draft);
	if (ret->help) { /* whoever asks for help gets it, whatever else is wrong */
		if (err)
			*err = (struct err){0};
		return 0;
	}
	if (r == 0 && files == 0)
		r = config_validate(config, err);
	config_clean_message(err);
	return r < 0 ? r : files;
}
