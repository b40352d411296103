/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request is read in two parts. The bytes of the head pass scan_byte(), which finds where it ends
 * and refuses what readers of HTTP are known to disagree on, and then http-parser, which does not
 * (Debian builds it with HTTP_PARSER_STRICT=0). The body is read here: so many bytes, or chunks.
 */
#include "control/http.h"

/* The library has an enum of that name, too. */
#define http_method http_library_method
#include <http_parser.h>
#undef http_method

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"
#include "control/http_chunked.h"

enum { FIELD_NAME_LEN = 32, FIELD_VALUE_LEN = 128 };

enum part { PART_HEAD, PART_SIZED_BODY, PART_CHUNKED_BODY, PART_COMPLETE, PART_BAD };

/* A header field on its way through the parser. What is longer than its buffer is counted only. */
struct field {
	char name[FIELD_NAME_LEN], value[FIELD_VALUE_LEN];
	size_t name_len, value_len;
	bool has_value;
};

struct http_parser_state {
	enum part part;
	struct http_request request;
	int status; /* of a bad one */
	const char *why;

	http_parser parser;
	size_t head_len, line_len; /* bytes so far */
	unsigned lines;		   /* that are not empty */
	bool after_cr, head_ended;

	char target[HTTP_MAX_TARGET];
	size_t target_len;
	struct field field;
	bool has_host, is_chunked, names_stream, told_continue;

	struct str body;
	size_t body_left; /* of one that is sized */
	struct chunked chunked;
};

/* The first reason is the one that is told. */
static int refuse(struct http_parser_state *http, int status, const char *why)
{
	if (http->part != PART_BAD) {
		http->part = PART_BAD;
		http->status = status;
		http->why = why;
	}
	return -1;
}

/* ---- the head, byte by byte ---- */

static int end_line(struct http_parser_state *http, char c)
{
	if (c != '\n')
		return refuse(http, 400, "a line of the head does not end with CR LF");
	http->head_ended = http->line_len == 0 && http->lines > 0;
	http->lines += http->line_len > 0;
	http->line_len = 0;
	http->after_cr = false;
	return 0;
}

static int scan_byte(struct http_parser_state *http, char c)
{
	unsigned char byte = (unsigned char)c;

	if (++http->head_len > HTTP_MAX_HEAD)
		return http->lines ? refuse(http, 431, "the header fields are too long together")
				   : refuse(http, 414, "the request line is too long");
	if (http->after_cr)
		return end_line(http, c);
	http->after_cr = c == '\r';
	if (http->after_cr)
		return 0;
	if ((byte < ' ' && c != '\t') || byte == 0x7f)
		return refuse(http, 400, "there is a control character in the head");
	if (http->line_len++ == 0 && (c == ' ' || c == '\t'))
		return refuse(http, 400, "a line of the head begins with white space");
	return 0;
}

/* How many of bytes[n] belong to the head and are sound. */
static size_t scan_head(struct http_parser_state *http, const char *bytes, size_t n)
{
	size_t at = 0;

	while (at < n && !http->head_ended && scan_byte(http, bytes[at]) == 0)
		at++;
	return at;
}

/* ---- header fields ---- */

static void append(char *buf, size_t cap, size_t *len, const char *at, size_t n)
{
	if (*len < cap)
		memcpy(buf + *len, at, MIN(n, cap - *len));
	*len += n;
}

static int note_expect(struct http_parser_state *http, const char *value)
{
	if (strcasecmp(value, "100-continue") != 0)
		return refuse(http, 417, "\"Expect\" may say 100-continue only");
	http->request.expects_continue = true;
	return 0;
}

static int note_host(struct http_parser_state *http, const char *value)
{
	(void)value; /* there is one host on this socket, whatever it is called */
	if (http->has_host)
		return refuse(http, 400, "there is more than one \"Host\"");
	http->has_host = true;
	return 0;
}

static int note_transfer_encoding(struct http_parser_state *http, const char *value)
{
	if (http->is_chunked || strcasecmp(value, "chunked") != 0)
		return refuse(http, 501, "\"Transfer-Encoding\" may say chunked only, and once");
	http->is_chunked = true;
	return 0;
}

static int note_upgrade(struct http_parser_state *http, const char *value)
{
	http->names_stream |= strcasecmp(value, "vmm-stream") == 0;
	return 0;
}

/* Those that are not here mean nothing to us, or the library sees to them. */
static const struct {
	const char *name;
	int (*note)(struct http_parser_state *http, const char *value);
} known_fields[] = {
	{"Expect", note_expect},
	{"Host", note_host},
	{"Transfer-Encoding", note_transfer_encoding},
	{"Upgrade", note_upgrade},
};

