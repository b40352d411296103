/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "backend/chr.h"
#include "base/text.h"

static const struct {
	const char *name;
	enum chr_kind kind;
	bool path;
} kinds[] = {
	{"stdio", CHR_STDIO, false}, {"file", CHR_FILE, true},	{"pty", CHR_PTY, false},
	{"unix", CHR_UNIX, true},    {"none", CHR_NONE, false},
};

#define KINDS_TEXT "stdio, pty, file=PATH, unix=PATH or none"

static int unknown_kind(const char *text, size_t name_len, struct err *err)
{
	const char *names[ARRAY_SIZE(kinds)], *near;
	char name[32];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		names[i] = kinds[i].name;
	(void)snprintf(name, sizeof(name), "%.*s", (int)name_len, text);
	near = text_nearest(name, names, ARRAY_SIZE(names));
	if (near)
		return err_set(err, -EINVAL,
			       "'%s' is no character stream (did you mean '%s'?); use " KINDS_TEXT,
			       text, near);
	return err_set(err, -EINVAL, "'%s' is no character stream; use " KINDS_TEXT, text);
}

static int check_path(enum chr_kind kind, const char *name, const char *path, struct err *err)
{
	const size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	if (*path == '\0')
		return err_set(err, -EINVAL, "'%s=' needs a path, as in %s=/tmp/console", name,
			       name);
	if (kind == CHR_UNIX && strlen(path) > max)
		return err_set(err, -EINVAL,
			       "the socket path '%s' has %zu bytes, a unix socket allows %zu; use "
			       "a shorter one",
			       path, strlen(path), max);
	return 0;
}

int chr_spec_parse(const char *text, struct chr_spec *ret, struct err *err)
{
	const char *equals = strchr(text, '=');
	size_t len = equals ? (size_t)(equals - text) : strlen(text);

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strlen(kinds[i].name) != len || memcmp(kinds[i].name, text, len) != 0)
			continue;
		if (kinds[i].path && !equals)
			return err_set(err, -EINVAL, "'%s' needs a path: %s=PATH", text, text);
		if (!kinds[i].path && equals)
			return err_set(err, -EINVAL, "'%s' takes no path; write just '%s'", text,
				       kinds[i].name);
		if (equals) {
			int r = check_path(kinds[i].kind, kinds[i].name, equals + 1, err);

			if (r < 0)
				return r;
		}
		*ret = (struct chr_spec){.kind = kinds[i].kind, .path = equals ? equals + 1 : NULL};
		return 0;
	}
	return unknown_kind(text, len, err);
}
