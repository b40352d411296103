/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real loop for a test, and waiting on it for what happens. A guard timer fails a test that would
 * wait for ever.
 */
#ifndef VMM_TESTS_LOOP_WORLD_H
#define VMM_TESTS_LOOP_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "event/loop.h"

extern struct loop *world_loop;

/* Runs the loop until done(arg); checked again and again. */
void world_run_until(bool (*done)(void *arg), void *arg);
/* Runs it for a while, to show that something does not happen. Returns the CPU time used. */
uint64_t world_run_for(uint64_t ns);

#endif
