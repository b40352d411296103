/* SPDX-License-Identifier: Apache-2.0 */
/* vmm: one command line, several commands. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/cli_config.h"
#include "cli/commands.h"
#include "cli/doctor.h"
#include "machine/outcome.h"

struct command {
	const char *name;
	int (*run)(int argc, char *const argv[]);
	const char *what;
};

static const struct command commands[] = {
	{"run", cli_run, "boot a kernel and wait for its end"},
	{"config", cli_config,
	 "check a configuration file; print the schema or the shell completion"},
	{"selftest", cli_selftest,
	 "run the small guests that come with vmm and say what works here"},
	{"doctor", cli_doctor, "say what this host offers, what it lacks and how to get it"},
	{"version", cli_version, "print the version; --features: what is built in"},
};

static void usage(FILE *out)
{
	const struct cli_command *command;

	(void)fprintf(out, "usage: vmm COMMAND [OPTION]...\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		(void)fprintf(out, "  %-13s %s\n", commands[i].name, commands[i].what);
	(void)fprintf(out, "\nVMs that run, by name:\n\n");
	for (unsigned i = 0; (command = commands_at(i)) != NULL; i++)
		(void)fprintf(out, "  %-13s %s\n", command->name, command->what);
	(void)fprintf(out, "\n`vmm COMMAND --help` tells more; the manual page is vmm(1).\n");
}

static int unknown(const char *name)
{
	enum { MOST = 64 };
	const struct cli_command *command;
	const char *names[MOST], *near;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[n++] = commands[i].name;
	for (unsigned i = 0; (command = commands_at(i)) != NULL && n < MOST; i++)
		names[n++] = command->name;
	near = text_nearest(name, names, n);
	(void)fprintf(stderr, "vmm: error: there is no command \"%s\"%s%s%s; see `vmm --help`\n",
		      name, near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	return EXIT_VMM_ERROR;
}

/* A closed 0, 1 or 2 would be taken by the next file opened, and the guest's console would land in
 * it. */
static void fill_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_NOCTTY);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		(void)close(fd);
}

int main(int argc, char *argv[])
{
	const struct cli_command *command;

	fill_standard_fds();
	if (argc < 2) {
		usage(stderr);
		return EXIT_VMM_ERROR;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 2, argv + 2);
	for (unsigned i = 0; (command = commands_at(i)) != NULL; i++)
		if (strcmp(argv[1], command->name) == 0)
			return commands_run(command, argc - 2, argv + 2);
	if (strcmp(argv[1], "--version") == 0)
		return cli_version(0, NULL);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return 0;
	}
	return unknown(argv[1]);
}
