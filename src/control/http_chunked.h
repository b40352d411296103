/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunked bodies (RFC 9112, 7.1), to the letter: http-parser, as Debian builds it
 * (HTTP_PARSER_STRICT=0), takes any two bytes for the line end between chunks, and two readers that
 * disagree there are how requests are smuggled. Extensions and trailer fields are read over. Pure.
 */
#ifndef VMM_CONTROL_HTTP_CHUNKED_H
#define VMM_CONTROL_HTTP_CHUNKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/text.h"

/* What the next byte belongs to. */
enum chunked_state {
	CHUNKED_SIZE_START, /* the first digit */
	CHUNKED_SIZE,
	CHUNKED_EXTENSION,
	CHUNKED_SIZE_LF,
	CHUNKED_DATA,
	CHUNKED_DATA_CR,
	CHUNKED_DATA_LF,
	CHUNKED_TRAILER_START, /* a trailer field, or the CR of the empty line */
	CHUNKED_TRAILER,
	CHUNKED_TRAILER_LF,
	CHUNKED_END_LF,
	CHUNKED_END,
};

/* All zero is the beginning. */
struct chunked {
	enum chunked_state state;
	size_t left; /* of this chunk */
	size_t wire; /* bytes so far, with the framing */
};

/*
 * Appends what bytes[n] carry to body; *ret_taken is how many were used, fewer than n when the body
 * ended. 0 (look at state), -EBADMSG for what is no chunked body, -E2BIG for more than
 * HTTP_MAX_BODY bytes of body or HTTP_MAX_CHUNKED on the wire. After an error it is not fed again.
 */
int chunked_feed(struct chunked *chunked, const char *bytes, size_t n, struct str *body,
		 size_t *ret_taken) must_check;

#endif
