/* SPDX-License-Identifier: Apache-2.0 */
/* Many chains: order, batches, wrapping round, giving back, going on elsewhere. */
#include "queue_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

/* ---- wrapping round ---- */

enum { BURST = 5, MAX_SEGS = 4 };

/* Chains of 1 to 4 segments through a small ring, so that they lie across its end in every way;
 * every third through a table. */
static void one_burst(struct queue_world *w, uintptr_t *count)
{
	struct driver_seg segs[MAX_SEGS];
	struct driver_used used;
	struct virtq_chain chain;
	struct iovec iov[MAX_SEGS];
	uintptr_t first = *count, done = first;

	for (unsigned i = 0; i < BURST; i++, (*count)++) {
		unsigned n = (unsigned)(1 + *count * 7 % MAX_SEGS), n_out = (unsigned)(*count % n);
		int err;

		for (unsigned s = 0; s < n; s++)
			segs[s] = (struct driver_seg){w->buf + *count % 3000, (uint32_t)(s + 1)};
		err = w->dq.setup.indirect && *count % 3 == 0
			      ? driver_add_indirect(&w->dq, segs, n_out, n - n_out, (void *)*count)
			      : driver_add(&w->dq, segs, n_out, n - n_out, (void *)*count);
		if (err)
			break;
	}
	driver_publish(&w->dq);
	for (uintptr_t i = first; i < *count; i++) {
		cr_assert_eq(virtq_pop(&w->vq, &chain, iov, MAX_SEGS), 1);
		cr_assert_eq((unsigned)chain.n_out + chain.n_in, 1 + i * 7 % MAX_SEGS);
		cr_assert_eq(iov[0].iov_base, guest_ptr(&w->mem, w->buf + i % 3000, 1));
		virtq_push(&w->vq, &chain, (uint32_t)chain.in_bytes);
	}
	cr_assert_eq(virtq_pop(&w->vq, &chain, iov, MAX_SEGS), 0);
	(void)world_flush(w);
	for (; driver_collect(&w->dq, &used); done++)
		cr_assert_eq(used.cookie, (void *)done);
	cr_assert_eq(done, *count);
}

static void many(const struct driver_setup *setup, uintptr_t total)
{
	struct queue_world w;
	uintptr_t count = 0;

	world_init(&w, setup);
	while (count < total)
		one_burst(&w, &count);
	cr_assert_eq(w.vq.at.avail, w.vq.at.used);
	world_done(&w);
}

Test(virtq_flow, split__goes_round_65536_three_times_in_every_combination)
{
	for (unsigned i = 0; i < WORLD_COMBINATIONS; i += 2) {
		struct driver_setup small = world_setup(i, 8), large = world_setup(i, 256);

		many(&small, 3 * 65536 + 100);
		many(&large, 3 * 65536 + 100);
	}
}

Test(virtq_flow, packed__goes_round_many_times_in_every_combination)
{
	for (unsigned i = 1; i < WORLD_COMBINATIONS; i += 2) {
		struct driver_setup small = world_setup(i, 7), large = world_setup(i, 251);

		many(&small, 3 * 65536 + 100);
		many(&large, 3 * 65536 + 100);
	}
}

/* ---- batches and order ---- */

static void batch(bool packed, uint16_t size, unsigned round)
{
	struct driver_setup setup = {.size = size, .packed = packed};
	struct queue_world w;

	world_init(&w, &setup);
	while (round--) { /* so that the batch lies across the ring's end at last */
		world_add(&w, 1);
		world_use(&w, 1);
		world_collect(&w, 1);
	}
	world_add(&w, size);
	for (unsigned i = 0; i < size; i++) {
		struct virtq_chain chain;
		struct iovec iov[1];

		cr_assert_eq(virtq_pop(&w.vq, &chain, iov, 1), 1);
		virtq_push(&w.vq, &chain, 1);
		cr_assert(!driver_has_used(&w.dq), "%u of %u", i, size);
	}
	cr_assert(virtq_flush(&w.vq));
	world_collect(&w, size);
	world_done(&w);
}

Test(virtq_flow, push__is_seen_at_the_flush_and_then_the_whole_batch)
{
	for (unsigned round = 0; round < 17; round++) {
		batch(false, 8, round);
		batch(true, 8, round);
		batch(true, 7, round);
		batch(true, 1, round);
	}
}

static void backwards(const struct driver_setup *setup)
{
	struct virtq_chain chains[9];
	struct driver_used used;
	struct iovec iov[2];
	struct queue_world w;

	world_init(&w, setup);
	for (unsigned round = 0; round < 20; round++) {
		struct driver_seg segs[2] = {{w.buf, 8}, {w.buf, 100}};

		for (uintptr_t i = 0; i < 9; i++)
			cr_assert_eq(driver_add(&w.dq, segs, 1, i % 2, (void *)i), 0);
		driver_publish(&w.dq);
		for (unsigned i = 0; i < 9; i++)
			cr_assert_eq(virtq_pop(&w.vq, &chains[i], iov, 2), 1);
		for (unsigned i = 9; i-- > 0;)
			virtq_push(&w.vq, &chains[i], i % 2 ? i : 0);
		(void)world_flush(&w);
		for (uintptr_t i = 9; i-- > 0;) {
			cr_assert(driver_collect(&w.dq, &used));
			cr_assert_eq(used.cookie, (void *)i, "%s", world_name(setup));
			cr_assert_eq(used.len, i % 2 ? i : 0);
		}
	}
	world_done(&w);
}

