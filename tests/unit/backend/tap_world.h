/* SPDX-License-Identifier: Apache-2.0 */
/* Taps in a network namespace of the test's own, and the host's side of them. A test is skipped,
 * with its reason, where that isn't allowed. */
#ifndef VMM_TESTS_TAP_WORLD_H
#define VMM_TESTS_TAP_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Enters a new network namespace, in which this process may do all, or skips the test. */
void tap_world_enter(void);

/* An interface that stays. flags: of TUNSETIFF, besides IFF_NO_PI. */
void tap_make(const char *name, int flags);
void tap_delete(const char *name);
/* Up after somebody has attached to it, it takes frames at once; else when the kernel has noticed.
 */
void tap_set_up(const char *name, bool up);
/* As `ip address add ADDRESS/24`. */
void tap_set_address(const char *name, const char *address);
/* An open descriptor of the interface, attached with these flags, or -errno. */
int tap_attach(const char *name, int flags);

/* A packet socket on the interface: what is written to it comes out of the tap, what is written
 * into the tap can be read from it. */
int tap_host_side(const char *name);

/* Fills in an Ethernet frame of an unused protocol. */
void tap_frame(uint8_t *frame, size_t len, uint8_t mark);

#endif
