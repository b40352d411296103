/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rate limit: so many units (bytes, requests, frames) a second, and a burst that may go at once
 * after a rest. A token bucket, kept as one word: the time at which it will be full again. It is a
 * pure function of the times it is given, and any number of threads may share one without a lock.
 *
 * What has begun is charged whole, so the bucket may go into debt by one request: a request larger
 * than the burst still passes, and the next one waits for it.
 */
#ifndef VMM_BACKEND_LIMIT_H
#define VMM_BACKEND_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* All zero is no limit. */
struct limit {
	_Atomic uint64_t rate; /* units a second; 0: no limit */
	_Atomic uint64_t
		burst; /* what the bucket holds, as time at this rate, in sixteenths of ns */
	_Atomic uint64_t full_at; /* same unit; in the past: it is full */
};

/* The bucket is full from here on. burst 0: a tenth of a second's worth. Takes effect at once, also
 * while others use it. */
void limit_set(struct limit *limit, uint64_t per_second, uint64_t burst);

static inline bool limit_is_on(const struct limit *limit)
{
	return atomic_load_explicit(&limit->rate, memory_order_relaxed) != 0;
}

/* The burst as time at the rate; only while a limit is on. */
uint64_t limit_burst_ns(const struct limit *limit);

/* May something begin? 0: yes, or the nanoseconds to wait before it is worth asking again. */
uint64_t limit_wait(const struct limit *limit, uint64_t now_ns);

/* Something of this many units has begun. */
void limit_charge(struct limit *limit, uint64_t now_ns, uint64_t units);

#endif
