/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Down to CPL 3, where a software KVM runs code natively and does not emulate it: for figures.
 * Ports stay open (IOPL 3), all memory can be reached, interrupts are off, and there is no way
 * back.
 */
#ifndef GUEST_USER_H
#define GUEST_USER_H

_Noreturn void user_run(void (*main)(void));

#endif
