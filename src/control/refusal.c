/* SPDX-License-Identifier: Apache-2.0 */
#include "control/refusal.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/text.h"

char *refusal_json(const char *code, const char *message, const char *where, const char *hint)
{
	json_t *o = json_pack("{s:s, s:s, s:s?, s:s?}", "code", code, "message", message, "where",
			      where, "hint", hint);
	_cleanup_free_ char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	struct str line = {0};

	json_decref(o);
	if (!text)
		return NULL;
	str_addf(&line, "%s\n", text);
	return str_steal(&line);
}

const char *refusal_code(int status)
{
	switch (status) {
	case 403:
		return "forbidden";
	case 404:
		return "not_found";
	case 405:
		return "method_not_allowed";
	case 409:
		return "conflict";
	case 413:
	case 414:
	case 431:
		return "too_large";
	case 503:
		return "busy";
	case 500:
		return "internal";
	default:
		return "bad_request";
	}
}
