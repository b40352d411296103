/* SPDX-License-Identifier: Apache-2.0 */
#include "control/events.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "base/utc.h"

enum { PIECE = 4096 };

/* Where --events goes: one more reader. */
struct sink {
	struct events_reader reader;
	struct loop *loop;
	struct loop_fd writable;
	struct chr_fd fd;
	char piece[PIECE]; /* read and not written yet */
	size_t from, to;
};

struct events {
	char *lines[EVENTS_KEPT]; /* number seq in seq % EVENTS_KEPT */
	uint64_t last;
	struct events_reader *readers;
	struct sink sink;
};

int events_new(struct events **ret)
{
	struct events *events = calloc(1, sizeof(*events));

	if (!events)
		return -ENOMEM;
	events->sink.fd = CHR_FD_NONE;
	*ret = events;
	return 0;
}

struct events *events_free(struct events *events)
{
	if (!events)
		return NULL;
	if (events->sink.loop)
		loop_del_fd(events->sink.loop, &events->sink.writable);
	chr_fd_close(&events->sink.fd);
	for (size_t i = 0; i < EVENTS_KEPT; i++)
		free(events->lines[i]);
	free(events);
	return NULL;
}

/* ---- making a line ---- */

static json_t *event_json(uint64_t seq, const struct vm_event *event)
{
	char time[UTC_TEXT_LEN];
	json_t *o = json_pack("{s:I, s:s, s:I, s:s}", "seq", (json_int_t)seq, "time",
			      utc_format(clock_ns(CLOCK_REALTIME), time), "monotonic_ns",
			      (json_int_t)clock_now_ns(), "event", event->name);

	for (size_t i = 0; o && i < VM_EVENT_FIELDS && event->fields[i].key; i++) {
		const char *text = event->fields[i].text;

		(void)json_object_set_new(o, event->fields[i].key,
					  text ? json_string(text)
					       : json_integer(event->fields[i].number));
	}
	return o;
}

static char *event_line(uint64_t seq, const struct vm_event *event)
{
	json_t *o = event_json(seq, event);
	char *text = json_dumps(o, JSON_COMPACT);
	struct str line = {0};

	json_decref(o);
	if (text)
		str_addf(&line, "%s\n", text);
	free(text);
	return str_steal(&line);
}

static void wake_readers(struct events *events)
{
	struct events_reader *next;

	/* A reader may detach itself when it is woken. */
	for (struct events_reader *r = events->readers; r; r = next) {
		next = r->link;
		r->wake(r);
	}
}

void events_add(struct events *events, const struct vm_event *event)
{
	uint64_t seq = ++events->last;
	char **line = &events->lines[seq % EVENTS_KEPT];

	free(*line);
	*line = event_line(seq, event);
	if (!*line)
		log_error("event %s is lost: out of memory", event->name);
	wake_readers(events);
}

uint64_t events_last(const struct events *events)
{
	return events->last;
}

/* ---- readers ---- */

static uint64_t oldest(const struct events *events)
{
	return events->last < EVENTS_KEPT ? 1 : events->last - EVENTS_KEPT + 1;
}

void events_attach(struct events *events, struct events_reader *reader, uint64_t since)
{
	reader->next = since ? since : events->last + 1;
	reader->offset = 0;
	reader->lost[0] = '\0';
	reader->link = events->readers;
	events->readers = reader;
}

void events_detach(struct events *events, struct events_reader *reader)
{
	for (struct events_reader **at = &events->readers; *at; at = &(*at)->link)
		if (*at == reader) {
			*at = reader->link;
			return;
		}
}

/*
 * The reader's line has been overwritten. What it had of it would make a broken line, so the note
 * begins with a line feed then.
 */
static void skip_lost(struct events *events, struct events_reader *reader)
{
	uint64_t first = oldest(events);

	(void)snprintf(reader->lost, sizeof(reader->lost),
		       "%s{\"event\":\"lost\",\"count\":%" PRIu64 ",\"next\":%" PRIu64 "}\n",
		       reader->offset ? "\n" : "", first - reader->next, first);
	reader->next = first;
	reader->offset = 0;
}

