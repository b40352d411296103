/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that look at VMs and steer them: one table, for main.c and for the completion. */
#ifndef VMM_CLI_COMMANDS_H
#define VMM_CLI_COMMANDS_H

#include "cli/options.h"

/* NULL past the last. */
const struct cli_command *commands_at(unsigned index);
/* argv is what follows the command's name. Returns vmm's exit status. */
int commands_run(const struct cli_command *command, int argc, char *const argv[]);

/* cli_look.c */
int cli_ps(const struct cli_options *options);
int cli_status(const struct cli_options *options);
int cli_inspect(const struct cli_options *options);
int cli_stats(const struct cli_options *options);
/* cli_follow.c */
int cli_events(const struct cli_options *options);
int cli_logs(const struct cli_options *options);
/* cli_attach.c */
int cli_attach(const struct cli_options *options);
/* cli_steer.c: the command's name is the verb */
int cli_steer(const struct cli_options *options);
int cli_log_level(const struct cli_options *options);
/* cli_end.c */
int cli_stop(const struct cli_options *options);
int cli_kill(const struct cli_options *options);
int cli_wait(const struct cli_options *options);
int cli_rm(const struct cli_options *options);
/* cli_device.c */
int cli_device(const struct cli_options *options);

#endif
