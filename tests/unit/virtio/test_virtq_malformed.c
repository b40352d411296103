/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hostile driver writes into its rings, and what an unusual but good one does. Each queue
 * has a good chain in flight before: it comes home all the same.
 */
#include "queue_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

enum { SIZE = 8, NEXT = VRING_DESC_F_NEXT, WRITE = VRING_DESC_F_WRITE };
enum { INDIRECT = VRING_DESC_F_INDIRECT };

#define RAM   MIB(512) /* nothing else is there */
#define TABLE MIB(600)

struct bad {
	const char *name;
	const char *why; /* part of virtq's word for it, where another reason would do as well */
	int error;
	struct driver_desc descs[SIZE + 1]; /* up to the first of all zeros */
	/* 0: descs lie in the ring; else in a table to which one descriptor points. */
	uint32_t table_len;
	uint64_t table;	      /* 0: TABLE */
	uint16_t table_flags; /* of the descriptor that points there, besides INDIRECT */
	uint16_t head;	      /* split */
	uint8_t max;	      /* 0: plenty */
};

static unsigned n_descs(const struct bad *bad)
{
	static const struct driver_desc none;
	unsigned n = 0;

	while (n <= SIZE && memcmp(&bad->descs[n], &none, sizeof(none)) != 0)
		n++;
	return n;
}

static void offer(struct queue_world *w, const struct bad *bad)
{
	struct driver_desc to_table = {.addr = bad->table ? bad->table : TABLE,
				       .len = bad->table_len,
				       .flags = bad->table_flags | INDIRECT,
				       .more = 1};

	if (!bad->table_len && !bad->table) {
		driver_add_raw(&w->dq, bad->descs, n_descs(bad), bad->head);
		return;
	}
	driver_write_table(&w->dq, TABLE, bad->descs, n_descs(bad));
	driver_add_raw(&w->dq, &to_table, 1, 0);
}

static int pop(struct queue_world *w, struct virtq_chain *chain, unsigned max)
{
	static struct iovec iov[256];

	return virtq_pop(&w->vq, chain, iov, max ? max : 256);
}

/* It's broken and stays so, whatever the driver does; what was taken before is still finished. */
static void assert_stays_broken(struct queue_world *w, const struct virtq_chain *in_flight)
{
	struct virtq_chain chain;
	struct driver_used used;

	cr_assert(w->vq.broken);
	cr_assert_not_null(w->vq.why);
	memset(w->dq.desc, 0, 16 * SIZE);
	cr_assert_eq(pop(w, &chain, 0), -EINVAL);
	cr_assert(!virtq_has_work(&w->vq));
	cr_assert(!world_kicks_on(w));
	cr_assert(!virtq_kick_due(&w->vq));
	virtq_push(&w->vq, in_flight, 5);
	world_flush(w);
	cr_assert(driver_collect(&w->dq, &used));
	cr_assert_eq(used.len, 5);
}

static void good_chain_in_flight(struct queue_world *w, struct virtq_chain *ret)
{
	world_add(w, 1);
	cr_assert_eq(pop(w, ret, 0), 1);
}

static void breaks(const struct driver_setup *setup, const struct bad *bad)
{
	struct virtq_chain in_flight, chain;
	struct virtq_position at;
	struct queue_world w;
	int r;

	world_init(&w, setup);
	good_chain_in_flight(&w, &in_flight);
	at = w.vq.at;
	offer(&w, bad);
	cr_assert(virtq_has_work(&w.vq));
	r = pop(&w, &chain, bad->max);
	cr_assert_eq(r, bad->error, "%s: %s: %d", world_name(setup), bad->name, r);
	if (bad->why)
		cr_assert_not_null(strstr(w.vq.why, bad->why), "%s: %s", bad->name, w.vq.why);
	cr_assert_eq(memcmp(&at, &w.vq.at, sizeof(at)), 0);
	assert_stays_broken(&w, &in_flight);
	world_done(&w);
}

static const struct driver_setup split = {.size = SIZE, .indirect = true},
				 packed = {.size = SIZE, .packed = true, .indirect = true};

/* ---- in both formats ---- */

