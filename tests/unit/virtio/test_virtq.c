/* SPDX-License-Identifier: Apache-2.0 */
/* What starts, what doesn't; one chain there and back. */
#include "queue_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/virtq_abi.h"

static_assert(VIRTQ_DESC_F_NEXT == VRING_DESC_F_NEXT && VIRTQ_DESC_F_WRITE == VRING_DESC_F_WRITE &&
		      VIRTQ_DESC_F_INDIRECT == VRING_DESC_F_INDIRECT &&
		      VIRTQ_DESC_F_AVAIL == 1 << VRING_PACKED_DESC_F_AVAIL &&
		      VIRTQ_DESC_F_USED == 1 << VRING_PACKED_DESC_F_USED,
	      "linux/virtio_ring.h");
static_assert((int)VIRTQ_F_INDIRECT_DESC == VIRTIO_RING_F_INDIRECT_DESC &&
		      (int)VIRTQ_F_EVENT_IDX == VIRTIO_RING_F_EVENT_IDX &&
		      (int)VIRTQ_F_RING_PACKED == VIRTIO_F_RING_PACKED &&
		      (int)VIRTQ_F_IN_ORDER == VIRTIO_F_IN_ORDER,
	      "linux/virtio_config.h");

/* Three segments to read, two to write, in RAM on both sides of the hole. */
static void there_and_back(struct queue_world *w, bool indirect)
{
	uint64_t high = guest_alloc_high(&w->mem, 4096, 4096);
	struct driver_seg segs[] = {{w->buf, 16},
				    {high, 512},
				    {w->buf + 100, 1},
				    {high + 600, 1000},
				    {w->buf + 4095, 1}};
	struct iovec iov[5];
	struct virtq_chain chain;
	struct driver_used used;

	cr_assert_eq(virtq_pop(&w->vq, &chain, iov, 5), 0);
	cr_assert(!virtq_kicks_on(&w->vq));
	cr_assert(!driver_interrupts_on(&w->dq));
	cr_assert_eq(indirect ? driver_add_indirect(&w->dq, segs, 3, 2, w)
			      : driver_add(&w->dq, segs, 3, 2, w),
		     0);
	cr_assert_eq(virtq_pop(&w->vq, &chain, iov, 5), 0, "before it is published");
	cr_assert(driver_publish(&w->dq));
	cr_assert_eq(virtq_pop(&w->vq, &chain, iov, 5), 1);
	cr_assert_eq(chain.n_out, 3);
	cr_assert_eq(chain.n_in, 2);
	cr_assert_eq(chain.out_bytes, 529);
	cr_assert_eq(chain.in_bytes, 1001);
	cr_assert_eq(chain.iov, (struct iovec *)iov);
	for (unsigned i = 0; i < 5; i++) {
		cr_assert_eq(iov[i].iov_base, guest_ptr(&w->mem, segs[i].gpa, segs[i].len));
		cr_assert_eq(iov[i].iov_len, segs[i].len);
	}
	cr_assert_eq(virtq_pop(&w->vq, &chain, iov, 5), 0);
	cr_assert(!driver_has_used(&w->dq));
	virtq_push(&w->vq, &chain, 777);
	cr_assert(!driver_has_used(&w->dq), "before the flush");
	cr_assert(virtq_flush(&w->vq), "interrupts are on");
	cr_assert(driver_collect(&w->dq, &used));
	cr_assert_eq(used.len, 777);
	cr_assert_eq(used.cookie, w);
	cr_assert(!driver_collect(&w->dq, &used));
	cr_assert(!virtq_flush(&w->vq), "nothing was pushed");
}

Test(virtq, one_chain__goes_there_and_back_in_every_combination)
{
	for (unsigned i = 0; i < WORLD_COMBINATIONS; i++) {
		struct driver_setup setup = world_setup(i, 8);
		struct queue_world w;

		world_init(&w, &setup);
		there_and_back(&w, false);
		if (setup.indirect)
			there_and_back(&w, true);
		world_done(&w);
	}
}

/* ---- starting ---- */

static int start_with(struct queue_world *w, const struct virtq_config *config)
{
	return virtq_start(&w->vq, config, driver_features(&w->dq), &w->mem.map);
}

static void sizes_refused(bool packed, const uint16_t *sizes, unsigned n)
{
	struct driver_setup setup = {.size = 8, .packed = packed};
	struct queue_world w;

	world_init(&w, &setup);
	for (unsigned i = 0; i < n; i++) {
		struct virtq_config config = world_config(&w);

		config.size = sizes[i];
		cr_assert_eq(start_with(&w, &config), -EINVAL, "%u", sizes[i]);
	}
	world_done(&w);
}

Test(virtq, start__refuses_sizes_that_can_not_be)
{
	static const uint16_t split[] = {0, 3, 6, 100, 32767, 32769, 40000, 65535};
	static const uint16_t packed[] = {0, 32769, 40000, 65535};

	sizes_refused(false, split, ARRAY_SIZE(split));
	sizes_refused(true, packed, ARRAY_SIZE(packed));
}

