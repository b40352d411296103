/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock device with both of its ends: a guest that sends and receives packets as they are, and
 * programs on the host with unix sockets in a directory of the test's own.
 */
#ifndef VMM_TESTS_VSOCK_WORLD_H
#define VMM_TESTS_VSOCK_WORLD_H

#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/vsock_packet.h"
#include "tests/unit/devices/vdev_world.h"

enum { VSOCK_CID = 42, VSOCK_RX_SIZE = 4096, VSOCK_Q_RX = 0, VSOCK_Q_TX = 1, VSOCK_Q_EVENT = 2 };

extern struct vdev_world vsw;

/* A device, a driver, all receive buffers posted. */
void vsock_begin(unsigned combination);
/* The same without a driver yet. */
void vsock_begin_without_driver(unsigned combination);
void vsock_driver_up(void);
void vsock_end(void);
/* A second device on the same listening socket, for vdev_replace(). */
struct virtio_dev *vsock_make(void);

/* ---- the guest ---- */

/* Posts n receive buffers; those that were received are posted again at once, or not. */
void guest_post(unsigned n);
void guest_keep_buffers(bool keep);
/* Sends one; addresses, type and credit are filled in where they are 0 (credit: buf_alloc). */
void guest_send(const struct vsock_packet *p, const void *payload);
/* The same in a few words: from the guest's port to the host's. */
void guest_send_op(unsigned op, uint32_t guest_port, uint32_t host_port);
void guest_send_data(uint32_t guest_port, uint32_t host_port, const void *bytes, uint32_t len);
/* Waits for the next packet. Its payload is kept in guest_payload. */
struct vsock_packet guest_receive(void);
extern uint8_t guest_payload[64 << 10];
/* The same, which has to be this operation between these ports (0: any). */
struct vsock_packet guest_expect(unsigned op, uint32_t guest_port, uint32_t host_port);
/* False: no packet is there. */
bool guest_has_packet(void);
/* No packet comes: the device has done all that it had to do. */
void guest_expect_nothing(void);

/* ---- the host ---- */

const char *host_path(void);
int host_connect(void); /* to PATH */
/* CONNECT and the guest's acceptance; the port that the guest saw. */
int host_open(uint32_t guest_port, uint32_t *ret_host_port);
int host_listen(uint32_t port, int backlog); /* on PATH_port */
int host_accept(int listener);
void host_write(int fd, const void *bytes, size_t len);
/* Waits for exactly these bytes. */
void host_expect(int fd, const void *bytes, size_t len);
/* Waits for the end of the stream, by a reset or not. */
void host_expect_end(int fd);
/* The guest connects to a program that listens. Its side of it. */
int guest_open(uint32_t guest_port, uint32_t host_port, int listener);

#endif
