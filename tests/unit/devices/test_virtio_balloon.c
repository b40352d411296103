/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "base/log.h"
#include "devices/virtio_balloon.h"
#include "tests/unit/devices/vdev_world.h"

enum { PAGE = 4096 };
enum { Q_INFLATE = 0, Q_DEFLATE = 1, Q_STATS = 2, Q_GAP = 3, Q_REPORTING = 4 };
enum { NUM_PAGES = 0, ACTUAL = 4, POISON = 12 };

#define STATS_VQ  VIRTIO_BIT(VIRTIO_BALLOON_F_STATS_VQ)
#define REPORT	  VIRTIO_BIT(VIRTIO_BALLOON_F_REPORTING)
#define POISONING VIRTIO_BIT(VIRTIO_BALLOON_F_PAGE_POISON)
#define OOM	  VIRTIO_BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM)
#define ALL	  (STATS_VQ | REPORT | POISONING | OOM)

static struct vdev_world w;

static struct virtio_dev *make(uint64_t stats_ns)
{
	const struct virtio_balloon_setup setup = {
		.id = "balloon0",
		.map = &w.mem.map,
		.loops = &w.loop,
		.n_loops = 1,
		.packed = true,
		.queue_size = VDEV_QUEUE_SIZE,
		.target = MIB(8),
		.deflate_on_oom = true,
		.reporting = true,
		.stats_ns = stats_ns,
	};
	struct virtio_dev *dev = NULL;

	cr_assert_eq(virtio_balloon_new(&setup, &dev), 0);
	return dev;
}

static struct virtio_dev *make_quiet(void)
{
	return make(0);
}

static void begin(unsigned combination, uint64_t stats_ns)
{
	vdev_world_init(&w, combination);
	vdev_take(&w, make(stats_ns));
}

/* n pages that the guest has touched. */
static uint64_t touched(unsigned n)
{
	uint64_t gpa = guest_alloc(&w.mem, (uint64_t)n * PAGE, PAGE);

	memset(guest_ptr(&w.mem, gpa, (uint64_t)n * PAGE), 0xaa, (uint64_t)n * PAGE);
	return gpa;
}

static unsigned resident(uint64_t gpa, unsigned n)
{
	unsigned char present[512] = {0};
	unsigned count = 0;

	cr_assert_leq(n, sizeof(present));
	cr_assert_eq(mincore(guest_ptr(&w.mem, gpa, (uint64_t)n * PAGE), (size_t)n * PAGE, present),
		     0);
	for (unsigned i = 0; i < n; i++)
		count += present[i] & 1;
	return count;
}

static void give(unsigned queue, const uint32_t *pfns, unsigned n)
{
	uint8_t bytes[512 * 4];
	struct driver_seg seg = {.len = n * 4};

	for (unsigned i = 0; i < n; i++)
		put_le32(bytes + i * 4, pfns[i]);
	seg.gpa = vdev_bytes(&w, bytes, n * 4);
	cr_assert_eq(vdev_request(&w, queue, &seg, 1, 0), 0);
}

/* ---- inflate and deflate ---- */

static void inflate_and_deflate(unsigned combination)
{
	uint32_t up[64], down[64], mixed[4];
	uint64_t a, b, c;

	begin(combination, 0);
	vdev_up(&w, ALL);
	a = touched(64);
	b = touched(64);
	c = touched(16);
	for (unsigned i = 0; i < 64; i++) {
		up[i] = (uint32_t)(a / PAGE) + i;
		down[i] = (uint32_t)(b / PAGE) + 63 - i;
	}
	for (unsigned i = 0; i < 4; i++)
		mixed[i] = (uint32_t)(c / PAGE) + i * 4;
	cr_assert_eq(resident(a, 64) + resident(b, 64), 128);
	give(Q_INFLATE, up, 64);
	cr_assert_eq(resident(a, 64), 0);
	give(Q_INFLATE, down, 64);
	cr_assert_eq(resident(b, 64), 0);
	give(Q_INFLATE, mixed, 4);
	cr_assert_eq(resident(c, 16), 12, "only those that were named");
	cr_assert_eq(vdev_stat(&w, "inflated_pages"), 132);
	cr_assert_eq(vdev_stat(&w, "discarded_bytes"), 132 * PAGE);
	cr_assert_eq(vdev_stat(&w, "discards"), 6, "side by side, they go together");

	give(Q_DEFLATE, up, 64);
	cr_assert_eq(vdev_stat(&w, "deflated_pages"), 64);
	cr_assert_eq(*(uint8_t *)guest_ptr(&w.mem, a, 1), 0, "it comes back as zeros");
	vdev_world_done(&w);
}

