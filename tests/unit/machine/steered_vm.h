/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM with a firmware guest that a test steers from inside its loop, as the control socket does. A
 * test gives steps; each is asked again and again until it says that it is done, and then the next.
 * The guest's own end or the last step's end the run.
 */
#ifndef VMM_TESTS_STEERED_VM_H
#define VMM_TESTS_STEERED_VM_H

#include <stdbool.h>

#include "machine/vm_internal.h"

enum { STEERED_MAX_STEPS = 8 };

struct steered {
	struct vm_config config; /* small, one vCPU, no sandbox; a test changes it before the run */
	struct vm_resources res;
	struct vm *vm;
	struct outcome outcome;
	bool (*steps[STEERED_MAX_STEPS])(struct steered *s);
	unsigned step;
	char events[1024]; /* "started; running; stopping by=api grace_ms=0; ..." */
	uint64_t noted;	   /* for a test's own use */
	struct err err;	   /* likewise */

	struct vm_listener listener;
	struct loop_timer tick, guard;
	bool expired;
};

/* Skips the test where no guest can run. `how` is the way of the exit guest. */
void steered_init(struct steered *s, const char *how);
/* Runs it to its end; what the events must be in every run is checked here. */
void steered_run(struct steered *s);
void steered_done(struct steered *s);

bool steered_has_said(struct steered *s, const char *text);
/* How often the text is in the console's tail. */
unsigned steered_count(struct steered *s, const char *text);
/* Exits for port accesses: they stand still when the guest does. */
uint64_t steered_io_exits(struct steered *s);
/* True once ns have passed since s->noted. */
bool steered_waited(struct steered *s, uint64_t ns);

#endif
