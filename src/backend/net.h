/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network back ends: where a guest's Ethernet frames go and come from.
 *
 *   tap      an interface of the host, by name or by an inherited descriptor; one port per queue
 *   stream   a unix stream socket with frames as QEMU and passt write them: four bytes of length,
 *            big-endian, and the frame; a listener takes one peer after another
 *
 * Before each frame there is a header of NET_HEADER_LEN bytes, that of linux/virtio_net.h with its
 * num_buffers: what is left to do for the frame (checksum, segmentation). It is for the back end
 * whose offloads are on and all zero for the others.
 *
 * Life: everything is opened by path or name on main, before the lock-down. net_port_attach() gives
 * each port to the loop that moves its frames; from then on a port is its loop's thread's alone.
 * net_free() comes when the loops run no more, and before they are freed. Nothing here allocates,
 * locks or waits after that. The process ignores SIGPIPE.
 */
#ifndef VMM_BACKEND_NET_H
#define VMM_BACKEND_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "base/err.h"

struct loop;
struct net;
struct net_port;

enum {
	NET_HEADER_LEN = 12,
	NET_FRAME_MAX = 69632, /* what QEMU takes, too: 64 KiB of payload and its headers */
	NET_MAX_PORTS = 16,
	NET_MAX_IOVECS = 1024, /* in one call: the kernel's UIO_MAXIOV */
};

/* What a back end can finish for a guest, and a guest for the back end. */
enum net_offload {
	NET_OFFLOAD_CSUM = 1 << 0,
	NET_OFFLOAD_TSO4 = 1 << 1,
	NET_OFFLOAD_TSO6 = 1 << 2,
	NET_OFFLOAD_ECN = 1 << 3, /* segments with explicit congestion notification */
};

/* ---- opening: main, before the lock-down; 0 or -errno with a message ---- */
/* `what` names the option in messages ("--net"); borrowed for the call. */

/* The interface of this name with so many queues. One that does not exist is made, if we may, and
 * goes when the VM goes. */
int net_tap_open(const char *what, const char *name, unsigned queues, struct net **ret,
		 struct err *err) must_check;
/* A tap that somebody opened for us, with IFF_VNET_HDR and IFF_NO_PI. Takes fd over when
 * it succeeds. */
int net_tap_adopt(const char *what, int fd, struct net **ret, struct err *err) must_check;

int net_stream_listen(const char *what, const char *path, struct net **ret,
		      struct err *err) must_check;
int net_stream_connect(const char *what, const char *path, struct net **ret,
		       struct err *err) must_check;
/* A connected stream socket, such as passt's. Takes fd over when it succeeds. */
int net_stream_adopt(const char *what, int fd, struct net **ret, struct err *err) must_check;
/* Another connection in place of that of a stream that doesn't listen, whether that one lives or
 * not: its peer was started anew. Any thread, after net_port_attach(); takes fd over. */
void net_stream_replace(struct net *net, int fd);

/* NULL-safe; returns NULL. */
struct net *net_free(struct net *net);

/* ---- what it is: any thread ---- */

unsigned net_n_ports(const struct net *net);
struct net_port *net_port(struct net *net, unsigned i);
unsigned net_offloads(const struct net *net);	 /* enum net_offload bits that it can do */
bool net_is_up(const struct net *net);		 /* the tap exists, the stream has a peer */
const char *net_describe(const struct net *net); /* "tap tap0"; for people, until net_free() */

/* What net_describe() says from now on: for one whose own name means nothing to people. Main,
 * before net_port_attach(). Copied. */
void net_set_description(struct net *net, const char *description);

/* Which offloads the guest's side can finish: frames come in with them. 0 or -errno. Any thread. */
int net_set_offloads(struct net *net, unsigned offloads) must_check;

/* ---- moving frames: the thread of the port's loop ---- */

/* The other side of a port: a network device. */
struct net_user;
struct net_user_ops {
	/* There may be a frame to receive; only while asked for by net_want_rx(). */
	void (*readable)(struct net_user *user);
	/* Sending makes sense again; once after each net_want_tx(). */
	void (*writable)(struct net_user *user);
	/* net_is_up() has changed. One port of a back end tells it. */
	void (*link)(struct net_user *user, bool up, const char *why);
};
struct net_user {
	const struct net_user_ops *ops;
};

/* Main, once for each port; the loop may run already. */
void net_port_attach(struct net_port *port, struct loop *loop, struct net_user *user);

/* Takes the next frame: the bytes of header and frame, cut to what iov has room for; -EAGAIN when
 * there is none; -ENOTCONN when the link is down; or another -errno for a frame that is lost. */
ssize_t net_recv(struct net_port *port, const struct iovec *iov, unsigned n) must_check;
/* Sends a frame; iov[0] is the header, alone, and is the callee's to change. 0; -EAGAIN: not now,
 * ask net_want_tx(); or another -errno for a frame that is lost. */
int net_send(struct net_port *port, struct iovec *iov, unsigned n) must_check;

/* Puts len bytes behind the first `at` of iov; the bytes for which there was room. */
size_t net_put(const struct iovec *iov, unsigned n, size_t at, const void *from, size_t len);

void net_want_rx(struct net_port *port, bool want);
void net_want_tx(struct net_port *port);

/* Whether the host may send this port frames. Port 0 always takes some, the others begin disabled.
 * Frames that wait in a port which is disabled are lost. 0 or -errno. */
int net_port_enable(struct net_port *port, bool on) must_check;

#endif
