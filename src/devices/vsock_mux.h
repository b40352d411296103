/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All connections of a vsock device: which packet is for which, who may send next, the listening
 * socket, and the time that half-open ones have. It knows of packets but not of queues.
 *
 * The loop's thread, but init and done. Nothing is allocated but for a new connection, of
 * which there are at most VSOCK_MAX_CONNECTIONS. What a handler has changed is worked off by
 * vsock_mux_settle() at its end; a connection lives at least until then.
 */
#ifndef VMM_DEVICES_VSOCK_MUX_H
#define VMM_DEVICES_VSOCK_MUX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/iov.h"
#include "base/list.h"
#include "devices/vsock_conn.h"
#include "devices/vsock_packet.h"
#include "event/loop.h"

enum { VSOCK_MAX_CONNECTIONS = 1023, VSOCK_BUCKETS = 256, VSOCK_MAX_REFUSALS = 256 };

/* A reset for a packet that is for no connection. */
struct vsock_refusal {
	uint64_t cid; /* that the guest tried to reach */
	uint32_t host_port, guest_port;
	uint16_t type;
};

struct vsock_mux {
	struct loop *loop;
	uint64_t guest_cid;
	char *path;
	/* There is output for the guest, or the room for it may have changed: has to call
	 * vsock_mux_settle() at its end. */
	void (*serve)(struct vsock_mux *mux);

	bool running;
	int listener; /* borrowed */
	struct loop_fd acceptable;
	struct loop_timer accept_again; /* the host had no descriptor for us */
	struct loop_timer tick;		/* while a connection has a deadline */

	struct vsock_conn *buckets[VSOCK_BUCKETS];
	struct list all, ready, dirty;
	unsigned n;
	uint32_t next_port; /* for connections of the host's */

	struct vsock_refusal refusals[VSOCK_MAX_REFUSALS];
	unsigned first_refusal, n_refusals;

	struct vsock_counters counters;
};

/* path is copied; loop and listener (non-blocking) are borrowed. 0 or -errno. */
int vsock_mux_init(struct vsock_mux *mux, struct loop *loop, uint64_t guest_cid, int listener,
		   const char *path) must_check;
/* Stopped, or its loop runs no more. */
void vsock_mux_done(struct vsock_mux *mux);

/* Watches its sockets, or leaves them alone. */
void vsock_mux_start(struct vsock_mux *mux);
void vsock_mux_stop(struct vsock_mux *mux);
/* Closes all connections without a word to the guest. Stopped. */
void vsock_mux_forget(struct vsock_mux *mux);

/* False: no packet can be taken now, since what would be answered finds no room. */
bool vsock_mux_can_take(const struct vsock_mux *mux);
/* A packet of the guest's; v is what follows the header in its buffer. */
void vsock_mux_take(struct vsock_mux *mux, const struct vsock_packet *p, struct iov *v);

bool vsock_mux_has_output(const struct vsock_mux *mux);
/* There is output: fills in the next packet without payload. False: the next is data of *ret. */
bool vsock_mux_tell(struct vsock_mux *mux, struct vsock_packet *p,
		    struct vsock_conn **ret) must_check;
/* The header of `len` bytes that were read from c. */
void vsock_mux_data(struct vsock_mux *mux, struct vsock_conn *c, uint32_t len,
		    struct vsock_packet *p);
/* It has had its turn. */
void vsock_mux_next(struct vsock_mux *mux, struct vsock_conn *c);

void vsock_mux_settle(struct vsock_mux *mux);

#endif
