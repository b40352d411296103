/* SPDX-License-Identifier: Apache-2.0 */
/* What every guest has: its entry, its wishes from the command line, and its way out. */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "rt/pvh.h"

/* Written by each guest. What it returns goes to the exit port. Called by start.S, interrupts off.
 */
int guest_main(const struct pvh_start_info *info);

/* Takes the command line and sets up the serial port and the IDT. Guests that count instructions
 * leave it out. */
void guest_init(const struct pvh_start_info *info);

/*
 * The last call of most guests: prints "NAME: ok" or "NAME: failed", then does what the word
 * `then=` says: exit (default; returns the code for the exit port), poweroff, reset, or ask (see
 * ways_ask()).
 */
int guest_finish(const char *name, bool ok);

/* A failed check: prints it, and the guest goes on to guest_finish(name, false). Returns ok. */
bool guest_check(bool ok, const char *what);

#endif
