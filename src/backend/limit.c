/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/limit.h"

#include "base/checked.h"
#include "base/clock.h"

/* Time in sixteenths of a nanosecond, so that a short frame at many gigabytes a second still costs
 * something; 64 bits of it last for 36 years. */
enum { TICKS_PER_NS = 16, DEFAULT_BURST_SHARE = 10 };

/* How long `units` take at this rate; a day at most. */
static uint64_t cost(uint64_t units, uint64_t rate)
{
	const uint64_t most = 86400 * NS_PER_S * TICKS_PER_NS;
	unsigned __int128 ticks = (unsigned __int128)units * NS_PER_S * TICKS_PER_NS;

	ticks = (ticks + rate - 1) / rate;
	return ticks < most ? (uint64_t)ticks : most;
}

void limit_set(struct limit *limit, uint64_t per_second, uint64_t burst)
{
	uint64_t hold = burst ? burst : MAX(per_second / DEFAULT_BURST_SHARE, UINT64_C(1));

	if (per_second)
		atomic_store_explicit(&limit->burst, cost(hold, per_second), memory_order_relaxed);
	atomic_store_explicit(&limit->full_at, 0, memory_order_relaxed);
	atomic_store_explicit(&limit->rate, per_second, memory_order_relaxed);
}

uint64_t limit_burst_ns(const struct limit *limit)
{
	return atomic_load_explicit(&limit->burst, memory_order_relaxed) / TICKS_PER_NS;
}

uint64_t limit_wait(const struct limit *limit, uint64_t now_ns)
{
	uint64_t now = now_ns * TICKS_PER_NS;
	uint64_t full_at = atomic_load_explicit(&limit->full_at, memory_order_relaxed);
	uint64_t burst = atomic_load_explicit(&limit->burst, memory_order_relaxed);

	if (!limit_is_on(limit) || full_at <= now || full_at - now < burst)
		return 0;
	return (full_at - now - burst) / TICKS_PER_NS + 1;
}

void limit_charge(struct limit *limit, uint64_t now_ns, uint64_t units)
{
	uint64_t rate = atomic_load_explicit(&limit->rate, memory_order_relaxed);
	uint64_t now = now_ns * TICKS_PER_NS, full_at, then;

	if (!rate)
		return;
	full_at = atomic_load_explicit(&limit->full_at, memory_order_relaxed);
	do
		then = MAX(full_at, now) + cost(units, rate);
	while (!atomic_compare_exchange_weak_explicit(&limit->full_at, &full_at, then,
						      memory_order_relaxed, memory_order_relaxed));
}
