/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_PRINT_H
#define GUEST_PRINT_H

/* To COM1; knows %s %c %d %u %x %lu %lx %% and a width with zeros such as %08x. At most 255 bytes a
 * call. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
