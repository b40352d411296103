/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "control/http.h"
#include "control/http_chunked.h"

/* Fed in pieces of that size; *ret_taken counts them all. */
static int feed(const char *text, size_t piece, struct str *body, size_t *ret_taken)
{
	struct chunked chunked = {0};
	size_t n = strlen(text), at = 0, taken;
	int r = 0;

	while (r == 0 && at < n && chunked.state != CHUNKED_END) {
		r = chunked_feed(&chunked, text + at, MIN(piece, n - at), body, &taken);
		at += taken;
	}
	*ret_taken = at;
	if (r == 0 && chunked.state != CHUNKED_END)
		return -EAGAIN;
	return r;
}

static void assert_body(const char *text, const char *body_text, size_t used)
{
	for (size_t piece = 1; piece <= strlen(text); piece++) {
		struct str body = {0};
		size_t taken;

		str_add(&body, "");
		cr_assert_eq(feed(text, piece, &body, &taken), 0, "%s", text);
		cr_assert_str_eq(body.buf, body_text);
		cr_assert_eq(taken, used, "%zu of %s in pieces of %zu", taken, text, piece);
		str_done(&body);
	}
}

static void assert_error(const char *text, int error)
{
	for (size_t piece = 1; piece <= strlen(text); piece++) {
		struct str body = {0};
		size_t taken;
		int r = feed(text, piece, &body, &taken);

		cr_assert_eq(r, error, "%d for %s in pieces of %zu", r, text, piece);
		str_done(&body);
	}
}

Test(http_chunked, chunks_are_put_together_however_they_are_cut)
{
	assert_body("5\r\nhello\r\n0\r\n\r\nGET", "hello", 15);
	assert_body("5\r\nhello\r\n00a\r\n, chunked!\r\n000\r\n\r\n", "hello, chunked!", 34);
	assert_body("0\r\n\r\n0\r\n\r\n", "", 5);
	assert_body("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", 12);
}

Test(http_chunked, extensions_and_trailers_are_read_over)
{
	assert_body("1;a=\"b\"\r\nx\r\n0 ;c\r\nTrailer: t\r\nOther: \x80\r\n\r\n", "x", 42);
}

Test(http_chunked, line_ends_are_checked)
{
	assert_error("5\r\nhelloXX0\r\n\r\n", -EBADMSG);
	assert_error("5\r\nhello\rX0\r\n\r\n", -EBADMSG);
	assert_error("5\rXhello\r\n0\r\n\r\n", -EBADMSG);
	assert_error("5\nhello\n0\n\n", -EBADMSG);
	assert_error("0\r\n\rX", -EBADMSG);
	assert_error("0\r\nTrailer: t\n\n", -EBADMSG);
	assert_error("1;ext\nx\r\n0\r\n\r\n", -EBADMSG);
}

Test(http_chunked, size_is_hexadecimal_and_nothing_else)
{
	assert_error("\r\n\r\n", -EBADMSG);
	assert_error(" 5\r\nhello", -EBADMSG);
	assert_error("-5\r\nhello", -EBADMSG);
	assert_error("+5\r\nhello", -EBADMSG);
	assert_error("0x5\r\nhello", -EBADMSG);
	assert_error("g\r\nhello", -EBADMSG);
	assert_error("5_\r\nhello", -EBADMSG);
}

Test(http_chunked, size_is_bounded_and_does_not_wrap)
{
	assert_error("10001\r\n", -E2BIG);
	assert_error("ffffffffffffffff\r\n", -E2BIG);
	assert_error("10000000000000005\r\nhello\r\n0\r\n\r\n", -E2BIG);
	/* Together they are one too many. */
	assert_error("1\r\nx\r\n10000\r\n", -E2BIG);
}

Test(http_chunked, largest_body_passes_in_chunks_of_one_byte)
{
	struct str wire = {0}, body = {0};
	size_t taken;

	for (unsigned i = 0; i < HTTP_MAX_BODY; i++)
		str_add(&wire, "1\r\nx\r\n");
	str_add(&wire, "0\r\n\r\n");
	cr_assert_eq(feed(wire.buf, 4096, &body, &taken), 0);
	cr_assert_eq(body.len, HTTP_MAX_BODY);
	str_done(&wire);
	str_done(&body);
}

Test(http_chunked, endless_extension_and_endless_trailer_are_ended)
{
	static const char *const begins[] = {"1;", "0\r\nTrailer: ", "0000"};

	for (size_t i = 0; i < ARRAY_SIZE(begins); i++) {
		struct str wire = {0}, body = {0};
		size_t taken;

		str_add(&wire, begins[i]);
		while (wire.len < 2 * HTTP_MAX_CHUNKED)
			str_add(&wire, "0");
		cr_assert_eq(feed(wire.buf, 4096, &body, &taken), -E2BIG);
		cr_assert_leq(taken, HTTP_MAX_CHUNKED + 1);
		str_done(&wire);
		str_done(&body);
	}
}
