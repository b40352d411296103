/* SPDX-License-Identifier: Apache-2.0 */
#include "config/doc.h"

void doc_argument(const struct schema_row *row, struct str *out)
{
	if (row->arg)
		str_add(out, row->arg);
	else if (row->type == VALUE_BOOL)
		str_add(out, "on|off");
	else
		schema_list_choices(row, "|", out);
}

void doc_text(const struct schema_row *row, struct str *out)
{
	str_add(out, row->help);
	if (row->type == VALUE_STREAM) {
		str_add(out, "; one of ");
		schema_list_choices(row, ", ", out);
	}
	if (row->fallback)
		str_addf(out, " (default %s)", row->fallback);
}
