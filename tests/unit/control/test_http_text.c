/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "control/http.h"

static char buf[16];

static bool decode(const char *s)
{
	return http_decode(s, strlen(s), buf, sizeof(buf));
}

Test(http_text, head_of_an_answer_with_a_length)
{
	struct str out = {0};

	http_head(&out, 405, "application/json", 12, true, "Allow: GET\r\n");
	cr_assert_str_eq(out.buf, "HTTP/1.1 405 Method Not Allowed\r\n"
				  "Content-Type: application/json\r\n"
				  "Content-Length: 12\r\n"
				  "Connection: keep-alive\r\n"
				  "Allow: GET\r\n"
				  "\r\n");
	str_done(&out);
}

Test(http_text, head_of_an_answer_that_ends_with_the_connection)
{
	struct str out = {0};

	http_head(&out, 200, NULL, -1, false, NULL);
	cr_assert_str_eq(out.buf, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	str_done(&out);
}

Test(http_text, head_that_switches_says_upgrade)
{
	struct str out = {0};

	http_head(&out, 101, NULL, -1, true, "Upgrade: vmm-stream\r\n");
	cr_assert_str_eq(out.buf, "HTTP/1.1 101 Switching Protocols\r\n"
				  "Connection: Upgrade\r\nUpgrade: vmm-stream\r\n\r\n");
	str_done(&out);
}

Test(http_text, unknown_status_has_a_reason)
{
	cr_assert_str_eq(http_reason(404), "Not Found");
	cr_assert_str_eq(http_reason(299), "Unknown");
}

Test(http_text, percent_is_decoded)
{
	cr_assert(decode("a%2Fb%2fc%25+"));
	cr_assert_str_eq(buf, "a/b/c%+");
	cr_assert(decode(""));
	cr_assert_str_eq(buf, "");
}

Test(http_text, bad_percent_is_refused)
{
	static const char *const bad[] = {"%",	 "%2",	"%2g",	"%g2",	"%%20",
					  "% 2", "%-1", "%0x2", "a%2F%"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_not(decode(bad[i]), "%s", bad[i]);
	/* Only so many bytes are looked at. */
	cr_assert_not(http_decode("%41", 2, buf, sizeof(buf)));
}

Test(http_text, only_printable_ascii_is_decoded)
{
	static const char *const bad[] = {"%00", "a%00b", "%0a", "%1f",	 "%7f",	    "%80",
					  "%ff", "\x01",  "\t",	 "\x7f", "\xc3\xa4"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_not(decode(bad[i]), "%s", bad[i]);
}

Test(http_text, what_does_not_fit_is_refused)
{
	cr_assert(decode("012345678901234"));
	cr_assert_not(decode("0123456789012345"));
	cr_assert(decode("01234567890123%41"));
	cr_assert_not(http_decode("", 0, buf, 0));
}

Test(http_text, query_finds_the_whole_key)
{
	cr_assert(http_query("a=1&ab=2&b=3", "b", buf, sizeof(buf)));
	cr_assert_str_eq(buf, "3");
	cr_assert(http_query("a=1&ab=2&b=3", "ab", buf, sizeof(buf)));
	cr_assert_str_eq(buf, "2");
	cr_assert(http_query("since=", "since", buf, sizeof(buf)));
	cr_assert_str_eq(buf, "");
	cr_assert(http_query("a=%31%3d&&x", "a", buf, sizeof(buf)));
	cr_assert_str_eq(buf, "1=");
	cr_assert_not(http_query("abc=1", "ab", buf, sizeof(buf)));
	cr_assert_not(http_query("ab&c=1", "ab", buf, sizeof(buf)));
	cr_assert_not(http_query("c=1&ab", "ab", buf, sizeof(buf)));
	cr_assert_not(http_query("", "a", buf, sizeof(buf)));
	cr_assert_not(http_query("a=%0", "a", buf, sizeof(buf)));
	cr_assert_not(http_query("a=0123456789abcdef", "a", buf, sizeof(buf)));
}
