/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's terminal in raw mode. One per process; chr_restore_terminal() (backend/chr.h) puts it
 * back and may run in a signal handler, so the state here is global by need.
 */
#ifndef VMM_BACKEND_CHR_TTY_H
#define VMM_BACKEND_CHR_TTY_H

#include <stdbool.h>

#include "base/compiler.h"

/*
 * Remembers how the terminal is set; fd stays open until chr_tty_forget(). False when vmm runs in
 * the background of its terminal: it must then be left alone, since a change would stop the process
 * (SIGTTOU).
 */
bool chr_tty_remember(int fd);
/* Raw input; output processing stays as it is, so that a guest's bare newline still begins a line.
 */
int chr_tty_raw(void) must_check;
bool chr_tty_is_raw(void);
/* Puts it back and gives fd up. */
void chr_tty_forget(void);

#endif
