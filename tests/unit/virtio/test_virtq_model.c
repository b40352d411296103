/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random walks of a driver and a device, seeded, compared with a model that knows only what both
 * have agreed: chains in the order in which they were published, used ones in the order in which
 * they were pushed, and wishes to be told as places in an endless row, tried one by one.
 */
#include "queue_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

enum { MAX_CHAINS = 64, MAX_SEGS = 6 };

struct expected {
	unsigned n_out, n;
	struct driver_seg segs[MAX_SEGS];
	unsigned slots;
	struct virtq_chain popped;
	uint32_t written;
};

/* A queue of numbers of `struct expected`. */
struct row {
	unsigned first, n, of[MAX_CHAINS];
};

/* Someone's wish to be told, and whether it is a place in the row or any change. */
struct wish {
	bool always, never;
	uint64_t place;
};

struct model {
	struct queue_world w;
	uint64_t random;
	struct expected chains[MAX_CHAINS];
	bool taken[MAX_CHAINS];
	struct row added, available, given_back, pushed, used;
	unsigned in_flight[MAX_CHAINS], n_in_flight;
	/* Ends of what was published and shown, in entries (packed: slots) since the start. */
	uint64_t published, unpublished, shown, unshown, seen;
	struct wish kick, interrupt;
	uint64_t steps, kicks, interrupts; /* so that a test that tests nothing is noticed */
};

static unsigned pick(struct model *m, unsigned below)
{
	m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(m->random >> 33) % below;
}

static void put_last(struct row *row, unsigned number)
{
	cr_assert_lt(row->n, MAX_CHAINS);
	row->of[(row->first + row->n++) % MAX_CHAINS] = number;
}

static void put_first(struct row *row, unsigned number)
{
	row->first = (row->first + MAX_CHAINS - 1) % MAX_CHAINS;
	row->n++;
	row->of[row->first] = number;
}

static unsigned take_first(struct row *row)
{
	unsigned number = row->of[row->first];

	cr_assert(row->n);
	row->first = (row->first + 1) % MAX_CHAINS;
	row->n--;
	return number;
}

/* Does a step from `from` to `to` pass the wish? All that a ring can say is a place modulo its
 * period, so that is how far apart equal places are. */
static bool passes(const struct model *m, const struct wish *wish, uint64_t from, uint64_t to)
{
	uint64_t period = m->w.dq.setup.packed ? 2 * (uint64_t)m->w.dq.setup.size : 65536;

	if (from == to || wish->never)
		return false;
	if (wish->always)
		return true;
	for (uint64_t at = from; at < to; at++)
		if (at % period == wish->place % period)
			return true;
	return false;
}

/* ---- the driver's steps ---- */

static void add(struct model *m)
{
	bool indirect = m->w.dq.setup.indirect && pick(m, 2);
	unsigned most = m->w.dq.setup.size < MAX_SEGS ? m->w.dq.setup.size : MAX_SEGS, number = 0;
	struct expected *e;
	int err;

	while (number < MAX_CHAINS && m->taken[number])
		number++;
	if (number == MAX_CHAINS)
		return;
	e = &m->chains[number];
	e->n = 1 + pick(m, most);
	e->n_out = pick(m, e->n + 1);
	for (unsigned i = 0; i < e->n; i++)
		e->segs[i] = (struct driver_seg){pick(m, 2) ? m->w.buf + pick(m, 4000)
							    : GUEST_HIGH_END - 1 - pick(m, 9999),
						 1};
	err = (indirect ? driver_add_indirect : driver_add)(
		&m->w.dq, e->segs, e->n_out, e->n - e->n_out, (void *)(uintptr_t)number);
	if (err) {
		cr_assert_eq(err, -ENOSPC);
		return;
	}
	m->taken[number] = true;
	e->slots = indirect || !m->w.dq.setup.packed ? 1 : e->n;
	m->unpublished += e->slots;
	put_last(&m->added, number);
}

