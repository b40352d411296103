/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct virtio_dev: what every virtio device is (virtio 1.2, chapter 2 and 3): status, features,
 * configuration space, queues and their life. A device model embeds it and fills the ops; a
 * transport (pci, mmio) shows it to the guest. Neither knows the other.
 *
 * Threads. The guest's register accesses come on vCPU threads and run under the device's lock,
 * config_written and accept of the ops included. Everything else of a queue runs on the one thread
 * of the queue's loop, from queue_start to virtio_queue_stopped(), without a lock. So the data path
 * takes none.
 *
 *   DRIVER_OK     --post-->  queue_start, queue_kick (there may be buffers already)
 *   guest's kick  --fd---->  queue_kick
 *   reset, pause  --post-->  queue_stop ... last request done ... virtio_queue_stopped
 *                            when all have stopped: the reset is acknowledged, status reads 0
 */
#ifndef VMM_VIRTIO_VIRTIO_H
#define VMM_VIRTIO_VIRTIO_H

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mutex.h"
#include "bus/device.h"
#include "event/loop.h"
#include "mm/map.h"
#include "state/state.h"
#include "virtio/virtq.h"

struct virtio_dev;
struct virtio_queue;
struct virtio_transport;

enum { VIRTIO_MAX_QUEUES = 64 };

#define VIRTIO_BIT(n) (UINT64_C(1) << (n))

/* What every device here offers besides its own bits. Add VIRTIO_F_IN_ORDER in a device that
 * completes in order, leave VIRTIO_F_RING_PACKED out with packed=off. */
#define VIRTIO_FEATURES_COMMON                                                                     \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_RING_PACKED) |                       \
	 VIRTIO_BIT(28 /* INDIRECT_DESC */) | VIRTIO_BIT(29 /* EVENT_IDX */) |                     \
	 VIRTIO_BIT(40 /* RING_RESET */))

struct virtio_dev_ops {
	/* May these be (device's lock)? 0, or -errno: FEATURES_OK stays off. NULL: any subset. */
	int (*accept)(struct virtio_dev *dev, uint64_t features);
	/* The guest wrote these bytes of the configuration space; they are in dev->config already
	 * if `writable` allows them. Device's lock. May be NULL. */
	void (*config_written)(struct virtio_dev *dev, unsigned offset, unsigned len);

	/* On the queue's loop. queue_start may be NULL; q->vq is ready. */
	void (*queue_start)(struct virtio_queue *q);
	/* The driver has made buffers available, or may have. */
	void (*queue_kick)(struct virtio_queue *q);
	/* Take no more chains; when none is in flight call virtio_queue_stopped(q), from here or
	 * later. NULL: nothing is ever in flight. */
	void (*queue_stop)(struct virtio_queue *q);

	/* Of a queue that is given away: its call_fd has changed. Device's lock, any thread; may be
	 * NULL. */
	void (*queue_call)(struct virtio_queue *q);

	/* All queues have stopped after a reset by the driver or of the machine: forget what the
	 * driver had set. Any thread, device's lock; on a vCPU's, which may not call the host,
	 * where no queue was live: what belongs to a loop is posted to it. May be NULL. */
	void (*reset)(struct virtio_dev *dev);

	/* What the device has besides its configuration space and queues. Main, quiesced; may be
	 * NULL. */
	void (*save)(struct virtio_dev *dev, struct state_writer *w);
	void (*load)(struct virtio_dev *dev, struct state_reader *r);
};

enum virtio_queue_state {
	VIRTIO_QUEUE_OFF,
	VIRTIO_QUEUE_RUNNING,
	VIRTIO_QUEUE_STOPPING, /* what is in flight comes home */
	VIRTIO_QUEUE_HELD,     /* stopped with its position kept */
};

