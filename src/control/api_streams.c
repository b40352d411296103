/* SPDX-License-Identifier: Apache-2.0 */
/* Answers without end: events, and clients of the console. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/chr.h"
#include "base/log.h"
#include "base/text.h"
#include "control/api_internal.h"

/* ---- events ---- */

struct event_stream {
	struct server_stream stream;
	struct events_reader reader;
	struct api *api;
	bool follow;
};

static size_t pull_events(struct server_stream *stream, char *buf, size_t n)
{
	struct event_stream *s = container_of(stream, struct event_stream, stream);
	size_t got = events_read(s->api->parts.events, &s->reader, buf, n);

	return got == 0 && !s->follow ? SERVER_STREAM_END : got;
}

static void events_gone(struct server_stream *stream)
{
	struct event_stream *s = container_of(stream, struct event_stream, stream);

	events_detach(s->api->parts.events, &s->reader);
	s->api->event_streams--;
	free(s);
}

static void wake_stream(struct events_reader *reader)
{
	struct event_stream *s = container_of(reader, struct event_stream, reader);

	server_stream_wake(&s->stream);
}

static int get_since(struct api_call *call, uint64_t *ret)
{
	char value[24];

	*ret = 1;
	if (!http_query(call->request->query, "since", value, sizeof(value)))
		return 0;
	if (text_parse_uint(value, ret) == 0)
		return 0;
	return err_set(&call->err, -EINVAL, "since=%s is no number of an event", value);
}

int api_events(struct api_call *call)
{
	struct events *events = call->api->parts.events;
	struct event_stream *s;
	char follow[8] = "1";
	uint64_t since;
	int r = get_since(call, &since);

	if (r < 0)
		return r;
	(void)http_query(call->request->query, "follow", follow, sizeof(follow));
	if (call->api->event_streams >= API_MAX_EVENT_STREAMS)
		return err_set(&call->err, -EUSERS, "%d clients read events already",
			       API_MAX_EVENT_STREAMS);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(&call->err, -ENOMEM, "out of memory");
	s->api = call->api;
	s->api->event_streams++;
	s->follow = strcmp(follow, "0") != 0;
	s->stream = (struct server_stream){.pull = pull_events, .gone = events_gone};
	s->reader.wake = wake_stream;
	events_attach(events, &s->reader, since);
	call->answered = true;
	server_stream_start(call->conn, "application/x-ndjson", &s->stream);
	return 0;
}

/* ---- the console ---- */

/* One client, from the request on: first a hand-off that waits for the head to be out, then a
 * client of the stream. */
struct api_stream {
	struct server_handoff handoff;
	struct chr_client_watcher watcher;
	struct chr_client *client;
	struct api *api;
	bool input;
	struct api_stream *next;
};

static void tell(struct api *api, const char *what, const struct chr_client *client)
{
	struct vm_event event = {.name = what};

	if (client) {
		event.fields[0].key = "dropped";
		event.fields[0].number = (int64_t)chr_client_stats(client).dropped;
	}
	events_add(api->parts.events, &event);
}

static void unlink_stream(struct api_stream *s)
{
	for (struct api_stream **at = &s->api->streams; *at; at = &(*at)->next)
		if (*at == s) {
			*at = s->next;
			break;
		}
}

static void close_stream(struct api_stream *s)
{
	struct api *api = s->api;

	unlink_stream(s);
	tell(api, "console_detached", s->client);
	(void)chr_detach(s->client);
	free(s);
}

static void on_hung_up(struct chr_client_watcher *watcher)
{
	close_stream(container_of(watcher, struct api_stream, watcher));
}

static int attach(struct api_stream *s, int fd)
{
	int r = chr_attach(vm_console(s->api->parts.vm), fd, s->input, &s->watcher, &s->client);

	if (r < 0)
		return r;
	s->next = s->api->streams;
	s->api->streams = s;
	tell(s->api, "console_attached", NULL);
	return 0;
}

