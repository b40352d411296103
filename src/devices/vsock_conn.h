/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vsock connection: a unix socket on the host's side, packets on the guest's, and flow control
 * between them (virtio 1.2, 5.10.6). It knows nothing of queues or of other connections; vsock_mux
 * owns it. The loop's thread.
 *
 *   host's peer connects                 guest connects
 *     HELLO  its CONNECT line              CONNECTING  the host's listener has no room yet
 *     REQUESTED  the guest is asked             |
 *          \__________________ OPEN ____________/
 *                               |  both directions are shut from the host's side
 *                            CLOSING  the guest is to confirm
 *                               |
 *                            ENDING   is told of a reset; its last bytes go to the host
 *
 * To the guest: what the socket has is read straight into the guest's buffers, as far as the guest
 * has granted credit. Nothing is kept here.
 * From the guest: bytes go straight into the socket; what does not fit waits in the ring, which is
 * as large as the credit that the guest has, so that a host's peer that stalls holds up nobody
 * else.
 */
#ifndef VMM_DEVICES_VSOCK_CONN_H
#define VMM_DEVICES_VSOCK_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "backend/chr_ring.h"
#include "backend/vsock_uds.h"
#include "base/compiler.h"
#include "base/iov.h"
#include "base/list.h"
#include "devices/vsock_packet.h"
#include "event/loop.h"

/* Bytes on their way to the host that one connection may hold: the guest's credit. */
enum { VSOCK_BUFFER = 128 << 10 };

struct vsock_mux;

struct vsock_counters {
	_Atomic uint64_t host_connections, guest_connections, refused, aborted, dropped;
	_Atomic uint64_t rx_bytes, rx_packets, tx_bytes, tx_packets;
};

enum vsock_state {
	VSOCK_HELLO,
	VSOCK_REQUESTED,
	VSOCK_CONNECTING,
	VSOCK_OPEN,
	VSOCK_CLOSING,
	VSOCK_ENDING,
};

/* What the guest is to be told, in this order. */
enum {
	VSOCK_TELL_RST = 1 << 0,
	VSOCK_TELL_REQUEST = 1 << 1,
	VSOCK_TELL_RESPONSE = 1 << 2,
	VSOCK_TELL_SHUTDOWN = 1 << 3,
	VSOCK_TELL_CREDIT = 1 << 4,
	VSOCK_ASK_CREDIT = 1 << 5,
};

struct vsock_conn {
	/* Of the mux: */
	struct vsock_mux *mux;
	struct list all, ready, dirty;
	struct vsock_conn *next_in_bucket;
	bool keyed; /* it can be found by its ports */
	uint64_t deadline_seen_ns;

	enum vsock_state state;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC, of a state that does not last; else 0 */
	uint32_t host_port, guest_port;
	struct vsock_counters *counters;
	unsigned tell; /* VSOCK_TELL_* */

	struct loop_fd socket;	  /* fd -1: none */
	uint32_t watched;	  /* the events that it is added for */
	bool readable;		  /* there was more than we could take: not asked for again */
	bool ended;		  /* the host's peer sends no more */
	bool deaf;		  /* it reads no more: what the guest sends is dropped */
	bool hung_up;		  /* both, for good: the socket is not watched any more */
	bool shut_down;		  /* we have said that we write no more */
	unsigned shut, shut_told; /* VIRTIO_VSOCK_SHUTDOWN_* of the host's side */
	unsigned guest_shut;	  /* the guest's */

	/* From the guest. Counters run free (5.10.6.3). */
	struct chr_ring ring;
	uint32_t received, forwarded, forwarded_told;
	/* To the guest. */
	uint32_t sent, peer_forwarded, peer_buffer;
	unsigned batch; /* buffers to take for the next read: as many as the last ones filled */

	struct vsock_uds_hello hello;
};

/* In HELLO with a host's client (fd is taken over, also when it fails), or (fd -1) in CONNECTING.
 * 0 or -errno. */
int vsock_conn_new(int fd, struct vsock_counters *counters, struct vsock_conn **ret) must_check;
/* It is in no list and on no loop. NULL-safe; returns NULL. */
struct vsock_conn *vsock_conn_free(struct vsock_conn *c);

/* HELLO: the client wants this port of the guest's. */
void vsock_conn_request(struct vsock_conn *c, uint32_t host_port, uint32_t guest_port);
/* CONNECTING: the host's listener has accepted. Takes fd over. */
void vsock_conn_connected(struct vsock_conn *c, int fd);
/* Ends it at once, and tells the guest if it knows of it. */
void vsock_conn_reset(struct vsock_conn *c);
/* Its deadline has passed. */
void vsock_conn_expire(struct vsock_conn *c);
/* Its time begins anew, after a pause. */
void vsock_conn_restart_clock(struct vsock_conn *c);

/* A packet of the guest's for it, with its payload, p->len bytes. */
void vsock_conn_take(struct vsock_conn *c, const struct vsock_packet *p, struct iov *payload);
/* Its socket has something to say; not in HELLO, but for a hang-up. */
void vsock_conn_event(struct vsock_conn *c, uint32_t events);

bool vsock_conn_has_output(const struct vsock_conn *c);
/* Fills in op, flags, len and credit of what is to be told; false: only data is left. */
bool vsock_conn_tell(struct vsock_conn *c, struct vsock_packet *p) must_check;
/* Bytes that the guest takes now. */
uint32_t vsock_conn_credit(const struct vsock_conn *c);
/* Reads data for the guest, space is what v holds, at most the credit. Bytes, or 0: there is none
 * now. */
size_t vsock_conn_read(struct vsock_conn *c, const struct iov *v, size_t space);
/* The header of `len` bytes of it. */
void vsock_conn_data(struct vsock_conn *c, uint32_t len, struct vsock_packet *p);

/* The events to watch its socket for; VSOCK_NOT_AT_ALL: it would report a hang-up for ever. */
#define VSOCK_NOT_AT_ALL UINT32_MAX
uint32_t vsock_conn_interest(const struct vsock_conn *c);
/* The guest may use its ports for another connection. */
bool vsock_conn_is_forgotten(const struct vsock_conn *c);
bool vsock_conn_is_over(const struct vsock_conn *c);

#endif