static void publish(struct model *m)
{
	bool kick = driver_publish(&m->w.dq);

	cr_assert_eq(kick, passes(m, &m->kick, m->published, m->unpublished));
	m->kicks += kick;
	m->published = m->unpublished;
	while (m->added.n)
		put_last(&m->available, take_first(&m->added));
}

static void collect(struct model *m)
{
	struct driver_used used;
	unsigned number;

	if (!driver_collect(&m->w.dq, &used)) {
		cr_assert_eq(m->used.n, 0);
		return;
	}
	number = take_first(&m->used);
	cr_assert_eq(used.cookie, (void *)(uintptr_t)number);
	cr_assert_eq(used.len, m->chains[number].written);
	m->taken[number] = false;
	m->seen += m->chains[number].slots;
}

static void change_interrupts(struct model *m)
{
	bool event_idx = m->w.dq.setup.event_idx, packed = m->w.dq.setup.packed, more;
	uint16_t n;

	if (pick(m, 4) == 0) {
		driver_interrupts_off(&m->w.dq);
		m->interrupt =
			(struct wish){.never = packed || !event_idx, .place = m->seen + 65535};
		return;
	}
	n = (uint16_t)(1 + pick(m, m->w.dq.setup.size));
	more = driver_interrupts_after(&m->w.dq, n);
	cr_assert_eq(more, m->used.n != 0);
	m->interrupt = (struct wish){.always = !event_idx, .place = m->seen + n - 1};
}

/* ---- the device's steps ---- */

static void assert_as_added(struct model *m, const struct virtq_chain *chain, unsigned number)
{
	const struct expected *e = &m->chains[number];

	cr_assert_eq(chain->n_out, e->n_out);
	cr_assert_eq((unsigned)chain->n_out + chain->n_in, e->n);
	cr_assert_eq(chain->slots, e->slots);
	cr_assert_eq(chain->out_bytes, e->n_out);
	cr_assert_eq(chain->in_bytes, e->n - e->n_out);
	for (unsigned i = 0; i < e->n; i++) {
		cr_assert_eq(chain->iov[i].iov_base, guest_ptr(&m->w.mem, e->segs[i].gpa, 1));
		cr_assert_eq(chain->iov[i].iov_len, 1);
	}
}

static bool pop(struct model *m)
{
	struct row *from = m->given_back.n ? &m->given_back : &m->available;
	struct virtq_chain chain;
	struct iovec iov[MAX_SEGS];
	unsigned number;
	int r = virtq_pop(&m->w.vq, &chain, iov, MAX_SEGS);

	cr_assert_eq(r, from->n != 0, "%d %s", r, m->w.vq.why);
	if (r == 0)
		return false;
	number = take_first(from);
	assert_as_added(m, &chain, number);
	m->chains[number].popped = chain;
	m->in_flight[m->n_in_flight++] = number;
	return true;
}

static void unpop(struct model *m)
{
	unsigned number;

	if (!pop(m))
		return;
	number = m->in_flight[--m->n_in_flight];
	virtq_unpop(&m->w.vq, &m->chains[number].popped);
	put_first(&m->given_back, number);
}

static void push(struct model *m)
{
	unsigned i, number;
	struct expected *e;

	if (m->n_in_flight == 0)
		return;
	i = m->w.dq.setup.in_order ? 0 : pick(m, m->n_in_flight);
	number = m->in_flight[i];
	m->n_in_flight--;
	memmove(&m->in_flight[i], &m->in_flight[i + 1], (m->n_in_flight - i) * sizeof(unsigned));
	e = &m->chains[number];
	e->written = pick(m, e->n - e->n_out + 1);
	virtq_push(&m->w.vq, &e->popped, e->written);
	m->unshown += e->slots;
	put_last(&m->pushed, number);
}

static void flush(struct model *m)
{
	bool interrupt = virtq_flush(&m->w.vq);

	cr_assert_eq(interrupt, passes(m, &m->interrupt, m->shown, m->unshown));
	m->interrupts += interrupt;
	m->shown = m->unshown;
	while (m->pushed.n)
		put_last(&m->used, take_first(&m->pushed));
}

