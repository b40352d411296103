/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct device: what machine/ knows of every device. Embedded in the device's own struct.
 * reset puts it into its power-on state and free releases it (NULL-safe through device_free); both
 * run on main with every vCPU parked.
 *
 * What can be seen of a device and asked of it while it runs is data: a table of counters and a
 * table of verbs. The control socket, the command line and the documentation all walk these.
 */
#ifndef VMM_BUS_DEVICE_H
#define VMM_BUS_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

struct device;
struct state_writer;
struct state_reader;

/* A counter: an _Atomic uint64_t of the device's own struct. Any thread adds, main reads. */
struct device_stat {
	const char *name;			    /* "rx_bytes" */
	const char *help;			    /* small letter first, no full stop */
	size_t offset;				    /* from the device's struct device */
	uint64_t (*read)(const struct device *dev); /* instead of offset: a sum */
};
/* `member` of `type`, which embeds its struct device as `dev`, the first member. */
#define DEVICE_STAT(type, member, text)                                                            \
	{                                                                                          \
		.name = #member, .help = (text), .offset = offsetof(type, member)                  \
	}

static inline void device_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* The same for a counter that only one thread writes: no locked instruction. */
static inline void device_count_own(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, before + n, memory_order_relaxed);
}

/* What a verb takes: one key of the request's JSON object. */
enum device_param_type { DEVICE_PARAM_TEXT, DEVICE_PARAM_NUMBER };
struct device_param {
	const char *name;
	enum device_param_type type;
	bool optional;
	uint64_t min, max; /* of the number, or of the text's length in bytes */
	const char *help;
};

/* Its value; `given` is false for an optional one that was left out. */
struct device_value {
	bool given;
	const char *text;
	size_t len;
	uint64_t number;
};

struct device_verb {
	const char *name; /* "power-button" */
	const char *help;
	const struct device_param *params;
	unsigned n_params;
	/* Main, vCPUs may run; values[i] belongs to params[i] and is within its limits. Never
	 * waits. 0 or -errno with a message. */
	int (*run)(struct device *dev, const struct device_value *values, struct err *err);
};

struct device_ops {
	void (*reset)(struct device *dev);
	void (*free)(struct device *dev);
	/*
	 * Devices with work of their own on I/O threads; NULL where there is none. start: the I/O
	 * threads run now, the vCPUs not yet. quiesce stops fetching and waits until nothing is
	 * under way: -ETIMEDOUT when the host's I/O doesn't come back in time; nothing is fetched
	 * then either, and it may be asked again. resume goes on from there. Main, vCPUs parked.
	 */
	int (*start)(struct device *dev, struct err *err);
	int (*quiesce)(struct device *dev, uint64_t patience_ns, struct err *err);
	void (*resume)(struct device *dev);
	/* Everything that a guest can tell apart, of a quiesced device; load into one just made of
	 * the same configuration. Inside a section that machine/ opened: state_version and
	 * state_type are its label. NULL: the device has no state. */
	void (*save)(struct device *dev, struct state_writer *w);
	void (*load)(struct device *dev, struct state_reader *r);
	const char *state_type;
	uint32_t state_version;
	const char *help; /* what it is, for people: "16550 serial port" */
	const struct device_stat *stats;
	unsigned n_stats;
	const struct device_stat *kind_stats; /* what all devices of its kind have, too */
	unsigned n_kind_stats;
	const struct device_verb *verbs;
	unsigned n_verbs;
};

struct device {
	const struct device_ops *ops;
	const char *id; /* "serial0", unique in the machine */
};

static inline struct device *device_free(struct device *dev)
{
	if (dev)
		dev->ops->free(dev);
	return NULL;
}

/* Its counter of this number: its own, then those of its kind. NULL past the last. */
static inline const struct device_stat *device_stat_at(const struct device *dev, unsigned i)
{
	const struct device_ops *ops = dev->ops;

	if (i < ops->n_stats)
		return &ops->stats[i];
	i -= ops->n_stats;
	return i < ops->n_kind_stats ? &ops->kind_stats[i] : NULL;
}

static inline uint64_t device_stat_value(const struct device *dev, const struct device_stat *stat)
{
	if (stat->read)
		return stat->read(dev);

	const _Atomic uint64_t *counter = (const void *)((const char *)dev + stat->offset);

	return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