static const struct bad bad_segments[] = {
	{.name = "length 0", .error = -EINVAL, .descs = {{RAM, 0, 0, 1}}},
	{.name = "length 0, writable", .error = -EINVAL, .descs = {{RAM, 0, WRITE, 1}}},
	{.name = "length 0 at the second",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, 1}, {RAM, 0, 0, 0}}},
	{.name = "readable after writable",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, WRITE | NEXT, 1}, {RAM, 1, 0, 0}}},
	{.name = "in the PCI hole", .error = -EFAULT, .descs = {{GUEST_LOW_END, 1, 0, 0}}},
	{.name = "in the PCI hole, writable",
	 .error = -EFAULT,
	 .descs = {{GUEST_LOW_END + MIB(256), 4096, WRITE, 0}}},
	{.name = "over the end of low RAM",
	 .error = -EFAULT,
	 .descs = {{GUEST_LOW_END - 1, 2, 0, 0}}},
	{.name = "over the whole hole",
	 .error = -EFAULT,
	 .descs = {{GUEST_LOW_END - 1, 0x40000002, 0, 0}}},
	{.name = "into high RAM from below",
	 .error = -EFAULT,
	 .descs = {{GUEST_HIGH_START - 1, 2, 0, 0}}},
	{.name = "over the end of high RAM",
	 .error = -EFAULT,
	 .descs = {{GUEST_HIGH_END - 4095, 4096, 0, 0}}},
	{.name = "past all RAM", .error = -EFAULT, .descs = {{GUEST_HIGH_END, 1, 0, 0}}},
	{.name = "bad at the second",
	 .error = -EFAULT,
	 .descs = {{RAM, 1, NEXT, 1}, {GUEST_LOW_END, 1, WRITE, 0}}},
	{.name = "wrapping 2^64", .error = -EFAULT, .descs = {{UINT64_MAX, 2, 0, 0}}},
	{.name = "ending at 2^64",
	 .error = -EFAULT,
	 .descs = {{UINT64_MAX - 0xfff, 0x1000, WRITE, 0}}},
	{.name = "wrapping into RAM",
	 .error = -EFAULT,
	 .descs = {{UINT64_MAX - 0xfff, 0x3000, 0, 0}}},
	{.name = "an address with the highest bit",
	 .error = -EFAULT,
	 .descs = {{(UINT64_C(1) << 63) + RAM, 1, 0, 0}}},
	{.name = "the longest there is",
	 .error = -EFAULT,
	 .descs = {{GUEST_HIGH_START, UINT32_MAX, 0, 0}}},
	{.name = "one more than there is room for",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, 1}, {RAM, 1, NEXT, 2}, {RAM, 1, WRITE, 0}},
	 .max = 2},
};

static const struct bad bad_tables[] = {
	{.name = "with a next one",
	 .why = "with a next one",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, 0, 0}},
	 .table_len = 16,
	 .table_flags = NEXT},
	{.name = "length 0", .error = -EINVAL, .descs = {{RAM, 1, 0, 0}}, .table = TABLE},
	{.name = "length 15",
	 .why = "impossible length",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, 0, 0}},
	 .table_len = 15},
	{.name = "length 17",
	 .why = "impossible length",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, 0, 0}},
	 .table_len = 17},
	{.name = "length 2^32 - 1",
	 .why = "impossible length",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, 0, 0}},
	 .table_len = UINT32_MAX},
	{.name = "in the hole", .error = -EFAULT, .table = GUEST_LOW_END, .table_len = 16},
	{.name = "half in the hole",
	 .error = -EFAULT,
	 .table = GUEST_LOW_END - 16,
	 .table_len = 32},
	{.name = "wrapping", .error = -EFAULT, .table = UINT64_MAX - 15, .table_len = 32},
	{.name = "longer than RAM", .error = -EFAULT, .table_len = 0xfffffff0},
	{.name = "in a table",
	 .why = "a table in",
	 .error = -EINVAL,
	 .descs = {{TABLE, 16, INDIRECT, 0}},
	 .table_len = 16},
	{.name = "second in a table",
	 .why = "a table in",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, 1}, {TABLE, 16, INDIRECT, 0}},
	 .table_len = 32},
	{.name = "a bad segment in it",
	 .error = -EFAULT,
	 .descs = {{RAM, 1, NEXT, 1}, {GUEST_LOW_END, 16, 0, 0}},
	 .table_len = 32},
	{.name = "length 0 in it",
	 .why = "length 0",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, 1}, {RAM, 0, 0, 0}},
	 .table_len = 32},
	{.name = "readable after writable in it",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, WRITE | NEXT, 1}, {RAM, 1, 0, 0}},
	 .table_len = 32},
	{.name = "one more than the queue has entries",
	 .why = "too long",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, 1},
		   {RAM, 1, NEXT, 2},
		   {RAM, 1, NEXT, 3},
		   {RAM, 1, NEXT, 4},
		   {RAM, 1, NEXT, 5},
		   {RAM, 1, NEXT, 6},
		   {RAM, 1, NEXT, 7},
		   {RAM, 1, NEXT, 8},
		   {RAM, 1, WRITE, 0}},
	 .table_len = 16 * 9},
	{.name = "one more than there is room for",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, 1}, {RAM, 1, 0, 0}},
	 .table_len = 32,
	 .max = 1},
};

