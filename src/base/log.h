/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line per event, to stderr or to a file, written with one write(2) so that lines of
 * several threads never mix. Any thread may log. An error is logged once, by the caller that gives
 * up. What a guest can cause again and again goes through log_guest(), which is rate-limited.
 */
#ifndef VMM_BASE_LOG_H
#define VMM_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/*
 * Lines go to fd (borrowed; 2 for stderr), those above level are dropped.
 */
void log_init(int fd, enum log_level level);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* Async-signal-safe. */
int log_fd(void);
/*
 * Lines go to fd from now on, while other threads log. *slot, -1 at first, is the descriptor number
 * that all files share which come this way: a later one is put in its place, so that no thread ever
 * writes to a number that is closed. Takes fd over; on failure (-errno) it is still the caller's
 * and nothing has changed. One thread.
 */
int log_take_over(int fd, int *slot) must_check;

void log_line(enum log_level level, const char *fmt, ...) printf_like(2, 3);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* A guest's own doing: at most ten lines in each second and place, the rest are counted and told
 * later. */
struct log_limit {
	_Atomic uint64_t window_ns;
	atomic_uint count;
	atomic_uint dropped;
};
bool log_limit_pass(struct log_limit *limit);

#define log_guest(...)                                                                             \
	do {                                                                                       \
		static struct log_limit limit_;                                                    \
		if (log_limit_pass(&limit_))                                                       \
			log_line(LOG_WARN, "guest: " __VA_ARGS__);                                 \
	} while (0)

#endif
