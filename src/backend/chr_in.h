/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input half of a character stream, all of it on the loop's thread (only the resume work is
 * posted from elsewhere).
 *
 * Bytes are read when the receiver has taken all earlier ones, so a receiver that does not take
 * stops the sender (a pipe fills up). A terminal is the exception: it is always read, so that the
 * escape works with a guest that no longer listens, and what does not fit the buffer is dropped, as
 * a terminal does itself.
 *
 * Where senders come and go, the hang-up of one is told even while its bytes are not wanted. What
 * it sent before is still read, until its end or the next sender.
 */
#ifndef VMM_BACKEND_CHR_IN_H
#define VMM_BACKEND_CHR_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/chr.h"
#include "backend/chr_fd.h"
#include "event/loop.h"

enum { CHR_IN_BUFFER = 64 << 10, CHR_IN_PIECE = 4096 };

struct chr_in {
	struct chr_fd fd;
	struct loop *loop;
	struct loop_fd readable;
	uint32_t watched; /* the events of readable, while it is added */
	struct loop_work pump;
	struct chr_rx *rx;
	struct chr_keys *keys;

	uint8_t *buf; /* mapped, lazily touched */
	size_t from, to;
	bool terminal;	  /* escapes are honoured */
	bool escaped;	  /* the last byte was the escape */
	bool unwatchable; /* epoll refuses it: a regular file, /dev/null; it is always readable */
	bool refused;	  /* the receiver took less than it was given and has not resumed */
	bool ended, eof_told;
	bool hung_up; /* nothing more is sent; what was sent may still be unread */
	_Atomic uint64_t received;
	/* End of this input, but another may come: no eof for the guest. NULL: the end is the end.
	 */
	void (*left)(struct chr_in *in);
	/* The sender hung up before its input was read to the end; left() may follow. NULL: nobody
	 * asks. */
	void (*hangup)(struct chr_in *in);
};

int chr_in_init(struct chr_in *in) must_check;
void chr_in_done(struct chr_in *in);

/*
 * Takes fd over. CHR_FD_NONE: no input for now. Earlier bytes that wait are still delivered; of
 * those that a sender left behind when it hung up, as many as the buffer holds.
 */
void chr_in_attach(struct chr_in *in, struct chr_fd fd);
/* The sender is known to be gone: its descriptor is read to the end, but no more watched for a
 * hang-up. */
void chr_in_set_hung_up(struct chr_in *in);
void chr_in_start(struct chr_in *in, struct loop *loop);
void chr_in_set_rx(struct chr_in *in, struct chr_rx *rx);
void chr_in_resume(struct chr_in *in); /* any thread */
/* The same at once; loop's thread. */
void chr_in_pump(struct chr_in *in);

/* Room for bytes that chr_in_put() would take, beside those that wait. */
size_t chr_in_room(const struct chr_in *in);
/* Bytes that came by another way than its descriptor; n is at most the room. */
void chr_in_put(struct chr_in *in, const uint8_t *bytes, size_t n);
/* Ends this input for good: what waits, and what its descriptor has ready, goes to another one as
 * far as there is room. */
void chr_in_hand_over(struct chr_in *in, struct chr_in *heir);

#endif