Test(virtio_balloon, inflate_and_deflate__in_all_formats_of_the_ring)
{
	for (unsigned i = 0; i < VDEV_COMBINATIONS; i++)
		inflate_and_deflate(i);
}

Test(virtio_balloon, pages_that_are_no_memory__are_counted_and_the_rest_is_freed)
{
	uint64_t a;

	begin(0, 0);
	vdev_up(&w, ALL);
	a = touched(2);
	give(Q_INFLATE,
	     (uint32_t[]){(uint32_t)(a / PAGE), (uint32_t)(GUEST_LOW_END / PAGE),
			  (uint32_t)(GUEST_HIGH_START / PAGE) - 1,
			  (uint32_t)(GUEST_HIGH_END / PAGE), UINT32_MAX, (uint32_t)(a / PAGE) + 1},
	     6);
	cr_assert_eq(vdev_stat(&w, "bad_pages"), 4);
	cr_assert_eq(vdev_stat(&w, "inflated_pages"), 2);
	cr_assert_eq(resident(a, 2), 0);
	cr_assert_eq(vdev_stat(&w, "guest_errors"), 0);
	vdev_world_done(&w);
}

Test(virtio_balloon, a_page_number__may_lie_across_segments_and_half_ones_are_ignored)
{
	uint64_t a, list;
	uint8_t bytes[10] = {0};
	struct driver_seg segs[3];

	begin(4, 0);
	vdev_up(&w, ALL);
	a = touched(3);
	put_le32(bytes, (uint32_t)(a / PAGE));
	put_le32(bytes + 4, (uint32_t)(a / PAGE) + 1);
	bytes[8] = 0xff;
	list = vdev_bytes(&w, bytes, sizeof(bytes));
	segs[0] = (struct driver_seg){.gpa = list, .len = 3};
	segs[1] = (struct driver_seg){.gpa = list + 3, .len = 2};
	segs[2] = (struct driver_seg){.gpa = list + 5, .len = 5};
	(void)vdev_request(&w, Q_INFLATE, segs, 3, 0);
	cr_assert_eq(vdev_stat(&w, "inflated_pages"), 2);
	cr_assert_eq(vdev_stat(&w, "bad_pages"), 0);
	cr_assert_eq(resident(a, 3), 1);
	vdev_world_done(&w);
}

Test(virtio_balloon, an_endless_list__is_cut)
{
	struct driver_seg segs[VDEV_QUEUE_SIZE];

	begin(0, 0);
	vdev_up(&w, ALL);
	for (unsigned i = 0; i < VDEV_QUEUE_SIZE; i++)
		segs[i] = (struct driver_seg){.gpa = GIB(1), .len = MIB(1024) - PAGE};
	(void)vdev_request(&w, Q_INFLATE, segs, VDEV_QUEUE_SIZE, 0);
	cr_assert_eq(vdev_stat(&w, "inflated_pages"), 1 << 12);
	vdev_world_done(&w);
}

Test(virtio_balloon, pages_that_we_still_want__are_told_apart)
{
	begin(0, 0);
	vdev_up(&w, ALL);
	vdev_write_config(&w, ACTUAL, 4, MIB(9) / PAGE);
	cr_assert_eq(vdev_stat(&w, "actual_bytes"), MIB(9));
	give(Q_DEFLATE, (uint32_t[]){1, 2, 3}, 3);
	cr_assert_eq(vdev_stat(&w, "oom_deflated_pages"), 0, "there was too much in it");
	vdev_write_config(&w, ACTUAL, 4, MIB(8) / PAGE);
	give(Q_DEFLATE, (uint32_t[]){1, 2}, 2);
	cr_assert_eq(vdev_stat(&w, "oom_deflated_pages"), 2);
	cr_assert_eq(vdev_stat(&w, "deflated_pages"), 5);
	vdev_world_done(&w);
}

/* ---- free page reporting ---- */

static void report(unsigned queue, uint64_t a, uint64_t b)
{
	const struct driver_seg segs[] = {{.gpa = a, .len = 32 * PAGE},
					  {.gpa = b + 1, .len = 4 * PAGE}};

	cr_assert_eq(vdev_request(&w, queue, segs, 0, 2), 0);
}

static void reports_on(unsigned queue, uint64_t features)
{
	uint64_t a, b;

	vdev_up(&w, features);
	a = touched(32);
	b = touched(5);
	report(queue, a, b);
	cr_assert_eq(resident(a, 32), 0, "queue %u", queue);
	cr_assert_eq(resident(b, 5), 2, "parts of pages stay");
	vdev_reset(&w);
}

