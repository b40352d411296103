/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/text.h"
#include "cli/commands.h"
#include "config/config.h"

enum { EXIT_OK = 0, EXIT_CONFIG = 125 };

struct command {
	const char *name;
	int (*run)(int argc, char *const argv[]);
	bool takes_files;
};

static const char usage[] =
	"usage: vmm config COMMAND\n"
	"\n"
	"  schema         print the JSON Schema (draft 2020-12) of the configuration file\n"
	"  check FILE...  check files as `vmm run --config FILE` would; - is standard input\n"
	"  completion     print the completion for bash\n"
	"  man-options    print the option list of vmm(1) as roff\n";

/* What was printed reached its reader. */
static int finish_output(void)
{
	if (fflush(stdout) != EOF && !ferror(stdout))
		return EXIT_OK;
	(void)fprintf(stderr, "vmm config: cannot write to standard output\n");
	return EXIT_CONFIG;
}

static int run_schema(int argc, char *const argv[])
{
	(void)argc;
	(void)argv;
	return config_print_schema(stdout) < 0 ? EXIT_CONFIG : finish_output();
}

static char *flags_of(const struct cli_command *command)
{
	struct str flags = {0};
	const char *flag;

	for (unsigned i = 0; (flag = options_flag(command->options, i)) != NULL; i++)
		str_addf(&flags, "%s%s", i ? " " : "", flag);
	return str_steal(&flags);
}

static int run_completion(int argc, char *const argv[])
{
	enum { MOST = 64 };
	struct config_command known[MOST];
	const struct cli_command *command;
	char *flags[MOST];
	size_t n = 0;

	(void)argc;
	(void)argv;
	for (; n < MOST && (command = commands_at((unsigned)n)) != NULL; n++) {
		flags[n] = flags_of(command);
		known[n] = (struct config_command){command->name, flags[n] ? flags[n] : "",
						   command->min_words > 0};
	}
	config_print_completion(known, n, stdout);
	while (n > 0)
		free(flags[--n]);
	return finish_output();
}

static int run_man_options(int argc, char *const argv[])
{
	(void)argc;
	(void)argv;
	config_print_man_options(stdout);
	return finish_output();
}

static int run_help(int argc, char *const argv[])
{
	(void)argc;
	(void)argv;
	(void)fputs(usage, stdout);
	return finish_output();
}

static int check_file(const char *path)
{
	struct vm_config config;
	struct err err = {0};
	int r;

	vm_config_init(&config);
	r = config_load_file(&config, path, &err);
	if (r == 0) {
		r = config_validate(&config, &err);
		if (r < 0)
			err_prefix(&err, "%s", path);
	}
	vm_config_done(&config);
	if (r < 0)
		(void)fprintf(stderr, "%s\n", err.msg);
	else
		(void)printf("%s: ok\n", path);
	return r;
}

static int run_check(int argc, char *const argv[])
{
	int code = EXIT_OK;

	if (argc == 0) {
		(void)fprintf(stderr,
			      "vmm config check: no file is given: vmm config check FILE...\n");
		return EXIT_CONFIG;
	}
	for (int i = 0; i < argc; i++)
		if (check_file(argv[i]) < 0)
			code = EXIT_CONFIG;
	return finish_output() == EXIT_OK ? code : EXIT_CONFIG;
}

static const struct command commands[] = {
	{"schema", run_schema, false},	       {"check", run_check, true},
	{"completion", run_completion, false}, {"man-options", run_man_options, false},
	{"--help", run_help, false},	       {"-h", run_help, false},
};

static int unknown_command(const char *word)
{
	const char *names[ARRAY_SIZE(commands)], *near;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i].name;
	near = text_nearest(word, names, ARRAY_SIZE(names));
	(void)fprintf(stderr, "vmm config: unknown command '%s'%s%s%s\n", word,
		      near ? ": did you mean '" : ": see vmm config --help", near ? near : "",
		      near ? "'?" : "");
	return EXIT_CONFIG;
}

int cli_config(int argc, char *const argv[])
{
	if (argc == 0) {
		(void)fputs(usage, stderr);
		return EXIT_CONFIG;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[0], commands[i].name) != 0)
			continue;
		if (argc > 1 && !commands[i].takes_files) {
			(void)fprintf(stderr, "vmm config %s: unexpected argument '%s'\n", argv[0],
				      argv[1]);
			return EXIT_CONFIG;
		}
		return commands[i].run(argc - 1, argv + 1);
	}
	return unknown_command(argv[0]);
}
