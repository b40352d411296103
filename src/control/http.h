/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 requests out of bytes, and response heads into bytes (RFC 9112), on http-parser, which
 * has no I/O of its own. Pure: no descriptor, no clock; this is what the fuzz target feeds.
 *
 * Strict where two readers could disagree on where a request ends: lines end with CR LF, no folded
 * lines, no space before a colon, one Content-Length or one `Transfer-Encoding: chunked`, one Host.
 */
#ifndef VMM_CONTROL_HTTP_H
#define VMM_CONTROL_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/text.h"

enum {
	HTTP_MAX_TARGET = 1024,	 /* bytes of path and query, with the 0 at the end */
	HTTP_MAX_HEAD = 8 << 10, /* bytes of request line and headers together */
	HTTP_MAX_BODY = 64 << 10,
	/* Of a chunked body with its framing: chunks of one byte pass, endless extensions do not.
	 */
	HTTP_MAX_CHUNKED = 512 << 10,
};

enum http_method {
	HTTP_METHOD_GET,
	HTTP_METHOD_PUT,
	HTTP_METHOD_POST,
	HTTP_METHOD_DELETE,
	HTTP_METHOD_HEAD, /* the answer goes out without its body */
	HTTP_METHOD_OTHER
};

struct http_request {
	enum http_method method;
	/* Begins with '/', decoded of %XX, without the query; printable ASCII only, so that it may
	 * stand in a message. */
	char path[HTTP_MAX_TARGET];
	char query[HTTP_MAX_TARGET]; /* as sent, without the '?' */
	const char *body;	     /* 0-terminated, "" when there is none; owned by the parser */
	size_t body_len;
	bool keep_alive; /* never for HTTP/1.0 */
	bool upgrade;	 /* asks for `Upgrade: vmm-stream` */
	bool expects_continue;
};

struct http_parser_state; /* one per connection */

int http_new(struct http_parser_state **ret) must_check;
struct http_parser_state *http_free(struct http_parser_state *http);

enum http_progress {
	HTTP_MORE,     /* everything was taken, the request is not complete */
	HTTP_CONTINUE, /* as MORE; the client waits for "100 Continue", told once per request */
	HTTP_COMPLETE, /* http_request() is there; the rest of the bytes was not taken */
	HTTP_BAD,      /* http_status() says what to answer; the connection is to be closed */
};

/* Feeds bytes[n]; *ret_taken is how many were used. After COMPLETE, http_next() comes before more.
 */
enum http_progress http_feed(struct http_parser_state *http, const char *bytes, size_t n,
			     size_t *ret_taken) must_check;
/* The complete request; valid until http_next(). */
const struct http_request *http_request(const struct http_parser_state *http);
/* True when a request has begun, so that a silent client is a slow one and no idle one. */
bool http_is_midway(const struct http_parser_state *http);
void http_next(struct http_parser_state *http);
/* Of a bad one: 400, 413 (body too large), 414 (target too long), 417, 431 (head too large), 501,
 * 503 (out of memory), 505; and why, for people: a constant text. */
int http_status(const struct http_parser_state *http, const char **ret_why);

/* "HTTP/1.1 200 OK", Content-Type (unless NULL), Content-Length (len < 0: none, the body ends with
 * the connection), Connection, the extra lines (each ended by \r\n; may be NULL) and the empty
 * line. */
void http_head(struct str *out, int status, const char *content_type, long len, bool keep_alive,
	       const char *extra);
/* "Not Found" for 404. */
const char *http_reason(int status);

/* 10 for 'a' and 'A'; -1 for what is no hex digit. */
int http_hex_digit(char c);
/* s[n] without %XX into buf, 0-terminated. False when it does not fit, has a '%' without two hex
 * digits, or anything that is not printable ASCII. '+' stays '+'. */
bool http_decode(const char *s, size_t n, char *buf, size_t len) must_check;
/* The value of key in a query such as "a=1&b=2", decoded into buf; false when it is not there or
 * http_decode() refuses it. */
bool http_query(const char *query, const char *key, char *buf, size_t len);

#endif