/* early: typed before the client had our answer. */
static void take_console(struct server_handoff *handoff, int fd, const char *early, size_t n)
{
	struct api_stream *s = container_of(handoff, struct api_stream, handoff);

	/* Somebody else took the last place meanwhile: the client sees its connection end. */
	if (attach(s, fd) < 0)
		free(s);
	else if (s->input && n > 0 && chr_type(vm_console(s->api->parts.vm), early, n) < 0)
		log_warn("console: %zu bytes that a client sent before its answer are lost", n);
}

static void console_gone(struct server_handoff *handoff)
{
	free(container_of(handoff, struct api_stream, handoff));
}

static int new_stream(struct api_call *call, bool input, struct api_stream **ret)
{
	struct chr *console = vm_console(call->api->parts.vm);
	struct api_stream *s;

	if (!console)
		return err_set(&call->err, -EBUSY, "this VM has no console");
	if (chr_n_clients(console) >= CHR_MAX_CLIENTS)
		return err_set(&call->err, -EUSERS, "the console has %d clients already",
			       CHR_MAX_CLIENTS);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(&call->err, -ENOMEM, "out of memory");
	s->api = call->api;
	s->input = input;
	s->watcher.hung_up = on_hung_up;
	s->handoff = (struct server_handoff){.take = take_console, .gone = console_gone};
	*ret = s;
	return 0;
}

int api_console(struct api_call *call)
{
	bool both_ways = call->request->upgrade;
	struct api_stream *s;
	int r = new_stream(call, both_ways, &s);

	if (r < 0)
		return r;
	call->answered = true;
	server_hand_off(call->conn, both_ways, "application/octet-stream", &s->handoff);
	return 0;
}

int api_console_tail(struct api_call *call)
{
	char *tail = vm_console_tail(call->api->parts.vm);

	if (!tail)
		return err_set(&call->err, -ENOMEM, "out of memory");
	call->answered = true;
	server_reply(call->conn, 200, "text/plain; charset=utf-8", tail, strlen(tail), NULL);
	free(tail);
	return 0;
}

static int attach_fd(struct api_call *call, const char *text, bool input)
{
	struct api_stream *s;
	int fd, r = new_stream(call, input, &s);

	if (r < 0)
		return r;
	(void)strcpy(call->where, "/fd");
	fd = r = fdstore_take(call->api->parts.fds, text, &call->err);
	if (fd >= 0) {
		r = attach(s, fd);
		if (r < 0)
			(void)err_set(&call->err, r, "%s can't be used: %s", text, strerror(-r));
	}
	if (r < 0)
		free(s);
	return r < 0 ? r : 0;
}

int api_console_attach(struct api_call *call)
{
	static const char *const keys[] = {"fd", "input"};
	json_t *fd, *input;
	int r = api_only_keys(call, keys, ARRAY_SIZE(keys));

	if (r == 0)
		r = api_get(call, "fd", JSON_STRING, &fd);
	if (r == 0)
		r = api_get(call, "input", JSON_TRUE, &input);
	if (r < 0)
		return r;
	if (!fd)
		return err_set(&call->err, -EINVAL,
			       "\"fd\" is missing: the name of a descriptor "
			       "sent to fd.sock, as \"fd:NAME\"");
	return attach_fd(call, json_string_value(fd), json_is_true(input));
}

void api_add_console_clients(struct api *api, json_t *list)
{
	for (const struct api_stream *s = api->streams; s; s = s->next) {
		struct chr_stats stats = chr_client_stats(s->client);

		(void)json_array_append_new(list, json_pack("{s:I, s:I, s:I}", "written",
							    (json_int_t)stats.written, "dropped",
							    (json_int_t)stats.dropped, "received",
							    (json_int_t)stats.received));
	}
}

void api_streams_done(struct api *api)
{
	while (api->streams) {
		struct api_stream *s = api->streams;

		api->streams = s->next;
		(void)chr_detach(s->client);
		free(s);
	}
}
