/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

struct option_row {
	enum option_mask mask;
	char letter;	  /* 0: none */
	const char *flag; /* with its dashes */
	const char *arg;  /* what --help calls its value; NULL: it has none */
	const char *help;
};

static const struct option_row rows[] = {
	{OPTION_ALL, 0, "--all", NULL, "all VMs that run"},
	{OPTION_DEAD, 0, "--dead", NULL, "all VMs that do not run"},
	{OPTION_FOLLOW, 'f', "--follow", NULL, "go on with what comes, until the VM ends"},
	{OPTION_FORCE, 'f', "--force", NULL, "kill those that run first"},
	{OPTION_JSON, 0, "--json", NULL, "JSON, for programs"},
	{OPTION_NO_FOLLOW, 0, "--no-follow", NULL, "end after what is there"},
	{OPTION_NO_INPUT, 0, "--no-input", NULL, "only look: keys do not go to the guest"},
	{OPTION_NO_WAIT, 0, "--no-wait", NULL, "do not wait for the end"},
	{OPTION_QUIET, 'q', "--quiet", NULL, "names only"},
	{OPTION_SINCE, 0, "--since", "N", "begin with event N; 0: only what comes from now on"},
	{OPTION_TIMEOUT, 0, "--timeout", "TIME",
	 "how long the guest may take, such as 30s; 0 is not at all (default: as the VM's "
	 "--stop-timeout)"},
	{OPTION_VMM_LOG, 0, "--vmm", NULL, "vmm's own log, not the console's"},
	{OPTION_HELP, 'h', "--help", NULL, "this text"},
};

struct parse {
	const struct cli_command *command;
	struct cli_options *options;
	char *const *argv;
	int argc, at; /* at: of the next argument */
	struct err *err;
};

static bool takes(const struct cli_command *command, const struct option_row *row)
{
	return ((command->options | OPTION_HELP) & row->mask) != 0;
}

static int unknown_flag(const struct parse *parse, const char *flag, size_t len)
{
	const char *flags[ARRAY_SIZE(rows)], *near;
	char given[64];
	size_t n = 0;

	(void)snprintf(given, sizeof(given), "%.*s", (int)len, flag);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (takes(parse->command, &rows[i]))
			flags[n++] = rows[i].flag;
	near = text_nearest(given, flags, n);
	return err_set(parse->err, -EINVAL, "vmm %s: there is no option %s%s%s%s",
		       parse->command->name, given, near ? ", did you mean " : "; see `vmm ",
		       near ? near : parse->command->name, near ? "?" : " --help`");
}

static int set_timeout(struct parse *parse, const char *value)
{
	if (text_parse_duration(value, &parse->options->timeout_ns) == 0)
		return 0;
	return err_set(parse->err, -EINVAL,
		       "vmm %s: --timeout: \"%s\" is not a time such as 30s, 500ms or 2m",
		       parse->command->name, value);
}

static int set_since(struct parse *parse, const char *value)
{
	if (text_parse_uint(value, &parse->options->since) == 0)
		return 0;
	return err_set(parse->err, -EINVAL, "vmm %s: --since: \"%s\" is not the number of an event",
		       parse->command->name, value);
}

/* value: what stands behind "=", or NULL. */
static int set_option(struct parse *parse, const struct option_row *row, const char *value)
{
	if (value && !row->arg)
		return err_set(parse->err, -EINVAL, "vmm %s: %s takes no value",
			       parse->command->name, row->flag);
	if (row->arg && !value && parse->at < parse->argc)
		value = parse->argv[parse->at++];
	if (row->arg && !value)
		return err_set(parse->err, -EINVAL, "vmm %s: %s needs a value: %s %s",
			       parse->command->name, row->flag, row->flag, row->arg);
	parse->options->given |= row->mask;
	if (row->mask == OPTION_TIMEOUT)
		return set_timeout(parse, value);
	return row->mask == OPTION_SINCE ? set_since(parse, value) : 0;
}

static int parse_flag(struct parse *parse, const char *text)
{
	const char *equals = strchr(text, '=');
	size_t len = equals ? (size_t)(equals - text) : strlen(text);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (takes(parse->command, &rows[i]) && strlen(rows[i].flag) == len &&
		    memcmp(rows[i].flag, text, len) == 0)
			return set_option(parse, &rows[i], equals ? equals + 1 : NULL);
	return unknown_flag(parse, text, len);
}

