/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/console_watch.h"

static struct console_watch watch;
static unsigned panics;

static void on_panic(struct console_watch *w)
{
	cr_assert_eq(w, &watch);
	panics++;
}

static void set_up(void)
{
	panics = 0;
	console_watch_init(&watch, on_panic);
}

TestSuite(console_watch, .init = set_up);

/* Byte by byte, as a serial port brings it. */
static void say(const char *text)
{
	for (; *text; text++)
		console_watch_bytes(&watch, text, 1);
}

Test(console_watch, panic__is_known_at_its_words)
{
	say("[    1.234567] Kernel panic - not syncin");
	cr_assert_eq(panics, 0);
	say("g: Attempted to kill init!");
	cr_assert_eq(panics, 1);
	cr_assert(console_watch_panic_seen(&watch));
}

Test(console_watch, panic__behind_a_prompt_without_newline)
{
	say("/ # [    0.421337] Kernel panic - not syncing: Attempted to kill init!\r\n");
	cr_assert_eq(panics, 1);
}

Test(console_watch, panic__words_that_break_off_and_begin_again)
{
	say("Kernel panic - not\nKernel panic - not syncing: x\n");
	cr_assert_eq(panics, 1);
}

Test(console_watch, panic__with_caller_id_or_without_timestamp)
{
	say("[    1.000000][    T1] Kernel panic - not syncing: x\n");
	cr_assert_eq(panics, 1);
	console_watch_restart(&watch);
	say("Kernel panic - not syncing: y\n");
	cr_assert_eq(panics, 2);
}

Test(console_watch, panic__quoted_inside_a_line_is_none)
{
	say("grep: found \"Kernel panic - not syncing\" in the log\n");
	say("> Kernel panic - not syncing: quoted\n");
	say("Kernel panic - syncing\n");
	cr_assert_eq(panics, 0);
	cr_assert_not(console_watch_panic_seen(&watch));
}

Test(console_watch, panic__is_told_once_and_its_text_goes_on)
{
	char *text;

	say("Kernel panic - not syncing: one\nCall Trace:\nKernel panic - not syncing: again\n");
	cr_assert_eq(panics, 1);
	text = console_watch_panic_text(&watch);
	cr_assert_str_eq(text, "Kernel panic - not syncing: one\nCall Trace:\nKernel panic - not "
			       "syncing: again\n");
	free(text);
}

Test(console_watch, panic__text_is_bounded)
{
	char *text;

	say("Kernel panic - not syncing: long\n");
	for (int i = 0; i < 2 * CONSOLE_PANIC_BYTES; i++)
		console_watch_bytes(&watch, "x", 1);
	text = console_watch_panic_text(&watch);
	cr_assert_eq(strlen(text), CONSOLE_PANIC_BYTES);
	free(text);
}

Test(console_watch, blocks__are_the_same_as_their_bytes_wherever_they_are_cut)
{
	static const char said[] =
		"boot\n[    1.234567] Kernel panic - not syncing: x\nCall Trace:\n";
	size_t len = sizeof(said) - 1;

	for (size_t first = 0; first <= len; first++) {
		char *tail, *text;

		set_up();
		console_watch_bytes(&watch, said, first);
		cr_assert_eq(panics, strstr(said, "Kernel") - said + 26 <= (ptrdiff_t)first);
		console_watch_bytes(&watch, said + first, len - first);
		cr_assert_eq(panics, 1);
		text = console_watch_panic_text(&watch);
		tail = console_watch_tail(&watch);
		cr_assert_str_eq(text, strstr(said, "Kernel"));
		cr_assert_str_eq(tail, said);
		free(text);
		free(tail);
	}
}

Test(console_watch, blocks__larger_than_all_that_is_kept)
{
	enum { LINES = 8192, LINE = 16 };
	static char said[LINES * LINE + 1];
	char *text;

	for (unsigned i = 0; i < LINES; i++)
		(void)snprintf(said + i * LINE, LINE + 1, "line %010u\n", i);
	console_watch_bytes(&watch, said, 100);
	console_watch_bytes(&watch, said + 100, sizeof(said) - 1 - 100);
	text = console_watch_tail(&watch);
	cr_assert_str_eq(text, said + sizeof(said) - 1 - CONSOLE_TAIL_BYTES + LINE);
	free(text);
}

Test(console_watch, tail__is_all_of_a_short_console)
{
	char *text;

	say("one\ntwo");
	text = console_watch_tail(&watch);
	cr_assert_str_eq(text, "one\ntwo");
	free(text);
}

Test(console_watch, tail__of_a_long_console_starts_at_a_line)
{
	char *text;

	for (int i = 0; i < CONSOLE_TAIL_BYTES; i++)
		say("0123456789abcde\n");
	say("end");
	text = console_watch_tail(&watch);
	cr_assert_eq(strncmp(text, "0123", 4), 0);
	cr_assert_str_eq(text + strlen(text) - 4, "\nend");
	cr_assert_leq(strlen(text), CONSOLE_TAIL_BYTES);
	free(text);
}

Test(console_watch, times__are_of_the_first_and_the_last_byte)
{
	uint64_t first, last;

	console_watch_times(&watch, &first, &last);
	cr_assert_eq(first, 0);
	say("ab");
	console_watch_times(&watch, &first, &last);
	cr_assert_gt(first, 0);
	cr_assert_geq(last, first);
}
