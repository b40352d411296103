/* SPDX-License-Identifier: Apache-2.0 */
/* The ways out of a machine. None returns when it works; each sleeps forever when it had no effect.
 */
#ifndef GUEST_WAYS_H
#define GUEST_WAYS_H

#include <stdint.h>

_Noreturn void ways_exit(uint8_t code);
_Noreturn void ways_poweroff(void);
_Noreturn void ways_reset_acpi(void);
_Noreturn void ways_reset_i8042(void);
_Noreturn void ways_reset_cf9(void);
_Noreturn void ways_triple_fault(void);

/*
 * Prints "ready" and goes the way that the next byte of input says: r ACPI reset, k i8042, c port
 * 0xcf9, t triple fault, p power-off, q exit with 0, 0 to 9 exit with that.
 */
_Noreturn void ways_ask(void);

#endif
