/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "control/events.h"

struct world {
	struct events *events;
	struct events_reader reader;
	unsigned wakes;
};

static void count_wake(struct events_reader *reader)
{
	container_of(reader, struct world, reader)->wakes++;
}

static struct world make(void)
{
	struct world w = {.reader.wake = count_wake};

	cr_assert_eq(events_new(&w.events), 0);
	return w;
}

static void add(struct events *events, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct vm_event event = {.name = "tick", .fields = {{.key = "n", .number = i}}};

		events_add(events, &event);
	}
}

/* The next line as JSON, read byte by byte: a reader may stop anywhere. */
static json_t *next_line(struct world *w)
{
	char line[512];
	size_t used = 0, n;
	json_t *o;

	do {
		cr_assert_lt(used, sizeof(line));
		n = events_read(w->events, &w->reader, line + used, 1);
		used += n;
	} while (n > 0 && line[used - 1] != '\n');
	if (used == 0)
		return NULL;
	o = json_loadb(line, used, 0, NULL);
	cr_assert(o, "no JSON: %.*s", (int)used, line);
	return o;
}

static json_int_t number(const json_t *o, const char *key)
{
	cr_assert(json_is_integer(json_object_get(o, key)), "no %s", key);
	return json_integer_value(json_object_get(o, key));
}

Test(events, are_numbered_and_carry_their_fields)
{
	struct world w = make();
	struct vm_event event = {
		.name = "ended",
		.fields = {{.key = "reason", .text = "exit"}, {.key = "exit_code", .number = 42}}};
	json_t *o;

	events_attach(w.events, &w.reader, 1);
	events_add(w.events, &event);
	cr_expect_eq(w.wakes, 1);
	o = next_line(&w);
	cr_assert(o);
	cr_expect_eq(number(o, "seq"), 1);
	cr_expect_gt(number(o, "monotonic_ns"), 0);
	cr_expect_str_eq(json_string_value(json_object_get(o, "event")), "ended");
	cr_expect_str_eq(json_string_value(json_object_get(o, "reason")), "exit");
	cr_expect_eq(number(o, "exit_code"), 42);
	json_decref(o);
	cr_expect_null(next_line(&w));
	w.events = events_free(w.events);
}

Test(events, a_late_reader_begins_where_it_asks)
{
	struct world w = make();
	json_t *o;

	add(w.events, 5);
	events_attach(w.events, &w.reader, 4);
	o = next_line(&w);
	cr_expect_eq(number(o, "seq"), 4);
	json_decref(o);
	events_detach(w.events, &w.reader);
	events_attach(w.events, &w.reader, 0);
	cr_expect_null(next_line(&w));
	add(w.events, 1);
	o = next_line(&w);
	cr_expect_eq(number(o, "seq"), 6);
	json_decref(o);
	w.events = events_free(w.events);
}

Test(events, who_falls_behind_is_told_how_much_is_lost)
{
	struct world w = make();
	json_t *o;

	events_attach(w.events, &w.reader, 1);
	add(w.events, EVENTS_KEPT + 10);
	o = next_line(&w);
	cr_expect_str_eq(json_string_value(json_object_get(o, "event")), "lost");
	cr_expect_eq(number(o, "count"), 10);
	cr_expect_eq(number(o, "next"), 11);
	json_decref(o);
	for (unsigned seq = 11; seq <= EVENTS_KEPT + 10; seq++) {
		o = next_line(&w);
		cr_assert_eq(number(o, "seq"), seq);
		json_decref(o);
	}
	cr_expect_null(next_line(&w));
	w.events = events_free(w.events);
}

Test(events, a_line_cut_by_the_loss_is_ended_before_the_note)
{
	struct world w = make();
	char piece[10], rest[256];
	size_t n;

	events_attach(w.events, &w.reader, 1);
	add(w.events, 1);
	cr_assert_eq(events_read(w.events, &w.reader, piece, sizeof(piece)), sizeof(piece));
	add(w.events, EVENTS_KEPT);
	n = events_read(w.events, &w.reader, rest, sizeof(rest) - 1);
	rest[n] = '\0';
	cr_expect_eq(strncmp(rest, "\n{\"event\":\"lost\",\"count\":1,", 27), 0, "%s", rest);
	w.events = events_free(w.events);
}

/* A full pipe holds events back and loses none while there are fewer than are kept. */
Test(events, a_full_pipe_gets_them_later)
{
	struct world w = make();
	struct loop *loop;
	int fds[2], r;
	char *text = calloc(1, 1 << 20);
	size_t used = 0;
	ssize_t n;

	cr_assert_eq(loop_new(&loop), 0);
	cr_assert_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
	(void)fcntl(fds[1], F_SETPIPE_SZ, 4096);
	events_write_to(w.events, loop,
			(struct chr_fd){.fd = fds[1], .how = CHR_FD_PLAIN, .owned = true});
	add(w.events, 100);
	do {
		n = read(fds[0], text + used, 1000);
		used += n > 0 ? (size_t)n : 0;
		events_flush(w.events, 0);
	} while (n > 0);
	cr_expect(strstr(text, "\"seq\":100,") != NULL);
	cr_expect(strstr(text, "lost") == NULL);
	w.events = events_free(w.events);
	r = (int)read(fds[0], text, 1);
	cr_expect_eq(r, 0, "the pipe is still open");
	(void)loop_free(loop);
	(void)close(fds[0]);
	free(text);
}
