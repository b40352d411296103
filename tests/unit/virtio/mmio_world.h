/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device on virtio-mmio as its driver reaches it, by addresses: writes of the guest ring the
 * doorbells that are attached, and come to the registers otherwise. The device answers each chain
 * with the bytes that it holds for the driver to read, or keeps chains until it is told.
 */
#ifndef VMM_TESTS_MMIO_WORLD_H
#define VMM_TESTS_MMIO_WORLD_H

#include "driver.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus/io_bus.h"
#include "event/loop.h"
#include "tests/fakes/wires.h"
#include "virtio/transport.h"
#include "virtio/virtio.h"

#define MMIO_BASE UINT64_C(0xfeb00000)

enum {
	MMIO_GSI = 10,
	MMIO_QUEUES = 3,
	MMIO_QUEUE_SIZE = 64,
	MMIO_CONFIG_LEN = 12, /* the last 4 bytes are the driver's to write */
};

struct mmio_device {
	struct virtio_dev virtio;
	struct mmio_world *world;
	unsigned resets;
};

struct mmio_world {
	struct guest_mem mem;
	struct loop *loop;
	pthread_t thread;
	struct fake_wires wires;
	struct io_bus memory;
	struct mmio_device device;
	struct virtio_dev *dev; /* the device's */
	struct driver_queue dq[MMIO_QUEUES];
	bool has_queues;

	/* Chains that come while it holds are kept until mmio_world_let_go(). */
	atomic_bool hold;
	int held, stopping; /* eventfds: one is kept; a queue is to stop */
	struct virtio_queue *held_queue;
	struct virtq_chain kept;
	struct iovec iov[4];
	struct loop_work let_go;
};

/* The wires are made, and may be made to fail, before the device. 0 or what virtio_mmio_new()
 * said. */
void mmio_world_init(struct mmio_world *w);
int mmio_world_make(struct mmio_world *w);
void mmio_world_start(struct mmio_world *w); /* its I/O thread */
void mmio_world_done(struct mmio_world *w);

/* Accesses to its page. */
uint64_t mmio_read(struct mmio_world *w, unsigned offset, unsigned size);
void mmio_write(struct mmio_world *w, unsigned offset, unsigned size, uint64_t value);
uint32_t mmio_get(struct mmio_world *w, unsigned offset);
void mmio_set(struct mmio_world *w, unsigned offset, uint32_t value);

/* As drivers do it: up to DRIVER_OK, with all queues. */
void mmio_world_up(struct mmio_world *w, const struct driver_setup *setup);
void mmio_world_set_up_queue(struct mmio_world *w, unsigned queue);

/* Makes one chain of one writable byte available, and notifies if it has to. */
void mmio_world_request(struct mmio_world *w, unsigned queue);
/* Waits for interrupts, handles them as a driver does, until the chain is back. */
void mmio_world_await_used(struct mmio_world *w, unsigned queue);

void mmio_world_await(int eventfd, const char *what);
void mmio_world_let_go(struct mmio_world *w);

#endif
