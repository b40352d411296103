/* SPDX-License-Identifier: Apache-2.0 */
/* Requests held back by limits, over a disk that answers at once. */
#include "blk_world.h"

#include <criterion/criterion.h>
#include <string.h>

#include "backend/blk_core.h"
#include "base/checked.h"
#include "base/clock.h"

TestSuite(blk_limits, .init = blk_world_init, .fini = blk_world_done, .timeout = 60);

enum { MOST = 64 };

static struct {
	struct blk blk;
	struct blk_queue *q;
	struct blk_req *done[MOST];
	unsigned n_done;
} fake;

static void fake_submit(struct blk_req *req)
{
	fake.done[fake.n_done++] = req;
	blk_done(req, 0);
}

static void begin(const struct blk_limits *limits)
{
	static const struct blk_ops ops = {.submit = fake_submit};

	memset(&fake, 0, sizeof(fake));
	blk_init(&fake.blk, &ops);
	cr_assert_eq(blk_queue_new(&fake.blk, blk_loop, &fake.q), 0);
	blk_set_limits(&fake.blk, limits);
}

static void end(void)
{
	fake.q = blk_queue_free(fake.q);
}

static void nothing(struct blk_req *req, int result)
{
	(void)req;
	(void)result;
}

static bool submit(struct blk_req *req, enum blk_op op, uint64_t len)
{
	*req = (struct blk_req){.done = nothing, .op = op, .len = len};
	return blk_submit(fake.q, req);
}

/* Ten seconds for each request, and so many that don't wait: the burst, and one that goes into
 * debt. */
enum { SLOW_UNITS = 1024 * 1024, AT_ONCE = 2 };
static const struct blk_limits slow = {.bw = SLOW_UNITS / 10, .bw_burst = SLOW_UNITS};

static void fill(struct blk_req *reqs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(submit(&reqs[i], BLK_WRITE, SLOW_UNITS), i >= AT_ONCE);
	cr_assert_eq(fake.n_done, MIN(n, (unsigned)AT_ONCE));
}

static struct {
	struct loop_timer look;
	unsigned n;
} wait;

static void look(struct loop_timer *timer)
{
	if (fake.n_done >= wait.n)
		loop_stop(blk_loop);
	else
		loop_timer_arm(blk_loop, timer, NS_PER_MS);
}

static void await(unsigned n)
{
	wait.n = n;
	wait.look.fired = look;
	loop_timer_arm(blk_loop, &wait.look, 0);
	cr_assert_eq(loop_run(blk_loop), 0);
}

Test(blk_limits, without_limits__nothing_is_held)
{
	struct blk_req reqs[MOST];

	begin(&(struct blk_limits){0});
	for (unsigned i = 0; i < MOST; i++)
		cr_assert_not(submit(&reqs[i], BLK_WRITE, MIB(64)));
	cr_assert_eq(fake.n_done, MOST);
	end();
}

Test(blk_limits, requests_a_second__come_in_order_and_not_early)
{
	struct blk_req reqs[30];
	uint64_t start = clock_now_ns();
	unsigned held = 0;

	begin(&(struct blk_limits){.iops = 100, .iops_burst = 10});
	for (unsigned i = 0; i < 30; i++)
		held += submit(&reqs[i], BLK_READ, 512);
	cr_assert_geq(held, 15, "%u", held);
	cr_assert_leq(held, 20, "%u", held);
	await(30);
	for (unsigned i = 0; i < 30; i++)
		cr_assert_eq(fake.done[i], &reqs[i]);
	/* 20 more than the burst, at 100 a second */
	cr_assert_geq(clock_now_ns() - start, 19 * NS_PER_S / 100);
	end();
}

Test(blk_limits, bytes_a_second__count_those_of_reads_and_writes)
{
	struct blk_req reqs[4];
	uint64_t start = clock_now_ns();

	begin(&(struct blk_limits){.bw = MIB(10), .bw_burst = MIB(1)});
	cr_assert_not(submit(&reqs[0], BLK_WRITE, MIB(2)), "larger than the burst");
	cr_assert(submit(&reqs[1], BLK_READ, 512));
	await(2);
	cr_assert_geq(clock_now_ns() - start, NS_PER_S / 10);
	end();
}

Test(blk_limits, a_flush__passes_by)
{
	struct blk_req reqs[MOST];

	begin(&slow);
	fill(reqs, 5);
	cr_assert_not(submit(&reqs[5], BLK_FLUSH, 0));
	cr_assert_eq(fake.n_done, AT_ONCE + 1);
	cr_assert_eq(fake.done[AT_ONCE], &reqs[5]);
	end();
}

Test(blk_limits, a_queue_in_a_hurry__lets_all_go_and_pays_later)
{
	struct blk_req reqs[12];

	begin(&slow);
	fill(reqs, 10);
	blk_queue_hurry(fake.q, true);
	cr_assert_eq(fake.n_done, 10);
	cr_assert_not(submit(&reqs[10], BLK_WRITE, 512));
	blk_queue_hurry(fake.q, false);
	cr_assert(submit(&reqs[11], BLK_WRITE, 512));
	cr_assert_gt(limit_wait(&fake.blk.bw, clock_now_ns()), 80 * NS_PER_S);
	end();
}

Test(blk_limits, a_limit_lifted__lets_what_waits_go)
{
	struct blk_req reqs[10];

	begin(&slow);
	fill(reqs, 10);
	blk_set_limits(&fake.blk, &(struct blk_limits){0});
	await(10);
	end();
}

Test(blk_limits, what_comes_later__does_not_overtake_what_waits)
{
	struct blk_req reqs[11];

	begin(&slow);
	fill(reqs, 10);
	blk_set_limits(&fake.blk, &(struct blk_limits){0});
	cr_assert(submit(&reqs[10], BLK_WRITE, 512), "the queue's loop does not know yet");
	await(11);
	for (unsigned i = 0; i < 11; i++)
		cr_assert_eq(fake.done[i], &reqs[i]);
	end();
}

Test(blk_limits, a_limit__is_that_of_all_queues_together)
{
	struct blk_req reqs[AT_ONCE + 1];
	struct blk_queue *other;

	begin(&slow);
	cr_assert_eq(blk_queue_new(&fake.blk, blk_loop, &other), 0);
	fill(reqs, AT_ONCE);
	reqs[AT_ONCE] = (struct blk_req){.done = nothing, .op = BLK_WRITE, .len = 512};
	cr_assert(blk_submit(other, &reqs[AT_ONCE]));
	(void)blk_queue_free(other);
	end();
}
