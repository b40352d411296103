/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console (virtio 1.2, 5.3) with several ports, each over a character stream. Its queues run
 * on main's loop, where the streams are.
 *
 * A console port is a terminal (hvc0 in Linux): its output never waits, what a stalled reader
 * leaves no room for is dropped and counted, and the end of its input is a Ctrl-D as that of the
 * serial port. Any other port (/dev/virtio-ports/NAME) loses nothing: output waits in the guest
 * until the reader has room, input waits in the stream until a program of the guest has opened the
 * port. The guest is told when a client of a unix= stream comes and goes.
 *
 * Of a port's output a turn of main's loop takes 64 KiB: a longer chain goes out in pieces. When
 * the device is paused or saved meanwhile, it goes on where it was.
 *
 * A driver without VIRTIO_CONSOLE_F_MULTIPORT sees the first port only, as always open.
 */
#ifndef VMM_DEVICES_VIRTIO_CONSOLE_H
#define VMM_DEVICES_VIRTIO_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct chr;
struct loop;
struct mm_map;
struct virtio_dev;

enum { VIRTIO_CONSOLE_MAX_PORTS = 31, VIRTIO_CONSOLE_NAME_MAX = 63 };

/* Sees what the guest sends on a console port, after it was written out, in blocks. Main. */
struct virtio_console_tap {
	void (*bytes)(struct virtio_console_tap *tap, const uint8_t *bytes, size_t n);
};

struct virtio_console_port {
	const char *name; /* NULL: none; copied, at most VIRTIO_CONSOLE_NAME_MAX bytes */
	struct chr *chr;  /* opened; the device is its receiver until it is freed */
	bool console;
	struct virtio_console_tap *tap; /* of a console port; may be NULL */
};

/* All borrowed. */
struct virtio_console_setup {
	const char *id; /* "console0" */
	const struct mm_map *map;
	struct loop *loop; /* main's */
	bool packed;
	uint16_t queue_size;
	const struct virtio_console_port *ports;
	unsigned n_ports;    /* 1 to VIRTIO_CONSOLE_MAX_PORTS */
	uint16_t cols, rows; /* of the console ports; 0: not known */
};

/* Before the streams are started. 0 or -errno. */
int virtio_console_new(const struct virtio_console_setup *setup,
		       struct virtio_dev **ret) must_check;

/* The terminal has another size now. Main. */
void virtio_console_resize(struct virtio_dev *dev, uint16_t cols, uint16_t rows);

#endif
