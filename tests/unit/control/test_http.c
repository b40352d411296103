/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "control/http.h"

#define HOST	  "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static struct http_parser_state *http;

static void set_up(void)
{
	cr_assert_eq(http_new(&http), 0);
}

static void tear_down(void)
{
	http = http_free(http);
}

TestSuite(http, .init = set_up, .fini = tear_down, .timeout = 30);

/* Feeds text in pieces until something other than MORE comes out. */
static enum http_progress feed_pieces(const char *text, size_t n, size_t piece, size_t *ret_taken)
{
	enum http_progress progress = HTTP_MORE;
	size_t at = 0, taken;

	while (progress == HTTP_MORE && at < n) {
		progress = http_feed(http, text + at, MIN(piece, n - at), &taken);
		at += taken;
	}
	*ret_taken = at;
	return progress;
}

static const struct http_request *complete(const char *text)
{
	size_t taken;

	cr_assert_eq(feed_pieces(text, strlen(text), SIZE_MAX, &taken), HTTP_COMPLETE, "%s", text);
	cr_assert_eq(taken, strlen(text), "%zu of %s", taken, text);
	return http_request(http);
}

static void assert_more(const char *text)
{
	size_t taken;

	cr_assert_eq(http_feed(http, text, strlen(text), &taken), HTTP_MORE, "%s", text);
	cr_assert_eq(taken, strlen(text));
}

/* In one piece, and byte by byte. */
static void assert_refused(const char *text, int status)
{
	static const size_t pieces[] = {SIZE_MAX, 1};
	const char *why = NULL;
	size_t taken;

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		cr_assert_eq(feed_pieces(text, strlen(text), pieces[i], &taken), HTTP_BAD, "%s",
			     text);
		cr_assert_eq(http_status(http, &why), status, "%d (%s) for %s",
			     http_status(http, &why), why, text);
		cr_assert(why && *why);
		http_next(http);
	}
}

/* ---- what is asked for ---- */

Test(http, request_is_taken_apart)
{
	const struct http_request *request = complete(GET("/v1/events?since=1&x=%41"));

	cr_assert_eq(request->method, HTTP_METHOD_GET);
	cr_assert_str_eq(request->path, "/v1/events");
	cr_assert_str_eq(request->query, "since=1&x=%41");
	cr_assert_str_eq(request->body, "");
	cr_assert_eq(request->body_len, 0);
	cr_assert(request->keep_alive);
	cr_assert_not(request->upgrade);
	cr_assert_not(request->expects_continue);
}

Test(http, methods_are_told_apart)
{
	static const struct {
		const char *text;
		enum http_method method;
	} rows[] = {
		{"GET / HTTP/1.1\r\n" HOST "\r\n", HTTP_METHOD_GET},
		{"PUT / HTTP/1.1\r\n" HOST "\r\n", HTTP_METHOD_PUT},
		{"POST / HTTP/1.1\r\n" HOST "\r\n", HTTP_METHOD_POST},
		{"DELETE / HTTP/1.1\r\n" HOST "\r\n", HTTP_METHOD_DELETE},
		{"HEAD / HTTP/1.1\r\n" HOST "\r\n", HTTP_METHOD_HEAD},
		{"OPTIONS / HTTP/1.1\r\n" HOST "\r\n", HTTP_METHOD_OTHER},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cr_assert_eq(complete(rows[i].text)->method, rows[i].method);
		http_next(http);
	}
	assert_refused("FROBNICATE / HTTP/1.1\r\n" HOST "\r\n", 501);
	assert_refused("get / HTTP/1.1\r\n" HOST "\r\n", 501);
}

Test(http, every_cut_gives_the_same_request)
{
	static const char text[] = "POST /v1/devices/serial0/send HTTP/1.1\r\n" HOST
				   "Content-Length: 5\r\nConnection: close\r\n\r\nhelloGET";
	size_t n = strlen(text), taken;

	for (size_t piece = 1; piece <= n; piece++) {
		cr_assert_eq(feed_pieces(text, n, piece, &taken), HTTP_COMPLETE);
		cr_assert_eq(taken, n - 3);
		cr_assert_str_eq(http_request(http)->path, "/v1/devices/serial0/send");
		cr_assert_str_eq(http_request(http)->body, "hello");
		cr_assert_eq(http_request(http)->body_len, 5);
		cr_assert_not(http_request(http)->keep_alive);
		http_next(http);
	}
}