Test(virtq_flow, push__takes_any_order)
{
	backwards(&(struct driver_setup){.size = 16});
	backwards(&(struct driver_setup){.size = 14, .packed = true});
	backwards(&(struct driver_setup){.size = 23, .packed = true, .event_idx = true});
}

/* ---- giving back ---- */

/* n_out 1 and 2 and 3 segments of known length. */
static void add_three(struct queue_world *w)
{
	struct driver_seg segs[3] = {{w->buf, 10}, {w->buf + 20, 20}, {w->buf + 40, 40}};

	for (unsigned n = 1; n <= 3; n++)
		cr_assert_eq(driver_add(&w->dq, segs, n, 0, NULL), 0);
	driver_publish(&w->dq);
}

static void give_back(const struct driver_setup *setup)
{
	struct virtq_chain c[3], again;
	struct iovec iov[3];
	struct queue_world w;

	world_init(&w, setup);
	for (unsigned round = 0; round < 9; round++) {
		add_three(&w);
		for (unsigned i = 0; i < 3; i++)
			cr_assert_eq(virtq_pop(&w.vq, &c[i], iov, 3), 1);
		for (unsigned i = 3; i-- > 0;)
			virtq_unpop(&w.vq, &c[i]);
		cr_assert(virtq_has_work(&w.vq));
		for (unsigned i = 0; i < 3; i++) {
			cr_assert_eq(virtq_pop(&w.vq, &again, iov, 3), 1);
			cr_assert_eq(again.id, c[i].id);
			cr_assert_eq(again.out_bytes, c[i].out_bytes);
			virtq_unpop(&w.vq, &again);
			cr_assert_eq(virtq_pop(&w.vq, &again, iov, 3), 1);
			cr_assert_eq(again.out_bytes, c[i].out_bytes);
			virtq_push(&w.vq, &again, 0);
		}
		cr_assert(!virtq_has_work(&w.vq));
		(void)world_flush(&w);
		world_collect(&w, 3);
	}
	world_done(&w);
}

Test(virtq_flow, unpop__gives_the_same_chains_again_in_order)
{
	give_back(&(struct driver_setup){.size = 8});
	give_back(&(struct driver_setup){.size = 8, .packed = true});
	give_back(&(struct driver_setup){.size = 7, .packed = true});
}

/* ---- position ---- */

static void go_on_elsewhere(const struct driver_setup *setup, unsigned before)
{
	struct virtq_position kept;
	struct queue_world w;

	world_init(&w, setup);
	for (unsigned i = 0; i < before; i++) {
		world_add(&w, 1);
		world_use(&w, 1);
		world_collect(&w, 1);
	}
	world_add(&w, 2); /* available, not popped: nothing is in flight */
	kept = w.vq.at;
	memset(&w.vq, 0xaa, sizeof(w.vq));
	world_start(&w);
	cr_assert_eq(virtq_seek(&w.vq, &kept), 0);
	cr_assert(virtq_has_work(&w.vq));
	world_use(&w, 2);
	world_collect(&w, 2);
	world_add(&w, setup->size);
	world_use(&w, setup->size);
	world_collect(&w, setup->size);
	world_done(&w);
}

Test(virtq_flow, seek__goes_on_where_another_instance_was)
{
	for (unsigned i = 0; i < WORLD_COMBINATIONS; i++)
		for (unsigned before = 0; before < 18; before++) {
			struct driver_setup setup = world_setup(i, 8);

			go_on_elsewhere(&setup, before);
		}
	go_on_elsewhere(&(struct driver_setup){.size = 4}, 65534);
	go_on_elsewhere(&(struct driver_setup){.size = 5, .packed = true}, 65534);
}

Test(virtq_flow, seek__refuses_what_no_queue_can_come_to)
{
	static const struct virtq_position split_bad[] = {{.avail = 9}, {.avail = 0, .used = 1}},
					   packed_bad[] = {
						   {.avail = 8, .used = 8},
						   {.avail = 65535},
						   {.avail = 1, .used = 2},
						   {.avail = 3, .used = 2, .avail_wrap = true},
					   };
	static const struct virtq_position split_good = {.avail = 3, .used = 65531};
	static const struct virtq_position packed_good = {
		.avail = 3, .used = 3, .avail_wrap = true};
	struct driver_setup split = {.size = 8}, packed = {.size = 8, .packed = true};
	struct queue_world w;

	world_init(&w, &split);
	for (unsigned i = 0; i < ARRAY_SIZE(split_bad); i++)
		cr_assert_eq(virtq_seek(&w.vq, &split_bad[i]), -EINVAL, "split %u", i);
	cr_assert_eq(virtq_seek(&w.vq, &split_good), 0);
	world_done(&w);
	world_init(&w, &packed);
	for (unsigned i = 0; i < ARRAY_SIZE(packed_bad); i++)
		cr_assert_eq(virtq_seek(&w.vq, &packed_bad[i]), -EINVAL, "packed %u", i);
	cr_assert_eq(virtq_seek(&w.vq, &packed_good), 0);
	world_done(&w);
}