/* The place just after all that the device has looked at. */
static uint64_t next_place(const struct model *m)
{
	uint64_t place = m->published;

	for (unsigned i = 0; i < m->available.n; i++)
		place -= m->chains[m->available.of[(m->available.first + i) % MAX_CHAINS]].slots;
	return place;
}

static void change_kicks(struct model *m)
{
	bool event_idx = m->w.dq.setup.event_idx, packed = m->w.dq.setup.packed;

	if (pick(m, 2)) {
		virtq_kicks_off(&m->w.vq);
		if (packed || !event_idx)
			m->kick = (struct wish){.never = true};
		return;
	}
	cr_assert_eq(virtq_kicks_on(&m->w.vq), m->available.n != 0);
	m->kick = (struct wish){.always = !event_idx, .place = next_place(m)};
}

static void look(struct model *m)
{
	cr_assert_eq(virtq_has_work(&m->w.vq), m->available.n + m->given_back.n != 0);
	cr_assert_eq(virtq_kick_due(&m->w.vq), m->w.vq.notifying && m->available.n != 0);
}

/* Everything home, then another instance goes on. */
static void move(struct model *m)
{
	struct virtq_position at;

	while (m->n_in_flight)
		push(m);
	flush(m);
	at = m->w.vq.at;
	memset(&m->w.vq, 0xaa, sizeof(m->w.vq));
	world_start(&m->w);
	cr_assert_eq(virtq_seek(&m->w.vq, &at), 0);
	while (m->available.n) /* given back is forgotten: both are just available */
		put_last(&m->given_back, take_first(&m->available));
	while (m->given_back.n)
		put_last(&m->available, take_first(&m->given_back));
}

/* ---- walking ---- */

static void step(struct model *m)
{
	static void (*const steps[])(struct model *) = {
		add,	 add,	  add,
		publish, publish, collect,
		collect, collect, change_interrupts,
		unpop,	 push,	  push,
		push,	 flush,	  change_kicks,
		look,
	};
	unsigned which = pick(m, 2000);

	if (which == 0)
		move(m);
	else if (which % 5 == 0)
		(void)pop(m);
	else
		steps[which % ARRAY_SIZE(steps)](m);
	m->steps++;
}

/* Packed queues have no place for "any": a fresh one says it for both sides. */
static struct wish first_wish(const struct driver_setup *setup)
{
	return (struct wish){.always = setup->packed || !setup->event_idx};
}

static void walk(struct driver_setup setup, uint64_t seed, unsigned steps)
{
	struct model *m = calloc(1, sizeof(*m));

	cr_assert(m);
	m->random = seed;
	m->kick = m->interrupt = first_wish(&setup);
	world_init(&m->w, &setup);
	while (steps--)
		step(m);
	cr_assert_gt(m->published, 1000);
	cr_assert_gt(m->kicks, 10);
	cr_assert_gt(m->interrupts, 10);
	world_done(&m->w);
	free(m);
}

static void walks(unsigned combination, const uint16_t *sizes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		walk(world_setup(combination, sizes[i]), combination * 100 + i, 100000);
}

Test(virtq_model, split__agrees_with_the_model)
{
	static const uint16_t sizes[] = {1, 2, 4, 16, 64, 1024};

	for (unsigned c = 0; c < WORLD_COMBINATIONS / 2; c += 2)
		walks(c, sizes, ARRAY_SIZE(sizes));
}

Test(virtq_model, packed__agrees_with_the_model)
{
	static const uint16_t sizes[] = {1, 2, 3, 7, 16, 61, 1000};

	for (unsigned c = 1; c < WORLD_COMBINATIONS / 2; c += 2)
		walks(c, sizes, ARRAY_SIZE(sizes));
}

Test(virtq_model, split__agrees_over_many_rounds_of_65536)
{
	walk((struct driver_setup){.size = 64, .event_idx = true}, 7, 3000000);
}
