/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One helper in the hands of the broker: it is started, has to say that it is ready, is watched,
 * and where that makes sense started again, each time later, until it stays. Its standard error is
 * read by the line. Nothing here waits but helper_end().
 */
#ifndef VMM_SANDBOX_HELPER_H
#define VMM_SANDBOX_HELPER_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sandbox/helpers.h"

struct helper;

/* Who hears of it. Texts are one printable line, borrowed for the call. */
struct helper_owner;
struct helper_owner_ops {
	void (*line)(struct helper_owner *owner, struct helper *h, const char *text);
	/* Before it was ready, all in one, told after ready(): nothing bad came of it. */
	void (*preface)(struct helper_owner *owner, struct helper *h, const char *text);
	/* fd is vmm's end of its socket, closed after the call. */
	void (*ready)(struct helper_owner *owner, struct helper *h, int fd);
	/* It did not come up; -ENOENT when there is no such program. When that was the first time
	 * it is helper_is_over() now. */
	void (*failed)(struct helper_owner *owner, struct helper *h, int code, const char *text);
	void (*died)(struct helper_owner *owner, struct helper *h, const char *how);
};
struct helper_owner {
	const struct helper_owner_ops *ops;
};

/* row and owner are borrowed. 0, -EINVAL for settings that can't be, or -ENOMEM. */
int helper_new(const struct helper_row *row, const union helper_settings *settings,
	       struct helper_owner *owner, unsigned number, struct helper **ret) must_check;
/* One that has ended, or was never begun. */
struct helper *helper_free(struct helper *h);

/* The first start; the owner may hear of its failure before this returns. */
void helper_begin(struct helper *h);

unsigned helper_number(const struct helper *h);
bool helper_was_ready(const struct helper *h); /* once, so that it is restarted now */
bool helper_is_over(const struct helper *h);   /* it does not run, and will not be started again */

/* For poll(): descriptors that are not open are -1 and have no events. */
enum { HELPER_POLLS = 3 };
void helper_polls(const struct helper *h, struct pollfd fds[HELPER_POLLS]);
void helper_polled(struct helper *h, const struct pollfd fds[HELPER_POLLS]);
/* When helper_tick() has something to do, CLOCK_MONOTONIC; UINT64_MAX: never. */
uint64_t helper_deadline(const struct helper *h);
void helper_tick(struct helper *h, uint64_t now);

/* SIGTERM for all of its group; nothing is told or restarted from here on. */
void helper_ask_to_end(struct helper *h);
/* Until it has ended, by SIGKILL when its grace is over (counted from since_ns); reaps it. */
void helper_end(struct helper *h, uint64_t since_ns);

#endif