Test(http, pipelined_requests_come_out_one_by_one)
{
	static const char text[] =
		GET("/a") "POST /b HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
			  "2\r\nhi\r\n0\r\nT: t\r\n\r\n" GET("/c");
	static const char *const paths[] = {"/a", "/b", "/c"}, *const bodies[] = {"", "hi", ""};
	size_t at = 0, taken;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		cr_assert_eq(http_feed(http, text + at, strlen(text) - at, &taken), HTTP_COMPLETE);
		cr_assert_str_eq(http_request(http)->path, paths[i]);
		cr_assert_str_eq(http_request(http)->body, bodies[i]);
		at += taken;
		http_next(http);
	}
	cr_assert_eq(at, strlen(text));
}

Test(http, nothing_is_taken_behind_a_complete_request)
{
	size_t taken = 1;

	complete(GET("/a"));
	cr_assert_eq(http_feed(http, "GET", 3, &taken), HTTP_COMPLETE);
	cr_assert_eq(taken, 0);
}

Test(http, empty_lines_before_a_request_are_read_over)
{
	size_t taken;

	cr_assert_eq(http_feed(http, "\r\n\r\n", 4, &taken), HTTP_MORE);
	cr_assert_not(http_is_midway(http));
	complete(GET("/a"));
}

Test(http, midway_is_between_the_first_byte_and_the_last)
{
	size_t taken;

	cr_assert_not(http_is_midway(http));
	cr_assert_eq(http_feed(http, "G", 1, &taken), HTTP_MORE);
	cr_assert(http_is_midway(http));
	complete("ET / HTTP/1.1\r\n" HOST "\r\n");
	cr_assert_not(http_is_midway(http));
	http_next(http);
	assert_more("PUT / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n");
	cr_assert(http_is_midway(http));
}

/* ---- the path ---- */

Test(http, path_is_decoded)
{
	cr_assert_str_eq(complete(GET("/v1/%64evices%2Fx"))->path, "/v1/devices/x");
}

Test(http, absolute_form_means_the_same)
{
	const struct http_request *request = complete(GET("http://user@host:80/v1?a=/b"));

	cr_assert_str_eq(request->path, "/v1");
	cr_assert_str_eq(request->query, "a=/b");
}

