/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's vsock ports as unix sockets of the host, by the protocol that Firecracker made common:
 *
 *   to the guest    connect to PATH, send "CONNECT PORT\n"; "OK HOSTPORT\n" comes back when the
 *                   guest has accepted, the end of the connection when it has not
 *   from the guest  its connection to port P of CID 2 is one to PATH_P
 *
 * PATH itself is a struct unix_listener. Non-blocking all of it; any thread.
 */
#ifndef VMM_BACKEND_VSOCK_UDS_H
#define VMM_BACKEND_VSOCK_UDS_H

#include <stdint.h>

#include "base/compiler.h"

/* Longest PATH: "_4294967295" still fits behind it. */
enum { VSOCK_UDS_PATH_MAX = 107 - 11 };

/* Connects to PATH_PORT: 0, -EAGAIN when its listener's queue is full (try again), or -errno. */
int vsock_uds_connect(const char *path, uint32_t port, int *ret_fd) must_check;

/* The CONNECT line of a client; all zero at first. */
struct vsock_uds_hello {
	char text[32];
	unsigned n;
};

/*
 * Reads as much of it as there is, and not a byte behind it. 1 and the port when it is complete, 0
 * when more must come, -EINVAL when it is something else, -ECONNRESET at the end of the input, or
 * another -errno.
 */
int vsock_uds_read_hello(struct vsock_uds_hello *hello, int fd, uint32_t *ret_port) must_check;

/* Answers with OK and the port that the guest sees. 0 or -errno. */
int vsock_uds_answer(int fd, uint32_t host_port) must_check;

#endif
