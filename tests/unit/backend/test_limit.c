/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <pthread.h>

#include "backend/limit.h"
#include "base/clock.h"

TestSuite(limit, .timeout = 30);

/* What passes between two times, each request as soon as it may. */
static double passed(struct limit *l, uint64_t from, uint64_t to, uint64_t units)
{
	uint64_t now = from;
	double total = 0;

	for (;;) {
		uint64_t wait = limit_wait(l, now);

		now += wait;
		if (now >= to)
			return total;
		if (wait == 0) {
			limit_charge(l, now, units);
			total += (double)units;
			now += 1; /* time goes on, so that "no limit" ends too */
		}
	}
}

Test(limit, all_zero_limits_nothing)
{
	struct limit l = {0};

	for (unsigned i = 0; i < 1000; i++) {
		cr_assert_eq(limit_wait(&l, 5), 0);
		limit_charge(&l, 5, UINT64_MAX);
	}
	cr_assert_not(limit_is_on(&l));
}

Test(limit, burst_passes_at_once_and_then_the_rate_holds)
{
	struct limit l = {0};
	const uint64_t t = 1000 * NS_PER_S;
	double got;

	limit_set(&l, 1000, 50);
	for (unsigned i = 0; i < 50; i++) {
		cr_assert_eq(limit_wait(&l, t), 0, "request %u of the burst", i);
		limit_charge(&l, t, 1);
	}
	cr_assert_gt(limit_wait(&l, t), 0);
	cr_assert_leq(limit_wait(&l, t), NS_PER_MS + 1);
	got = passed(&l, t, t + 10 * NS_PER_S, 1);
	cr_assert_float_eq(got, 10000, 2);
}

Test(limit, rate_is_kept_from_one_byte_to_many_gigabytes_a_second)
{
	static const uint64_t rates[] = {1000, 1000000, UINT64_C(125000000), UINT64_C(12500000000)};

	for (unsigned i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct limit l = {0};
		uint64_t ns = NS_PER_S * 1000000 / rates[i];
		double got;

		limit_set(&l, rates[i], 100);
		got = passed(&l, NS_PER_S, NS_PER_S + ns, 100);
		cr_expect_float_eq(got, 1000000.0 + 100, 20000, "rate %lu: %f", rates[i], got);
	}
}

Test(limit, larger_than_the_burst_passes_and_the_next_one_waits_for_it)
{
	struct limit l = {0};

	limit_set(&l, 1000, 10);
	cr_assert_eq(limit_wait(&l, NS_PER_S), 0);
	limit_charge(&l, NS_PER_S, 1010);
	cr_assert_float_eq((double)limit_wait(&l, NS_PER_S), NS_PER_S, 10);
	cr_assert_eq(limit_wait(&l, 2 * NS_PER_S + 10), 0);
}

Test(limit, rest_saves_up_no_more_than_the_burst)
{
	struct limit l = {0};
	double got;

	limit_set(&l, 1000, 10);
	limit_charge(&l, NS_PER_S, 500);
	got = passed(&l, 3600 * NS_PER_S, 3600 * NS_PER_S + NS_PER_MS / 2, 1);
	cr_assert_float_eq(got, 10, 1, "and one that goes into debt");
}

Test(limit, huge_request_can_be_lived_down)
{
	struct limit l = {0};

	limit_set(&l, 1, 1);
	limit_charge(&l, NS_PER_S, UINT64_MAX);
	cr_assert_leq(limit_wait(&l, NS_PER_S), 86400 * NS_PER_S);
}

Test(limit, change_takes_effect_at_once)
{
	struct limit l = {0};

	limit_set(&l, 1, 1);
	limit_charge(&l, NS_PER_S, 100);
	cr_assert_gt(limit_wait(&l, NS_PER_S), 0);
	limit_set(&l, 1000, 0);
	cr_assert_eq(limit_wait(&l, NS_PER_S), 0);
	limit_set(&l, 0, 0);
	cr_assert_not(limit_is_on(&l));
}

static void *charge(void *arg)
{
	for (unsigned i = 0; i < 100000; i++)
		limit_charge(arg, NS_PER_S, 1);
	return NULL;
}

Test(limit, threads_that_share_it_lose_no_charge)
{
	struct limit l = {0};
	pthread_t threads[4];

	limit_set(&l, 100000, 1);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, charge, &l), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_assert_float_eq((double)limit_wait(&l, NS_PER_S), 4 * NS_PER_S, 100000);
}
