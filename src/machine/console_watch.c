/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/console_watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"

static const char panic_words[] = "Kernel panic - not syncing";

void console_watch_init(struct console_watch *w, void (*panicked)(struct console_watch *watch))
{
	*w = (struct console_watch){.panicked = panicked};
	mutex_init(&w->lock);
}

/* "[   12.345678] " or "[T1] " and the like before the words: what printk puts there. */
static const char *skip_printk_prefix(const char *s)
{
	while (*s == '[') {
		const char *end = strchr(s, ']');

		if (!end)
			return s;
		s = end + 1;
		while (*s == ' ')
			s++;
	}
	return s;
}

static bool line_is_panic(const struct console_watch *w)
{
	char line[CONSOLE_LINE_START + 1];

	memcpy(line, w->line, w->line_len);
	line[w->line_len] = '\0';
	return strncmp(skip_printk_prefix(line), panic_words, sizeof(panic_words) - 1) == 0;
}

static void panic_add(struct console_watch *w, const char *bytes, size_t n)
{
	n = MIN(n, sizeof(w->panic) - w->panic_len);
	memcpy(w->panic + w->panic_len, bytes, n);
	w->panic_len += n;
}

/* True when this byte completes the panic line. */
static bool watch_line(struct console_watch *w, char c)
{
	bool panic = false;

	if (w->panic_seen) {
		panic_add(w, &c, 1);
		return false;
	}
	if (c == '\n' || c == '\r') {
		panic = w->line_len >= sizeof(panic_words) - 1 && line_is_panic(w);
		if (panic) {
			w->panic_seen = true;
			panic_add(w, w->line, w->line_len);
			panic_add(w, &c, 1);
		}
		w->line_len = 0;
	} else if (w->line_len < sizeof(w->line)) {
		w->line[w->line_len++] = c;
	}
	return panic;
}

void console_watch_byte(struct console_watch *w, uint8_t byte)
{
	bool panic;

	mutex_lock(&w->lock);
	w->last_ns = clock_now_ns();
	if (w->total == 0)
		w->first_ns = w->last_ns;
	w->tail[w->total++ % sizeof(w->tail)] = (char)byte;
	panic = watch_line(w, (char)byte);
	mutex_unlock(&w->lock);
	if (panic && w->panicked)
		w->panicked(w);
}

void console_watch_restart(struct console_watch *w)
{
	mutex_lock(&w->lock);
	w->panic_seen = false;
	w->panic_len = 0;
	w->line_len = 0;
	mutex_unlock(&w->lock);
}

bool console_watch_panic_seen(struct console_watch *w)
{
	bool seen;

	mutex_lock(&w->lock);
	seen = w->panic_seen;
	mutex_unlock(&w->lock);
	return seen;
}

void console_watch_times(struct console_watch *w, uint64_t *ret_first_ns, uint64_t *ret_last_ns)
{
	mutex_lock(&w->lock);
	*ret_first_ns = w->first_ns;
	*ret_last_ns = w->last_ns;
	mutex_unlock(&w->lock);
}

static char *tail_copy(const struct console_watch *w)
{
	size_t n = (size_t)MIN(w->total, (uint64_t)sizeof(w->tail));
	char *text = malloc(n + 1);

	if (!text)
		return NULL;
	for (size_t i = 0; i < n; i++)
		text[i] = w->tail[(w->total - n + i) % sizeof(w->tail)];
	text[n] = '\0';
	if (w->total > n) {
		const char *line = memchr(text, '\n', n);

		if (line)
			memmove(text, line + 1, n - (size_t)(line - text));
	}
	return text;
}

char *console_watch_tail(struct console_watch *w)
{
	char *text;

	mutex_lock(&w->lock);
	text = tail_copy(w);
	mutex_unlock(&w->lock);
	return text;
}

char *console_watch_panic_text(struct console_watch *w)
{
	char *text;

	mutex_lock(&w->lock);
	text = strndup(w->panic, w->panic_len);
	mutex_unlock(&w->lock);
	return text;
}