Test(virtio_balloon, reports__are_discarded_whatever_number_the_driver_gives_the_queue)
{
	for (unsigned i = 0; i < VDEV_COMBINATIONS; i++) {
		begin(i, 0);
		reports_on(Q_REPORTING, ALL);
		reports_on(Q_GAP, ALL);
		reports_on(Q_STATS, ALL & ~STATS_VQ);
		cr_assert_eq(vdev_stat(&w, "reported_bytes"), 3 * 36 * PAGE);
		cr_assert_eq(vdev_stat(&w, "discarded_bytes"), 3 * 35 * PAGE);
		vdev_world_done(&w);
	}
}

Test(virtio_balloon, poisoned_pages__keep_what_is_in_them)
{
	uint64_t a, b;

	begin(0, 0);
	vdev_up(&w, ALL);
	a = touched(32);
	b = touched(5);
	vdev_write_config(&w, POISON, 4, 0xaaaaaaaa);
	report(Q_REPORTING, a, b);
	cr_assert_eq(resident(a, 32), 32);
	vdev_reset(&w);
	cr_assert_eq(vdev_config(&w, POISON, 4), 0);
	vdev_up(&w, ALL);
	report(Q_REPORTING, a, b);
	cr_assert_eq(resident(a, 32), 0);
	vdev_world_done(&w);
}

Test(virtio_balloon, without_reporting__there_are_no_such_features_and_queues)
{
	const struct virtio_balloon_setup setup = {
		.id = "balloon0",
		.map = &w.mem.map,
		.loops = &w.loop,
		.n_loops = 1,
		.queue_size = VDEV_QUEUE_SIZE,
	};
	struct virtio_dev *dev = NULL;

	vdev_world_init(&w, 0);
	cr_assert_eq(virtio_balloon_new(&setup, &dev), 0);
	cr_assert_eq(dev->offered & (REPORT | POISONING | OOM | VIRTIO_BIT(VIRTIO_F_RING_PACKED)),
		     0);
	cr_assert_eq(dev->n_queues, 3);
	vdev_take(&w, dev);
	vdev_up(&w, 0);
	vdev_world_done(&w);
}

/* ---- statistics ---- */

static struct driver_seg stats_buffer(uint16_t tag, uint64_t value)
{
	uint8_t bytes[3 * 10 + 5] = {0};

	put_le16(bytes, VIRTIO_BALLOON_S_MEMTOT);
	put_le64(bytes + 2, GIB(1));
	put_le16(bytes + 10, tag);
	put_le64(bytes + 12, value);
	put_le16(bytes + 20, 0xffff);
	return (struct driver_seg){.gpa = vdev_bytes(&w, bytes, sizeof(bytes)),
				   .len = sizeof(bytes)};
}

static void lend(uint64_t free_bytes)
{
	struct driver_seg seg = stats_buffer(VIRTIO_BALLOON_S_MEMFREE, free_bytes);

	cr_assert_eq(driver_add(&w.q[Q_STATS].dq, &seg, 1, 0, NULL), 0);
	vdev_publish(&w, Q_STATS);
}

static void stats_are_polled(unsigned combination)
{
	begin(combination, NS_PER_MS);
	vdev_up(&w, ALL);
	lend(MIB(1));
	for (unsigned i = 2; i < 40; i++) {
		cr_assert_eq(vdev_await_used(&w, Q_STATS), 0);
		cr_assert_eq(vdev_stat(&w, "guest_free_bytes"), MIB(i - 1));
		lend(MIB(i));
	}
	cr_assert_eq(vdev_stat(&w, "guest_total_bytes"), GIB(1));
	cr_assert_geq(vdev_stat(&w, "stats_updates"), 38);
	vdev_world_done(&w);
}

Test(virtio_balloon, stats__are_polled)
{
	for (unsigned i = 0; i < VDEV_COMBINATIONS; i++)
		stats_are_polled(i);
}

Test(virtio_balloon, stats_off__the_buffer_is_kept_until_they_are_turned_on)
{
	struct err err;

	begin(0, 0);
	vdev_up(&w, ALL);
	lend(MIB(7));
	vdev_settle(&w);
	vdev_settle(&w);
	cr_assert_not(driver_has_used(&w.q[Q_STATS].dq));
	cr_assert_eq(vdev_stat(&w, "guest_free_bytes"), MIB(7),
		     "the first news come by themselves");
	cr_assert_eq(vdev_verb(&w, NULL, "1ms", &err), 0, "%s", err.msg);
	(void)vdev_await_used(&w, Q_STATS);
	cr_assert_eq(vdev_verb(&w, NULL, "0", &err), 0, "%s", err.msg);
	lend(MIB(8));
	vdev_settle(&w);
	usleep(5000); /* the timer of before would have come */
	cr_assert_not(driver_has_used(&w.q[Q_STATS].dq));
	vdev_world_done(&w);
}

