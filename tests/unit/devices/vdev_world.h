/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device without a transport, a guest memory, and a driver that does to it what one does
 * through registers. The device's queues run on a thread of their own, of the engine that
 * event/engine.h chooses; the driver is the test.
 *
 *	vdev_world_init(&w, combination);
 *	... virtio_x_new() with w.mem.map, &w.loop, 1 loop ...
 *	vdev_take(&w, dev);
 *	vdev_up(&w, features);
 *	vdev_request(&w, 0, segs, 1, 0);
 *	vdev_world_done(&w);
 */
#ifndef VMM_TESTS_VDEV_WORLD_H
#define VMM_TESTS_VDEV_WORLD_H

#include "driver.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "event/loop.h"
#include "tests/unit/saved.h"
#include "virtio/virtio.h"

enum { VDEV_QUEUES = 8, VDEV_QUEUE_SIZE = 32, VDEV_COMBINATIONS = 16 };

struct vdev_queue {
	struct driver_queue dq;
	int kick, call; /* eventfds */
	bool set_up;
};

struct vdev_world {
	struct guest_mem mem;
	struct loop *loop;
	pthread_t thread;
	sem_t claimed; /* by the thread */
	bool running;
	struct virtio_dev *dev; /* the world's own */
	struct virtio_transport transport;
	int config_fd; /* eventfd, counts changes of the configuration */
	struct driver_setup setup;
	struct vdev_queue q[VDEV_QUEUES];
	/* The device is freed, and w->loop will be: for what else is on it. May be NULL. */
	void (*loop_ends)(void);
};

/* combination: packed, event_idx, indirect, in_order by its bits. */
void vdev_world_init(struct vdev_world *w, unsigned combination);
void vdev_world_done(struct vdev_world *w);

/* Gives the device to the world and its loop a thread. */
void vdev_take(struct vdev_world *w, struct virtio_dev *dev);
/* Quiesces, saves, frees the device and its loop, loads the state into a new one on a new w->loop,
 * and lets that go on. */
void vdev_replace(struct vdev_world *w, struct virtio_dev *(*make)(void));

/* Negotiates these bits and those of the combination; all queues that the device has. */
void vdev_up(struct vdev_world *w, uint64_t features);
void vdev_reset(struct vdev_world *w);

/* Publishes what was added and kicks where it is wanted. */
void vdev_publish(struct vdev_world *w, unsigned queue);
/* Waits for a used chain; its length. */
uint32_t vdev_await_used(struct vdev_world *w, unsigned queue);
/* One request from beginning to end, indirect where the combination says so. */
uint32_t vdev_request(struct vdev_world *w, unsigned queue, const struct driver_seg *segs,
		      unsigned n_out, unsigned n_in);
/* Makes the chain available that no good driver makes, and waits until the device needs a reset. */
void vdev_break(struct vdev_world *w, unsigned queue, const struct driver_desc *descs, unsigned n);

/* Waits until the device says that its configuration has changed. */
void vdev_await_config(struct vdev_world *w);
/* Changes that it has told of and nobody awaited. */
uint64_t vdev_config_changes(struct vdev_world *w);
uint64_t vdev_config(struct vdev_world *w, unsigned offset, unsigned size);
void vdev_write_config(struct vdev_world *w, unsigned offset, unsigned size, uint64_t value);

/* Its loop has run what was posted until now. */
void vdev_settle(struct vdev_world *w);
uint64_t vdev_stat(const struct vdev_world *w, const char *name);
/* Runs its first verb. NULL: not given. */
int vdev_verb(struct vdev_world *w, const char *first, const char *second, struct err *err);

/* A page's worth of guest memory with these bytes in it. */
uint64_t vdev_bytes(struct vdev_world *w, const void *bytes, uint32_t len);

#endif
