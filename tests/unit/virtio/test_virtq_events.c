/* SPDX-License-Identifier: Apache-2.0 */
/* Who is told when: kicks and interrupts, with and without event index. */
#include "queue_world.h"

#include <criterion/criterion.h>
#include <linux/virtio_ring.h>

/* Moves the queue on by n chains, nobody asking to be told. */
static void move_on(struct queue_world *w, unsigned n)
{
	while (n--) {
		world_add(w, 1);
		world_use(w, 1);
		world_collect(w, 1);
	}
}

typedef void (*scenario)(struct queue_world *w);

/* Runs it from several places in the ring, those just before a wrap of ring and index among them.
 */
static void everywhere(scenario run, bool event_idx)
{
	static const unsigned starts[] = {0, 1, 5, 6, 7, 8, 13, 14, 15, 65530, 65533, 65535, 65536};
	static const struct driver_setup setups[] = {
		{.size = 8}, {.size = 8, .packed = true}, {.size = 7, .packed = true}};

	for (unsigned s = 0; s < ARRAY_SIZE(setups); s++)
		for (unsigned i = 0; i < ARRAY_SIZE(starts); i++) {
			struct driver_setup setup = setups[s];
			struct queue_world w;

			setup.event_idx = event_idx;
			world_init(&w, &setup);
			move_on(&w, starts[i]);
			run(&w);
			world_done(&w);
		}
}

/* ---- kicks ---- */

static void off_and_on(struct queue_world *w)
{
	cr_assert(!world_kicks_on(w));
	cr_assert(world_add(w, 1), "on");
	world_use(w, 1);
	world_collect(w, 1);
	virtq_kicks_off(&w->vq);
	cr_assert(!world_add(w, 1), "off");
	cr_assert(!world_add(w, 2), "off");
	world_use(w, 3);
	world_collect(w, 3);
	cr_assert(!world_kicks_on(w));
	cr_assert(world_add(w, 3), "on again");
}

Test(virtq_events, kicks__come_when_on_and_not_when_off)
{
	everywhere(off_and_on, false);
	everywhere(off_and_on, true);
}

static void came_before_on(struct queue_world *w)
{
	cr_assert(!world_kicks_on(w));
	virtq_kicks_off(&w->vq);
	world_add(w, 1);
	cr_assert(world_kicks_on(w), "it came before, without a kick");
	world_use(w, 1);
	cr_assert(!world_kicks_on(w));
	cr_assert(!virtq_has_work(&w->vq));
}

Test(virtq_events, kicks_on__tells_of_chains_that_are_there_already)
{
	everywhere(came_before_on, false);
	everywhere(came_before_on, true);
}

static void one_kick_per_wish(struct queue_world *w)
{
	cr_assert(!world_kicks_on(w));
	cr_assert(world_add(w, 1));
	cr_assert(!world_add(w, 1), "the device knows already");
	cr_assert(!world_add(w, 4));
	world_use(w, 6);
	cr_assert(!world_kicks_on(w));
	world_collect(w, 6);
	cr_assert(world_add(w, 5), "the event lies within the batch");
}

Test(virtq_events, event_idx__has_one_kick_for_one_wish)
{
	everywhere(one_kick_per_wish, true);
}

static void given_back(struct queue_world *w)
{
	struct virtq_chain chain;
	struct iovec iov[1];

	world_add(w, 1);
	cr_assert_eq(virtq_pop(&w->vq, &chain, iov, 1), 1);
	virtq_unpop(&w->vq, &chain);
	cr_assert(!world_kicks_on(w), "its owner has seen that one");
	cr_assert(!virtq_kick_due(&w->vq));
	cr_assert(virtq_has_work(&w->vq));
	cr_assert(world_add(w, 1), "this is what it waits for");
	cr_assert(virtq_kick_due(&w->vq));
	cr_assert(world_kicks_on(w));
	world_use(w, 2);
	cr_assert(!virtq_kick_due(&w->vq));
	cr_assert(!world_kicks_on(w));
	cr_assert(world_add(w, 1));
	virtq_kicks_off(&w->vq);
	cr_assert(!virtq_kick_due(&w->vq), "kicks are off");
}

Test(virtq_events, kicks_on__after_unpop_waits_for_the_next_chain)
{
	everywhere(given_back, false);
	everywhere(given_back, true);
}

/* ---- interrupts ---- */