Test(virtq_malformed, segments__break_the_queue)
{
	for (unsigned i = 0; i < ARRAY_SIZE(bad_segments); i++) {
		breaks(&split, &bad_segments[i]);
		breaks(&packed, &bad_segments[i]);
	}
}

Test(virtq_malformed, indirect_tables__break_the_queue)
{
	for (unsigned i = 0; i < ARRAY_SIZE(bad_tables); i++) {
		breaks(&split, &bad_tables[i]);
		breaks(&packed, &bad_tables[i]);
	}
}

Test(virtq_malformed, indirect__breaks_the_queue_where_it_was_not_negotiated)
{
	static const struct bad fine = {.name = "not negotiated",
					.why = "not negotiated",
					.error = -EINVAL,
					.descs = {{RAM, 1, 0, 0}},
					.table_len = 16};

	breaks(&(struct driver_setup){.size = SIZE}, &fine);
	breaks(&(struct driver_setup){.size = SIZE, .packed = true}, &fine);
}

/* ---- split ---- */

static const struct bad bad_split[] = {
	{.name = "head past the table",
	 .why = "head past",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, 0, 0}},
	 .head = SIZE},
	{.name = "head far away",
	 .why = "head past",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, 0, 0}},
	 .head = 65535},
	{.name = "next past the table",
	 .why = "next descriptor past",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, SIZE}}},
	{.name = "next far away",
	 .why = "next descriptor past",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, 65535}}},
	{.name = "its own next", .why = "loop", .error = -EINVAL, .descs = {{RAM, 1, NEXT, 0}}},
	{.name = "a loop",
	 .why = "loop",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, 1}, {RAM, 1, NEXT, 2}, {RAM, 1, NEXT, 1}}},
	{.name = "a loop of all",
	 .why = "loop",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, 1},
		   {RAM, 1, NEXT, 2},
		   {RAM, 1, NEXT, 3},
		   {RAM, 1, NEXT, 4},
		   {RAM, 1, NEXT, 5},
		   {RAM, 1, NEXT, 6},
		   {RAM, 1, NEXT, 7},
		   {RAM, 1, NEXT, 0}}},
	{.name = "a loop in a table",
	 .why = "loop",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, 1}, {RAM, 1, NEXT, 0}},
	 .table_len = 32},
	{.name = "next past the indirect table",
	 .why = "next descriptor past",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, 1}},
	 .table_len = 16},
	{.name = "next past the indirect table, in the ring's size",
	 .error = -EINVAL,
	 .descs = {{RAM, 1, NEXT, 7}, {RAM, 1, 0, 0}},
	 .table_len = 32},
};

Test(virtq_malformed, split__lists_break_the_queue)
{
	for (unsigned i = 0; i < ARRAY_SIZE(bad_split); i++)
		breaks(&split, &bad_split[i]);
}

