/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of the commands about VMs: one table of all options, and a mask in each command that says
 * which it takes, so that an option means the same everywhere. Pure; prints only the help.
 */
#ifndef VMM_CLI_OPTIONS_H
#define VMM_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"
#include "base/err.h"

enum option_mask {
	OPTION_JSON = 1 << 0,
	OPTION_QUIET = 1 << 1,
	OPTION_ALL = 1 << 2,
	OPTION_DEAD = 1 << 3,
	OPTION_FORCE = 1 << 4,
	OPTION_FOLLOW = 1 << 5,
	OPTION_NO_FOLLOW = 1 << 6,
	OPTION_NO_INPUT = 1 << 7,
	OPTION_NO_WAIT = 1 << 8,
	OPTION_SINCE = 1 << 9,
	OPTION_TIMEOUT = 1 << 10,
	OPTION_VMM_LOG = 1 << 11,
	OPTION_HELP = 1 << 12, /* of every command */
};

struct cli_options;

struct cli_command {
	const char *name;
	int (*run)(const struct cli_options *options); /* returns vmm's exit status */
	const char *synopsis;			       /* what follows the name; its options too */
	const char *what;			       /* a line for `vmm --help` */
	const char *more;			       /* more lines for its own --help, or NULL */
	unsigned options;			       /* enum option_mask */
	unsigned min_words, max_words;		       /* what is no option; 0: without limit */
};

struct cli_options {
	const struct cli_command *command;
	unsigned given; /* enum option_mask */
	uint64_t timeout_ns, since;
	const char **words; /* owned array of borrowed texts */
	unsigned n_words;
};

static inline bool option_given(const struct cli_options *options, enum option_mask option)
{
	return (options->given & option) != 0;
}

/* argv is what follows the command's name. 0, or -EINVAL with a message without "vmm: error: ".
 * options_done() in both cases. After --help nothing is checked. */
int options_parse(const struct cli_command *command, int argc, char *const argv[],
		  struct cli_options *ret, struct err *err) must_check;
void options_done(struct cli_options *options);

void options_print_help(const struct cli_command *command, FILE *out);
/* "--json --timeout", for the completion; NULL past the last. */
const char *options_flag(unsigned mask, unsigned index);

#endif
