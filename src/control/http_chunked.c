/* SPDX-License-Identifier: Apache-2.0 */
#include "control/http_chunked.h"

#include <errno.h>

#include "base/checked.h"
#include "control/http.h"

/* Bounded before each digit, so that it never overflows. */
static int add_digit(struct chunked *chunked, int digit, size_t body_len)
{
	chunked->left = chunked->left * 16 + (size_t)digit;
	chunked->state = CHUNKED_SIZE;
	return chunked->left > HTTP_MAX_BODY - body_len ? -E2BIG : 0;
}

static int take_size(struct chunked *chunked, char c, size_t body_len)
{
	int digit = http_hex_digit(c);

	if (digit >= 0)
		return add_digit(chunked, digit, body_len);
	if (chunked->state == CHUNKED_SIZE_START)
		return -EBADMSG;
	if (c == '\r')
		chunked->state = CHUNKED_SIZE_LF;
	else if (c == ';' || c == ' ' || c == '\t')
		chunked->state = CHUNKED_EXTENSION;
	else
		return -EBADMSG;
	return 0;
}

/* The rest of a line that says nothing to us. */
static int skip_text(struct chunked *chunked, char c, enum chunked_state at_cr)
{
	unsigned char byte = (unsigned char)c;

	if (c == '\r')
		chunked->state = at_cr;
	else if ((byte < ' ' && c != '\t') || byte == 0x7f)
		return -EBADMSG;
	return 0;
}

static int expect(struct chunked *chunked, char c, char wanted, enum chunked_state next)
{
	chunked->state = next;
	return c == wanted ? 0 : -EBADMSG;
}

static int take_framing(struct chunked *chunked, char c, size_t body_len)
{
	switch (chunked->state) {
	case CHUNKED_SIZE_START:
	case CHUNKED_SIZE:
		return take_size(chunked, c, body_len);
	case CHUNKED_EXTENSION:
		return skip_text(chunked, c, CHUNKED_SIZE_LF);
	case CHUNKED_SIZE_LF:
		return expect(chunked, c, '\n',
			      chunked->left ? CHUNKED_DATA : CHUNKED_TRAILER_START);
	case CHUNKED_DATA_CR:
		return expect(chunked, c, '\r', CHUNKED_DATA_LF);
	case CHUNKED_DATA_LF:
		return expect(chunked, c, '\n', CHUNKED_SIZE_START);
	case CHUNKED_TRAILER_START:
		chunked->state = CHUNKED_TRAILER;
		return skip_text(chunked, c, CHUNKED_END_LF);
	case CHUNKED_TRAILER:
		return skip_text(chunked, c, CHUNKED_TRAILER_LF);
	case CHUNKED_TRAILER_LF:
		return expect(chunked, c, '\n', CHUNKED_TRAILER_START);
	case CHUNKED_END_LF:
		return expect(chunked, c, '\n', CHUNKED_END);
	case CHUNKED_DATA:
	case CHUNKED_END:
		break;
	}
	return -EBADMSG;
}

static size_t take_data(struct chunked *chunked, const char *bytes, size_t n, struct str *body)
{
	size_t taken = MIN(n, chunked->left);

	str_addn(body, bytes, taken);
	chunked->left -= taken;
	if (chunked->left == 0)
		chunked->state = CHUNKED_DATA_CR;
	return taken;
}

int chunked_feed(struct chunked *chunked, const char *bytes, size_t n, struct str *body,
		 size_t *ret_taken)
{
	size_t at = 0;
	int r = 0;

	n = MIN(n, HTTP_MAX_CHUNKED + 1 - chunked->wire);
	while (r == 0 && at < n && chunked->state != CHUNKED_END) {
		if (chunked->state == CHUNKED_DATA)
			at += take_data(chunked, bytes + at, n - at, body);
		else
			r = take_framing(chunked, bytes[at++], body->len);
	}
	chunked->wire += at;
	*ret_taken = at;
	if (r == 0 && chunked->wire > HTTP_MAX_CHUNKED)
		return -E2BIG;
	return r;
}
