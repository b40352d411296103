/* SPDX-License-Identifier: Apache-2.0 */
#include "config/syntax.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "config/config.h"

#define STREAM_PREFIX "unix:"

enum { MAX_PORT = 65535, MAX_CPU = 8191 };

static int hex_digit(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* Two digits and, but for the last byte, a colon; -1: something else. */
static int mac_byte(const char *s, bool last)
{
	int high = hex_digit(s[0]), low = high < 0 ? -1 : hex_digit(s[1]);

	return low < 0 || s[2] != (last ? '\0' : ':') ? -1 : high * 16 + low;
}

static int scan_mac(const char *text, uint8_t ret[CONFIG_MAC_LEN])
{
	for (int i = 0; i < CONFIG_MAC_LEN; i++) {
		int byte = mac_byte(text + (ptrdiff_t)3 * i, i == CONFIG_MAC_LEN - 1);

		if (byte < 0)
			return -EINVAL;
		ret[i] = (uint8_t)byte;
	}
	return 0;
}

static bool is_one_interface(const uint8_t mac[CONFIG_MAC_LEN])
{
	static const uint8_t zero[CONFIG_MAC_LEN];

	return !(mac[0] & 1) && memcmp(mac, zero, sizeof(zero)) != 0;
}

int config_parse_mac(const char *text, uint8_t ret[CONFIG_MAC_LEN])
{
	uint8_t mac[CONFIG_MAC_LEN];

	if (scan_mac(text, mac) < 0 || !is_one_interface(mac))
		return -EINVAL;
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

int syntax_check_mac(const char *text, struct err *err)
{
	uint8_t mac[CONFIG_MAC_LEN];

	if (scan_mac(text, mac) < 0)
		return err_set(err, -EINVAL,
			       "'%s' is no MAC address: six bytes such as 52:54:00:12:34:56", text);
	if (!is_one_interface(mac))
		return err_set(err, -EINVAL,
			       "'%s' is not the address of one interface: the first byte must be "
			       "even, and not all may be zero",
			       text);
	return 0;
}

int syntax_check_interface(const char *text, struct err *err)
{
	if (!*text || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return err_set(err, -EINVAL, "'%s' is no name of an interface", text);
	if (strlen(text) >= IFNAMSIZ)
		return err_set(err, -EINVAL, "'%s' is too long: at most %d bytes", text,
			       IFNAMSIZ - 1);
	for (const char *c = text; *c; c++)
		if (isspace((unsigned char)*c) || strchr("/:%", *c))
			return err_set(
				err, -EINVAL,
				"'%s' is no name of an interface: no blanks and none of /:%%",
				text);
	return 0;
}

int syntax_check_stream(const char *text, struct err *err)
{
	const size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	const char *path = text + strlen(STREAM_PREFIX);

	if (strncmp(text, STREAM_PREFIX, strlen(STREAM_PREFIX)) != 0)
		return err_set(err, -EINVAL, "'%s' is not unix:PATH", text);
	if (!*path)
		return err_set(err, -EINVAL, "'%s' has no path: write unix:PATH", text);
	if (strlen(path) > max)
		return err_set(err, -ENAMETOOLONG,
			       "the path of a unix socket has at most %zu bytes, this one has %zu",
			       max, strlen(path));
	return 0;
}

const char *config_stream_path(const struct config_net *net)
{
	return net->stream ? net->stream + strlen(STREAM_PREFIX) : NULL;
}

/* A port that ends where `end` stands; returns what follows it, NULL when it is none. */
static const char *scan_port(const char *s, char end, uint16_t *ret)
{
	char *rest;
	long n;

	if (!isdigit((unsigned char)*s))
		return NULL;
	n = strtol(s, &rest, 10);
	if (*rest != end || n < 1 || n > MAX_PORT)
		return NULL;
	*ret = (uint16_t)n;
	return rest + 1;
}

/* The address before the ports, if there is one; returns where the ports begin, NULL for a wrong
 * address. */
static const char *scan_address(const char *s, struct config_forward *ret)
{
	unsigned char bytes[sizeof(struct in6_addr)];
	bool v6 = *s == '[';
	const char *start = s + v6, *end = strchr(start, v6 ? ']' : ':');
	size_t len = end ? (size_t)(end - start) : 0;

	if (!v6 && (!end || !strchr(end + 1, ':')))
		return s;
	if (!end || len >= sizeof(ret->address) || end[v6] != ':')
		return NULL;
	memcpy(ret->address, start, len);
	ret->address[len] = '\0';
	return inet_pton(v6 ? AF_INET6 : AF_INET, ret->address, bytes) == 1 ? end + v6 + 1 : NULL;
}

static int bad_publish(const char *text, const char *why, struct err *err)
{
	return err_set(err, -EINVAL, "'%s' %s: write [ADDR:]HOST:GUEST[/tcp|udp], such as 8080:80",
		       text, why);
}

int config_parse_publish(const char *text, struct config_forward *ret, struct err *err)
{
	const char *slash = strchr(text, '/'), *s;
	struct config_forward forward = {.udp = slash && strcmp(slash, "/udp") == 0};

	if (slash && !forward.udp && strcmp(slash, "/tcp") != 0)
		return bad_publish(text, "ends neither in /tcp nor in /udp", err);
	s = scan_address(text, &forward);
	if (!s)
		return bad_publish(text, "has a wrong address", err);
	s = scan_port(s, ':', &forward.host);
	if (!s)
		return bad_publish(text, "has no port of the host, 1 to 65535", err);
	if (!scan_port(s, slash ? '/' : '\0', &forward.guest))
		return bad_publish(text, "has no port of the guest, 1 to 65535", err);
	*ret = forward;
	return 0;
}

int syntax_check_publish(const char *text, struct err *err)
{
	struct config_forward forward;

	return config_parse_publish(text, &forward, err);
}

/* One number of the list; returns what follows, NULL when it is none. */
static const char *scan_cpu(const char *s, int *ret)
{
	char *rest;
	long n;

	if (!isdigit((unsigned char)*s))
		return NULL;
	n = strtol(s, &rest, 10);
	if (n > MAX_CPU || (*rest && (*rest != ':' || !rest[1])))
		return NULL;
	*ret = (int)n;
	return rest + (*rest == ':');
}

int syntax_check_pin(const char *text, struct err *err)
{
	const char *s = text;
	int cpu;

	do {
		s = scan_cpu(s, &cpu);
	} while (s && *s);
	if (!s)
		return err_set(err, -EINVAL,
			       "'%s' is no list of processors: numbers with a colon between them, "
			       "such as 2:3",
			       text);
	return 0;
}

int config_pin_cpu(const struct vm_config *config, unsigned i)
{
	const char *text = config->iothreads.pin, *s = text;
	int cpu = -1;

	if (!text)
		return -1;
	for (unsigned n = 0; s && n <= i; n++)
		s = scan_cpu(*s ? s : text, &cpu);
	return s ? cpu : -1;
}
