/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of virtio-net share: virtio_net.c (the device), virtio_net_rx.c and
 * virtio_net_tx.c (frames), virtio_net_ctrl.c (the control queue). */
#ifndef VMM_DEVICES_VIRTIO_NET_INTERNAL_H
#define VMM_DEVICES_VIRTIO_NET_INTERNAL_H

#include <linux/virtio_net.h>
#include <stdatomic.h>

#include "backend/limit.h"
#include "devices/virtio_net.h"
#include "event/loop.h"
#include "virtio/virtio.h"

enum {
	/* What a queue may do in one turn of its loop, so that others have theirs, and the guest
	 * hears of the first frame before the last. */
	VNET_BUDGET_FRAMES = 64,
	VNET_BUDGET_BYTES = 256 << 10,

	VNET_SEGS_MAX = 511,  /* of one chain; two and one more fit a system call */
	VNET_RX_CHAINS = 128, /* that are held for the next frames */
	VNET_RX_IOVECS = 2 * NET_MAX_IOVECS,
};

struct vnet;

/* One direction's rate limits; any thread. */
struct vnet_limit {
	struct limit bytes, frames;
};

/* Receiving. Chains are popped ahead of the frames: their segments are a row of iovecs. */
struct vnet_rx {
	struct virtio_queue *q; /* NULL: not running */
	bool active;		/* runs, and its pair is one of those in use */
	bool starved;		/* no buffers: waits for a kick */
	bool throttled;
	bool mergeable;		 /* a frame may take several buffers */
	bool checked;		 /* the guest wants checksums done */
	struct loop_timer timer; /* throttled, or a frame waits for buffers */

	struct virtq_chain chains[VNET_RX_CHAINS]; /* a ring */
	unsigned first, n_chains, slots;
	struct iovec iov[VNET_RX_IOVECS + 1]; /* one for `rest` */
	unsigned iov_at, n_iov;
	uint64_t room; /* bytes of all segments */
	size_t expect; /* how large a frame the next one is thought to be */

	/* A frame for which there are not enough buffers yet: all its bytes, of which the first
	 * `kept` are in the buffers, and what did not fit. 0: there is none. */
	size_t held, kept;
	uint8_t rest[NET_HEADER_LEN + NET_FRAME_MAX];

	unsigned budget; /* this turn's, and what it did: */
	uint64_t turn_frames, turn_bytes, turn_dropped;
};

struct vnet_tx {
	struct virtio_queue *q;	 /* NULL: not running */
	struct loop_timer timer; /* throttled */
	struct virtio_net_hdr_v1 header;
	struct iovec iov[1 + VNET_SEGS_MAX]; /* one for the header */
	uint64_t turn_frames, turn_bytes, turn_dropped;
};

/* Of its loop's thread. */
struct vnet_pair {
	struct net_user user;
	struct vnet *dev;
	struct net_port *port;
	struct loop *loop;
	unsigned index;
	struct loop_work poke;	  /* look again: link or limits have changed, or a turn was full */
	struct loop_work apply;	  /* the number of pairs has changed */
	_Atomic uint32_t applied; /* the generation of ctrl that it has seen */
	struct vnet_rx rx;
	struct vnet_tx tx;
};

/* Of the control queue's thread, but for `generation`. */
struct vnet_ctrl {
	struct virtio_queue *q; /* NULL: not running */
	bool busy;		/* `chain` waits until all pairs have applied its command */
	struct virtq_chain chain;
	_Atomic uint32_t generation;
	struct loop_work done; /* a pair has; for the loop of the last queue */
	struct iovec iov[VNET_SEGS_MAX];
};

struct vnet {
	struct virtio_dev virtio; /* first, for DEVICE_STAT */
	struct net *net;
	struct vnet_pair *pairs;
	unsigned n_pairs;
	struct vnet_ctrl ctrl;
	uint8_t mac[6]; /* as configured; what the guest sets is in the configuration space */
	struct vnet_limit rx_limit, tx_limit;

	_Atomic uint32_t pairs_in_use;
	_Atomic uint32_t guest_offloads; /* enum net_offload bits */
	atomic_bool link_wanted;	 /* verb `link` */
	atomic_bool announce;		 /* the guest is asked to announce itself */
	atomic_bool announce_wanted;	 /* it was loaded: it will be */
	atomic_bool greet;		 /* the host's side is new: it is told who the guest is */

	_Atomic uint64_t rx_packets, rx_bytes, rx_dropped, rx_starved, rx_throttled, rx_copied;
	_Atomic uint64_t tx_packets, tx_bytes, tx_dropped, tx_waits, tx_throttled;
	_Atomic uint64_t link_downs, mac_changes, bad_headers, bad_commands;
};

static inline struct vnet *vnet_of(struct virtio_dev *dev)
{
	return container_of(dev, struct vnet, virtio);
}

/* Frames pass: the guest's link is up. */
static inline bool vnet_link_is_up(const struct vnet *n)
{
	return atomic_load_explicit(&n->link_wanted, memory_order_relaxed) && net_is_up(n->net);
}
/* The configuration's status follows link and announcement. Any thread, under no lock. */
void vnet_update_status(struct vnet *n);
/* All pairs look again. Any thread. */
void vnet_poke(struct vnet *n);
/* enum net_offload bits that a guest with these features takes. */
unsigned vnet_offloads(uint64_t features);

/* Tells the back end what the guest takes, or which port the guest reads; a failure is logged. */
void vnet_apply_offloads(struct vnet *n);
void vnet_enable_port(struct vnet_pair *p, bool on);

/* 0: a frame may begin, else for how long it has to wait, in ns. */
uint64_t vnet_limit_wait(const struct vnet_limit *limit);
void vnet_limit_charge(struct vnet_limit *limit, uint64_t bytes);

/* On the pair's loop. */
void vnet_rx_init(struct vnet_rx *rx);
void vnet_rx_start(struct vnet_pair *p, struct virtio_queue *q);
void vnet_rx_stop(struct vnet_pair *p);
void vnet_rx_kick(struct vnet_pair *p);
void vnet_rx_readable(struct vnet_pair *p);
void vnet_rx_poke(struct vnet_pair *p);
void vnet_rx_done(struct vnet_pair *p);
/* The number of pairs in use has changed. */
void vnet_rx_apply(struct vnet_pair *p);

void vnet_tx_init(struct vnet_tx *tx);
void vnet_tx_start(struct vnet_pair *p, struct virtio_queue *q);
void vnet_tx_stop(struct vnet_pair *p);
void vnet_tx_run(struct vnet_pair *p);
void vnet_tx_done(struct vnet_pair *p);

/* Tells a new peer the guest's address, if there is one and it has not been told. On the pair's
 * loop. */
void vnet_greet(struct vnet_pair *p);

/* On the control queue's loop. */
void vnet_ctrl_init(struct vnet_ctrl *ctrl);
void vnet_ctrl_start(struct vnet *n, struct virtio_queue *q);
void vnet_ctrl_stop(struct vnet *n);
void vnet_ctrl_run(struct vnet *n);
/* Where it is when there are several pairs to be counted. */
static inline struct loop *vnet_ctrl_loop(const struct vnet *n)
{
	return n->virtio.queues[2 * n->n_pairs].loop;
}
/* On the pair's loop: the number of pairs in use has changed. */
void vnet_ctrl_apply(struct vnet_pair *p);

#endif
