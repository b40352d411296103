/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON file. First the whole tree is checked for unknown keys, then values are applied row by
 * row. */
#include "config/load.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "config/schema.h"
#include "config/value.h"

DEFINE_CLEANUP(json_t *, json_decref);

#define MAX_FILE_BYTES MIB(1)

/* Keys of one object, "" for the top level, where the objects' own names are keys too. */
struct key_list {
	const char *names[SCHEMA_MAX_ROWS];
	size_t n;
};

static void add_key(struct key_list *list, const char *name)
{
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->names[i], name) == 0)
			return;
	list->names[list->n++] = name;
}

static void list_keys(const char *object, struct key_list *ret)
{
	ret->n = 0;
	for (size_t i = 0; i < schema_n_rows; i++) {
		const struct schema_row *row = &schema_rows[i];

		if (!row->name)
			continue;
		if (!object)
			add_key(ret, row->object ? row->object : row->name);
		else if (row->object && strcmp(row->object, object) == 0)
			add_key(ret, row->name);
	}
}

/* A key that is right in another place, such as hugepages at the top level. */
static const struct schema_row *find_elsewhere(const char *key)
{
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_rows[i].name && strcmp(schema_rows[i].name, key) == 0)
			return &schema_rows[i];
	return NULL;
}

/* The name to try in place of key, as a JSON pointer in buf; false when nothing is near. */
static bool suggest_key(const char *object, const char *key, const struct key_list *keys, char *buf)
{
	const char *near = text_nearest(key, keys->names, keys->n);
	const struct schema_row *elsewhere = near ? NULL : find_elsewhere(key);

	if (elsewhere) {
		schema_pointer(elsewhere, buf);
		return true;
	}
	if (!near)
		near = schema_nearest(key, keys->names, keys->n);
	if (near)
		(void)snprintf(buf, SCHEMA_POINTER_LEN, "%s%s/%s", object ? "/" : "",
			       object ? object : "", near);
	return near != NULL;
}

static int unknown_key(const char *object, const char *key, const char *file, struct err *err)
{
	char near[SCHEMA_POINTER_LEN];
	struct key_list keys;
	struct str list = {0};
	_cleanup_free_ char *shown = NULL;
	bool found;

	list_keys(object, &keys);
	for (size_t i = 0; i < keys.n; i++)
		str_addf(&list, "%s%s", i ? ", " : "", keys.names[i]);
	shown = str_steal(&list);
	found = suggest_key(object, key, &keys, near);
	return err_set(err, -EINVAL, "%s: %s%s/%.100s: unknown key%s%s%s (keys here: %s)", file,
		       object ? "/" : "", object ? object : "", key, found ? ", did you mean " : "",
		       found ? near : "", found ? "?" : "", shown ? shown : "");
}

static int check_object(const char *object, json_t *json, const char *file, struct err *err)
{
	const char *key;
	json_t *value;
	int r = 0;

	if (!json_is_object(json))
		return err_set(err, -EINVAL, "%s: /%s: must be an object, not %s", file, object,
			       value_json_type(json));
	json_object_foreach(json, key, value) if (r == 0 && !schema_find_name(object, key)) r =
		unknown_key(object, key, file, err);
	return r;
}

/* Every key of the tree, before anything is applied. Goes no deeper than the schema does. */
static int check_keys(json_t *root, const char *file, struct err *err)
{
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach(root, key, value)
	{
		if (r < 0)
			break;
		if (schema_find_object(key))
			r = check_object(key, value, file, err);
		else if (!schema_find_name(NULL, key))
			r = unknown_key(NULL, key, file, err);
	}
	return r;
}

static json_t *value_of(json_t *root, const struct schema_row *row)
{
	json_t *object = row->object ? json_object_get(root, row->object) : root;

	return row->name ? json_object_get(object, row->name) : NULL;
}

static int apply_rows(struct config_draft *draft, json_t *root, const char *file, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < schema_n_rows; i++) {
		const struct schema_row *row = &schema_rows[i];
		json_t *value = value_of(root, row);
		char pointer[SCHEMA_POINTER_LEN];
		struct err why = {0};

		if (!value || row->type == VALUE_CMDLINE)
			continue;
		if (value_set_json(row, draft->config, value, &why) == 0)
			draft->given |= schema_bit(row);
		else
			r = err_set(err, why.code, "%s: %s: %s", file, schema_pointer(row, pointer),
				    why.msg);
	}
	return r;
}

