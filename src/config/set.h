/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the config room: a value of the command line over a configuration. `shown` is the flag as
 * it was typed, with which messages begin. 0 or -errno; values before the wrong one are applied.
 */
#ifndef VMM_CONFIG_SET_H
#define VMM_CONFIG_SET_H

#include "base/compiler.h"
#include "base/err.h"
#include "config/load.h"
#include "config/schema.h"

/*
 * The value of a flag, the only row or the head. Compound ones are KEY=VALUE parts with commas
 * between them, and ",," for a comma of a value; a key that is on or off may stand alone for on. A
 * list gets a new element, an object is made or changed; text is NULL where that needs no value.
 */
int set_flag(struct config_draft *draft, const struct schema_row *row, const char *text,
	     const char *shown, struct err *err) must_check;

/* "memory.size=1G", "disks.0.path=x", "balloon=on": an index that is the count appends. */
int set_dotted(struct config_draft *draft, const char *text, const char *shown,
	       struct err *err) must_check;

#endif