/* avail.idx goes to `idx` with one chain in flight and two available. */
static void jump(uint16_t start, int by, bool look_first)
{
	struct virtq_position at = {.avail = start, .used = start};
	struct virtq_chain in_flight, chain;
	struct queue_world w;
	bool fine = by >= 0 && by <= SIZE - 3;

	world_init(&w, &split);
	w.dq.next_avail = w.dq.next_used = w.dq.published = start;
	cr_assert_eq(virtq_seek(&w.vq, &at), 0);
	good_chain_in_flight(&w, &in_flight);
	world_add(&w, 2);
	driver_set_avail_idx(&w.dq, (uint16_t)(start + 3 + by));
	if (look_first) /* which must not make pop() believe it */
		cr_assert(virtq_has_work(&w.vq));
	cr_assert_eq(pop(&w, &chain, 0), fine ? 1 : -EINVAL, "by %d", by);
	if (!fine)
		assert_stays_broken(&w, &in_flight);
	world_done(&w);
}

Test(virtq_malformed, split__avail_index_jumping_breaks_the_queue)
{
	static const int by[] = {0,    SIZE - 3, SIZE - 2, SIZE, SIZE + 1,
				 1000, 32768,	 65000,	   -4,	 -10};

	for (unsigned i = 0; i < ARRAY_SIZE(by); i++) {
		jump(0, by[i], false);
		jump(65533, by[i], false);
		jump(0, by[i], true);
	}
}

/* ---- packed ---- */