Test(http, bad_paths_are_refused)
{
	assert_refused(GET("/%00"), 400);
	assert_refused(GET("/a%00b"), 400);
	assert_refused(GET("/%2"), 400);
	assert_refused(GET("/%zz"), 400);
	assert_refused(GET("/%0d%0a"), 400);
	assert_refused(GET("/\x80"), 400);
	assert_refused(GET("/%80"), 400);
	assert_refused(GET("/a#b"), 400);
	assert_refused(GET("/a?b#c"), 400);
	assert_refused(GET("http://host"), 400);
	assert_refused(GET("http://host?q=/"), 400);
	assert_refused("OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 400);
	assert_refused("CONNECT host:1 HTTP/1.1\r\n" HOST "\r\n", 400);
	assert_refused("GET  HTTP/1.1\r\n" HOST "\r\n", 400);
}

Test(http, raw_nul_is_refused)
{
	static const char text[] = "GET /a\0b HTTP/1.1\r\n" HOST "\r\n";
	size_t taken;

	cr_assert_eq(http_feed(http, text, sizeof(text) - 1, &taken), HTTP_BAD);
}

static char *long_target(size_t len)
{
	struct str text = {0};

	str_add(&text, "GET /");
	for (size_t i = 1; i < len; i++)
		str_add(&text, i == len / 2 ? "?" : "a");
	str_add(&text, " HTTP/1.1\r\n" HOST "\r\n");
	return str_steal(&text);
}

Test(http, target_has_a_limit)
{
	char *fits = long_target(HTTP_MAX_TARGET - 1), *over = long_target(HTTP_MAX_TARGET);
	char *far_over = long_target(HTTP_MAX_HEAD + 1);

	cr_assert_eq(strlen(complete(fits)->query), HTTP_MAX_TARGET - 1 - HTTP_MAX_TARGET / 2);
	http_next(http);
	assert_refused(over, 414);
	assert_refused(far_over, 414);
	free(fits);
	free(over);
	free(far_over);
}

/* ---- the head ---- */

/* A sound request whose head has that many bytes. */
static char *long_head(size_t len)
{
	struct str text = {0};

	str_add(&text, "GET / HTTP/1.1\r\n" HOST "Long: ");
	while (text.len < len - 4)
		str_add(&text, "x");
	str_add(&text, "\r\n\r\n");
	return str_steal(&text);
}

Test(http, head_has_a_limit)
{
	char *fits = long_head(HTTP_MAX_HEAD), *over = long_head(HTTP_MAX_HEAD + 1);

	complete(fits);
	http_next(http);
	assert_refused(over, 431);
	free(fits);
	free(over);
}

Test(http, endless_empty_lines_are_ended)
{
	enum http_progress progress = HTTP_MORE;
	size_t taken, total = 0;

	while (progress == HTTP_MORE) {
		progress = http_feed(http, "\r\n", 2, &taken);
		total += taken;
		cr_assert_leq(total, HTTP_MAX_HEAD + 1);
	}
	cr_assert_eq(progress, HTTP_BAD);
}

Test(http, lines_end_with_cr_lf)
{
	assert_refused("GET / HTTP/1.1\nHost: x\n\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: x\r\n\rX", 400);
}

Test(http, folded_lines_are_refused)
{
	assert_refused("GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n" HOST "A: b\r\n\tc\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400);
}

Test(http, names_of_fields_are_tokens)
{
	assert_refused("POST / HTTP/1.1\r\n" HOST "Content-Length : 1\r\n\r\nx", 400);
	assert_refused("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding\t: chunked\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n" HOST "A b: c\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n" HOST ": c\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n" HOST "A\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n" HOST "\xc3\xa4: c\r\n\r\n", 400);
}

Test(http, one_host_is_needed)
{
	assert_refused("GET / HTTP/1.1\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400);
	complete("GET / HTTP/1.1\r\nhOST:\r\n\r\n");
}

Test(http, other_versions_are_refused)
{
	assert_refused("GET / HTTP/2.0\r\n" HOST "\r\n", 505);
	assert_refused("GET / HTTP/0.9\r\n" HOST "\r\n", 505);
	assert_refused("GET /\r\n" HOST "\r\n", 505);
	assert_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501);
	assert_refused("\x16\x03\x01\x02", 400); /* TLS */
}

Test(http, version_1_0_is_closed_afterwards)
{
	const struct http_request *request = complete(
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n");

	cr_assert_not(request->keep_alive);
	cr_assert_not(request->expects_continue);
}

/* ---- where a body ends ---- */

Test(http, ambiguous_lengths_are_refused)
{
	static const char *const fields[] = {
		"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
		"Content-Length: 4\r\nContent-Length: 4\r\n",
		"Content-Length: 4\r\nContent-Length: 5\r\n",
		"Content-Length: 4, 4\r\n",
		"Content-Length:\r\n",
		"Content-Length: -4\r\n",
		"Content-Length: +4\r\n",
		"Content-Length: 0x4\r\n",
		"Content-Length: 4 4\r\n",
		"Content-Length: 18446744073709551620\r\n",
	};
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		(void)snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n" HOST "%s\r\n0\r\n\r\n",
			       fields[i]);
		assert_refused(text, 400);
	}
	assert_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
}

Test(http, only_chunked_is_a_transfer_coding)
{
	static const char *const values[] = {
		"Transfer-Encoding: gzip, chunked\r\n",
		"Transfer-Encoding: chunked, gzip\r\n",
		"Transfer-Encoding: xchunked\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
		"Transfer-Encoding: identity\r\n",
		"Transfer-Encoding:\r\n",
		"Transfer-Encoding: chunked;q=1\r\n",
	};
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		(void)snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n" HOST "%s\r\n0\r\n\r\n",
			       values[i]);
		assert_refused(text, 501);
	}
	complete("POST / HTTP/1.1\r\n" HOST "TRANSFER-ENCODING: \tChunked \r\n\r\n0\r\n\r\n");
}

Test(http, chunked_framing_is_checked)
{
	assert_refused("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
		       "5\r\nhelloXX0\r\n\r\n",
		       400);
	assert_refused("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n10001\r\n",
		       413);
}

