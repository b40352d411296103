/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/options.h"

static const struct cli_command stop = {
	.name = "stop",
	.synopsis = "NAME... | --all",
	.what = "shut down",
	.options = OPTION_TIMEOUT | OPTION_ALL | OPTION_FOLLOW | OPTION_QUIET | OPTION_SINCE,
	.min_words = 1,
};

static const struct cli_command one = {
	.name = "one", .synopsis = "NAME", .what = "one", .min_words = 1, .max_words = 1};

static const struct cli_command none = {.name = "none", .synopsis = "", .what = "none"};

enum { MOST = 8 };

/* "a|--timeout|2s": one argument between two bars. */
static int parse(const struct cli_command *command, const char *line, struct cli_options *ret,
		 struct err *err)
{
	static char copy[256];
	char *argv[MOST], *rest = copy, *word;
	int argc = 0;

	(void)strcpy(copy, line);
	while (*line && argc < MOST && (word = strsep(&rest, "|")))
		argv[argc++] = word;
	*err = (struct err){0};
	return options_parse(command, argc, argv, ret, err);
}

static struct cli_options good(const struct cli_command *command, const char *line)
{
	struct cli_options options;
	struct err err;

	cr_assert_eq(parse(command, line, &options, &err), 0, "%s: %s", line, err.msg);
	return options;
}

static void bad(const struct cli_command *command, const char *line, const char *words)
{
	struct cli_options options;
	struct err err;

	cr_expect_lt(parse(command, line, &options, &err), 0, "accepted: %s", line);
	cr_expect(strstr(err.msg, words), "%s: no '%s' in '%s'", line, words, err.msg);
	options_done(&options);
}

Test(options, words_and_options_come_in_any_order)
{
	struct cli_options options = good(&stop, "a|--timeout|2s|b|-q");

	cr_assert_eq(options.n_words, 2);
	cr_assert_str_eq(options.words[0], "a");
	cr_assert_str_eq(options.words[1], "b");
	cr_assert_eq(options.timeout_ns, 2 * NS_PER_S);
	cr_assert_eq(options.given, OPTION_TIMEOUT | OPTION_QUIET);
	options_done(&options);
}

Test(options, a_value_may_stand_behind_an_equals_sign)
{
	struct cli_options options = good(&stop, "--timeout=500ms|--since=7|a");

	cr_assert_eq(options.timeout_ns, 500 * NS_PER_MS);
	cr_assert_eq(options.since, 7);
	options_done(&options);
}

Test(options, letters_are_joined)
{
	struct cli_options options = good(&stop, "-fq|a");

	cr_assert_eq(options.given, OPTION_FOLLOW | OPTION_QUIET);
	options_done(&options);
}

Test(options, all_behind_two_dashes_is_words)
{
	struct cli_options options = good(&stop, "--|--all|-q");

	cr_assert_eq(options.given, 0);
	cr_assert_eq(options.n_words, 2);
	options_done(&options);
}

Test(options, help_is_given_whatever_else_is_wrong)
{
	struct cli_options options = good(&one, "--help|--nonsense");

	cr_assert(option_given(&options, OPTION_HELP));
	options_done(&options);
}

Test(options, an_unknown_option_gets_the_nearest_that_the_command_takes)
{
	bad(&stop, "a|--tiemout|3",
	    "vmm stop: there is no option --tiemout, did you mean --timeout?");
	bad(&stop, "a|--timeou=3", "no option --timeou, did you mean --timeout?");
	/* Another command's. */
	bad(&one, "a|--timeout|3", "vmm one: there is no option --timeout");
	bad(&one, "a|-q", "there is no option -q");
	bad(&stop, "a|-qx", "there is no option -x");
}

Test(options, a_wrong_value_is_refused)
{
	bad(&stop, "a|--timeout", "--timeout needs a value: --timeout TIME");
	bad(&stop, "a|--timeout|soon", "\"soon\" is not a time");
	bad(&stop, "a|--since|-1", "\"-1\" is not the number");
	bad(&stop, "--all=yes", "--all takes no value");
}

Test(options, words_are_counted)
{
	bad(&stop, "", "the name of a VM is missing: vmm stop NAME... | --all");
	bad(&stop, "--all|a", "either names or --all");
	bad(&one, "a|b", "\"b\" is one too many");
	bad(&none, "a", "it takes no \"a\"");
}

Test(options, all_stands_for_names)
{
	struct cli_options options = good(&stop, "--all");

	cr_assert_eq(options.n_words, 0);
	options_done(&options);
}

Test(options, the_help_has_what_the_command_takes_and_nothing_else)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	cr_assert_not_null(out);
	options_print_help(&stop, out);
	cr_assert_eq(fclose(out), 0);
	cr_assert(strstr(text, "usage: vmm stop NAME... | --all\n\nShut down.\n"), "%s", text);
	cr_assert(strstr(text, "\n      --timeout TIME "));
	cr_assert(strstr(text, "\n  -f, --follow "));
	cr_assert(strstr(text, "\n  -h, --help "));
	cr_assert_not(strstr(text, "--json"));
	free(text);
}

Test(options, the_flags_of_a_mask_end_with_null)
{
	cr_assert_str_eq(options_flag(OPTION_JSON, 0), "--json");
	cr_assert_str_eq(options_flag(OPTION_JSON, 1), "--help");
	cr_assert_null(options_flag(OPTION_JSON, 2));
}
