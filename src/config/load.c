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
#include "config/tree.h"
#include "config/value.h"

DEFINE_CLEANUP(json_t *, json_decref);

#define MAX_FILE_BYTES MIB(1)

/* An object of the file: the top level, one that rows name as theirs, or an element of a group. */
struct place {
	const struct schema_table *table;
	const char *object;  /* of the main table: NULL for the top level */
	const char *pointer; /* "", "/kernel", "/disks/1" */
};

/* Keys of one place; at the top level the objects' own names are keys too. */
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

static void list_keys(const struct place *place, struct key_list *ret)
{
	ret->n = 0;
	for (size_t i = 0; i < place->table->n; i++) {
		const struct schema_row *row = &place->table->rows[i];

		if (!row->name)
			continue;
		if (!place->object)
			add_key(ret, row->object ? row->object : row->name);
		else if (row->object && strcmp(row->object, place->object) == 0)
			add_key(ret, row->name);
	}
}

/* A key that is right in another place, such as hugepages at the top level; its pointer in buf. */
static bool find_elsewhere(const char *key, char *buf)
{
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_rows[i].name && strcmp(schema_rows[i].name, key) == 0) {
			schema_pointer(&schema_rows[i], buf);
			return true;
		}
	for (size_t i = 0; i < schema_n_rows; i++) {
		const struct schema_row *group = &schema_rows[i];
		const struct schema_row *row = schema_is_group(group) && !group->table->plain
						       ? schema_find_row(group->table, key)
						       : NULL;

		if (row) {
			schema_group_pointer(group, row, buf);
			return true;
		}
	}
	return false;
}

/* The flag's name in place of the object's, such as mem. */
static bool find_by_flag(const struct place *place, const char *key, char *buf)
{
	const struct schema_row *row = schema_find_flag(key);

	if (*place->pointer || !row || !schema_is_compound(row))
		return false;
	(void)snprintf(buf, SCHEMA_POINTER_LEN, "/%s", row->object ? row->object : row->name);
	return true;
}

/* The name to try in place of key, as a JSON pointer in buf; false when nothing is near. */
static bool suggest_key(const struct place *place, const char *key, const struct key_list *keys,
			char *buf)
{
	const char *near = text_nearest(key, keys->names, keys->n);

	if (find_by_flag(place, key, buf) || (!near && find_elsewhere(key, buf)))
		return true;
	if (!near)
		near = schema_nearest(key, keys->names, keys->n);
	if (near)
		(void)snprintf(buf, SCHEMA_POINTER_LEN, "%s/%s", place->pointer, near);
	return near != NULL;
}

static int unknown_key(const struct place *place, const char *key, const char *file,
		       struct err *err)
{
	char near[SCHEMA_POINTER_LEN];
	struct key_list keys;
	struct str list = {0};
	_cleanup_free_ char *shown = NULL;
	bool found;

	list_keys(place, &keys);
	for (size_t i = 0; i < keys.n; i++)
		str_addf(&list, "%s%s", i ? ", " : "", keys.names[i]);
	shown = str_steal(&list);
	found = suggest_key(place, key, &keys, near);
	return err_set(err, -EINVAL, "%s: %s/%.100s: unknown key%s%s%s (keys here: %s)", file,
		       place->pointer, key, found ? ", did you mean " : "", found ? near : "",
		       found ? "?" : "", shown ? shown : "");
}

static bool has_key(const struct place *place, const char *key)
{
	return place->table == &schema_main ? schema_find_name(place->object, key) != NULL
					    : schema_find_row(place->table, key) != NULL;
}

static int wrong_type(const char *pointer, const char *expected, const json_t *json,
		      const char *file, struct err *err)
{
	return err_set(err, -EINVAL, "%s: %s: must be %s, not %s", file, pointer, expected,
		       value_json_type(json));
}

static int check_object(const struct place *place, json_t *json, const char *file, struct err *err)
{
	const char *key;
	json_t *value;
	int r = 0;

	if (!json_is_object(json))
		return wrong_type(place->pointer, "an object", json, file, err);
	json_object_foreach(json, key, value) if (r == 0 && !has_key(place, key)) r =
		unknown_key(place, key, file, err);
	return r;
}

static char *element_pointer(const struct schema_row *group, size_t i, char *buf)
{
	(void)snprintf(buf, SCHEMA_POINTER_LEN, "/%s/%zu", group->name, i);
	return buf;
}

/* Elements of a plain list are values, whose types are told when they are applied. */
static int check_list(const struct schema_row *group, json_t *json, const char *file,
		      struct err *err)
{
	char pointer[SCHEMA_POINTER_LEN];
	struct place place = {.table = group->table, .pointer = pointer};
	int r = 0;

	(void)snprintf(pointer, sizeof(pointer), "/%s", group->name);
	if (!json_is_array(json))
		return wrong_type(pointer, value_expected(group), json, file, err);
	for (size_t i = 0; r == 0 && !group->table->plain && i < json_array_size(json); i++) {
		element_pointer(group, i, pointer);
		r = check_object(&place, json_array_get(json, i), file, err);
	}
	return r;
}