/*
 * kernel.cmdline is printed for people. In a file it must be what the file's other keys make: a
 * command line that was edited there and has no effect would be a trap.
 */
static int check_cmdline(json_t *root, const char *file, struct err *err)
{
	json_t *given = json_object_get(json_object_get(root, "kernel"), "cmdline");
	_cleanup_free_ char *made = NULL;
	struct vm_config config;
	struct config_draft draft = {&config, 0};

	if (!given)
		return 0;
	vm_config_init(&config);
	if (apply_rows(&draft, root, file, err) == 0) {
		config_resolve(&draft);
		made = config_cmdline(&config);
	}
	vm_config_done(&config);
	if (made && json_is_string(given) && strcmp(json_string_value(given), made) == 0)
		return 0;
	return err_set(err, -EINVAL,
		       "%s: /kernel/cmdline: shows what /kernel/defaults and /kernel/append make "
		       "('%s') and "
		       "can't be set: remove it and put your words into /kernel/append",
		       file, made ? made : "");
}

static int syntax_error(const json_error_t *why, const char *file, struct err *err)
{
	if (why->line < 1)
		return err_set(err, -EINVAL, "%s: %s", file, why->text);
	return err_set(err, -EINVAL, "%s:%d:%d: %s", file, why->line, MAX(why->column, 1),
		       why->text);
}

static bool is_blank(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strchr(" \t\r\n", bytes[i]) || !bytes[i])
			return false;
	return true;
}

int config_load_bytes(struct config_draft *draft, const char *bytes, size_t len, const char *name,
		      struct err *err)
{
	_cleanup_(json_decref_cleanup) json_t *root = NULL;
	json_error_t why;
	int r;

	if (is_blank(bytes, len))
		return err_set(err, -EINVAL, "%s: the file is empty: it must hold one JSON object",
			       name);
	root = json_loadb(bytes, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
	if (!root)
		return syntax_error(&why, name, err);
	if (!json_is_object(root))
		return err_set(err, -EINVAL, "%s: the file must hold one JSON object, not an array",
			       name);
	r = check_keys(root, name, err);
	if (r == 0)
		r = apply_rows(draft, root, name, err);
	return r < 0 ? r : check_cmdline(root, name, err);
}

/* Opens without waiting for a FIFO's writer; only regular files will do. */
static int open_file(const char *path, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -errno, "%s: cannot read the configuration: %s", path,
			       strerror(errno));
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "%s: is a directory, not a configuration file", path);
	if (!S_ISREG(st.st_mode))
		return err_set(
			err, -EINVAL,
			"%s: is not a regular file; for a pipe use --config - and standard input",
			path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Reads to the end; one byte more than the limit tells a file that is too large. */
static int read_all(int fd, struct str *out)
{
	char buf[2048];

	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return out->failed ? -ENOMEM : 0;
		str_addn(out, buf, (size_t)n);
		if (out->len > MAX_FILE_BYTES)
			return -EFBIG;
	}
}

static int load_fd(struct config_draft *draft, int fd, const char *name, struct err *err)
{
	struct str text = {0};
	_cleanup_free_ char *bytes = NULL;
	size_t len;
	int r = read_all(fd, &text);

	len = text.len;
	bytes = str_steal(&text);
	if (r == -EFBIG)
		return err_set(err, r, "%s: is larger than 1 MiB: that is no configuration", name);
	if (r < 0 || !bytes)
		return err_set(err, r < 0 ? r : -ENOMEM, "%s: cannot read the configuration: %s",
			       name, strerror(r < 0 ? -r : ENOMEM));
	return config_load_bytes(draft, bytes, len, name, err);
}

int config_load_path(struct config_draft *draft, const char *path, struct err *err)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (strcmp(path, "-") == 0)
		return load_fd(draft, STDIN_FILENO, "standard input", err);
	r = open_file(path, &fd, err);
	return r < 0 ? r : load_fd(draft, fd, path, err);
}

void config_clean_message(struct err *err)
{
	for (char *c = err ? err->msg : NULL; c && *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
}

int config_load_file(struct vm_config *config, const char *path, struct err *err)
{
	struct config_draft draft = {config, 0};
	int r = config_load_path(&draft, path, err);

	config_resolve(&draft);
	config_clean_message(err);
	return r;
}
