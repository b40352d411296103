/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the config room: pieces of text that help and man page have in common. */
#ifndef VMM_CONFIG_DOC_H
#define VMM_CONFIG_DOC_H

#include "base/text.h"
#include "config/schema.h"

/* Adds the argument as people write it: "FILE", "on|off", "auto|linux64|pvh"; nothing where there
 * is none. */
void doc_argument(const struct schema_row *row, struct str *out);

/* Adds the help text with the kinds of a stream and the default. */
void doc_text(const struct schema_row *row, struct str *out);

#endif