Test(virtio_balloon, two_stats_buffers__are_used_one_after_the_other)
{
	begin(0, NS_PER_MS);
	vdev_up(&w, ALL);
	lend(MIB(1));
	lend(MIB(2));
	(void)vdev_await_used(&w, Q_STATS);
	(void)vdev_await_used(&w, Q_STATS);
	cr_assert_eq(vdev_stat(&w, "guest_free_bytes"), MIB(2));
	vdev_world_done(&w);
}

Test(virtio_balloon, stats__many_and_strange_entries_do_no_harm)
{
	struct driver_seg seg = {.gpa = GIB(1), .len = MIB(512)};

	begin(0, NS_PER_MS);
	vdev_up(&w, ALL);
	memset(guest_ptr(&w.mem, GIB(1), MIB(1)), 0xff, MIB(1));
	(void)vdev_request(&w, Q_STATS, &seg, 1, 0);
	seg.len = 9;
	(void)vdev_request(&w, Q_STATS, &seg, 1, 0);
	cr_assert_eq(vdev_stat(&w, "stats_updates"), 1);
	cr_assert_eq(vdev_stat(&w, "guest_free_bytes"), 0);
	vdev_world_done(&w);
}

/* ---- configuration and verbs ---- */

Test(virtio_balloon, set__tells_the_guest)
{
	struct err err;

	begin(0, 0);
	cr_assert_eq(vdev_config(&w, NUM_PAGES, 4), MIB(8) / PAGE);
	vdev_up(&w, ALL);
	cr_assert_eq(vdev_verb(&w, "512M", NULL, &err), 0, "%s", err.msg);
	vdev_await_config(&w);
	cr_assert_eq(vdev_config(&w, NUM_PAGES, 4), MIB(512) / PAGE);
	cr_assert_eq(vdev_stat(&w, "target_bytes"), MIB(512));
	cr_assert_eq(vdev_verb(&w, "1", "10s", &err), 0, "%s", err.msg);
	cr_assert_eq(vdev_config(&w, NUM_PAGES, 4), MIB(1) / PAGE, "bare numbers are MiB");
	cr_assert_eq(vdev_verb(&w, "0", NULL, &err), 0);
	cr_assert_eq(vdev_config(&w, NUM_PAGES, 4), 0);
	vdev_world_done(&w);
}

Test(virtio_balloon, set__refuses_what_can_not_be)
{
	struct err err;

	begin(0, 0);
	cr_assert_eq(vdev_verb(&w, NULL, NULL, &err), -EINVAL);
	cr_assert(strstr(err.msg, "size="), "%s", err.msg);
	cr_assert_eq(vdev_verb(&w, "much", NULL, &err), -EINVAL);
	cr_assert(strstr(err.msg, "much"), "%s", err.msg);
	cr_assert_eq(vdev_verb(&w, "1025B", NULL, &err), -EINVAL);
	cr_assert_eq(vdev_verb(&w, "1T", NULL, &err), -ERANGE);
	cr_assert(strstr(err.msg, "3328 MiB"), "%s", err.msg);
	cr_assert_eq(vdev_verb(&w, "1M", "soon", &err), -EINVAL);
	cr_assert_eq(vdev_config(&w, NUM_PAGES, 4), MIB(8) / PAGE, "then nothing is set");
	vdev_world_done(&w);
}

Test(virtio_balloon, the_driver__writes_its_own_fields_only)
{
	begin(0, 0);
	vdev_up(&w, ALL);
	vdev_write_config(&w, NUM_PAGES, 8, UINT64_MAX);
	cr_assert_eq(vdev_config(&w, NUM_PAGES, 4), MIB(8) / PAGE);
	cr_assert_eq(vdev_stat(&w, "actual_bytes"), (uint64_t)UINT32_MAX * PAGE);
	vdev_write_config(&w, 14, 4, UINT64_MAX); /* over the end */
	cr_assert_eq(vdev_config(&w, POISON, 4), 0);
	vdev_reset(&w);
	cr_assert_eq(vdev_stat(&w, "actual_bytes"), 0);
	cr_assert_eq(vdev_config(&w, NUM_PAGES, 4), MIB(8) / PAGE, "what we want stays");
	vdev_world_done(&w);
}