/* What the reader has to read now, from its offset on; NULL: nothing. */
static const char *current(struct events *events, struct events_reader *reader)
{
	if (!reader->lost[0] && reader->next < oldest(events))
		skip_lost(events, reader);
	if (reader->lost[0])
		return reader->lost + reader->offset;
	/* An event that memory did not suffice for is skipped. */
	while (reader->next <= events->last) {
		const char *line = events->lines[reader->next % EVENTS_KEPT];

		if (line)
			return line + reader->offset;
		reader->next++;
	}
	return NULL;
}

static void finish_line(struct events_reader *reader)
{
	reader->offset = 0;
	if (reader->lost[0])
		reader->lost[0] = '\0';
	else
		reader->next++;
}

size_t events_read(struct events *events, struct events_reader *reader, char *buf, size_t n)
{
	size_t used = 0;
	const char *text;

	while (used < n && (text = current(events, reader))) {
		size_t len = strlen(text), part = MIN(len, n - used);

		memcpy(buf + used, text, part);
		used += part;
		reader->offset += part;
		if (part == len)
			finish_line(reader);
	}
	return used;
}

/* ---- the file of --events ---- */

/* 0: all is written; -EAGAIN: the file takes no more for now. */
static int push(struct events *events)
{
	struct sink *sink = &events->sink;

	for (;;) {
		ssize_t n;

		if (sink->from == sink->to) {
			sink->from = 0;
			sink->to = events_read(events, &sink->reader, sink->piece, PIECE);
		}
		if (sink->to == 0)
			return 0;
		n = chr_fd_write(&sink->fd, sink->piece + sink->from, sink->to - sink->from);
		if (n < 0)
			return (int)n;
		sink->from += (size_t)n;
		if (sink->from == sink->to)
			sink->from = sink->to = 0;
	}
}

static void give_up(struct events *events, int error)
{
	struct sink *sink = &events->sink;

	log_error("--events: can't write: %s; no more events go there", strerror(-error));
	events_detach(events, &sink->reader);
	loop_del_fd(sink->loop, &sink->writable);
	chr_fd_close(&sink->fd);
}

static void push_or_wait(struct events *events)
{
	struct sink *sink = &events->sink;
	int r = push(events);

	if (r == 0 && sink->writable.added)
		loop_del_fd(sink->loop, &sink->writable);
	else if (r == -EAGAIN && !sink->writable.added)
		r = loop_add_fd(sink->loop, &sink->writable, EPOLLOUT);
	if (r < 0 && r != -EAGAIN)
		give_up(events, r);
}

static void on_new(struct events_reader *reader)
{
	struct sink *sink = container_of(reader, struct sink, reader);

	/* While the file is full, EPOLLOUT says when to go on. */
	if (!sink->writable.added)
		push_or_wait(container_of(sink, struct events, sink));
}

static void on_writable(struct loop_fd *source, uint32_t mask)
{
	struct sink *sink = container_of(source, struct sink, writable);

	(void)mask;
	push_or_wait(container_of(sink, struct events, sink));
}

void events_write_to(struct events *events, struct loop *loop, struct chr_fd fd)
{
	struct sink *sink = &events->sink;

	sink->loop = loop;
	sink->fd = fd;
	sink->writable = (struct loop_fd){.fd = fd.fd, .ready = on_writable};
	sink->reader.wake = on_new;
	events_attach(events, &sink->reader, 1);
}

void events_flush(struct events *events, unsigned timeout_ms)
{
	uint64_t end = clock_now_ns() + timeout_ms * NS_PER_MS, now;

	while (events->sink.fd.fd >= 0 && push(events) == -EAGAIN && (now = clock_now_ns()) < end) {
		struct pollfd p = {.fd = events->sink.fd.fd, .events = POLLOUT};

		(void)poll(&p, 1, (int)((end - now) / NS_PER_MS) + 1);
	}
}