struct virtio_queue {
	/* Of its loop's thread while it is live, else under the device's lock: */
	struct virtq vq;
	enum virtio_queue_state state;
	bool started;	 /* queue_start was called, queue_stop not yet */
	bool given_away; /* constant: see virtio_dev_setup */
	void *priv;	 /* the device's own */
	/* The device's own, as far as the next chain, which it had given back, is done: 0 when the
	 * rings begin anew. */
	uint64_t begun;

	/* Constant while the machine runs: */
	struct virtio_dev *dev;
	unsigned index;
	struct loop *loop;
	uint16_t max_size;
	int kick_fd; /* the transport's doorbell; the core reads it while the queue runs */

	/* Of the core: */
	struct loop_fd kick;
	struct loop_work work;	/* posted: what is wanted has changed */
	struct loop_work flush; /* deferred: virtio_queue_done() was called this turn */
	struct loop_work go_on; /* deferred: virtio_queue_drain() has not come to the end */
	struct loop_poller poller;
	bool polled;	      /* emptied, and the poller looks instead of the driver kicking */
	_Atomic(int) call_fd; /* virtio_queue_set_call(); -1: no interrupt goes out */

	/* Under the device's lock: */
	struct virtq_config config;
	bool enabled;
	bool wanted;	   /* to run */
	bool resetting;	   /* queue_reset of this queue alone (2.6.1) */
	bool live;	   /* its loop may touch it: posted to run, running or stopping */
	bool has_position; /* saved position to begin from */
	struct virtq_position position;

	_Atomic uint64_t kicks, interrupts, chains;
};

/* Why a device's queues don't run though the driver wants it. */
enum virtio_hold {
	VIRTIO_HOLD_PAUSE = 1 << 0, /* virtio_device_quiesce() */
	VIRTIO_HOLD_BUS = 1 << 1,   /* bus mastering is off (PCI Local Bus 3.0, 6.2.2) */
};

struct virtio_dev {
	struct device dev; /* its ops' reset, start, quiesce, resume, save and load: see below */
	const struct virtio_dev_ops *ops;
	uint16_t type; /* VIRTIO_ID_BLOCK ...: virtio 1.2, chapter 5 */
	const struct mm_map *map;
	struct virtio_queue *queues;
	unsigned n_queues;
	struct virtio_transport *transport; /* NULL until one takes the device */

	struct mutex lock;
	pthread_cond_t changed; /* a queue has stopped, a reset is done */
	/* Under the lock: */
	uint8_t *config;	 /* device-specific configuration space, little-endian */
	const uint8_t *writable; /* mask for it; NULL: read-only */
	unsigned config_len;
	uint32_t generation;
	uint64_t offered;
	uint64_t acked; /* constant from FEATURES_OK to reset, so that queue code reads it freely */
	uint8_t status;
	bool reset_wanted; /* until all queues have stopped */
	unsigned holds;	   /* enum virtio_hold bits: queues don't run while there are any */
	_Atomic uint64_t guest_errors, resets;
};

/* What the guest is told: interrupts. Filled by the transport, which also resets itself. */
struct virtio_transport_ops {
	/* config_irq: the configuration or the status has changed by itself (2.3, 2.1.2).
	 * Any thread, may be under the device's lock. */
	void (*config_irq)(struct virtio_transport *t);
	/* Raises the queue's interrupt where call_fd alone doesn't do: NULL where it does. Queue's
	 * thread. */
	void (*queue_irq)(struct virtio_transport *t, struct virtio_queue *q);
	/* The driver has reset the device: interrupts are assigned to nothing, as 4.1.4.3 and 4.2.2
	 * say. Device's lock. */
	void (*driver_reset)(struct virtio_transport *t);
	/* The same of one queue (2.6.1), its call_fd is -1 already. Device's lock. May be NULL. */
	void (*queue_reset)(struct virtio_transport *t, struct virtio_queue *q);
	/* Registers into the power-on state; the device itself is reset already. Main, vCPUs
	 * parked. */
	void (*reset)(struct virtio_transport *t);
	void (*save)(struct virtio_transport *t, struct state_writer *w);
	void (*load)(struct virtio_transport *t, struct state_reader *r);
	void (*free)(struct virtio_transport *t);
};
struct virtio_transport {
	const struct virtio_transport_ops *ops;
};

