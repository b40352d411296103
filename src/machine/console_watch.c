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

static void panic_add(struct console_watch *w, const char *bytes, size_t n)
{
	n = MIN(n, sizeof(w->panic) - w->panic_len);
	memcpy(w->panic + w->panic_len, bytes, n);
	w->panic_len += n;
}

/* printk's words stand at the start of a line or behind a prefix such as "[   12.345678] ". */
static bool may_begin_here(const struct console_watch *w)
{
	char last = w->before[1];

	return last == '\0' || last == '\n' || last == '\r' || (w->before[0] == ']' && last == ' ');
}

/* True when this byte completes the words. Their first letter occurs in them only once. */
static bool match_words(struct console_watch *w, char c)
{
	if (c == panic_words[w->matched] && (w->matched > 0 || may_begin_here(w)))
		w->matched++;
	else
		w->matched = c == panic_words[0] && may_begin_here(w);
	w->before[0] = w->before[1];
	w->before[1] = c;
	return w->matched == sizeof(panic_words) - 1;
}

/* True when these bytes complete the words. */
static bool watch_for_panic(struct console_watch *w, const char *bytes, size_t n)
{
	bool seen = w->panic_seen;
	size_t i = 0;

	while (i < n && !w->panic_seen)
		w->panic_seen = match_words(w, bytes[i++]);
	if (w->panic_seen && !seen)
		panic_add(w, panic_words, sizeof(panic_words) - 1);
	if (w->panic_seen)
		panic_add(w, bytes + i, n - i);
	return w->panic_seen && !seen;
}

static void tail_add(struct console_watch *w, const char *bytes, size_t n)
{
	size_t skip = n - MIN(n, sizeof(w->tail));

	w->total += skip;
	for (size_t i = skip; i < n; i++)
		w->tail[w->total++ % sizeof(w->tail)] = bytes[i];
}

void console_watch_bytes(struct console_watch *w, const void *bytes, size_t n)
{
	bool panic;

	mutex_lock(&w->lock);
	w->last_ns = clock_now_ns();
	if (w->total == 0)
		w->first_ns = w->last_ns;
	tail_add(w, bytes, n);
	panic = watch_for_panic(w, bytes, n);
	mutex_unlock(&w->lock);
	if (panic && w->panicked)
		w->panicked(w);
}

void console_watch_restart(struct console_watch *w)
{
	mutex_lock(&w->lock);
	w->panic_seen = false;
	w->panic_len = 0;
	w->matched = 0;
	w->before[0] = w->before[1] = '\0';
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
