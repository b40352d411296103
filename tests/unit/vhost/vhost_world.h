/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A front end on a loop, guest memory of two regions with a ring or two in it, and what it tells
 * its owner. The back end is a fake (tests/fakes/back_end.h) or what the test makes of it.
 */
#ifndef VMM_TESTS_VHOST_WORLD_H
#define VMM_TESTS_VHOST_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "mm/map.h"
#include "tests/fakes/back_end.h"
#include "tests/unit/loop_world.h"
#include "vhost/vhost_user.h"

enum { WORLD_RINGS = 2, WORLD_RING_SIZE = 128, WORLD_REGION = 1 << 20 };
#define WORLD_HIGH (UINT64_C(4) << 30) /* where the second region lies */

struct vhost_world {
	struct vhost_user_setup setup;
	struct vhost_dev *dev;
	struct mm_map map;
	struct err err;
	char path[64];
	/* What the device was told. */
	unsigned readies, ups, losts, faileds, configs, stoppeds[WORLD_RINGS];
	char why[160];
};

extern struct vhost_world vw;
extern struct back_end back_end;

/* A place for the socket, memory, a back end that is not started. */
void vhost_world_set_up(void);
void vhost_world_tear_down(void);

/* vhost_user_open(), which must succeed or fail. */
void vhost_open(void);
void vhost_open_fails(void);
/* On the loop, with WORLD_RINGS rings. */
void vhost_attach(void);
/* All rings are wanted, from base 0 on; returns when they are up. */
void vhost_start(void);
void vhost_stop(unsigned ring);
/* Runs the loop until the counter has come to n. */
void vhost_await(const unsigned *counter, unsigned n);
void vhost_await_connected(bool connected);

#endif
