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
 * A repeatable group (disks, nets) will be a table of rows of its own, whose offsets count from the
 * element, and one row here that names it: all that sets or prints a value takes a row and the base
 * it counts from.
 */
#ifndef VMM_CONFIG_SCHEMA_H
#define VMM_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

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
	VALUE_FIXED,	/* stored nowhere: the number `min` and no other */
	VALUE_CMDLINE,	/* stored nowhere: config_cmdline(), printed and checked, never set */
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
	uint64_t unit;	   /* VALUE_SIZE: bytes that a bare number counts */
	const struct choice *choices;
	size_t n_choices;
	const char *preset;
	const char *arg;      /* name of the argument in help; NULL: the choices */
	const char *fallback; /* default as on the command line; NULL: not set */
	const char *help;     /* small letter first, no full stop */
	const char *heading;  /* of the section in help; NULL: as the row before */
};

/* A JSON object of the file, for the words in the JSON Schema. */
struct schema_object {
	const char *name, *help;
};

enum {
	SCHEMA_MAX_ROWS = 64, /* a set of rows is one uint64_t */
	SCHEMA_POINTER_LEN = 64,
};

extern const struct schema_row schema_rows[];
extern const size_t schema_n_rows;
extern const struct schema_object schema_objects[];
extern const size_t schema_n_objects;

/* Lookups; NULL when there is none. */
const struct schema_row *schema_find_name(const char *object, const char *name);
const struct schema_row *schema_find_flag(const char *flag); /* the head of a compound one */
const struct schema_row *schema_find_letter(char letter);
const struct schema_row *schema_find_key(const char *flag, const char *key);
const struct schema_object *schema_find_object(const char *name);

/* True for the row that stands for the flag: the only one or the head. */
bool schema_is_head(const struct schema_row *row);
bool schema_is_compound(const struct schema_row *row);

/* "/memory/size" and "memory.size"; buf has SCHEMA_POINTER_LEN bytes; returns buf. */
char *schema_pointer(const struct schema_row *row, char *buf);
char *schema_dotted(const struct schema_row *row, char *buf);

/* A set of rows. */
static inline uint64_t schema_bit(const struct schema_row *row)
{
	return UINT64_C(1) << (row - schema_rows);
}

/* Adds "a, b, c": the names of the choices. */
void schema_list_choices(const struct schema_row *row, const char *separator, struct str *out);

/*
 * The right name for a word that is none of names[n]: a slip of the fingers or a shortened name;
 * NULL when nothing is near.
 */
const char *schema_nearest(const char *word, const char *const *names, size_t n);

#endif
