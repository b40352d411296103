/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's wishes: words NAME=VALUE or NAME on its command line, separated by blanks; the last
 * one counts. */
#ifndef GUEST_ARGS_H
#define GUEST_ARGS_H

#include <stdbool.h>
#include <stdint.h>

void args_init(const char *cmdline);
/* The command line as it came; "" when there is none. */
const char *args_line(void);
/* The value, running to the next blank; NULL when the word is not there, "" when it has no value.
 */
const char *args_find(const char *name);
/* Whether the word is there with exactly this value. */
bool args_is(const char *name, const char *value);
/* Decimal, or hexadecimal after 0x; fallback when absent. */
uint64_t args_number(const char *name, uint64_t fallback);

#endif
