/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output half of a character stream: any thread puts bytes into the ring, the loop's thread
 * writes them.
 *
 * When the loop is woken (an eventfd write per byte would cost more than the byte):
 *   idle       the first byte wakes it at once, so an interactive echo has no delay
 *   lingering  for 10 ms after each drain only a newline or a half-full ring wakes it; the rest is
 *              written when the time is up, and if nothing came the stream is idle again
 *   blocked    the reader has stalled: nobody wakes it, EPOLLOUT does; what finds the ring full is
 *              dropped
 *   held       no reader at all (a unix socket without client): the oldest bytes go when three
 *              quarters are full, so that the next client sees the most recent output, from the
 *              start of a line
 *   dead       the reader is gone for good (EPIPE): everything is dropped
 */
#ifndef VMM_BACKEND_CHR_OUT_H
#define VMM_BACKEND_CHR_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/chr.h"
#include "backend/chr_fd.h"
#include "backend/chr_ring.h"
#include "base/mutex.h"
#include "event/loop.h"

enum { CHR_OUT_RING = 256 << 10 };

enum chr_out_state { CHR_OUT_IDLE, CHR_OUT_LINGERING, CHR_OUT_BLOCKED, CHR_OUT_HELD, CHR_OUT_DEAD };

struct chr_out {
	struct mutex lock; /* leaf; never held over a system call; guards the next four */
	struct chr_ring ring;
	enum chr_out_state state;
	bool kicked; /* work is posted and has not run */
	bool asked;  /* room() is wanted */

	_Atomic uint64_t written, dropped;

	/* The rest belongs to the loop's thread; loop is set once, before any other thread writes.
	 */
	struct chr_fd fd;
	struct loop *loop;
	struct loop_fd writable;
	struct loop_timer linger;
	struct loop_work kick;
	const char *what;
	bool complained;
	/* The stream's end is gone: true when another may come (held), false for good (dead). */
	bool (*lost)(struct chr_out *out);
	/* After chr_out_has_room() was false. May be NULL. */
	void (*room)(struct chr_out *out);
	struct chr_limit *limit; /* may be NULL */
	uint64_t since_limit;	 /* bytes */
};

int chr_out_init(struct chr_out *out, const char *what) must_check;
void chr_out_done(struct chr_out *out);

/* Everything goes nowhere from now on. */
void chr_out_kill(struct chr_out *out);
/* A reader is there, or (CHR_FD_NONE) gone but another may come. Takes fd over. */
void chr_out_attach(struct chr_out *out, struct chr_fd fd);
void chr_out_start(struct chr_out *out, struct loop *loop);
size_t chr_out_write(struct chr_out *out, const uint8_t *bytes, size_t n);
/* For a writer on the loop's thread that drops nothing; n is at most CHR_ROOM_MAX. False: room()
 * is called when it is worth asking again. */
bool chr_out_has_room(struct chr_out *out, size_t n);
/* What was written need not wait for a newline. */
void chr_out_push(struct chr_out *out);
/* Waits at most timeout_ms; what is not out by then is dropped and counted. */
void chr_out_flush(struct chr_out *out, unsigned timeout_ms);

#endif
