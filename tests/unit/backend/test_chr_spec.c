/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "backend/chr.h"

Test(chr_spec, each_kind_is_understood)
{
	static const struct {
		const char *text;
		enum chr_kind kind;
		const char *path;
	} cases[] = {
		{"stdio", CHR_STDIO, NULL},
		{"pty", CHR_PTY, NULL},
		{"none", CHR_NONE, NULL},
		{"file=/a/b", CHR_FILE, "/a/b"},
		{"unix=rel.sock", CHR_UNIX, "rel.sock"},
		{"file=a=b", CHR_FILE, "a=b"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct chr_spec spec;
		struct err err = {0};

		cr_assert_eq(chr_spec_parse(cases[i].text, &spec, &err), 0, "%s: %s", cases[i].text,
			     err.msg);
		cr_assert_eq(spec.kind, cases[i].kind);
		if (cases[i].path)
			cr_assert_str_eq(spec.path, cases[i].path);
		else
			cr_assert_null(spec.path);
	}
}

static void refused(const char *text, const char *word)
{
	struct chr_spec spec = {.kind = CHR_PTY};
	struct err err = {0};

	cr_assert_eq(chr_spec_parse(text, &spec, &err), -EINVAL, "'%s'", text);
	cr_assert_not_null(strstr(err.msg, word), "'%s': %s", text, err.msg);
	cr_assert_eq(spec.kind, CHR_PTY, "an output is not touched on failure");
}

Test(chr_spec, bad_text_is_refused_with_what_to_write)
{
	refused("", "file=PATH");
	refused("tty", "stdio, pty, file=PATH, unix=PATH or none");
	refused("stdoi", "'stdio'");
	refused("file", "file=PATH");
	refused("unix", "unix=PATH");
	refused("file=", "needs a path");
	refused("unix=", "needs a path");
	refused("pty=/dev/x", "takes no path");
	refused("none=", "takes no path");
	refused("stdio ", "stdio");
}

Test(chr_spec, socket_path_is_bounded_by_the_address)
{
	char text[5 + 108 + 1] = "unix=";
	struct chr_spec spec;
	struct err err = {0};

	memset(text + 5, 'p', 107);
	cr_assert_eq(chr_spec_parse(text, &spec, &err), 0, "%s", err.msg);
	text[5 + 107] = 'p';
	refused(text, "107");
}
