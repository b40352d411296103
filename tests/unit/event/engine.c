/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "event/loop_internal.h"

bool engine_is_uring(void)
{
	const char *name = getenv("VMM_TEST_ENGINE");

	return name && strcmp(name, "uring") == 0;
}

void need_uring(void)
{
	struct err err = {0};

	if (loop_probe_uring(&err) < 0)
		cr_skip_test("%s", err.msg);
}

struct loop *engine_loop(unsigned depth, uint64_t poll_ns)
{
	struct loop_opts opts = {.engine = engine_is_uring() ? LOOP_URING : LOOP_EPOLL,
				 .depth = depth,
				 .poll_ns = poll_ns};
	struct err err = {0};
	struct loop *loop;
	int r;

	if (engine_is_uring())
		need_uring();
	r = loop_new_with(&opts, &loop, &err);
	cr_assert_eq(r, 0, "%s", err.msg);
	return loop;
}

uint64_t engine_poll_window(const struct loop *loop)
{
	return loop->window_ns;
}

void engine_post_without_kick(struct loop *loop, struct loop_work *work)
{
	work->queued = true;
	work->next = atomic_load(&loop->posted);
	atomic_store(&loop->posted, work);
}

uint64_t engine_turns(const struct loop *loop)
{
	return loop->turns;
}