Test(virtq_malformed, packed__an_indirect_descriptor_in_a_list_breaks_the_queue)
{
	static const struct bad bad[] = {
		{.name = "second",
		 .why = "an indirect descriptor in a list",
		 .error = -EINVAL,
		 .descs = {{RAM, 1, NEXT, 1}, {TABLE, 16, INDIRECT, 1}}},
		{.name = "third",
		 .why = "an indirect descriptor in a list",
		 .error = -EINVAL,
		 .descs = {{RAM, 1, NEXT, 1}, {RAM, 1, NEXT, 1}, {TABLE, 16, INDIRECT, 1}}},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		breaks(&packed, &bad[i]);
}

Test(virtq_malformed, packed__a_list_into_what_is_in_flight_breaks_the_queue)
{
	static const struct bad endless = {.name = "endless",
					   .why = "longer than what is free",
					   .error = -EINVAL,
					   .descs = {{RAM, 1, NEXT, 1},
						     {RAM, 1, NEXT, 1},
						     {RAM, 1, NEXT, 1},
						     {RAM, 1, NEXT, 1},
						     {RAM, 1, NEXT, 1},
						     {RAM, 1, NEXT, 1},
						     {RAM, 1, NEXT, 1}}};

	breaks(&packed, &endless);
}

Test(virtq_malformed, packed__an_endless_list_over_the_whole_ring_breaks_the_queue)
{
	struct driver_desc descs[SIZE];
	struct virtq_chain chain;
	struct queue_world w;

	for (unsigned i = 0; i < SIZE; i++)
		descs[i] = (struct driver_desc){RAM, 1, NEXT, 0};
	world_init(&w, &packed);
	driver_add_raw(&w.dq, descs, SIZE, 0);
	cr_assert_eq(pop(&w, &chain, 0), -EINVAL);
	cr_assert_eq(pop(&w, &chain, 0), -EINVAL);
	world_done(&w);
}

Test(virtq_malformed, packed__more_chains_than_slots_break_the_queue)
{
	struct driver_desc one = {RAM, 1, 0, 3};
	struct virtq_chain chain;
	struct queue_world w;

	world_init(&w, &packed);
	for (unsigned i = 0; i < SIZE; i++) {
		driver_add_raw(&w.dq, &one, 1, 0);
		cr_assert_eq(pop(&w, &chain, 0), 1);
		cr_assert_eq(chain.id, 3, "the same id again and again: its owner may not mind");
	}
	driver_add_raw(&w.dq, &one, 1, 0);
	cr_assert_eq(pop(&w, &chain, 0), -EINVAL);
	world_done(&w);
}

Test(virtq_malformed, packed__a_slot_marked_available_and_used_is_neither)
{
	/* 2.8.1: available is where the two marks differ. */
	struct driver_desc both = {RAM, 1, 1 << VRING_PACKED_DESC_F_USED, 0};
	struct virtq_chain chain;
	struct queue_world w;

	world_init(&w, &packed);
	driver_add_raw(&w.dq, &both, 1, 0);
	cr_assert(!virtq_has_work(&w.vq));
	cr_assert_eq(pop(&w, &chain, 0), 0);
	world_done(&w);
}

/* ---- unusual, but good ---- */

static void pops(const struct driver_setup *setup, const struct bad *good, unsigned n_out,
		 unsigned n_in)
{
	struct virtq_chain in_flight, chain;
	struct queue_world w;

	world_init(&w, setup);
	good_chain_in_flight(&w, &in_flight);
	offer(&w, good);
	cr_assert_eq(pop(&w, &chain, good->max), 1, "%s: %s: %s", world_name(setup), good->name,
		     w.vq.why);
	cr_assert_eq(chain.n_out, n_out, "%s", good->name);
	cr_assert_eq(chain.n_in, n_in, "%s", good->name);
	world_done(&w);
}

Test(virtq_malformed, unusual__but_good_chains_are_taken)
{
	static const struct bad good[] = {
		{.name = "up to the end of low RAM", .descs = {{GUEST_LOW_END - 1, 1, 0, 1}}},
		{.name = "up to the end of high RAM",
		 .descs = {{GUEST_HIGH_END - 4096, 4096, 0, 1}}},
		{.name = "all of low RAM", .descs = {{0, (uint32_t)GUEST_LOW_END, 0, 1}}},
		{.name = "just what there is room for", .descs = {{RAM, 1, 0, 1}}, .max = 1},
		{.name = "a table called writable (2.7.5.3.2)",
		 .descs = {{RAM, 1, 0, 1}},
		 .table_len = 16,
		 .table_flags = WRITE},
		{.name = "a table with just what there is room for",
		 .descs = {{RAM, 1, 0, 1}},
		 .table_len = 16,
		 .max = 1},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		pops(&split, &good[i], 1, 0);
		pops(&packed, &good[i], 1, 0);
	}
}

Test(virtq_malformed, a_table_of_the_queue_s_size__is_taken)
{
	static const struct bad good = {.name = "as many as the queue has entries",
					.descs = {{RAM, 1, NEXT, 1},
						  {RAM, 1, NEXT, 2},
						  {RAM, 1, NEXT, 3},
						  {RAM, 1, NEXT, 4},
						  {RAM, 1, NEXT, 5},
						  {RAM, 1, NEXT, 6},
						  {RAM, 1, NEXT, 7},
						  {RAM, 1, WRITE, 0}},
					.table_len = 16 * 8};

	pops(&split, &good, 7, 1);
	pops(&packed, &good, 7, 1);
}

Test(virtq_malformed, split__a_list_may_end_in_a_table)
{
	/* 2.7.5.3.2; the table is elsewhere, at an address that nothing aligns. */
	static const struct bad good = {
		.name = "a list and a table",
		.descs = {{RAM, 1, NEXT, 2}, {0, 0, 0, 1}, {TABLE + 2, 32, INDIRECT, 0}}};
	static const struct driver_desc in_table[] = {{RAM, 1, NEXT, 1}, {RAM, 1, WRITE, 0}};
	struct virtq_chain chain;
	struct queue_world w;

	world_init(&w, &split);
	driver_write_table(&w.dq, TABLE + 2, in_table, 2);
	offer(&w, &good);
	cr_assert_eq(pop(&w, &chain, 3), 1, "%s", w.vq.why);
	cr_assert_eq(chain.n_out, 2);
	cr_assert_eq(chain.n_in, 1);
	world_done(&w);
}

Test(virtq_malformed, split__a_table_may_be_larger_than_its_chain)
{
	static const struct bad good = {.name = "most of it unused",
					.descs = {{RAM, 1, NEXT, 5},
						  {RAM, 0, 9, 9},
						  {RAM, 0, 9, 9},
						  {RAM, 0, 9, 9},
						  {RAM, 0, 9, 9},
						  {RAM, 1, 0, 0}},
					.table_len = 16 * 1000};

	pops(&split, &good, 2, 0);
}

Test(virtq_malformed, packed__a_table_has_no_flags_but_write)
{
	/* 2.8.8: the others are ignored, and every entry counts. */
	static const struct bad good = {
		.name = "noise in flags",
		.descs = {{RAM, 1, NEXT, 9}, {RAM, 1, 0x8080, 9}, {RAM, 1, WRITE | 0xff78, 9}},
		.table_len = 48};

	pops(&packed, &good, 2, 1);
}
