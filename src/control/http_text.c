/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of HTTP that need no parser: heads of answers, %XX, queries. */
#include <string.h>

#include "control/http.h"

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{101, "Switching Protocols"},
		{200, "OK"},
		{400, "Bad Request"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{413, "Content Too Large"},
		{414, "URI Too Long"},
		{417, "Expectation Failed"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{503, "Service Unavailable"},
		{505, "HTTP Version Not Supported"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}

static const char *connection(int status, bool keep_alive)
{
	if (status == 101)
		return "Upgrade";
	return keep_alive ? "keep-alive" : "close";
}

void http_head(struct str *out, int status, const char *content_type, long len, bool keep_alive,
	       const char *extra)
{
	str_addf(out, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
	if (content_type)
		str_addf(out, "Content-Type: %s\r\n", content_type);
	if (len >= 0)
		str_addf(out, "Content-Length: %ld\r\n", len);
	str_addf(out, "Connection: %s\r\n%s\r\n", connection(status, keep_alive),
		 extra ? extra : "");
}

int http_hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)((at - digits) % 16) : -1;
}

/* The byte that s[n] begins with, and how long it was written. -1 for half a %XX. */
static int decode_byte(const char *s, size_t n, size_t *ret_len)
{
	int high, low;

	*ret_len = 1;
	if (s[0] != '%')
		return (unsigned char)s[0];
	high = n >= 3 ? http_hex_digit(s[1]) : -1;
	low = high >= 0 ? http_hex_digit(s[2]) : -1;
	*ret_len = 3;
	return low >= 0 ? high * 16 + low : -1;
}

bool http_decode(const char *s, size_t n, char *buf, size_t len)
{
	size_t out = 0;

	for (size_t at = 0, used; at < n; at += used) {
		int byte = decode_byte(s + at, n - at, &used);

		if (byte < ' ' || byte > '~' || out + 1 >= len)
			return false;
		buf[out++] = (char)byte;
	}
	if (len == 0)
		return false;
	buf[out] = '\0';
	return true;
}

bool http_query(const char *query, const char *key, char *buf, size_t len)
{
	size_t key_len = strlen(key);

	while (*query) {
		size_t n = strcspn(query, "&");

		if (n > key_len && query[key_len] == '=' && strncmp(query, key, key_len) == 0)
			return http_decode(query + key_len + 1, n - key_len - 1, buf, len);
		query += n;
		query += *query == '&';
	}
	return false;
}