static int check_group(const struct schema_row *group, json_t *json, const char *file,
		       struct err *err)
{
	char pointer[SCHEMA_POINTER_LEN];
	struct place place = {.table = group->table, .pointer = pointer};

	if (group->type == VALUE_LIST)
		return check_list(group, json, file, err);
	schema_pointer(group, pointer);
	if (json_is_boolean(json))
		return 0;
	if (!json_is_object(json))
		return wrong_type(pointer, value_expected(group), json, file, err);
	return check_object(&place, json, file, err);
}

/* A key of the top level. */
static int check_key(const char *key, json_t *value, const char *file, struct err *err)
{
	static const struct place top = {.table = &schema_main, .pointer = ""};
	const struct schema_row *row = schema_find_name(NULL, key);
	char pointer[SCHEMA_POINTER_LEN];
	struct place object = {.table = &schema_main, .object = key, .pointer = pointer};

	if (row)
		return schema_is_group(row) ? check_group(row, value, file, err) : 0;
	if (!schema_find_object(key))
		return unknown_key(&top, key, file, err);
	(void)snprintf(pointer, sizeof(pointer), "/%s", key);
	return check_object(&object, value, file, err);
}

/* Every key of the tree, before anything is applied. Goes no deeper than the schema does. */
static int check_keys(json_t *root, const char *file, struct err *err)
{
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach(root, key, value)
	{
		if (r == 0)
			r = check_key(key, value, file, err);
	}
	return r;
}

static json_t *value_of(json_t *root, const struct schema_row *row)
{
	json_t *object = row->object ? json_object_get(root, row->object) : root;

	return row->name ? json_object_get(object, row->name) : NULL;
}

static int apply_value(const struct schema_row *row, void *base, const json_t *value,
		       const char *pointer, const char *file, struct err *err)
{
	struct err why = {0};

	if (value_set_json(row, base, value, &why) == 0)
		return 0;
	return err_set(err, why.code, "%s: %s: %s", file, pointer, why.msg);
}

/* An element of a group, whose keys are known to be right. */
static int apply_element(const struct schema_table *table, void *element, json_t *json,
			 const char *pointer, const char *file, struct err *err)
{
	char where[2 * SCHEMA_POINTER_LEN];
	int r = 0;

	if (table->plain)
		return apply_value(&table->rows[0], element, json, pointer, file, err);
	for (size_t i = 0; i < table->n; i++) {
		json_t *value = json_object_get(json, table->rows[i].name);
		int set = 0;

		(void)snprintf(where, sizeof(where), "%s/%s", pointer, table->rows[i].name);
		if (value)
			set = apply_value(&table->rows[i], element, value, where, file, err);
		r = set < 0 ? set : r;
	}
	return r;
}

/* What the file says of an object is put over what was there, true is the same as {}. */
static int apply_object(const struct schema_row *group, struct vm_config *config, json_t *json,
			const char *file, struct err *err)
{
	char pointer[SCHEMA_POINTER_LEN];
	void *element;
	int r;

	if (json_is_false(json)) {
		tree_clear(group, config);
		return 0;
	}
	r = tree_object(group, config, &element, err);
	return r < 0 ? r
		     : apply_element(group->table, element, json, schema_pointer(group, pointer),
				     file, err);
}

/* A list of the file replaces what was there. */
static int apply_list(const struct schema_row *group, struct vm_config *config, json_t *json,
		      const char *file, struct err *err)
{
	char pointer[SCHEMA_POINTER_LEN];
	int r = 0;

	tree_clear(group, config);
	for (size_t i = 0; i < json_array_size(json); i++) {
		struct err why = {0};
		void *element;
		int set;

		element_pointer(group, i, pointer);
		if (tree_append(group, config, &element, &why) < 0)
			return err_set(err, why.code, "%s: %s: %s", file, pointer, why.msg);
		set = apply_element(group->table, element, json_array_get(json, i), pointer, file,
				    err);
		r = set < 0 ? set : r;
	}
	return r;
}

static int apply_row(const struct schema_row *row, struct vm_config *config, json_t *value,
		     const char *file, struct err *err)
{
	char pointer[SCHEMA_POINTER_LEN];

	if (row->type == VALUE_LIST)
		return apply_list(row, config, value, file, err);
	if (row->type == VALUE_OBJECT)
		return apply_object(row, config, value, file, err);
	return apply_value(row, config, value, schema_pointer(row, pointer), file, err);
}

static int apply_rows(struct config_draft *draft, json_t *root, const char *file, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < schema_n_rows; i++) {
		const struct schema_row *row = &schema_rows[i];
		json_t *value = value_of(root, row);
		int set;

		if (!value || row->type == VALUE_CMDLINE)
			continue;
		set = apply_row(row, draft->config, value, file, err);
		if (set == 0)
			config_draft_mark(draft, row);
		r = set < 0 ? set : r;
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
	struct config_draft draft = {.config = &config};

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
	struct config_draft draft = {.config = config};
	int r = config_load_path(&draft, path, err);

	config_resolve(&draft);
	config_clean_message(err);
	return r;
}
