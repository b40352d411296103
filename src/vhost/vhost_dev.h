/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct vhost_dev: a device whose data path another process or the kernel runs. The owner says
 * what the guest's driver wants; the back end brings it about, in its own time, and tells.
 *
 *   owner                                back end (vhost_user.c, ...)
 *   features, rings, start() ------->    features, memory, rings one after the other
 *                            <-------    up: the back end works on all wanted rings
 *   stop(ring)               ------->
 *                            <-------    stopped: ring's base is where it has come to
 *                            <-------    lost: the back end is gone; nobody works on any ring
 *                            <-------    ready: there is one again; set the bases and start()
 *
 * All of it on the thread of one loop once attached; before that on main. Nothing waits.
 */
#ifndef VMM_VHOST_VHOST_DEV_H
#define VMM_VHOST_VHOST_DEV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "event/loop.h"
#include "mm/map.h"

struct vhost_dev;

/* One queue, as virtio calls it. The owner's, but `up`. */
struct vhost_ring {
	bool wanted; /* with the six below filled in; after that they stay, but call */
	uint16_t size;
	gpa_t desc, driver, device; /* virtio 1.2, 2.6 */
	/* Where it begins, and where it has stopped. Split: the next available index. Packed:
	 * bits 0 to 14 and the wrap counter in 15 of that, the same of the used one in 16 to 31. */
	uint32_t base;
	int kick; /* eventfd that the guest's doorbell writes; constant */
	int call; /* eventfd of its interrupt; a new one by set_call() */
	/* The back end takes buffers from it; else it discards them, as a network card does with a
	 * pair that is not in use. A change is told by set_enabled(). */
	bool enabled;
	bool up; /* the back end works on it, or is about to */
};

struct vhost_dev_events {
	/* A back end is connected and idle; also told once after attach(). */
	void (*ready)(struct vhost_dev *d);
	/* It can be told of rings again: start(). */
	void (*go_on)(struct vhost_dev *d);
	/* All wanted rings are up. */
	void (*up)(struct vhost_dev *d);
	/* Nobody is connected any more. Rings are not up, those that were being stopped included:
	 * for these `stopped` has not come and will not. */
	void (*lost)(struct vhost_dev *d, const char *why);
	void (*stopped)(struct vhost_dev *d, unsigned ring);
	/* The back end broke the protocol or refused what it was told: it is not to be trusted
	 * with what the guest has under way. Followed by lost. */
	void (*failed)(struct vhost_dev *d, const char *why);
	/* The configuration space, all of it, was read anew. */
	void (*config)(struct vhost_dev *d, const uint8_t *bytes, unsigned len);
};

struct vhost_dev_ops {
	/* From here on it lives on this loop. Main, before the loop runs. 0 or -errno. */
	int (*attach)(struct vhost_dev *d, struct loop *loop);
	/* Brings up every wanted ring that is not up, now if ready, and tells up when they are.
	 * Nothing happens without a connection: ready will come. */
	void (*start)(struct vhost_dev *d);
	/* Stops a ring, wanted no more: stopped, from here or later, or lost. */
	void (*stop)(struct vhost_dev *d, unsigned ring);
	/* ring->call is another one. */
	void (*set_call)(struct vhost_dev *d, unsigned ring);
	/* ring->enabled is another one. */
	void (*set_enabled)(struct vhost_dev *d, unsigned ring);
	/* Every ring has stopped, and the driver begins anew. */
	void (*reset)(struct vhost_dev *d);
	/* The driver has written there; offset + len is within the configuration. */
	void (*set_config)(struct vhost_dev *d, unsigned offset, const void *bytes, unsigned len);
	void (*free)(struct vhost_dev *d);
};

enum { VHOST_MAX_RINGS = 64, VHOST_MAX_CONFIG = 256 };

/* How far a back end that comes back can know what the one before it had under way. */
enum vhost_recovery {
	VHOST_RECOVERY_EXACT, /* it keeps a record in memory of ours */
	VHOST_RECOVERY_INDEX, /* no more than what the ring shows */
};

struct vhost_dev {
	const struct vhost_dev_ops *ops;
	/* The owner's, set before attach(): */
	void *owner;
	const struct vhost_dev_events *events;
	const struct mm_map *map;
	uint16_t queue_size; /* that a ring has at most */
	unsigned n_rings;
	struct vhost_ring rings[VHOST_MAX_RINGS];
	unsigned needs_rings; /* as the back end counts them */
	uint64_t shown;	      /* of `features`, what the guest was offered */
	uint64_t acked; /* what the driver has accepted of `features`; constant while a ring is
			 * wanted */

	/* The back end's: */
	uint64_t features; /* that it offers now, virtio's only */
	enum vhost_recovery recovery;
	unsigned max_rings;  /* that it can work on; VHOST_MAX_RINGS when it doesn't say */
	unsigned config_len; /* 0: it has no configuration space */
	uint8_t config[VHOST_MAX_CONFIG];
	_Atomic bool connected;
	_Atomic uint64_t reconnects, failures;
};

static inline struct vhost_dev *vhost_dev_free(struct vhost_dev *d)
{
	if (d)
		d->ops->free(d);
	return NULL;
}

#endif