Test(http, trailer_fields_change_nothing)
{
	const struct http_request *request =
		complete("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n"
			 "Connection: close, Upgrade\r\nUpgrade: vmm-stream\r\nHost: x\r\n"
			 "Content-Length: 5\r\n\r\n");

	cr_assert(request->keep_alive);
	cr_assert_not(request->upgrade);
}

Test(http, largest_body_passes_and_one_byte_more_does_not)
{
	static char body[HTTP_MAX_BODY];
	size_t taken;

	memset(body, 'b', sizeof(body));
	assert_more("PUT / HTTP/1.1\r\n" HOST "Content-Length: 65536\r\n\r\n");
	cr_assert_eq(http_feed(http, body, sizeof(body), &taken), HTTP_COMPLETE);
	cr_assert_eq(http_request(http)->body_len, HTTP_MAX_BODY);
	cr_assert_eq(http_request(http)->body[HTTP_MAX_BODY], '\0');
	http_next(http);
	assert_refused("PUT / HTTP/1.1\r\n" HOST "Content-Length: 65537\r\n\r\n", 413);
}

Test(http, body_may_have_nul)
{
	static const char text[] = "PUT / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na\0b";
	size_t taken;

	cr_assert_eq(http_feed(http, text, sizeof(text) - 1, &taken), HTTP_COMPLETE);
	cr_assert_eq(http_request(http)->body_len, 3);
	cr_assert_arr_eq(http_request(http)->body, "a\0b", 4);
}

/* ---- Upgrade, Expect ---- */

Test(http, upgrade_takes_both_fields)
{
	cr_assert(complete("GET / HTTP/1.1\r\n" HOST
			   "Connection: keep-alive, Upgrade\r\nUpgrade: VMM-stream\r\n\r\n")
			  ->upgrade);
	http_next(http);
	cr_assert_not(complete("GET / HTTP/1.1\r\n" HOST "Upgrade: vmm-stream\r\n\r\n")->upgrade);
	http_next(http);
	cr_assert_not(complete("GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\n\r\n")->upgrade);
	http_next(http);
	cr_assert_not(
		complete("GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
			->upgrade);
	http_next(http);
	cr_assert_not(
		complete("GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: vmm-stream\r\n\r\n")
			->upgrade);
}

Test(http, bytes_behind_an_upgrade_are_left_alone)
{
	static const char text[] =
		"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: vmm-stream\r\n\r\nraw\n";
	size_t taken;

	cr_assert_eq(http_feed(http, text, strlen(text), &taken), HTTP_COMPLETE);
	cr_assert_eq(taken, strlen(text) - 4);
}

Test(http, continue_is_told_once_and_only_to_one_that_waits)
{
	static const char head[] =
		"PUT / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
	size_t taken;

	cr_assert_eq(http_feed(http, head, strlen(head), &taken), HTTP_CONTINUE);
	cr_assert_eq(taken, strlen(head));
	cr_assert_eq(http_feed(http, "", 0, &taken), HTTP_MORE);
	cr_assert_eq(http_feed(http, "a", 1, &taken), HTTP_MORE);
	cr_assert_eq(http_feed(http, "b", 1, &taken), HTTP_COMPLETE);
	cr_assert(http_request(http)->expects_continue);
	http_next(http);
	assert_more("PUT / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\na");
}

Test(http, refused_body_is_not_asked_for)
{
	assert_refused("PUT / HTTP/1.1\r\n" HOST
		       "Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n",
		       413);
	assert_refused("PUT / HTTP/1.1\r\n" HOST "Expect: cake\r\n\r\n", 417);
}

Test(http, fields_too_long_to_be_ours_are_read_over)
{
	static const char text[] =
		"GET / HTTP/1.1\r\n" HOST "Upgrade: vmm-stream                                 "
		"                                                                                "
		"                            \r\nConnection: Upgrade\r\n"
		"Transfer-Encoding-That-Is-None-At-All-And-Long: chunked\r\n\r\n";

	cr_assert_not(complete(text)->upgrade);
}

Test(http, bad_one_stays_bad)
{
	size_t taken = 1;

	cr_assert_eq(http_feed(http, "\x01", 1, &taken), HTTP_BAD);
	cr_assert_eq(http_feed(http, GET("/"), 10, &taken), HTTP_BAD);
	cr_assert_eq(taken, 0);
}