/* No known value is as long as the buffer: a longer one counts as empty, which is none of them. */
static const char *field_value(struct field *field)
{
	size_t len = field->value_len < FIELD_VALUE_LEN ? field->value_len : 0;

	while (len > 0 && (field->value[len - 1] == ' ' || field->value[len - 1] == '\t'))
		len--;
	field->value[len] = '\0';
	return field->value;
}

static int finish_field(struct http_parser_state *http)
{
	struct field field = http->field;

	http->field = (struct field){0};
	if (field.name_len == 0 || field.name_len >= FIELD_NAME_LEN)
		return 0;
	field.name[field.name_len] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(known_fields); i++)
		if (strcasecmp(known_fields[i].name, field.name) == 0)
			return known_fields[i].note(http, field_value(&field));
	return 0;
}

/* RFC 9110, 5.6.2. */
static bool is_token(const char *at, size_t n)
{
	static const char tokens[] = "!#$%&'*+-.^_`|~0123456789"
				     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	for (size_t i = 0; i < n; i++)
		if (!at[i] || !strchr(tokens, at[i]))
			return false;
	return true;
}

static int on_header_field(http_parser *parser, const char *at, size_t n)
{
	struct http_parser_state *http = parser->data;

	if (http->field.has_value && finish_field(http) < 0)
		return -1;
	if (!is_token(at, n))
		return refuse(http, 400, "the name of a header field has a character of no name");
	append(http->field.name, FIELD_NAME_LEN, &http->field.name_len, at, n);
	return 0;
}

static int on_header_value(http_parser *parser, const char *at, size_t n)
{
	struct http_parser_state *http = parser->data;

	http->field.has_value = true;
	append(http->field.value, FIELD_VALUE_LEN, &http->field.value_len, at, n);
	return 0;
}

/* ---- the request line ---- */

static int on_url(http_parser *parser, const char *at, size_t n)
{
	struct http_parser_state *http = parser->data;

	append(http->target, HTTP_MAX_TARGET, &http->target_len, at, n);
	if (http->target_len >= HTTP_MAX_TARGET)
		return refuse(http, 414, "the path and the query are too long");
	return 0;
}

static enum http_method method_of(const http_parser *parser)
{
	switch (parser->method) {
	case HTTP_GET:
		return HTTP_METHOD_GET;
	case HTTP_PUT:
		return HTTP_METHOD_PUT;
	case HTTP_POST:
		return HTTP_METHOD_POST;
	case HTTP_DELETE:
		return HTTP_METHOD_DELETE;
	case HTTP_HEAD:
		return HTTP_METHOD_HEAD;
	default:
		return HTTP_METHOD_OTHER;
	}
}

/* "http://host/path?query" means the same as "/path?query" (RFC 9112, 3.2.2). */
static const char *skip_authority(const char *target)
{
	static const char scheme[] = "http://";

	if (strncasecmp(target, scheme, sizeof(scheme) - 1) != 0)
		return target;
	target += sizeof(scheme) - 1;
	return target + strcspn(target, "/?#");
}

static int split_target(struct http_parser_state *http)
{
	const char *path = skip_authority(http->target);
	size_t path_len = strcspn(path, "?");

	if (path[0] != '/' || strchr(path, '#'))
		return refuse(http, 400, "what is asked for is no path");
	if (!http_decode(path, path_len, http->request.path, sizeof(http->request.path)))
		return refuse(http, 400, "the path has a bad %XX or a character of no path");
	if (path[path_len] == '?')
		strcpy(http->request.query, path + path_len + 1);
	return 0;
}

/* ---- the end of the head ---- */

static int check_version(struct http_parser_state *http)
{
	const http_parser *parser = &http->parser;

	if (parser->http_major != 1)
		return refuse(http, 505, "the version of HTTP must be 1.1 or 1.0");
	if (parser->http_minor > 0)
		return http->has_host ? 0 : refuse(http, 400, "there is no \"Host\"");
	if (http->is_chunked)
		return refuse(http, 400, "HTTP/1.0 has no \"Transfer-Encoding\"");
	return 0;
}

static int begin_body(struct http_parser_state *http)
{
	const http_parser *parser = &http->parser;
	bool is_sized = parser->flags & F_CONTENTLENGTH;

	/* The library refuses it before; that is not left to how it was built. */
	if (http->is_chunked && is_sized)
		return refuse(http, 400, "\"Content-Length\" and \"Transfer-Encoding\" at once");
	if (is_sized && parser->content_length > HTTP_MAX_BODY)
		return refuse(http, 413, "the body is too large");
	http->body_left = is_sized ? (size_t)parser->content_length : 0;
	if (http->is_chunked)
		http->part = PART_CHUNKED_BODY;
	else
		http->part = http->body_left ? PART_SIZED_BODY : PART_COMPLETE;
	return 0;
}

