/* SPDX-License-Identifier: Apache-2.0 */
/* Starts the other processors, one after the other. */
#ifndef GUEST_SMP_H
#define GUEST_SMP_H

#include <stdbool.h>
#include <stdint.h>

#include "rt/pvh.h"

enum { SMP_MAX = 256, SMP_STACK_SIZE = 4096, SMP_VECTOR_UP = 0x41 };

/* Runs on each processor that was started, `number` from 1 up; interrupts off, its APIC and IDT
 * set. */
typedef void smp_function(unsigned number);

/*
 * Finds the processors in the MADT and starts each but the caller's: INIT, then two start-up IPIs,
 * then waits until it has sent the interrupt SMP_VECTOR_UP back. After its function a processor
 * sleeps with interrupts on. Returns the number of processors that run, the caller's included; 0
 * when there is no MADT. *ret_listed is how many the MADT has. Needs idt_init() and apic_init().
 */
unsigned smp_start(const struct pvh_start_info *info, smp_function *function, unsigned *ret_listed);

/* Waits, for some seconds at most, until the counter has that value. */
bool smp_wait(const uint32_t *counter, uint32_t value);

#endif
