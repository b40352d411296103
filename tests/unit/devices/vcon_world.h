/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console device with both of its ends: a guest that knows several ports, and streams of the
 * host. Port 0 is a console, the others are named; three ports have eight queues.
 */
#ifndef VMM_TESTS_VCON_WORLD_H
#define VMM_TESTS_VCON_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/chr.h"
#include "devices/virtio_console.h"
#include "tests/unit/devices/vdev_world.h"

enum { VCON_PORTS = 3, VCON_RX_SIZE = 1024, VCON_TX_SIZE = 1 << 20 };
enum { VCON_CONTROL_RX = 2, VCON_CONTROL_TX = 3 };

#define VCON_MULTIPORT VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT)
#define VCON_SIZE      VIRTIO_BIT(VIRTIO_CONSOLE_F_SIZE)

extern struct vdev_world vcw;
/* Before vcon_begin(): the streams, NULL for a unix socket of the test's own; the terminal's size.
 */
extern const char *vcon_kinds[VCON_PORTS];
extern uint16_t vcon_cols, vcon_rows;
extern uint64_t vcon_tx_gpa; /* VCON_TX_SIZE bytes, for output */

/* Sees the output of the console port. */
struct vcon_tapped {
	struct virtio_console_tap tap;
	uint64_t bytes, calls;
};
extern struct vcon_tapped vcon_tapped;

void vcon_begin(unsigned combination);
void vcon_end(void);
/* A second device, with new streams, for vdev_replace(). */
struct virtio_dev *vcon_make(void);

/* ---- the guest ---- */

/* The queues of a port. */
unsigned vcon_rx_of(unsigned port);
unsigned vcon_tx_of(unsigned port);
/* Posts n buffers of VCON_RX_SIZE. */
void vcon_post(unsigned queue, unsigned n);
/* Sends a control message. */
void vcon_control(uint32_t id, unsigned event, unsigned value);
/* The next control message; what follows its 8 bytes. */
const uint8_t *vcon_expect_control(uint32_t id, unsigned event, unsigned value, uint32_t extra);
void vcon_expect_no_control(void);
/* A driver that knows of all ports. */
void vcon_driver_up(void);
/* A port, as Linux does it; opened where `open` says so. */
void vcon_port_up(unsigned port, bool open);
void vcon_guest_writes(unsigned port, const void *bytes, uint32_t len);
void vcon_guest_expects(unsigned port, const char *text);
void vcon_guest_expects_nothing(unsigned port);

/* ---- the host ---- */

/* Connects to the unix socket of a port. */
int vcon_client_of(unsigned port);
void vcon_host_writes(int fd, const char *text);
void vcon_host_expects(int fd, const uint8_t *bytes, size_t len);
void vcon_host_expects_text(int fd, const char *text);

/* The test waits for 100 ms; nobody else may be busy. */
void vcon_expect_idle(void);

#endif
