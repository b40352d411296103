/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest's console says, kept and understood: its last bytes for the result, the time of
 * its first byte, and whether it was a Linux panic.
 *
 * Bytes come from vCPU threads and from main, which alone asks for the rest. A leaf lock guards the
 * whole.
 */
#ifndef VMM_MACHINE_CONSOLE_WATCH_H
#define VMM_MACHINE_CONSOLE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mutex.h"

enum { CONSOLE_TAIL_BYTES = 8192, CONSOLE_PANIC_BYTES = 4096 };

struct console_watch {
	/* Called once per boot, on the thread that brings the words of a panic. May be NULL. */
	void (*panicked)(struct console_watch *watch);

	struct mutex lock;
	char tail[CONSOLE_TAIL_BYTES];	 /* ring */
	uint64_t total;			 /* bytes seen */
	size_t matched;			 /* of the words of a panic */
	char before[2];			 /* the two bytes before the one that comes next */
	char panic[CONSOLE_PANIC_BYTES]; /* from the words on */
	size_t panic_len;
	bool panic_seen;
	uint64_t first_ns, last_ns;
};

void console_watch_init(struct console_watch *watch, void (*panicked)(struct console_watch *watch));
void console_watch_bytes(struct console_watch *watch, const void *bytes, size_t n);
/* A new boot: a panic of the last one is forgotten, the tail and the first byte's time stay. */
void console_watch_restart(struct console_watch *watch);

bool console_watch_panic_seen(struct console_watch *watch);
/* Clocks of the first and the last byte, CLOCK_MONOTONIC; 0: none yet. */
void console_watch_times(struct console_watch *watch, uint64_t *ret_first_ns,
			 uint64_t *ret_last_ns);
/* The last bytes, from the start of a line, and the panic's text; malloc()ed, NULL when out of
 * memory. */
char *console_watch_tail(struct console_watch *watch) must_check;
char *console_watch_panic_text(struct console_watch *watch) must_check;

#endif
