/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

static struct {
	atomic_int fd;
	atomic_int level;
} log_state = {.fd = STDERR_FILENO, .level = LOG_WARN};

static const char *const level_names[] = {[LOG_ERROR] = "error: ",
					  [LOG_WARN] = "warning: ",
					  [LOG_INFO] = "",
					  [LOG_DEBUG] = "debug: "};

void log_init(int fd, enum log_level level)
{
	atomic_store_explicit(&log_state.fd, fd, memory_order_relaxed);
	log_set_level(level);
}

int log_take_over(int fd, int *slot)
{
	if (*slot < 0) {
		*slot = fd;
	} else if (*slot != fd) {
		if (dup3(fd, *slot, O_CLOEXEC) < 0)
			return -errno;
		(void)fd_close(fd);
	}
	atomic_store_explicit(&log_state.fd, *slot, memory_order_relaxed);
	return 0;
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_state.level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_state.level, memory_order_relaxed);
}

int log_fd(void)
{
	return atomic_load_explicit(&log_state.fd, memory_order_relaxed);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[1400];
	va_list ap;
	int n, used;

	if (!log_enabled(level))
		return;
	used = snprintf(line, sizeof(line), "vmm: %s", level_names[level]);
	va_start(ap, fmt);
	n = vsnprintf(line + used, sizeof(line) - (size_t)used - 2, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	used += n;
	if (used > (int)sizeof(line) - 3)
		used = (int)sizeof(line) - 3;
	line[used++] = '\n';
	/* Nowhere to report a log that can't be written. */
	if (write(log_fd(), line, (size_t)used) < 0)
		return;
}

bool log_limit_pass(struct log_limit *limit)
{
	enum { LINES_PER_SECOND = 10 };
	uint64_t now = clock_now_ns();
	uint64_t start = atomic_load_explicit(&limit->window_ns, memory_order_relaxed);

	if (start == 0 || now - start > NS_PER_S) {
		unsigned dropped;

		atomic_store_explicit(&limit->window_ns, now, memory_order_relaxed);
		atomic_store_explicit(&limit->count, 0, memory_order_relaxed);
		dropped = atomic_exchange_explicit(&limit->dropped, 0, memory_order_relaxed);
		if (dropped)
			log_line(LOG_WARN, "guest: %u more lines like the next one", dropped);
	}
	if (atomic_fetch_add_explicit(&limit->count, 1, memory_order_relaxed) < LINES_PER_SECOND)
		return true;
	(void)atomic_fetch_add_explicit(&limit->dropped, 1, memory_order_relaxed);
	return false;
}