/* ---- for device models ---- */

struct virtio_dev_setup {
	const char *id;			 /* "disk0"; borrowed */
	const struct device_ops *device; /* made with VIRTIO_DEVICE_OPS */
	const struct virtio_dev_ops *ops;
	uint16_t type;
	uint64_t features; /* offered; with VIRTIO_FEATURES_COMMON */
	const struct mm_map *map;
	void *config; /* the device's own struct, copied from here; changed later by
		       * virtio_dev_set_config() only */
	const uint8_t *writable;
	unsigned config_len;
	unsigned n_queues;
	uint16_t queue_size; /* the most that the driver may use */
	/* Queues 0 to n - 1 are worked on by somebody else (vhost): queue_start and queue_stop hand
	 * the rings over and take them back, queue_kick is not called, and vq is for its places and
	 * its position only. */
	unsigned n_given_away;
	/* The loop of queue i: loops[i % n_loops]. */
	struct loop *const *loops;
	unsigned n_loops;
};

/* 0 or -errno. virtio_dev_done() frees the transport first; also what failed half-way. */
int virtio_dev_init(struct virtio_dev *dev, const struct virtio_dev_setup *setup) must_check;
void virtio_dev_done(struct virtio_dev *dev);

/* The common part of a virtio device's device_ops; the rest (.free, .help, .stats, .verbs,
 * .state_type) is its own. */
#define VIRTIO_DEVICE_OPS                                                                          \
	.reset = virtio_device_reset, .quiesce = virtio_device_quiesce,                            \
	.resume = virtio_device_resume, .save = virtio_device_save, .load = virtio_device_load,    \
	.state_version = 1, VIRTIO_DEVICE_STATS
#define VIRTIO_DEVICE_STATS .kind_stats = virtio_device_stats, .n_kind_stats = VIRTIO_N_DEVICE_STATS
void virtio_device_reset(struct device *dev);
int virtio_device_quiesce(struct device *dev, uint64_t patience_ns, struct err *err);
void virtio_device_resume(struct device *dev);
void virtio_device_save(struct device *dev, struct state_writer *w);
void virtio_device_load(struct device *dev, struct state_reader *r);
enum { VIRTIO_N_DEVICE_STATS = 5 };
extern const struct device_stat virtio_device_stats[VIRTIO_N_DEVICE_STATS];

/* Queue's thread: takes the next chain, as virtq_pop() does; a broken queue is reported, the device
 * set to need a reset, and 0 returned. */
bool virtio_queue_pop(struct virtio_queue *q, struct virtq_chain *chain, struct iovec *iov,
		      unsigned max) must_check;
/* Queue's thread: a chain is done. The batch is shown and the interrupt sent at the end of the
 * loop's turn. */
void virtio_queue_done(struct virtio_queue *q, const struct virtq_chain *chain, uint32_t written);
/* Queue's thread: the same now, where the end of the turn would be too late. */
void virtio_queue_flush(struct virtio_queue *q);
/* Queue's thread: nothing is in flight any more; after queue_stop. */
void virtio_queue_stopped(struct virtio_queue *q);
/*
 * Queue's thread: the usual body of queue_kick: calls take(), which pops and begins one request,
 * with kicks off for as long as it returns true, 16 times in a turn of the loop at most: then it
 * goes on by queue_kick in the next one. In the end kicks come on again. When take() returned
 * false with chains left (no room, a rate limit), kicks stay off: call this again later.
 */
void virtio_queue_drain(struct virtio_queue *q, bool (*take)(struct virtio_queue *q));
/* Queue's thread: the guest has broken the rules: rate-limited log, DEVICE_NEEDS_RESET, and the
 * queue takes no more chains. */
void virtio_queue_broken(struct virtio_queue *q, const char *what);