static int parse_letter(struct parse *parse, char letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (takes(parse->command, &rows[i]) && rows[i].letter == letter)
			return set_option(parse, &rows[i], NULL);
	return unknown_flag(parse, (const char[]){'-', letter, '\0'}, 2);
}

static int parse_letters(struct parse *parse, const char *letters)
{
	int r = 0;

	for (; *letters && r == 0; letters++)
		r = parse_letter(parse, *letters);
	return r;
}

static int check_words(const struct parse *parse)
{
	const struct cli_command *command = parse->command;
	const struct cli_options *options = parse->options;
	bool instead = (options->given & (OPTION_ALL | OPTION_DEAD)) != 0;

	if (instead && options->n_words)
		return err_set(parse->err, -EINVAL,
			       "vmm %s: either names or %s, not both: vmm %s %s", command->name,
			       options->given & OPTION_ALL ? "--all" : "--dead", command->name,
			       command->synopsis);
	if (!instead && options->n_words < command->min_words)
		return err_set(parse->err, -EINVAL,
			       "vmm %s: the name of a VM is missing: vmm %s %s", command->name,
			       command->name, command->synopsis);
	if (command->max_words && options->n_words > command->max_words)
		return err_set(parse->err, -EINVAL, "vmm %s: \"%s\" is one too many: vmm %s %s",
			       command->name, options->words[command->max_words], command->name,
			       command->synopsis);
	if (!command->max_words && !command->min_words && options->n_words)
		return err_set(parse->err, -EINVAL, "vmm %s: it takes no \"%s\": vmm %s %s",
			       command->name, options->words[0], command->name, command->synopsis);
	return 0;
}

static int parse_all(struct parse *parse)
{
	struct cli_options *options = parse->options;
	bool words_only = false;
	int r = 0;

	while (parse->at < parse->argc && r == 0 && !option_given(options, OPTION_HELP)) {
		const char *text = parse->argv[parse->at++];

		if (words_only || text[0] != '-' || !text[1])
			options->words[options->n_words++] = text;
		else if (strcmp(text, "--") == 0)
			words_only = true;
		else
			r = text[1] == '-' ? parse_flag(parse, text)
					   : parse_letters(parse, text + 1);
	}
	return r < 0 || option_given(options, OPTION_HELP) ? r : check_words(parse);
}

int options_parse(const struct cli_command *command, int argc, char *const argv[],
		  struct cli_options *ret, struct err *err)
{
	struct parse parse = {
		.command = command, .options = ret, .argv = argv, .argc = argc, .err = err};

	*ret = (struct cli_options){
		.command = command,
		.since = 1,
		.words = calloc((size_t)argc + 1, sizeof(*ret->words)),
	};
	return ret->words ? parse_all(&parse) : err_set(err, -ENOMEM, "out of memory");
}

void options_done(struct cli_options *options)
{
	free(options->words);
	options->words = NULL;
}

void options_print_help(const struct cli_command *command, FILE *out)
{
	(void)fprintf(out, "usage: vmm %s %s\n\n%c%s.\n", command->name, command->synopsis,
		      command->what[0] - 'a' + 'A', command->what + 1);
	if (command->more)
		(void)fprintf(out, "%s\n", command->more);
	(void)fputc('\n', out);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char flag[32];

		if (!takes(command, &rows[i]))
			continue;
		(void)snprintf(flag, sizeof(flag), "%s%s%s", rows[i].flag, rows[i].arg ? " " : "",
			       rows[i].arg ? rows[i].arg : "");
		(void)fprintf(out, "  %c%c%c %-15s %s\n", rows[i].letter ? '-' : ' ',
			      rows[i].letter ? rows[i].letter : ' ', rows[i].letter ? ',' : ' ',
			      flag, rows[i].help);
	}
}

const char *options_flag(unsigned mask, unsigned index)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (((mask | OPTION_HELP) & rows[i].mask) && index-- == 0)
			return rows[i].flag;
	return NULL;
}
