/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm config ...`: the configuration's schema, checks of files, and text made from the option
 * table. */
#ifndef VMM_CLI_CLI_CONFIG_H
#define VMM_CLI_CLI_CONFIG_H

/* argv holds what follows `vmm config`. Returns the exit code: 0, or 125 with a message on stderr.
 */
int cli_config(int argc, char *const argv[]);

#endif