/* Queue's thread: an interrupt of the queue, whoever has used buffers. */
void virtio_queue_interrupt(struct virtio_queue *q);
/* Any thread but under no lock: sets DEVICE_NEEDS_RESET and tells the driver (2.1.2). */
void virtio_dev_needs_reset(struct virtio_dev *dev);

/* Device's lock: bytes of `config` were changed in place: counts the generation, tells the driver
 * (if it is up). */
void virtio_dev_config_changed(struct virtio_dev *dev) REQUIRES(dev->lock);
/* Any thread but under no lock: writes configuration bytes, counts the generation, tells the driver
 * (if it is up). */
void virtio_dev_set_config(struct virtio_dev *dev, unsigned offset, const void *bytes,
			   unsigned len);
static inline bool virtio_dev_has(const struct virtio_dev *dev, unsigned bit)
{
	return dev->acked & VIRTIO_BIT(bit);
}
/* True once DRIVER_OK is set. Any thread, takes the lock. */
bool virtio_dev_is_up(struct virtio_dev *dev);

/* ---- for transports: register accesses, vCPU threads; each takes the device's lock ---- */

uint8_t virtio_dev_status(struct virtio_dev *dev);
/* 0 begins a reset, which is done when the status reads 0 (virtio 1.2, 2.1, 2.4). */
void virtio_dev_write_status(struct virtio_dev *dev, uint8_t status);
/* Waits until a reset is acknowledged, for a driver that doesn't poll; gives up after a second. */
void virtio_dev_await_reset(struct virtio_dev *dev);
void virtio_dev_ack(struct virtio_dev *dev, unsigned word, uint32_t bits); /* 32-bit word 0 or 1 */
uint32_t virtio_dev_offered(struct virtio_dev *dev, unsigned word);
uint32_t virtio_dev_acked(struct virtio_dev *dev, unsigned word);
void virtio_dev_read_config(struct virtio_dev *dev, unsigned offset, unsigned len, void *to);
void virtio_dev_write_config(struct virtio_dev *dev, unsigned offset, unsigned len,
			     const void *from);
uint32_t virtio_dev_generation(struct virtio_dev *dev);

/* A queue's registers; index may be anything (then 0 is read and writes are dropped). Writes are
 * dropped once the queue is enabled (4.1.4.3.2): frozen. */
struct virtio_queue_regs {
	uint16_t size;
	bool enabled, resetting;
	uint64_t desc, driver, device;
};
bool virtio_dev_queue_regs(struct virtio_dev *dev, unsigned index, struct virtio_queue_regs *ret);
enum virtio_queue_field { VIRTIO_QUEUE_DESC, VIRTIO_QUEUE_DRIVER, VIRTIO_QUEUE_DEVICE };
void virtio_dev_set_queue_size(struct virtio_dev *dev, unsigned index, uint16_t size);
/* One half of a 64-bit address: shift 0 or 32. */
void virtio_dev_set_queue_half(struct virtio_dev *dev, unsigned index,
			       enum virtio_queue_field field, unsigned shift, uint32_t value);
void virtio_dev_enable_queue(struct virtio_dev *dev, unsigned index);
void virtio_dev_reset_queue(struct virtio_dev *dev, unsigned index);
/* mmio's QueueReady = 0 (4.2.2.2): the queue has stopped when this returns, unless the host's I/O
 * takes more than a second. */
void virtio_dev_disable_queue(struct virtio_dev *dev, unsigned index);

/* The doorbell's eventfd of a queue; before the guest runs. */
void virtio_queue_set_kick(struct virtio_queue *q, int fd);

/* The eventfd of a queue's interrupt, -1 for none; constant while it is set. Device's lock, or
 * before the guest runs. */
void virtio_queue_set_call(struct virtio_queue *q, int fd);

/* Holds the queues or lets them go; doesn't wait. */
void virtio_dev_hold(struct virtio_dev *dev, enum virtio_hold why, bool hold);

#endif
