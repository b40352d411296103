/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/chr_in.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/log.h"

enum {
	ESCAPE = 0x01, /* Ctrl-A */
	/* Reads in one turn of the loop; a sender that never pauses must not keep the others
	   waiting. */
	MAX_READS = 16,
};

/* ---- the escape ---- */

/* What the key after an escape leaves in the stream: Ctrl-A a (and Ctrl-A Ctrl-A) one literal
 * Ctrl-A. */
static size_t escaped_key(struct chr_in *in, uint8_t key, uint8_t *ret)
{
	in->escaped = false;
	if (key == 'a' || key == ESCAPE) {
		*ret = ESCAPE;
		return 1;
	}
	if (in->keys)
		in->keys->pressed(in->keys, (char)key);
	return 0;
}

/* Takes escapes out of bytes[n] in place; returns how many are left. */
static size_t filter_escapes(struct chr_in *in, uint8_t *bytes, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (in->escaped)
			kept += escaped_key(in, bytes[i], &bytes[kept]);
		else if (bytes[i] == ESCAPE)
			in->escaped = true;
		else
			bytes[kept++] = bytes[i];
	}
	return kept;
}

/* ---- reading and delivering ---- */

static bool is_empty(const struct chr_in *in)
{
	return in->from == in->to;
}

/* Once refused, the receiver is left alone until it asks again. */
static void deliver(struct chr_in *in)
{
	while (!is_empty(in) && !in->refused) {
		size_t n = in->to - in->from,
		       taken = in->rx ? in->rx->bytes(in->rx, in->buf + in->from, n) : 0;

		in->from += taken;
		in->refused = taken < n;
	}
	if (!is_empty(in))
		return;
	in->from = in->to = 0;
	if (in->ended && !in->eof_told && !in->left && in->rx) {
		in->eof_told = true;
		in->rx->eof(in->rx);
	}
}

static bool wants_input(const struct chr_in *in)
{
	if (in->ended || in->fd.fd < 0)
		return false;
	return in->terminal || (in->rx && is_empty(in));
}

static void move_to_front(struct chr_in *in)
{
	memmove(in->buf, in->buf + in->from, in->to - in->from);
	in->to -= in->from;
	in->from = 0;
}

/* Makes room behind `to`: a terminal reads while bytes wait, and so does save_rest(). */
static size_t room(struct chr_in *in)
{
	if (in->to + CHR_IN_PIECE > CHR_IN_BUFFER && in->from > 0)
		move_to_front(in);
	return MIN((size_t)CHR_IN_BUFFER - in->to, (size_t)CHR_IN_PIECE);
}

/* Bytes read, 0 for the end, -errno. */
static ssize_t read_piece(struct chr_in *in)
{
	uint8_t overflow[256], *at = overflow;
	size_t space = room(in), kept;
	ssize_t n;

	if (space > 0)
		at = in->buf + in->to;
	n = chr_fd_read(&in->fd, at, space > 0 ? space : sizeof(overflow));
	if (n <= 0)
		return n;
	kept = in->terminal ? filter_escapes(in, at, (size_t)n) : (size_t)n;
	if (space > 0) {
		in->to += kept;
		atomic_fetch_add_explicit(&in->received, kept, memory_order_relaxed);
	}
	return n;
}

static void end(struct chr_in *in)
{
	in->ended = true;
	loop_del_fd(in->loop, &in->readable);
	if (in->left)
		in->left(in);
}

/* Bytes that are not wanted are not watched for, but a sender's going may be: epoll reports it
 * unasked, with no events at all. */
static bool wants_hangup(const struct chr_in *in)
{
	return in->hangup && !in->hung_up && !in->ended && in->fd.fd >= 0;
}

static void set_watched(struct chr_in *in, uint32_t events)
{
	int r = 0;

	if (in->unwatchable || (in->readable.added && in->watched == events))
		return;
	if (in->readable.added) {
		r = loop_mod_fd(in->loop, &in->readable, events);
	} else {
		in->readable.fd = in->fd.fd;
		r = loop_add_fd(in->loop, &in->readable, events);
	}
	in->watched = events;
	in->unwatchable = r < 0;
}

