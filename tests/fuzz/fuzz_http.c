/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests as a client may send them. The first byte says how the rest is cut into pieces; however
 * it is cut, the same requests must come out of it, bounded and clean, and a body must not hurt the
 * JSON parser that the API gives it to.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checked.h"
#include "control/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came out, folded into one number to compare. */
struct summary {
	uint64_t hash;
	unsigned requests;
	size_t taken;
	int status; /* 0: no bad request */
};

static void fold(struct summary *summary, const void *bytes, size_t n)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < n; i++)
		summary->hash = (summary->hash ^ at[i]) * UINT64_C(0x100000001b3);
	summary->hash = (summary->hash ^ n) * UINT64_C(0x100000001b3);
}

static void parse_json(const struct http_request *request)
{
	json_error_t error;
	json_t *body = json_loadb(request->body, request->body_len, JSON_REJECT_DUPLICATES, &error);

	json_decref(body);
}

static void check_request(struct summary *summary, const struct http_request *request)
{
	size_t path_len = strnlen(request->path, sizeof(request->path));
	size_t query_len = strnlen(request->query, sizeof(request->query));
	char value[64];

	vmm_assert(path_len < sizeof(request->path) && query_len < sizeof(request->query));
	vmm_assert(request->path[0] == '/');
	for (size_t i = 0; i < path_len; i++)
		vmm_assert(request->path[i] >= ' ' && request->path[i] <= '~');
	vmm_assert(request->body && request->body_len <= HTTP_MAX_BODY);
	vmm_assert(request->body[request->body_len] == '\0');
	vmm_assert(request->method <= HTTP_METHOD_OTHER);
	if (http_query(request->query, "since", value, sizeof(value)))
		fold(summary, value, strlen(value));
	fold(summary, request->path, path_len);
	fold(summary, request->query, query_len);
	fold(summary, request->body, request->body_len);
	summary->requests++;
	parse_json(request);
}

static void check_bad(struct summary *summary, const struct http_parser_state *http)
{
	const char *why = NULL;

	summary->status = http_status(http, &why);
	vmm_assert(why && *why);
	vmm_assert(strcmp(http_reason(summary->status), "Unknown") != 0);
}

/* One http_feed() and what follows from it; false after a bad request. */
static bool feed(struct summary *summary, struct http_parser_state *http, const char *bytes,
		 size_t n, size_t *ret_taken)
{
	enum http_progress progress = http_feed(http, bytes, n, ret_taken);

	vmm_assert(*ret_taken <= n);
	switch (progress) {
	case HTTP_MORE:
	case HTTP_CONTINUE:
		vmm_assert(*ret_taken == n);
		return true;
	case HTTP_COMPLETE:
		check_request(summary, http_request(http));
		vmm_assert(!http_is_midway(http));
		http_next(http);
		vmm_assert(!http_is_midway(http));
		return true;
	case HTTP_BAD:
		check_bad(summary, http);
		break;
	}
	return false;
}

/* piece: 0 is all at once. */
static struct summary run(const char *bytes, size_t size, size_t piece)
{
	struct summary summary = {0};
	struct http_parser_state *http;
	size_t at = 0, taken;
	bool good = true;

	vmm_assert(http_new(&http) == 0);
	while (good && at < size) {
		size_t n = piece ? MIN(piece, size - at) : size - at;

		good = feed(&summary, http, bytes + at, n, &taken);
		at += taken;
	}
	summary.taken = good ? at : 0;
	http_free(http);
	return summary;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct summary whole, cut;

	if (size == 0)
		return 0;
	whole = run((const char *)data + 1, size - 1, 0);
	cut = run((const char *)data + 1, size - 1, data[0] % 67U + 1);
	vmm_assert(whole.requests == cut.requests && whole.hash == cut.hash);
	vmm_assert(whole.taken == cut.taken);
	/* Which of two faults is told may depend on where it was cut, that there is one may not. */
	vmm_assert(!whole.status == !cut.status);
	return 0;
}