static int on_headers_complete(http_parser *parser)
{
	struct http_parser_state *http = parser->data;
	struct http_request *request = &http->request;
	bool is_modern = parser->http_minor > 0;

	if (finish_field(http) < 0 || check_version(http) < 0 || split_target(http) < 0)
		return -1;
	request->method = method_of(parser);
	request->keep_alive = is_modern && http_should_keep_alive(parser);
	request->upgrade =
		is_modern && http->names_stream && (parser->flags & F_CONNECTION_UPGRADE);
	request->expects_continue &= is_modern;
	/* 1: the library skips the body. */
	return begin_body(http) < 0 ? -1 : 1;
}

static const http_parser_settings settings = {
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers_complete,
};

/* ---- the parts of a request ---- */

static int status_of(enum http_errno error)
{
	if (error == HPE_INVALID_METHOD)
		return 501;
	return error == HPE_INVALID_VERSION ? 505 : 400;
}

static size_t feed_head(struct http_parser_state *http, const char *bytes, size_t n)
{
	size_t sound = scan_head(http, bytes, n), used;
	enum http_errno error;

	if (http->part == PART_BAD)
		return sound;
	used = http_parser_execute(&http->parser, &settings, bytes, sound);
	error = HTTP_PARSER_ERRNO(&http->parser);
	if (error != HPE_OK)
		(void)refuse(http, status_of(error), http_errno_description(error));
	else if (used != sound || http->head_ended != (http->part != PART_HEAD))
		(void)refuse(http, 400, "the head has no clear end");
	return sound;
}

static size_t feed_sized_body(struct http_parser_state *http, const char *bytes, size_t n)
{
	size_t taken = MIN(n, http->body_left);

	str_addn(&http->body, bytes, taken);
	http->body_left -= taken;
	if (http->body_left == 0)
		http->part = PART_COMPLETE;
	return taken;
}

static size_t feed_chunked_body(struct http_parser_state *http, const char *bytes, size_t n)
{
	size_t taken;
	int r = chunked_feed(&http->chunked, bytes, n, &http->body, &taken);

	if (r < 0)
		(void)(r == -E2BIG ? refuse(http, 413, "the body is too large")
				   : refuse(http, 400, "the body is not chunked as it should be"));
	else if (http->chunked.state == CHUNKED_END)
		http->part = PART_COMPLETE;
	return taken;
}

static size_t feed_part(struct http_parser_state *http, const char *bytes, size_t n)
{
	switch (http->part) {
	case PART_HEAD:
		return feed_head(http, bytes, n);
	case PART_SIZED_BODY:
		return feed_sized_body(http, bytes, n);
	case PART_CHUNKED_BODY:
		return feed_chunked_body(http, bytes, n);
	case PART_COMPLETE:
	case PART_BAD:
		break;
	}
	return 0;
}

static enum http_progress complete(struct http_parser_state *http)
{
	str_add(&http->body, "");
	if (http->body.failed) {
		(void)refuse(http, 503, "out of memory");
		return HTTP_BAD;
	}
	http->request.body = http->body.buf;
	http->request.body_len = http->body.len;
	return HTTP_COMPLETE;
}

/* Only a client that has sent nothing of its body yet waits for leave to. */
static enum http_progress more(struct http_parser_state *http)
{
	bool waits =
		http->request.expects_continue && http->body.len == 0 && http->chunked.wire == 0;

	if (http->part == PART_HEAD || !waits || http->told_continue)
		return HTTP_MORE;
	http->told_continue = true;
	return HTTP_CONTINUE;
}

enum http_progress http_feed(struct http_parser_state *http, const char *bytes, size_t n,
			     size_t *ret_taken)
{
	size_t at = 0;

	while (at < n && http->part < PART_COMPLETE)
		at += feed_part(http, bytes + at, n - at);
	*ret_taken = at;
	if (http->part == PART_BAD)
		return HTTP_BAD;
	return http->part == PART_COMPLETE ? complete(http) : more(http);
}

/* ---- life ---- */

void http_next(struct http_parser_state *http)
{
	str_done(&http->body);
	memset(http, 0, sizeof(*http));
	http_parser_init(&http->parser, HTTP_REQUEST);
	http->parser.data = http;
}

int http_new(struct http_parser_state **ret)
{
	struct http_parser_state *http = calloc(1, sizeof(*http));

	if (!http)
		return -ENOMEM;
	http_next(http);
	*ret = http;
	return 0;
}

struct http_parser_state *http_free(struct http_parser_state *http)
{
	if (!http)
		return NULL;
	str_done(&http->body);
	free(http);
	return NULL;
}

const struct http_request *http_request(const struct http_parser_state *http)
{
	return &http->request;
}

bool http_is_midway(const struct http_parser_state *http)
{
	return http->part != PART_HEAD ? http->part < PART_COMPLETE
				       : http->lines > 0 || http->line_len > 0;
}

int http_status(const struct http_parser_state *http, const char **ret_why)
{
	*ret_why = http->why;
	return http->status;
}
