/* SPDX-License-Identifier: Apache-2.0 */
#include "queue_world.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct driver_setup world_setup(unsigned combination, uint16_t size)
{
	return (struct driver_setup){.size = size,
				     .packed = combination & 1,
				     .event_idx = combination & 2,
				     .indirect = combination & 4,
				     .in_order = combination & 8,
				     .high = combination & 16};
}

const char *world_name(const struct driver_setup *s)
{
	static char name[80];

	(void)snprintf(name, sizeof(name), "%s, size %u%s%s%s%s", s->packed ? "packed" : "split",
		       s->size, s->event_idx ? ", event_idx" : "", s->indirect ? ", indirect" : "",
		       s->in_order ? ", in_order" : "", s->high ? ", high" : "");
	return name;
}

struct virtq_config world_config(const struct queue_world *w)
{
	return (struct virtq_config){.size = w->dq.setup.size,
				     .desc = w->dq.desc_gpa,
				     .driver = w->dq.driver_gpa,
				     .device = w->dq.device_gpa};
}

void world_start(struct queue_world *w)
{
	struct virtq_config config = world_config(w);

	cr_assert_eq(virtq_start(&w->vq, &config, driver_features(&w->dq), &w->mem.map), 0);
}

void world_init(struct queue_world *w, const struct driver_setup *setup)
{
	guest_mem_init(&w->mem);
	driver_init(&w->dq, &w->mem, setup);
	w->buf = guest_alloc(&w->mem, 4096, 4096);
	world_start(w);
}

void world_done(struct queue_world *w)
{
	driver_done(&w->dq);
	guest_mem_done(&w->mem);
}

bool world_flush(struct queue_world *w)
{
	return virtq_flush(&w->vq);
}

bool world_kicks_on(struct queue_world *w)
{
	return virtq_kicks_on(&w->vq);
}

bool world_add(struct queue_world *w, unsigned n)
{
	struct driver_seg seg = {w->buf, 64};

	while (n--)
		cr_assert_eq(driver_add(&w->dq, &seg, 0, 1, NULL), 0);
	return driver_publish(&w->dq);
}

bool world_use(struct queue_world *w, unsigned n)
{
	struct virtq_chain chain;
	struct iovec iov[1];

	while (n--) {
		cr_assert_eq(virtq_pop(&w->vq, &chain, iov, 1), 1);
		virtq_push(&w->vq, &chain, 64);
	}
	return virtq_flush(&w->vq);
}

void world_collect(struct queue_world *w, unsigned n)
{
	struct driver_used used;

	while (n--)
		cr_assert(driver_collect(&w->dq, &used));
	cr_assert(!driver_has_used(&w->dq));
}