/* ---- rules that the driver breaks ---- */

static void breaks_and_recovers(unsigned combination, unsigned queue, uint64_t gpa, uint32_t len)
{
	struct driver_desc desc = {.addr = gpa, .len = len};

	vdev_world_init(&w, combination);
	vdev_take(&w, make(0));
	vdev_up(&w, ALL);
	vdev_break(&w, queue, &desc, 1);
	cr_assert_eq(vdev_stat(&w, "guest_errors"), 1);
	vdev_reset(&w);
	vdev_up(&w, ALL);
	give(Q_INFLATE, (uint32_t[]){(uint32_t)(touched(1) / PAGE)}, 1);
	vdev_world_done(&w);
}

Test(virtio_balloon, lists_outside_memory__need_a_reset)
{
	static const struct {
		uint64_t gpa;
		uint32_t len;
	} bad[] = {
		{GUEST_LOW_END, 4},	   {GUEST_LOW_END - 2, 4}, {GUEST_HIGH_END, 4},
		{UINT64_MAX - 1, 4},	   {MIB(1), UINT32_MAX},   {MIB(1), 0},
		{GUEST_HIGH_START - 4, 8},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		for (unsigned q = 0; q < 5; q++)
			breaks_and_recovers(i & 1, q, bad[i].gpa, bad[i].len);
}

/* ---- save and load ---- */

static void goes_on_elsewhere(unsigned combination)
{
	struct err err;

	begin(combination, 0);
	vdev_up(&w, ALL);
	lend(MIB(7));
	vdev_write_config(&w, ACTUAL, 4, 77);
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned n = 0; n < 20; n++)
			give(Q_INFLATE, (uint32_t[]){(uint32_t)(touched(1) / PAGE)}, 1);
		cr_assert_eq(vdev_stat(&w, "inflated_pages"), 20);
		vdev_replace(&w, make_quiet);
		cr_assert_eq(vdev_stat(&w, "actual_bytes"), 77 * PAGE);
	}
	cr_assert_eq(vdev_verb(&w, NULL, "1ms", &err), 0, "%s", err.msg);
	(void)vdev_await_used(&w, Q_STATS);
	cr_assert_eq(vdev_stat(&w, "guest_free_bytes"), MIB(7), "the lent buffer came along");
	vdev_world_done(&w);
}

Test(virtio_balloon, saved_and_loaded__it_goes_on)
{
	for (unsigned i = 0; i < VDEV_COMBINATIONS; i++)
		goes_on_elsewhere(i);
}

Test(virtio_balloon, paused_and_resumed__it_goes_on)
{
	struct err err;

	begin(1, NS_PER_MS);
	vdev_up(&w, ALL);
	lend(MIB(7));
	for (unsigned i = 0; i < 20; i++) {
		cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0);
		w.dev->dev.ops->resume(&w.dev->dev);
		give(Q_INFLATE, (uint32_t[]){(uint32_t)(touched(1) / PAGE)}, 1);
	}
	(void)vdev_await_used(&w, Q_STATS);
	vdev_world_done(&w);
}

Test(virtio_balloon, spoilt_state__is_refused_or_survived)
{
	struct saved saved;
	struct err err = {0};

	begin(0, 0);
	vdev_up(&w, ALL);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0);
	saved_take(&saved, &w.dev->dev);
	saved_check_lengths(&saved, &w.dev->dev);
	saved_check_bytes(&saved, &w.dev->dev, NULL);
	cr_assert_eq(saved_load(&saved, &w.dev->dev, &err), 0, "%s", err.msg);
	vdev_world_done(&w);
}

/* ---- huge pages ---- */

Test(virtio_balloon, huge_pages__it_says_what_will_not_go_back)
{
	char text[1024] = "";
	int pipe_fds[2];

	vdev_world_init(&w, 0);
	cr_assert_eq(pipe(pipe_fds), 0);
	log_init(pipe_fds[1], LOG_WARN);
	w.mem.map.regions[0].page_size = MIB(2);
	vdev_take(&w, make(0));
	log_init(2, LOG_WARN);
	cr_assert_gt(read(pipe_fds[0], text, sizeof(text) - 1), 0);
	cr_assert(strstr(text, "balloon0") && strstr(text, "2M"), "%s", text);
	vdev_up(&w, ALL);
	give(Q_INFLATE, (uint32_t[]){(uint32_t)(touched(1) / PAGE)}, 1);
	cr_assert_eq(vdev_stat(&w, "inflated_pages"), 1);
	cr_assert_eq(vdev_stat(&w, "discarded_bytes"), 0);
	vdev_world_done(&w);
}
