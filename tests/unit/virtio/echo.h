/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device of the core's tests: it answers each chain's 4 readable bytes with their complement in
 * its 4 writable ones; at once, when it is told, or some time later in any order. It ends the test
 * where the core breaks its word: a queue that starts twice, a kick for one that does not run.
 */
#ifndef VMM_TESTS_ECHO_H
#define VMM_TESTS_ECHO_H

#include <stdatomic.h>
#include <stdbool.h>

#include "event/loop.h"
#include "virtio/virtio.h"

enum { ECHO_QUEUES = 4, ECHO_QUEUE_SIZE = 64, ECHO_SEGMENTS = 4, ECHO_CONFIG_LEN = 12 };

enum echo_mode { ECHO_NOW, ECHO_HOLD, ECHO_LATER };

struct echo_chain {
	struct virtq_chain chain;
	struct iovec iov[ECHO_SEGMENTS];
};

struct echo_queue {
	struct virtio_queue *q;
	struct echo_chain kept[ECHO_QUEUE_SIZE];
	unsigned n_kept;
	bool runs, stops;
	uint64_t dice;
	struct loop_timer later;
	struct loop_work let_go;
};

struct echo {
	struct virtio_dev virtio;
	struct echo_queue queues[ECHO_QUEUES];
	_Atomic(enum echo_mode) mode;
	atomic_bool refuse; /* FEATURES_OK */
	atomic_uint kept, starts, stops, resets, written;
	int news; /* eventfd: one of kept, starts and stops is more than it was */
};

/* Queue i on loops[i % n_loops]; offers what is common, and bits 0 and 2. The last 4 bytes
 * of the configuration are the driver's to write. */
struct echo *echo_new(const struct mm_map *map, struct loop *const *loops, unsigned n_loops);

/* Waits until `count` is at least n. */
void echo_await(struct echo *echo, atomic_uint *count, unsigned n);
/* Answers what it keeps of a queue, on its loop. */
void echo_let_go(struct echo *echo, unsigned queue);

#endif