/* The three addresses of a configuration, by number. */
static uint64_t *area(struct virtq_config *config, unsigned i)
{
	return i == 0 ? &config->desc : i == 1 ? &config->driver : &config->device;
}

static void areas_refused(bool packed)
{
	static const unsigned align[2][3] = {{16, 2, 4}, {16, 4, 4}};
	static const uint64_t outside[] = {GUEST_LOW_END, GUEST_HIGH_START - 16, GUEST_HIGH_END,
					   UINT64_MAX - 15, UINT64_C(1) << 63};
	struct driver_setup setup = {.size = 8, .packed = packed};
	struct virtq_config config;
	struct queue_world w;

	world_init(&w, &setup);
	for (unsigned i = 0; i < 3; i++) {
		config = world_config(&w);
		*area(&config, i) += align[packed][i] / 2;
		cr_assert_eq(start_with(&w, &config), -EINVAL, "misaligned area %u", i);
		config = world_config(&w);
		*area(&config, i) += align[packed][i];
		cr_assert_eq(start_with(&w, &config), 0, "aligned area %u", i);
		for (unsigned j = 0; j < ARRAY_SIZE(outside); j++) {
			config = world_config(&w);
			*area(&config, i) = outside[j];
			cr_assert_eq(start_with(&w, &config), -EFAULT, "area %u, place %u", i, j);
		}
	}
	world_done(&w);
}

Test(virtq, start__refuses_misaligned_areas_and_those_outside_of_ram)
{
	areas_refused(false);
	areas_refused(true);
}

/* Area i in the last bytes before the hole, and one step into it. */
static void fits_just(bool packed, unsigned i, uint64_t bytes, uint64_t step)
{
	struct driver_setup setup = {.size = 8, .packed = packed};
	struct virtq_config config;
	struct queue_world w;

	world_init(&w, &setup);
	config = world_config(&w);
	*area(&config, i) = GUEST_LOW_END - bytes;
	cr_assert_eq(start_with(&w, &config), 0);
	*area(&config, i) += step;
	cr_assert_eq(start_with(&w, &config), -EFAULT);
	world_done(&w);
}

Test(virtq, start__takes_areas_that_end_where_ram_does)
{
	fits_just(false, 0, 128, 16);
	fits_just(false, 1, 6 + 16, 2);
	fits_just(false, 2, 8 + 64, 4); /* its 70 bytes, aligned to 4 */
	fits_just(true, 0, 128, 16);
	fits_just(true, 1, 4, 4);
	fits_just(true, 2, 4, 4);
}

/* ---- every size ---- */

static void fill_and_empty(struct queue_world *w, uint16_t size)
{
	static struct virtq_chain chains[VIRTQ_MAX_SIZE];
	struct driver_seg seg = {w->buf, 64};
	struct driver_used used;
	struct iovec iov[1];

	for (uintptr_t i = 0; i < size; i++)
		cr_assert_eq(driver_add(&w->dq, &seg, 0, 1, (void *)i), 0);
	cr_assert_eq(driver_add(&w->dq, &seg, 0, 1, NULL), -ENOSPC);
	(void)driver_publish(&w->dq);
	for (unsigned i = 0; i < size; i++)
		cr_assert_eq(virtq_pop(&w->vq, &chains[i], iov, 1), 1);
	cr_assert_eq(virtq_pop(&w->vq, &chains[0], iov, 1), 0, "full is not empty");
	for (unsigned i = 0; i < size; i++)
		virtq_push(&w->vq, &chains[i], i % 65);
	cr_assert(!driver_has_used(&w->dq));
	(void)world_flush(w);
	for (uintptr_t i = 0; i < size; i++) {
		cr_assert(driver_collect(&w->dq, &used));
		cr_assert_eq(used.cookie, (void *)i);
		cr_assert_eq(used.len, i % 65);
	}
	cr_assert(!driver_has_used(&w->dq), "empty is not full");
}

static void full_thrice(struct driver_setup setup)
{
	struct queue_world w;

	world_init(&w, &setup);
	for (int i = 0; i < 3; i++)
		fill_and_empty(&w, setup.size);
	world_done(&w);
}

Test(virtq, split__works_full_and_empty_at_every_size)
{
	for (unsigned size = 1; size <= VIRTQ_MAX_SIZE; size *= 2) {
		full_thrice((struct driver_setup){.size = (uint16_t)size});
		full_thrice((struct driver_setup){.size = (uint16_t)size, .event_idx = true});
	}
}

Test(virtq, packed__works_full_and_empty_at_every_kind_of_size)
{
	static const uint16_t sizes[] = {1,  2,	  3,   4,   5,	  6,	7,    8,     9,	    10,
					 17, 100, 255, 257, 1000, 1023, 4095, 32766, 32767, 32768};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		full_thrice((struct driver_setup){.size = sizes[i], .packed = true});
		full_thrice(
			(struct driver_setup){.size = sizes[i], .packed = true, .event_idx = true});
	}
}