static void watch(struct chr_in *in)
{
	bool wanted = wants_input(in);

	if (!wanted && !wants_hangup(in)) {
		loop_del_fd(in->loop, &in->readable);
		return;
	}
	set_watched(in, wanted ? EPOLLIN : 0);
	if (wanted && in->unwatchable)
		loop_post(in->loop, &in->pump);
}

static void pump(struct chr_in *in)
{
	deliver(in);
	for (int i = 0; i < MAX_READS && wants_input(in); i++) {
		ssize_t n = read_piece(in);

		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			if (n < 0)
				log_debug("input ends: %s", strerror((int)-n));
			end(in);
		}
		deliver(in);
	}
	watch(in);
}

void chr_in_pump(struct chr_in *in)
{
	in->refused = false;
	pump(in);
}

static void on_pump(struct loop_work *work)
{
	chr_in_pump(container_of(work, struct chr_in, pump));
}

/* A hang-up is reported for as long as it is watched, so chr_in_set_hung_up() comes first. */
static void on_readable(struct loop_fd *source, uint32_t events)
{
	struct chr_in *in = container_of(source, struct chr_in, readable);

	if ((events & (EPOLLHUP | EPOLLERR)) && !wants_input(in) && wants_hangup(in)) {
		chr_in_set_hung_up(in);
		in->hangup(in);
	} else {
		pump(in);
	}
}

/* ---- life ---- */

int chr_in_init(struct chr_in *in)
{
	void *buf = mmap(NULL, CHR_IN_BUFFER, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	*in = (struct chr_in){
		.fd = CHR_FD_NONE, .readable.ready = on_readable, .pump.run = on_pump};
	if (buf == MAP_FAILED)
		return -errno;
	in->buf = buf;
	return 0;
}

static void detach(struct chr_in *in)
{
	if (in->loop)
		loop_del_fd(in->loop, &in->readable);
	chr_fd_close(&in->fd);
}

void chr_in_done(struct chr_in *in)
{
	detach(in);
	if (in->loop)
		loop_work_cancel(in->loop, &in->pump);
	if (in->buf)
		(void)munmap(in->buf, CHR_IN_BUFFER);
	in->buf = NULL;
}

/* The next sender takes the place of one whose last bytes nobody has wanted yet. */
static void save_rest(struct chr_in *in)
{
	if (!in->hung_up || in->ended || in->fd.fd < 0)
		return;
	while (room(in) > 0 && read_piece(in) > 0)
		;
	if (room(in) == 0)
		log_info("input that the guest did not read in time may be lost");
}

void chr_in_attach(struct chr_in *in, struct chr_fd fd)
{
	save_rest(in);
	detach(in);
	in->fd = fd;
	in->ended = false;
	in->hung_up = false;
	in->unwatchable = false;
	in->escaped = false;
	chr_in_resume(in);
}

void chr_in_set_hung_up(struct chr_in *in)
{
	in->hung_up = true;
	watch(in);
}

/*
 * The first read is not left to epoll: a FIFO whose writers left before we opened it is at its end
 * and yet never reports it.
 */
void chr_in_start(struct chr_in *in, struct loop *loop)
{
	in->loop = loop;
	chr_in_resume(in);
}

void chr_in_set_rx(struct chr_in *in, struct chr_rx *rx)
{
	in->rx = rx;
	chr_in_resume(in);
}

void chr_in_resume(struct chr_in *in)
{
	if (in->loop)
		loop_post(in->loop, &in->pump);
}

/* ---- other ways in ---- */

size_t chr_in_room(const struct chr_in *in)
{
	return CHR_IN_BUFFER - (in->to - in->from);
}

void chr_in_put(struct chr_in *in, const uint8_t *bytes, size_t n)
{
	move_to_front(in);
	memcpy(in->buf + in->to, bytes, n);
	in->to += n;
	pump(in);
}

void chr_in_hand_over(struct chr_in *in, struct chr_in *heir)
{
	size_t n;

	while (!in->ended && in->fd.fd >= 0 && room(in) > 0 && read_piece(in) > 0)
		;
	n = MIN(in->to - in->from, chr_in_room(heir));
	if (n > 0)
		chr_in_put(heir, in->buf + in->from, n);
	in->from = in->to = 0;
	in->ended = true;
	if (in->loop)
		loop_del_fd(in->loop, &in->readable);
}
