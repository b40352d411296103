/* SPDX-License-Identifier: Apache-2.0 */
/* The watchdog of `vmm run --watchdog`, for guests that are about to hang. */
#ifndef GUEST_WATCHDOG_H
#define GUEST_WATCHDOG_H

/*
 * What the words say: watchdog=N gives both of its timers N + 1 ticks of a millisecond; with
 * watchdog-again it begins anew whenever it has expired. Nobody feeds it. Without the word, or
 * where there is no watchdog: nothing.
 */
void watchdog_arm(void);

#endif
