/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of everything that can be configured, inside the config room. A row is one value:
 * where it lives in struct vm_config, its JSON key, its flag, what it may be, and what people read
 * about it. Parsers, printers, help, JSON Schema, man page and completion all walk this table; none
 * knows a key by itself.
 *
 * Several rows with the same flag are one compound flag: `--mem SIZE,hugepages=2M`. The first of
 * them is the head, which takes the part without a key.
 *
 * What can be there several times or not at all (disks, a balloon) is a table of rows of its own,
 * whose offsets count from the element, and one row here that names it: a group. All that sets or
 * prints a value takes a row and the base it counts from. A group's rows are the keys of its flag.
 */
#ifndef VMM_CONFIG_SCHEMA_H
#define VMM_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct err;
struct str;

/* What a value is and how it is stored. */
enum value_type {
	VALUE_NONE,	/* no value: the flag alone says it */
	VALUE_STRING,	/* char * */
	VALUE_PATH,	/* char *, not empty */
	VALUE_NAME,	/* char *, letters, digits and ._- */
	VALUE_STREAM,	/* char *, one of the choices; a choice that ends in "=PATH" takes one */
	VALUE_BOOL,	/* bool */
	VALUE_UINT,	/* uint32_t */
	VALUE_SIZE,	/* uint64_t, bytes; a bare number counts in `unit` */
	VALUE_PAGE,	/* uint64_t, the value of one of the choices */
	VALUE_DURATION, /* uint64_t, ns; a bare number counts seconds */
	VALUE_ENUM,	/* int, the value of one of the choices */
	VALUE_INDEX,	/* int, -1: not given */
	VALUE_LIST,   /* group: T * and an unsigned that counts the elements; appended to by flag */
	VALUE_OBJECT, /* group: T *, NULL or one element; "on" and "off" as text */
	VALUE_FIXED,  /* stored nowhere: the number `min` and no other */
	VALUE_CMDLINE, /* stored nowhere: config_cmdline(), printed and checked, never set */
};

/* What a flag does. All but FLAG_VALUE and FLAG_PRESET belong to `vmm run` and have no JSON key. */
enum flag_action {
	FLAG_VALUE,  /* sets the row's value */
	FLAG_PRESET, /* sets the value of the row before it to `preset` */
	FLAG_CONFIG_FILE,
	FLAG_SET,
	FLAG_PRINT_CONFIG,
	FLAG_DRY_RUN,
	FLAG_DETACH,
	FLAG_REMOVE,
	FLAG_HELP,
};

struct choice {
	const char *name;
	uint64_t value;
};

struct schema_row {
	const char *object; /* JSON object that holds the key; NULL: the top level */
	const char *name;   /* JSON key; NULL: none, a flag of `vmm run` only */
	const char *flag;   /* long flag without dashes; NULL: JSON only */
	const char *key;    /* compound flags: the key in `--flag key=value`; NULL: the flag has one
			       value */
	const char *letters; /* one-letter flags, the first is the one to show first; NULL: none */
	enum value_type type;
	enum flag_action action;
	size_t offset;	   /* into the struct that the table describes */
	uint64_t min, max; /* numbers; strings: max is the length; max 0: no limit */
	uint64_t multiple; /* 0: any */
	bool power_of_two;
	uint64_t unit; /* VALUE_SIZE: bytes that a bare number counts */
	/* Text with a syntax of its own; the pattern is that syntax for the JSON Schema. */
	int (*check)(const char *text, struct err *err);
	const char *pattern;
	const struct choice *choices;
	size_t n_choices;
	const char *preset;
	const char *arg;      /* name of the argument in help; NULL: the choices */
	const char *fallback; /* default as on the command line; NULL: not set */
	const char *help;     /* small letter first, no full stop */
	const char *heading;  /* of the section in help; NULL: as the row before */
	/* Rows of a group's table only. */
	bool required; /* the first row, when required, takes the part of the flag without a key */
	bool one_of;   /* of the rows so marked exactly one is given */
	/* Groups only. */
	const struct schema_table *table;
	size_t count_offset; /* VALUE_LIST */
};

/* Rows and the struct that they describe. */
struct schema_table {
	const struct schema_row *rows;
	size_t n;
	size_t size; /* of the struct */
	bool plain;  /* one row, and its value is the whole element: a string, no JSON object */
};

/* A JSON object of the file, for the words in the JSON Schema. */
struct schema_object {
	const char *name, *help;
};

enum {
	SCHEMA_MAX_ROWS = 128, /* of one table */
	SCHEMA_POINTER_LEN = 64,
	SCHEMA_MAX_PATH = 4095,
	SCHEMA_N_STREAMS = 5,
};

extern const struct schema_row schema_rows[];
extern const size_t schema_n_rows;
extern const struct schema_table schema_main; /* the same as a table, of struct vm_config */

extern const struct choice schema_streams[SCHEMA_N_STREAMS];

/* Tables of the groups, in schema_devices.c. */
extern const struct schema_table schema_disk, schema_net, schema_publish, schema_vhost_user,
	schema_pmem, schema_port, schema_vsock, schema_rng, schema_balloon;

extern const struct schema_object schema_objects[];
extern const size_t schema_n_objects;

/* Lookups; NULL when there is none. */
const struct schema_row *schema_find_name(const char *object, const char *name);
const struct schema_row *schema_find_flag(const char *flag); /* the head of a compound one */
const struct schema_row *schema_find_letter(char letter);
const struct schema_object *schema_find_object(const char *name);
const struct schema_row *schema_find_row(const struct schema_table *table, const char *name);

/* The keys of a compound flag, of which row is the head or the group: the first for last NULL, then
 * the one after last, NULL at the end. */
const struct schema_row *schema_next_key(const struct schema_row *row,
					 const struct schema_row *last);
const struct schema_row *schema_find_key(const struct schema_row *row, const char *key);
/* As it is written in `--flag key=value`. */
const char *schema_key(const struct schema_row *row);
/* The key that takes the part without a key; NULL: none does. */
const struct schema_row *schema_bare_key(const struct schema_row *row);

/* True for the row that stands for the flag: the only one or the head. */
bool schema_is_head(const struct schema_row *row);
bool schema_is_compound(const struct schema_row *row);
bool schema_is_group(const struct schema_row *row);
/* True for a flag that may stand without a value: a group that needs none. */
bool schema_value_is_optional(const struct schema_row *row);

/* "/memory/size" and "memory.size"; buf has SCHEMA_POINTER_LEN bytes; returns buf. */
char *schema_pointer(const struct schema_row *row, char *buf);
char *schema_dotted(const struct schema_row *row, char *buf);

/* The same with the place of an element's row: "/disks/0/path", "disks.0.path", and "disks[].path"
 * for all of them; "balloon.size". */
char *schema_group_pointer(const struct schema_row *group, const struct schema_row *row, char *buf);
char *schema_group_dotted(const struct schema_row *group, const struct schema_row *row, char *buf);
char *schema_group_name(const struct schema_row *group, const struct schema_row *row, char *buf);

/* Adds "a, b, c": the names of the choices. */
void schema_list_choices(const struct schema_row *row, const char *separator, struct str *out);

/*
 * The right name for a word that is none of names[n]: a slip of the fingers or a shortened name;
 * NULL when nothing is near.
 */
const char *schema_nearest(const char *word, const char *const *names, size_t n);

#endif
