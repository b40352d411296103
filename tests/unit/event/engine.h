/* SPDX-License-Identifier: Apache-2.0 */
/* The engine under test: VMM_TEST_ENGINE=uring in the environment, else epoll. */
#ifndef VMM_TESTS_UNIT_EVENT_ENGINE_H
#define VMM_TESTS_UNIT_EVENT_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "event/loop.h"

bool engine_is_uring(void);
/* Ends the test as skipped, with the reason, where the host refuses io_uring. */
void need_uring(void);
/* A loop of that engine; ends the test as skipped where the host refuses it. */
struct loop *engine_loop(unsigned depth, uint64_t poll_ns);

/* How long it polls at present. */
uint64_t engine_poll_window(const struct loop *loop);
/* As far as somebody has come who was held up within loop_post(). Nobody else posts. */
void engine_post_without_kick(struct loop *loop, struct loop_work *work);
/* How often the loop has woken up. */
uint64_t engine_turns(const struct loop *loop);

#endif
