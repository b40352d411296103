/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/blk_core.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"

/* ---- the disk ---- */

int blk_open(const struct blk_opts *opts, struct blk **ret, struct err *err)
{
	return opts->overlay ? blk_overlay_new(opts, ret, err) : blk_raw_new(opts, ret, err);
}

void blk_init(struct blk *blk, const struct blk_ops *ops)
{
	blk->ops = ops;
}

struct blk *blk_free(struct blk *blk)
{
	if (blk)
		blk->ops->free(blk);
	return NULL;
}

const struct blk_info *blk_info(const struct blk *blk)
{
	return &blk->info;
}

uint64_t blk_size(const struct blk *blk)
{
	return atomic_load_explicit(&blk->size, memory_order_acquire);
}

int blk_resize(struct blk *blk, uint64_t size, struct err *err)
{
	if (!blk->ops->resize)
		return err_set(err, -EOPNOTSUPP, "%s: the size of this disk is fixed", blk->name);
	return blk->ops->resize(blk, size, err);
}

void blk_set_limits(struct blk *blk, const struct blk_limits *limits)
{
	blk->limits = *limits;
	limit_set(&blk->bw, limits->bw, limits->bw_burst);
	limit_set(&blk->iops, limits->iops, limits->iops_burst);
	for (struct blk_queue *q = blk->queues; q; q = q->next)
		loop_post(q->loop, &q->limits_changed);
}

const struct blk_limits *blk_limits(const struct blk *blk)
{
	return &blk->limits;
}

/* ---- limits ---- */

static uint64_t bytes_charged(const struct blk_req *req)
{
	return req->op == BLK_READ || req->op == BLK_WRITE ? req->len : 0;
}

/* A little longer than needed where the burst makes up for it, so that several find room then. */
static uint64_t wait_for(const struct limit *limit, uint64_t now)
{
	uint64_t wait = limit_wait(limit, now);

	return wait ? wait + MIN(limit_burst_ns(limit) / 4, NS_PER_MS) : 0;
}

static uint64_t time_to_wait(struct blk_queue *q, uint64_t now)
{
	uint64_t bw, iops;

	if (q->hurry)
		return 0;
	bw = wait_for(&q->blk->bw, now);
	iops = wait_for(&q->blk->iops, now);
	return MAX(bw, iops);
}

static void charge(struct blk_queue *q, const struct blk_req *req, uint64_t now)
{
	limit_charge(&q->blk->bw, now, bytes_charged(req));
	limit_charge(&q->blk->iops, now, 1);
}

static void release_held(struct blk_queue *q)
{
	uint64_t now = clock_now_ns();

	while (q->held.first) {
		uint64_t wait = time_to_wait(q, now);
		struct blk_req *req;

		if (wait) {
			loop_timer_arm(q->loop, &q->refill, wait);
			return;
		}
		req = blk_list_take(&q->held);
		charge(q, req, now);
		q->blk->ops->submit(req);
	}
	loop_timer_cancel(q->loop, &q->refill);
}

static void refilled(struct loop_timer *timer)
{
	release_held(container_of(timer, struct blk_queue, refill));
}

static void limits_changed(struct loop_work *work)
{
	release_held(container_of(work, struct blk_queue, limits_changed));
}

static bool hold(struct blk_queue *q, struct blk_req *req)
{
	uint64_t now = clock_now_ns(), wait;
	bool first = !q->held.first;

	wait = time_to_wait(q, now);
	if (first && !wait) {
		charge(q, req, now);
		return false;
	}
	blk_list_add(&q->held, req);
	if (first)
		loop_timer_arm(q->loop, &q->refill, wait);
	return true;
}

bool blk_submit(struct blk_queue *q, struct blk_req *req)
{
	struct blk *blk = q->blk;
	bool limited = limit_is_on(&blk->bw) || limit_is_on(&blk->iops) || q->held.first;

	req->queue = q;
	if (limited && req->op != BLK_FLUSH && hold(q, req))
		return true;
	blk->ops->submit(req);
	return false;
}

void blk_queue_hurry(struct blk_queue *q, bool on)
{
	q->hurry = on;
	if (on)
		release_held(q);
}

/* ---- queues ---- */

DEFINE_CLEANUP(struct blk_queue *, blk_queue_free);

/* A loop knows each file once, however many queues of the disk it runs. */
static int number_files(struct blk_queue *q)
{
	for (const struct blk_queue *other = q->blk->queues; other; other = other->next)
		if (other->loop == q->loop) {
			for (unsigned i = 0; i < BLK_MAX_FILES; i++)
				q->numbers[i] = other->numbers[i];
			return 0;
		}
	for (unsigned i = 0; i < BLK_MAX_FILES && q->blk->files[i]; i++) {
		int r = loop_add_file(q->loop, q->blk->files[i]->fd);

		if (r < 0)
			return r;
		q->numbers[i] = r;
	}
	return 0;
}

int blk_queue_new(struct blk *blk, struct loop *loop, struct blk_queue **ret)
{
	_cleanup_(blk_queue_free_cleanup) struct blk_queue *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	q->blk = blk;
	q->loop = loop;
	q->refill.fired = refilled;
	q->limits_changed.run = limits_changed;
	r = number_files(q);
	if (r == 0)
		r = blk_io_init(q);
	if (r < 0)
		return r;
	q->next = blk->queues;
	blk->queues = q;
	*ret = TAKE_PTR(q);
	return 0;
}

struct blk_queue *blk_queue_free(struct blk_queue *q)
{
	struct blk_queue **at;

	if (!q)
		return NULL;
	for (at = &q->blk->queues; *at && *at != q; at = &(*at)->next)
		;
	if (*at)
		*at = q->next;
	loop_timer_cancel(q->loop, &q->refill);
	loop_work_cancel(q->loop, &q->limits_changed);
	blk_io_done(q);
	free(q);
	return NULL;
}
