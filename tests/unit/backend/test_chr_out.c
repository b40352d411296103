/* SPDX-License-Identifier: Apache-2.0 */
#include "chr_world.h"

#include <assert.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/chr_out.h"
#include "base/clock.h"

TestSuite(chr_out, .init = world_set_up, .fini = world_tear_down, .timeout = 60);

static struct reader reader;
static int far_end; /* the pipe's reading end */

/* A stream into a pipe, not yet read by anybody. */
static struct chr *to_pipe(void)
{
	world_move_fd(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
	far_end = world_pipe_as_stdout();
	return world_start("stdio", NULL);
}

static void end_pipe(struct chr *chr)
{
	reader_stop(&reader);
	chr_free(chr);
	close(far_end);
}

static char *pattern(size_t n, unsigned seed)
{
	char *text = malloc(n);

	cr_assert_not_null(text);
	for (size_t i = 0; i < n; i++)
		text[i] = (char)('a' + (i * 7 + i / 251 + seed) % 26);
	return text;
}

Test(chr_out, first_byte_is_written_without_waiting_for_more)
{
	struct chr *chr = to_pipe();
	uint64_t best = UINT64_MAX, start, took;

	reader_start(&reader, far_end);
	for (size_t i = 0; i < 10; i++) {
		world_run_for(30 * NS_PER_MS); /* idle now */
		start = clock_now_ns();
		cr_assert_eq(chr_write(chr, "x", 1), 1);
		reader_wait_bytes(&reader, i + 1);
		took = clock_now_ns() - start;
		best = took < best ? took : best;
	}
	cr_assert_lt(best, 8 * NS_PER_MS, "less than the linger time");
	end_pipe(chr);
}

/* The policy is visible in what has been posted: kicked says that the loop was woken. */
static struct chr_out *bare_out(void)
{
	static struct chr_out out;
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	far_end = fds[0];
	cr_assert_eq(chr_out_init(&out, "test"), 0);
	chr_out_attach(&out, (struct chr_fd){.fd = fds[1], .how = CHR_FD_PLAIN, .owned = true});
	chr_out_start(&out, world_loop);
	world_run_for(30 * NS_PER_MS);
	cr_assert_eq(out.state, CHR_OUT_IDLE);
	return &out;
}

static bool is_drained(void *arg)
{
	const struct chr_out *out = arg;

	return out->ring.used == 0;
}

static bool wakes(struct chr_out *out, const char *text)
{
	out->kicked = false;
	cr_assert_eq(chr_out_write(out, (const uint8_t *)text, strlen(text)), strlen(text));
	return out->kicked;
}

Test(chr_out, chatty_guest_wakes_the_loop_once_then_by_newline_or_half_a_ring)
{
	struct chr_out *out = bare_out();
	char *half = pattern(CHR_OUT_RING / 2, 0);

	cr_assert(wakes(out, "a"), "idle");
	cr_assert_eq(chr_out_write(out, (const uint8_t *)"b", 1), 1);
	cr_assert(out->kicked);
	world_run_until(is_drained, out);
	cr_assert_eq(out->state, CHR_OUT_LINGERING);
	cr_assert_not(wakes(out, "c"), "lingering");
	cr_assert_not(wakes(out, "dd"));
	cr_assert(wakes(out, "e\n"), "newline");
	/* The test took the earlier kicks back, so the loop has to be told itself. */
	loop_post(world_loop, &out->kick);
	world_run_until(is_drained, out);
	cr_assert_eq(chr_out_write(out, (const uint8_t *)half, CHR_OUT_RING / 2 - 1),
		     CHR_OUT_RING / 2 - 1);
	cr_assert_not(out->kicked);
	cr_assert(wakes(out, "f"), "half full");
	free(half);
	chr_out_done(out);
	close(far_end);
}

static bool is_blocked(void *arg)
{
	const struct chr_out *out = arg;

	return out->state == CHR_OUT_BLOCKED;
}

Test(chr_out, stalled_reader_is_no_reason_to_wake_the_loop)
{
	struct chr_out *out = bare_out();
	char *text = pattern(CHR_OUT_RING * 3 / 4, 5);

	cr_assert_eq(chr_out_write(out, (const uint8_t *)text, CHR_OUT_RING * 3 / 4),
		     CHR_OUT_RING * 3 / 4);
	world_run_until(is_blocked, out);
	cr_assert_geq(out->ring.used, CHR_OUT_RING / 2);
	cr_assert_not(wakes(out, "line\n"));
	free(text);
	chr_out_done(out);
	close(far_end);
}

/* A borrowed descriptor stays open when its reader has gone, so it must leave the loop. */
Test(chr_out, dead_stream_is_watched_no_more)
{
	struct chr_out *out = bare_out();
	char *text = pattern(CHR_OUT_RING, 6);
	int borrowed = out->fd.fd;

	out->fd.owned = false;
	cr_assert_eq(chr_out_write(out, (const uint8_t *)text, CHR_OUT_RING), CHR_OUT_RING);
	world_run_until(is_blocked, out);
	close(far_end);
	cr_assert_lt(world_run_for(50 * NS_PER_MS), 30 * NS_PER_MS);
	cr_assert_eq(out->state, CHR_OUT_DEAD);
	cr_assert_not(out->writable.added);
	free(text);
	chr_out_done(out);
	close(borrowed);
}

Test(chr_out, lingering_byte_is_written_when_the_time_is_up)
{
	struct chr *chr = to_pipe();

	reader_start(&reader, far_end);
	world_run_for(30 * NS_PER_MS);
	cr_assert_eq(chr_write(chr, "a", 1), 1);
	reader_wait_bytes(&reader, 1);
	cr_assert_eq(chr_write(chr, "b", 1), 1); /* no kick */
	reader_wait_bytes(&reader, 2);
	end_pipe(chr);
}

Test(chr_out, stalled_reader_costs_bytes_but_never_time)
{
	struct chr *chr = to_pipe();
	size_t n = 2 << 20, taken = 0;
	char *text = pattern(n, 1);
	uint64_t cpu;

	for (size_t i = 0; i < n; i += 1024) {
		taken += chr_write(chr, text + i, 1024);
		if (i == n / 2)
			world_run_for(5 * NS_PER_MS);
	}
	cr_assert_lt(taken, n);
	cr_assert_eq(chr_stats(chr).dropped, n - taken);
	world_run_for(5 * NS_PER_MS);
	cpu = world_run_for(100 * NS_PER_MS);
	cr_assert_lt(cpu, 30 * NS_PER_MS, "a stalled reader is waited for, not polled");

	/* When it reads again it gets the oldest bytes, whole and in order. */
	reader_start(&reader, far_end);
	reader_wait_bytes(&reader, taken);
	cr_assert_arr_eq(reader.buf, text, CHR_OUT_RING);
	cr_assert_eq(chr_stats(chr).written, taken);
	cr_assert_eq(chr_write(chr, "z", 1), 1);
	reader_wait_bytes(&reader, taken + 1);
	free(text);
	end_pipe(chr);
}

Test(chr_out, reader_that_goes_away_is_counted_as_dropped)
{
	struct chr *chr = to_pipe();
	uint64_t cpu;

	close(far_end);
	cr_assert_eq(chr_write(chr, "lost\n", 5), 5);
	world_run_for(20 * NS_PER_MS);
	cr_assert_eq(chr_stats(chr).dropped, 5);
	cr_assert_eq(chr_write(chr, "more", 4), 0);
	cr_assert_eq(chr_stats(chr).dropped, 9);
	cpu = world_run_for(50 * NS_PER_MS);
	cr_assert_lt(cpu, 20 * NS_PER_MS);
	chr_free(chr);
}

Test(chr_out, reader_that_goes_away_while_stalled_is_noticed)
{
	struct chr *chr = to_pipe();
	char *text = pattern(CHR_OUT_RING, 2);
	uint64_t cpu;

	cr_assert_eq(chr_write(chr, text, CHR_OUT_RING), CHR_OUT_RING);
	world_run_for(5 * NS_PER_MS);
	cr_assert_eq(chr_stats(chr).dropped, 0);
	close(far_end);
	cpu = world_run_for(50 * NS_PER_MS);
	cr_assert_lt(cpu, 30 * NS_PER_MS);
	cr_assert_eq(chr_stats(chr).dropped + chr_stats(chr).written, CHR_OUT_RING);
	cr_assert_gt(chr_stats(chr).dropped, 0);
	free(text);
	chr_free(chr);
}

Test(chr_out, flush_waits_no_longer_than_told)
{
	struct chr *chr = to_pipe();
	char *text = pattern(CHR_OUT_RING, 3);
	uint64_t start = clock_now_ns();

	cr_assert_eq(chr_write(chr, text, CHR_OUT_RING), CHR_OUT_RING);
	chr_flush(chr, 50);
	cr_assert_geq(clock_now_ns() - start, 49 * NS_PER_MS);
	cr_assert_lt(clock_now_ns() - start, 2 * NS_PER_S);
	cr_assert_gt(chr_stats(chr).dropped, 0);
	cr_assert_eq(chr_stats(chr).written + chr_stats(chr).dropped, CHR_OUT_RING,
		     "each byte was written or counted");
	cr_assert_eq(chr_write(chr, text, CHR_OUT_RING), CHR_OUT_RING);
	start = clock_now_ns();
	chr_flush(chr, 0);
	cr_assert_lt(clock_now_ns() - start, 2 * NS_PER_S);
	free(text);
	end_pipe(chr);
}

static void *slow_reader(void *arg)
{
	static char buf[4096];
	size_t *n = arg;
	ssize_t got;

	while ((got = read(far_end, buf, sizeof(buf))) > 0)
		*n += (size_t)got;
	return NULL;
}

Test(chr_out, flush_gets_everything_out_to_a_reader_that_reads)
{
	struct chr *chr = to_pipe();
	char *text = pattern(CHR_OUT_RING, 4);
	pthread_t thread;
	size_t n = 0;

	cr_assert_eq(pthread_create(&thread, NULL, slow_reader, &n), 0);
	cr_assert_eq(chr_write(chr, text, CHR_OUT_RING), CHR_OUT_RING);
	chr_flush(chr, 10000);
	cr_assert_eq(chr_stats(chr).written, CHR_OUT_RING);
	chr_free(chr);
	close(STDOUT_FILENO);
	pthread_join(thread, NULL);
	cr_assert_eq(n, CHR_OUT_RING);
	free(text);
}

/* ---- several writers ---- */

enum { WRITERS = 3, LINES = 4000, LINE = 16 };
static struct chr *common;

static void *write_lines(void *arg)
{
	char line[LINE + 1];

	for (int i = 0; i < LINES; i++) {
		(void)snprintf(line, sizeof(line), "%c %013d\n", *(char *)arg, i);
		cr_assert_eq(chr_write(common, line, LINE), LINE);
	}
	return NULL;
}

Test(chr_out, lines_of_several_threads_arrive_whole_and_each_in_order)
{
	static const char names[] = "ABC";
	pthread_t threads[WRITERS];
	int next[WRITERS] = {0};

	common = to_pipe();
	reader_start(&reader, far_end);
	for (int i = 0; i < WRITERS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, write_lines,
					    (void *)(uintptr_t)&names[i]),
			     0);
	reader_wait_bytes(&reader, (size_t)WRITERS * LINES * LINE);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	static_assert(WRITERS * LINES * LINE < CHR_OUT_RING, "no line is cut by a full ring");
	for (size_t at = 0; at < reader.n; at += LINE) {
		int who = reader.buf[at] - 'A';

		cr_assert(who >= 0 && who < WRITERS, "at %zu: %.16s", at, &reader.buf[at]);
		cr_assert_eq(atoi(&reader.buf[at + 2]), next[who]++);
	}
	end_pipe(common);
}
