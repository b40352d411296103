/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every test of character streams needs: a loop, a receiver that can refuse, readers of the
 * far end. Tests run the loop until what they wait for has happened; a guard timer fails one that
 * would wait for ever.
 */
#ifndef VMM_TESTS_CHR_WORLD_H
#define VMM_TESTS_CHR_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/chr.h"
#include "event/loop.h"
#include "tests/unit/loop_world.h"

/* Opens a loop; ignores SIGPIPE as vmm does. */
void world_set_up(void);
void world_tear_down(void);

/* Opens and starts a stream; fails the test with the message when it cannot. */
struct chr *world_open(const char *spec);
struct chr *world_start(const char *spec, struct chr_rx *rx);

/* Takes bytes while it has `room`, which starts out unlimited. */
struct receiver {
	struct chr_rx rx;
	uint8_t buf[256 << 10];
	size_t n, room;
	unsigned calls, eofs;
	size_t n_at_eof;
};
void receiver_init(struct receiver *r);
void receiver_wait_bytes(struct receiver *r, size_t n);
void receiver_wait_eof(struct receiver *r);

struct keyboard {
	struct chr_keys keys;
	char pressed[16];
	unsigned n;
};
void keyboard_init(struct keyboard *k);
void keyboard_wait(struct keyboard *k, unsigned n);

/* Reads a descriptor as it fills. */
struct reader {
	struct loop_fd source;
	char buf[1 << 20];
	size_t n;
	bool ended;
};
void reader_start(struct reader *r, int fd);
void reader_stop(struct reader *r);
void reader_wait_bytes(struct reader *r, size_t n);
void reader_wait_end(struct reader *r);

void world_wait_written(struct chr *chr, uint64_t bytes);

/* A pipe whose ends take the places of standard input or output; returns the other end. */
int world_pipe_as_stdin(void);
int world_pipe_as_stdout(void);
/* Puts fd in place of `target` and closes fd. */
void world_move_fd(int fd, int target);
/* A directory of the test's own, removed with what is in it by world_tear_down(). */
const char *world_dir(void);

#endif
