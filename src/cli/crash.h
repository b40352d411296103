/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When vmm itself crashes: the terminal is put back, the result file says so, and the signal takes
 * its usual course. SIGBUS has a message of its own, since it is most often the host that ran out
 * of memory.
 */
#ifndef VMM_CLI_CRASH_H
#define VMM_CLI_CRASH_H

void crash_install(void);
/* Where the result goes, borrowed; -1: none. home_fd is written from its beginning on. */
void crash_set_results(int fd, int home_fd);

#endif
