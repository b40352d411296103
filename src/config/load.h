/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the config room: a JSON text over a configuration, and what follows once all sources are
 * in. */
#ifndef VMM_CONFIG_LOAD_H
#define VMM_CONFIG_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/err.h"
#include "config/config.h"
#include "config/schema.h"

/* A configuration while its sources are read: which of schema_rows somebody set. */
struct config_draft {
	struct vm_config *config;
	bool given[SCHEMA_MAX_ROWS];
};

/* Notes that a row of the main table was set. */
static inline void config_draft_mark(struct config_draft *draft, const struct schema_row *row)
{
	draft->given[row - schema_rows] = true;
}

/*
 * Applies a JSON text of len bytes; `name` stands for the file in messages. Nothing is applied when
 * the syntax or a key is wrong; wrong values are left out, the first of them is the error.
 */
int config_load_bytes(struct config_draft *draft, const char *bytes, size_t len, const char *name,
		      struct err *err) must_check;

/* The same from a regular file of at most 1 MiB, or from standard input for "-". */
int config_load_path(struct config_draft *draft, const char *path, struct err *err) must_check;

/*
 * Defaults that depend on other values: no THP beside huge pages, and no smaller blocks to plug;
 * nothing on the serial port where hvc0 carries the console; no console where the serial port has a
 * stream of its own; as many processors as a topology has. Each only where nobody gave the value.
 */
void config_resolve(struct config_draft *draft);

/* Messages repeat what was typed or read: takes control characters out before they reach a
 * terminal. */
void config_clean_message(struct err *err);

#endif