static void interrupts_off_and_on(struct queue_world *w)
{
	driver_interrupts_off(&w->dq);
	world_add(w, 4);
	cr_assert(!world_use(w, 1));
	cr_assert(!world_use(w, 2));
	cr_assert(driver_interrupts_on(&w->dq), "these are there already");
	world_collect(w, 3);
	cr_assert(!driver_interrupts_on(&w->dq));
	cr_assert(world_use(w, 1));
}

Test(virtq_events, interrupts__come_when_wanted_only)
{
	everywhere(interrupts_off_and_on, false);
	everywhere(interrupts_off_and_on, true);
}

static void nothing_without_a_push(struct queue_world *w)
{
	struct virtq_chain chain;
	struct iovec iov[1];

	driver_interrupts_on(&w->dq);
	cr_assert(!world_flush(w));
	world_add(w, 1);
	cr_assert_eq(virtq_pop(&w->vq, &chain, iov, 1), 1);
	cr_assert(!world_flush(w));
	virtq_push(&w->vq, &chain, 0);
	cr_assert(world_flush(w));
	cr_assert(!world_flush(w), "told once");
}

Test(virtq_events, flush__interrupts_once_for_a_batch_and_never_for_nothing)
{
	everywhere(nothing_without_a_push, false);
	everywhere(nothing_without_a_push, true);
}

static void after_n(struct queue_world *w)
{
	for (uint16_t n = 1; n <= 7; n++) {
		driver_interrupts_after(&w->dq, n);
		world_add(w, 7);
		for (unsigned i = 1; i <= 7; i++)
			cr_assert_eq(world_use(w, 1), i == n, "%u of %u", i, n);
		world_collect(w, 7);
	}
}

Test(virtq_events, event_idx__interrupts_at_the_very_entry)
{
	everywhere(after_n, true);
}

static void after_n_in_batches(struct queue_world *w)
{
	for (uint16_t n = 1; n <= 7; n++)
		for (unsigned first = 1; first < 7; first++) {
			driver_interrupts_after(&w->dq, n);
			world_add(w, 7);
			cr_assert_eq(world_use(w, first), n <= first);
			cr_assert_eq(world_use(w, 7 - first), n > first);
			world_collect(w, 7);
		}
}

Test(virtq_events, event_idx__interrupts_for_the_batch_that_it_lies_in)
{
	everywhere(after_n_in_batches, true);
}

static void whole_ring(struct queue_world *w)
{
	uint16_t size = w->dq.setup.size;

	for (uint16_t n = 1; n <= size; n++) {
		driver_interrupts_after(&w->dq, n);
		world_add(w, size);
		cr_assert(world_use(w, size), "%u", n);
		world_collect(w, size);
	}
	driver_interrupts_off(&w->dq);
	world_add(w, size);
	cr_assert(!world_use(w, size));
	world_collect(w, size);
}

Test(virtq_events, event_idx__finds_its_entry_in_a_batch_of_the_whole_ring)
{
	everywhere(whole_ring, true);
}

/* ---- what is in the driver's area of a packed queue ---- */

static void driver_wants(struct queue_world *w, uint16_t off_wrap, uint16_t flags)
{
	struct vring_packed_desc_event *event = w->dq.driver;

	*event = (struct vring_packed_desc_event){.off_wrap = off_wrap, .flags = flags};
}

/* Uses one chain with that wish written down. */
static bool interrupts_with(bool event_idx, uint16_t off_wrap, uint16_t flags)
{
	struct driver_setup setup = {.size = 8, .packed = true, .event_idx = event_idx};
	struct queue_world w;
	bool ret;

	world_init(&w, &setup);
	driver_wants(&w, off_wrap, flags);
	world_add(&w, 1);
	ret = world_use(&w, 1);
	world_done(&w);
	return ret;
}

Test(virtq_events, packed__rather_interrupts_when_the_wish_makes_no_sense)
{
	cr_assert(interrupts_with(true, 0, 3), "a reserved value");
	cr_assert(interrupts_with(false, 5, VRING_PACKED_EVENT_FLAG_DESC), "not negotiated");
	cr_assert(interrupts_with(true, 0x8000, VRING_PACKED_EVENT_FLAG_DESC));
	cr_assert(!interrupts_with(true, 0, VRING_PACKED_EVENT_FLAG_DESC), "the other round");
	cr_assert(!interrupts_with(true, 0x8001, VRING_PACKED_EVENT_FLAG_DESC));
	cr_assert(!interrupts_with(true, 0xffff, VRING_PACKED_EVENT_FLAG_DESC), "past the ring");
	cr_assert(!interrupts_with(true, 0, VRING_PACKED_EVENT_FLAG_DISABLE));
}
