/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of network back ends need: a user of a port that takes frames and remembers them, and
 * a peer that writes and reads the bytes of a stream.
 */
#ifndef VMM_TESTS_NET_WORLD_H
#define VMM_TESTS_NET_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/net.h"
#include "tests/unit/loop_world.h"

enum { MAX_FRAMES = 4096 };

/* Takes at most `budget` frames per call, while `room` lasts. */
struct end {
	struct net_user user;
	struct net_port *port;
	unsigned budget, room;
	unsigned readables, writables, ups, downs, n;
	ssize_t last_error; /* of net_recv, other than -EAGAIN */
	const char *why;
	/* of each frame: its length, its fourth byte from the end, and whether its header was zero
	 */
	size_t len[MAX_FRAMES];
	uint8_t mark[MAX_FRAMES];
	bool plain[MAX_FRAMES];
	uint8_t header[NET_HEADER_LEN], frame[NET_FRAME_MAX]; /* the last one */
};

/* A loop of the engine under test (event/engine.h); ignores SIGPIPE as vmm does. */
void net_world_set_up(void);
void net_world_tear_down(void);
const char *net_world_path(const char *name);

void end_attach(struct end *e, struct net *net, unsigned port);
void end_wait_frames(struct end *e, unsigned n);
void end_wait_up(struct end *e, unsigned ups);
void end_wait_down(struct end *e, unsigned downs);
void end_wait_writable(struct end *e, unsigned writables);
/* A frame of `len` bytes that all are `mark`. */
int end_send(struct end *e, size_t len, uint8_t mark);

/* The bytes of frames, as on the wire. Returns how many. */
size_t wire_frame(uint8_t *to, size_t len, uint8_t mark);

#endif
