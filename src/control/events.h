/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as newline-delimited JSON: numbered, stamped, kept for late readers, and written to where
 * --events says. docs/reference/events.md lists them and their order.
 *
 * {"seq": 3, "time": "2026-11-22T10:00:00.123456Z", "monotonic_ns": 12345, "event": "paused", ...}
 *
 * seq counts from 1 without a gap. The last EVENTS_KEPT lines are kept; a reader that falls further
 * behind is told how many it missed by an event "lost", which has no number of its own. Main
 * thread.
 */
#ifndef VMM_CONTROL_EVENTS_H
#define VMM_CONTROL_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "backend/chr_fd.h"
#include "base/compiler.h"
#include "event/loop.h"
#include "machine/vm.h"

enum { EVENTS_KEPT = 256, EVENTS_LOST_LEN = 128 };

struct events;

int events_new(struct events **ret) must_check;
struct events *events_free(struct events *events);

/* Numbers it, keeps it and wakes the readers. */
void events_add(struct events *events, const struct vm_event *event);
/* The number of the newest; 0: none yet. */
uint64_t events_last(const struct events *events);

/* One reader's place. */
struct events_reader {
	/* There is something new. */
	void (*wake)(struct events_reader *reader);
	uint64_t next; /* seq */
	size_t offset; /* into the line that is being read */
	char lost[EVENTS_LOST_LEN];
	struct events_reader *link;
};
/* since: the first number that is wanted; 0: only what comes from now on. */
void events_attach(struct events *events, struct events_reader *reader, uint64_t since);
void events_detach(struct events *events, struct events_reader *reader);
/* Copies as much as there is and fits, whole lines or parts of them; 0: nothing for now. */
size_t events_read(struct events *events, struct events_reader *reader, char *buf, size_t n);

/*
 * Has all events written to fd (taken over), from the first on. What it does not take at once waits
 * for it; a reader that stops for longer loses events as any other does. Once, before the first
 * event.
 */
void events_write_to(struct events *events, struct loop *loop, struct chr_fd fd);
/* Waits at most timeout_ms until that file has everything. */
void events_flush(struct events *events, unsigned timeout_ms);

#endif
