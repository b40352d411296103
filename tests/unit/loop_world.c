/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/loop_world.h"

#include <criterion/criterion.h>

#include "base/clock.h"

struct loop *world_loop;

static struct {
	struct loop_timer guard, poll;
	bool (*done)(void *arg);
	void *arg;
	bool expired;
} wait;

static void expire(struct loop_timer *timer)
{
	(void)timer;
	wait.expired = true;
	loop_stop(world_loop);
}

/* What is waited for changes in handlers of the code under test, which don't know of us: look
 * often. */
static void look(struct loop_timer *timer)
{
	if (wait.done(wait.arg))
		loop_stop(world_loop);
	else
		loop_timer_arm(world_loop, timer, 100 * NS_PER_US);
}

void world_run_until(bool (*done)(void *arg), void *arg)
{
	wait.guard.fired = expire;
	wait.poll.fired = look;
	wait.done = done;
	wait.arg = arg;
	wait.expired = false;
	loop_timer_arm(world_loop, &wait.guard, 20 * NS_PER_S);
	loop_timer_arm(world_loop, &wait.poll, 0);
	cr_assert_eq(loop_run(world_loop), 0);
	loop_timer_cancel(world_loop, &wait.guard);
	loop_timer_cancel(world_loop, &wait.poll);
	cr_assert_not(wait.expired, "what the test waits for does not happen");
}

uint64_t world_run_for(uint64_t ns)
{
	uint64_t start = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	wait.guard.fired = expire;
	loop_timer_arm(world_loop, &wait.guard, ns);
	cr_assert_eq(loop_run(world_loop), 0);
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start;
}
