/* SPDX-License-Identifier: Apache-2.0 */
#include "chr_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

static char dir[64];

void world_set_up(void)
{
	signal(SIGPIPE, SIG_IGN);
	log_init(-1, LOG_ERROR);
	cr_assert_eq(loop_new(&world_loop), 0);
}

void world_tear_down(void)
{
	char command[128];

	world_loop = loop_free(world_loop);
	if (dir[0]) {
		(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
		cr_assert_eq(system(command), 0);
		dir[0] = '\0';
	}
}

const char *world_dir(void)
{
	if (!dir[0]) {
		strcpy(dir, "/tmp/chr.XXXXXX");
		cr_assert_not_null(mkdtemp(dir));
	}
	return dir;
}

struct chr *world_open(const char *text)
{
	struct chr_spec spec;
	struct err err = {0};
	struct chr *chr = NULL;

	cr_assert_eq(chr_spec_parse(text, &spec, &err), 0, "%s", err.msg);
	cr_assert_eq(chr_open(&spec, "--console", &chr, &err), 0, "%s", err.msg);
	return chr;
}

struct chr *world_start(const char *text, struct chr_rx *rx)
{
	struct chr *chr = world_open(text);
	struct err err = {0};

	if (rx)
		chr_set_rx(chr, rx);
	cr_assert_eq(chr_start(chr, world_loop, &err), 0, "%s", err.msg);
	return chr;
}

/* ---- receiver ---- */

static size_t take(struct chr_rx *rx, const uint8_t *buf, size_t n)
{
	struct receiver *r = container_of(rx, struct receiver, rx);
	size_t taken = n < r->room ? n : r->room;

	cr_assert_leq(r->n + taken, sizeof(r->buf));
	cr_assert_eq(r->eofs, 0, "bytes after the end of file");
	memcpy(r->buf + r->n, buf, taken);
	r->n += taken;
	r->room -= taken;
	r->calls++;
	return taken;
}

static void take_eof(struct chr_rx *rx)
{
	struct receiver *r = container_of(rx, struct receiver, rx);

	r->eofs++;
	r->n_at_eof = r->n;
}

void receiver_init(struct receiver *r)
{
	*r = (struct receiver){.rx = {.bytes = take, .eof = take_eof}, .room = SIZE_MAX};
}

struct goal {
	void *who;
	uint64_t n;
};

static bool received(void *arg)
{
	struct goal *goal = arg;
	struct receiver *r = goal->who;

	return r->n >= goal->n;
}

void receiver_wait_bytes(struct receiver *r, size_t n)
{
	world_run_until(received, &(struct goal){r, n});
	cr_assert_eq(r->n, n);
}

static bool got_eof(void *arg)
{
	struct receiver *r = arg;

	return r->eofs > 0;
}

void receiver_wait_eof(struct receiver *r)
{
	world_run_until(got_eof, r);
}

static void press(struct chr_keys *keys, char key)
{
	struct keyboard *k = container_of(keys, struct keyboard, keys);

	cr_assert_lt(k->n, sizeof(k->pressed));
	k->pressed[k->n++] = key;
}

void keyboard_init(struct keyboard *k)
{
	*k = (struct keyboard){.keys.pressed = press};
}

static bool pressed(void *arg)
{
	struct goal *goal = arg;
	struct keyboard *k = goal->who;

	return k->n >= goal->n;
}

void keyboard_wait(struct keyboard *k, unsigned n)
{
	world_run_until(pressed, &(struct goal){k, n});
}

/* ---- reader ---- */

static void read_more(struct loop_fd *source, uint32_t events)
{
	struct reader *r = container_of(source, struct reader, source);
	ssize_t n = read(source->fd, r->buf + r->n, sizeof(r->buf) - r->n);

	(void)events;
	if (n > 0)
		r->n += (size_t)n;
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		r->ended = true;
		loop_del_fd(world_loop, source);
	}
}

void reader_start(struct reader *r, int fd)
{
	*r = (struct reader){.source = {.fd = fd, .ready = read_more}};
	cr_assert_eq(fd_set_nonblock(fd), 0);
	cr_assert_eq(loop_add_fd(world_loop, &r->source, EPOLLIN), 0);
}

void reader_stop(struct reader *r)
{
	loop_del_fd(world_loop, &r->source);
}

static bool reader_has(void *arg)
{
	struct goal *goal = arg;
	struct reader *r = goal->who;

	return r->n >= goal->n;
}

void reader_wait_bytes(struct reader *r, size_t n)
{
	world_run_until(reader_has, &(struct goal){r, n});
	cr_assert_eq(r->n, n);
}

static bool reader_ended(void *arg)
{
	struct reader *r = arg;

	return r->ended;
}

void reader_wait_end(struct reader *r)
{
	world_run_until(reader_ended, r);
}

static bool has_written(void *arg)
{
	struct goal *goal = arg;

	return chr_stats(goal->who).written >= goal->n;
}

void world_wait_written(struct chr *chr, uint64_t bytes)
{
	world_run_until(has_written, &(struct goal){chr, bytes});
}

/* ---- descriptors ---- */

void world_move_fd(int fd, int target)
{
	cr_assert_geq(fd, 0);
	cr_assert_eq(dup2(fd, target), target);
	cr_assert_eq(close(fd), 0);
}

int world_pipe_as_stdin(void)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	world_move_fd(fds[0], STDIN_FILENO);
	return fds[1];
}

int world_pipe_as_stdout(void)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	world_move_fd(fds[1], STDOUT_FILENO);
	return fds[0];
}
