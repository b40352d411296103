/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vmm doctor [--json]`: what this host offers to VMs, what it lacks, and the command that fixes
 * each lack. Changes nothing. Returns 0 when VMs can run here, 125 when not.
 */
#ifndef VMM_CLI_DOCTOR_H
#define VMM_CLI_DOCTOR_H

int cli_doctor(int argc, char *const argv[]);

#endif
