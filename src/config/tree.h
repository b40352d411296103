/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the config room: whole tables, and the elements of groups. `base` is the struct that a
 * table describes; `group` is a row of type VALUE_LIST or VALUE_OBJECT, and `base` the struct that
 * it stands in. Both kinds are the same here: an object is a list of no or one element.
 */
#ifndef VMM_CONFIG_TREE_H
#define VMM_CONFIG_TREE_H

#include <jansson.h>

#include "base/compiler.h"
#include "base/err.h"
#include "config/schema.h"

/* All values of a struct of zeros: defaults, and what stands for "not given". */
void tree_init(const struct schema_table *table, void *base);
/* Frees what it owns; nothing is given then and no group has an element. */
void tree_done(const struct schema_table *table, void *base);

unsigned tree_count(const struct schema_row *group, const void *base);
/* Element i < tree_count(). */
void *tree_element(const struct schema_row *group, void *base, unsigned i);
const void *tree_element_const(const struct schema_row *group, const void *base, unsigned i);
/* A new last element with the defaults; *ret is borrowed until the next one. 0, -E2BIG, -ENOMEM. */
int tree_append(const struct schema_row *group, void *base, void **ret, struct err *err) must_check;
/* The element of an object, made when there is none. */
int tree_object(const struct schema_row *group, void *base, void **ret, struct err *err) must_check;
void tree_clear(const struct schema_row *group, void *base);

/*
 * Every value against its row, for configurations that were not made by the parsers: limits, what
 * must be given, and one of those that exclude each other. The message begins with the pointer.
 */
int tree_check(const struct schema_table *table, const void *base, struct err *err) must_check;

/* New, an array or an object; NULL when out of memory. */
json_t *tree_group_to_json(const struct schema_row *group, const void *base) must_check;

#endif
