/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device whose queues a struct vhost_dev works on: the guest's side is that of every other
 * device (virtio/virtio.h), with either transport. Device models embed it and add what is their
 * type's own: features, configuration, queues that stay here.
 *
 * The kick of a queue is the transport's doorbell, and its interrupt, where there is a vector for
 * it, the vector's eventfd: a request passes through no thread of ours. Where there is none
 * (virtio-mmio, MSI-X off), the loop passes the interrupt on.
 */
#ifndef VMM_VHOST_VHOST_VIRTIO_H
#define VMM_VHOST_VHOST_VIRTIO_H

#include "vhost/vhost_dev.h"
#include "virtio/virtio.h"

/* What happens to requests that a back end had begun when it was lost, and which of them it had
 * ended nobody can tell. */
enum vhost_on_lost {
	VHOST_ON_LOST_FAIL,   /* the device needs a reset */
	VHOST_ON_LOST_REPLAY, /* the next back end gets all that was not used, perhaps twice */
};

struct vhost_virtio;

struct vhost_virtio_queue {
	struct vhost_virtio *v;
	struct loop_fd call; /* the interrupt, where no vector has one */
	bool given;	     /* to the back end, or it would be if there were one */
};

struct vhost_virtio {
	struct virtio_dev virtio;
	struct vhost_dev *vhost;
	struct loop *loop; /* of the queues that are given away */
	enum vhost_on_lost on_lost;
	unsigned n_queues; /* that are given away */
	struct vhost_virtio_queue queues[VHOST_MAX_RINGS];
	struct loop_work start; /* deferred: rings wait to be brought up */
	struct loop_work calls; /* posted: a vector has changed */
	struct loop_work news;	/* posted: the driver has written to the configuration, or reset */
	bool failed;		/* what was under way is lost; until the driver resets */
	_Atomic bool forget;
	/* What the driver has written and the back end has not been told; device's lock. */
	unsigned written_from, written_to;
	/* The device model's; loop's thread. All may be NULL. */
	void (*config)(struct vhost_virtio *v, const uint8_t *bytes, unsigned len);
	void (*connected)(struct vhost_virtio *v, bool connected);
	void (*begins_anew)(struct vhost_virtio *v); /* the driver has reset */
	uint64_t acked;				     /* by the driver whose rings these are */
	uint64_t passed; /* of what the driver accepts, what the back end hears of */
	_Atomic uint64_t lost, failures_of_requests;
};

struct vhost_virtio_setup {
	struct virtio_dev_setup virtio; /* its ops are made with VHOST_VIRTIO_OPS */
	struct vhost_dev *vhost;	/* taken over, also on failure */
	enum vhost_on_lost on_lost;
	uint64_t passed;      /* features that are the back end's business; 0: all */
	unsigned needs_rings; /* that the back end must have, as it counts; 0: n_given_away */
};

/* Who wants to know of back ends that come and go. */
struct vhost_watch {
	void (*changed)(struct vhost_watch *watch, bool connected); /* on the device's loop */
};

/* The common part of the virtio_dev_ops. */
#define VHOST_VIRTIO_OPS                                                                           \
	.queue_start = vhost_virtio_queue_start, .queue_stop = vhost_virtio_queue_stop,            \
	.queue_call = vhost_virtio_queue_call, .reset = vhost_virtio_reset,                        \
	.config_written = vhost_virtio_config_written
void vhost_virtio_queue_start(struct virtio_queue *q);
void vhost_virtio_queue_stop(struct virtio_queue *q);
void vhost_virtio_queue_call(struct virtio_queue *q);
void vhost_virtio_reset(struct virtio_dev *dev);
void vhost_virtio_config_written(struct virtio_dev *dev, unsigned offset, unsigned len);

/* Counters of every such device. */
#define VHOST_VIRTIO_STATS .stats = vhost_virtio_stats, .n_stats = VHOST_VIRTIO_N_STATS
enum { VHOST_VIRTIO_N_STATS = 4 };
extern const struct device_stat vhost_virtio_stats[VHOST_VIRTIO_N_STATS];

/* 0 or -errno with a message; vhost_virtio_done() either way. Main. */
int vhost_virtio_init(struct vhost_virtio *v, const struct vhost_virtio_setup *setup,
		      struct err *err) must_check;
void vhost_virtio_done(struct vhost_virtio *v);

/* Device's loop: the configuration space is now this, but for what the driver has written and the
 * back end has not been told. */
void vhost_virtio_set_config(struct vhost_virtio *v, const uint8_t *bytes, unsigned len);

/* The bits of a back end that a guest may see. Packed rings don't show what is done: they are left
 * out, unless wanted all the same, where no record does. */
uint64_t vhost_virtio_features(const struct vhost_dev *d, bool packed);

#endif
