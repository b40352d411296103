/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands: each takes its arguments after its own name and returns vmm's exit status. Main
 * thread; they own what is printed.
 */
#ifndef VMM_CLI_CLI_H
#define VMM_CLI_CLI_H

int cli_run(int argc, char *const argv[]);
int cli_selftest(int argc, char *const argv[]);
int cli_version(int argc, char *const argv[]);

#endif
