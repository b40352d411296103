/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The echo device with a transport that records what it is told, and the driver of a guest that
 * reaches its registers by the functions that transports call. Its queues are spread over loops,
 * each with a thread, or with none: then they are the test's own.
 */
#ifndef VMM_TESTS_DEV_WORLD_H
#define VMM_TESTS_DEV_WORLD_H

#include "driver.h"
#include "echo.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	DEV_MAX_LOOPS = 3,
	/* status */
	DEV_FOUND = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER,
	DEV_AGREED = DEV_FOUND | VIRTIO_CONFIG_S_FEATURES_OK,
	DEV_UP = DEV_AGREED | VIRTIO_CONFIG_S_DRIVER_OK,
};

struct dev_request {
	uint64_t gpa; /* 4 bytes to read, 4 to write */
	uint32_t word;
	bool out;
};

struct dev_world {
	struct guest_mem mem;
	struct loop *loops[DEV_MAX_LOOPS];
	pthread_t threads[DEV_MAX_LOOPS];
	unsigned n_loops;
	bool running;
	struct echo *echo;
	struct virtio_dev *dev; /* the echo's */
	struct virtio_transport transport;
	int config_fd; /* eventfd: config_irq was called */
	atomic_uint driver_resets, machine_resets, queue_irqs;

	struct driver_setup setup;
	struct driver_queue dq[ECHO_QUEUES];
	bool has_queues;
	struct dev_request requests[ECHO_QUEUES][ECHO_QUEUE_SIZE];
	uint32_t next_word;
	int kick[ECHO_QUEUES], call[ECHO_QUEUES]; /* eventfds */
};

void dev_world_init(struct dev_world *w, const struct driver_setup *setup, unsigned n_loops);
/* With loops that look for work for so long before they sleep. */
void dev_world_init_polling(struct dev_world *w, const struct driver_setup *setup, unsigned n_loops,
			    uint64_t poll_ns);
/* The loops' threads. */
void dev_world_start(struct dev_world *w);
void dev_world_stop(struct dev_world *w);
void dev_world_done(struct dev_world *w);
/* The same transport and loops, a device just made; frees the old one. Stops the threads. */
void dev_world_renew(struct dev_world *w);

/* Up to FEATURES_OK with the bits of the setup and these; then all queues; then DRIVER_OK. */
void dev_agree(struct dev_world *w, uint64_t features);
void dev_set_up_queue(struct dev_world *w, unsigned i);
void dev_up(struct dev_world *w);
void dev_status(struct dev_world *w, uint8_t status);
/* Writes 0 and waits as a driver does that polls. */
void dev_reset(struct dev_world *w);
void dev_await_status(struct dev_world *w, uint8_t status);
void dev_reset_queue(struct dev_world *w, unsigned i); /* and waits */

/* False: the ring is full. */
bool dev_request(struct dev_world *w, unsigned i);
/* What has come back, with the right answer. */
unsigned dev_collect(struct dev_world *w, unsigned i);
/* Waits by interrupts until all are back. */
void dev_await_all(struct dev_world *w, unsigned i);
/* One request on each queue. */
void dev_works(struct dev_world *w);

/* The loops have run what was posted until now. */
void dev_settle(struct dev_world *w);
/* Counts of an eventfd, read away. */
uint64_t dev_take(int fd);
void dev_await(int fd, const char *what);
uint64_t dev_stat(const struct dev_world *w, const char *name);

#endif
