/* SPDX-License-Identifier: Apache-2.0 */
/* virtio 1.2, 5.5. Each queue may have a thread of its own; they share atomic counters only. */
#include "devices/virtio_balloon.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/endian.h"
#include "base/iov.h"
#include "base/log.h"
#include "base/text.h"
#include "mm/discard.h"

enum {
	PAGE = 1 << VIRTIO_BALLOON_PFN_SHIFT,
	INFLATE = 0,
	DEFLATE = 1,
	STATS = 2, /* with VIRTIO_BALLOON_F_STATS_VQ; see role_of() */
	QUEUES = 5,
	QUEUES_WITHOUT_REPORTING = 3,

	/* struct virtio_balloon_config (5.5.4) */
	CONFIG_NUM_PAGES = 0,
	CONFIG_ACTUAL = 4,
	CONFIG_POISON = 12,
	CONFIG_LEN = 16,

	STAT_LEN = 10, /* le16 tag, le64 value (5.5.6.4) */
	STAT_TAGS = 16,
	STATS_MOST = 64,      /* entries that are looked at */
	PAGES_MOST = 1 << 12, /* in one chain; Linux gives 256. The rest is not discarded. */
};

struct virtio_balloon {
	struct virtio_dev vdev; /* first, for DEVICE_STAT */
	struct iovec *iov;	/* queue_size for each queue */
	uint16_t queue_size;

	/* Of the statistics queue's thread: */
	struct loop_timer timer;
	struct virtq_chain stats;
	bool stats_held; /* the driver's buffer, until we ask again */

	struct loop_work interval_changed;
	_Atomic uint64_t interval_ns;

	_Atomic uint64_t poison; /* what free pages are filled with, if not with zeros */
	_Atomic uint64_t target_bytes, actual_bytes;
	_Atomic uint64_t inflated_pages, deflated_pages, oom_deflated_pages, bad_pages;
	_Atomic uint64_t reported_bytes, discarded_bytes, discards, discard_failures;
	_Atomic uint64_t stats_updates;
	_Atomic uint64_t guest[STAT_TAGS];
};

static struct virtio_balloon *balloon_of(struct virtio_dev *vdev)
{
	return container_of(vdev, struct virtio_balloon, vdev);
}

static struct iovec *iov_of(struct virtio_queue *q)
{
	return balloon_of(q->dev)->iov + (size_t)q->index * balloon_of(q->dev)->queue_size;
}

static bool pop(struct virtio_queue *q, struct virtq_chain *chain)
{
	return virtio_queue_pop(q, chain, iov_of(q), balloon_of(q->dev)->queue_size);
}

static void set(_Atomic uint64_t *gauge, uint64_t v)
{
	atomic_store_explicit(gauge, v, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *gauge)
{
	return atomic_load_explicit(gauge, memory_order_relaxed);
}

/* ---- reading what the guest has written ---- */

/* The next bytes of its readable segments, each read once. */
static bool read_next(struct iov *v, uint8_t *to, size_t len)
{
	if (iov_copy_out(v, to, len) < len)
		return false;
	iov_skip(v, len);
	return true;
}

static struct iov readable(const struct virtq_chain *chain)
{
	return (struct iov){.at = chain->iov, .n = chain->n_out};
}

/* ---- pages in and out (5.5.6.1) ---- */

/* Pages side by side, which are discarded together; a guest gives them upwards or downwards. */
struct run {
	uint64_t start, end; /* guest-physical */
};

static void count_discarded(struct virtio_balloon *b, int r, uint64_t bytes)
{
	if (r == 0 && bytes)
		device_count(&b->discards, 1);
	if (r == 0)
		device_count(&b->discarded_bytes, bytes);
	else
		device_count(&b->discard_failures, 1);
}

static void discard_run(struct virtio_balloon *b, struct run *run)
{
	uint64_t bytes = 0;

	if (run->start < run->end) {
		int r = mm_discard(b->vdev.map, GPA(run->start), run->end - run->start, &bytes);

		count_discarded(b, r, bytes);
	}
	*run = (struct run){0};
}

static void inflate_page(struct virtio_balloon *b, struct run *run, uint32_t pfn)
{
	uint64_t gpa = (uint64_t)pfn << VIRTIO_BALLOON_PFN_SHIFT;

	if (!mm_map_host(b->vdev.map, GPA(gpa), PAGE)) {
		device_count(&b->bad_pages, 1);
		log_guest("%s: page %#x is no memory", b->vdev.dev.id, pfn);
		return;
	}
	device_count(&b->inflated_pages, 1);
	if (run->start < run->end && gpa == run->end) {
		run->end += PAGE;
	} else if (run->start < run->end && gpa + PAGE == run->start) {
		run->start = gpa;
	} else {
		discard_run(b, run);
		*run = (struct run){gpa, gpa + PAGE};
	}
}

static bool take_inflate(struct virtio_queue *q)
{
	struct virtio_balloon *b = balloon_of(q->dev);
	struct virtq_chain chain;
	struct iov list;
	struct run run = {0};
	uint8_t pfn[4];

	if (!pop(q, &chain))
		return false;
	list = readable(&chain);
	for (unsigned i = 0; i < PAGES_MOST && read_next(&list, pfn, sizeof(pfn)); i++)
		inflate_page(b, &run, get_le32(pfn));
	discard_run(b, &run);
	virtio_queue_done(q, &chain, 0);
	return true;
}

/* Nothing has to be done for pages that the guest takes back: they are there when it touches them.
 */
static bool take_deflate(struct virtio_queue *q)
{
	struct virtio_balloon *b = balloon_of(q->dev);
	struct virtq_chain chain;

	if (!pop(q, &chain))
		return false;
	device_count(&b->deflated_pages, chain.out_bytes / 4);
	/* With no more in the balloon than we ask for, it is the guest that needs them. */
	if (get(&b->actual_bytes) <= get(&b->target_bytes))
		device_count(&b->oom_deflated_pages, chain.out_bytes / 4);
	virtio_queue_done(q, &chain, 0);
	return true;
}

/* ---- free page reporting (5.5.6.7) ---- */

/* Discarded pages read as zeros, which a guest that fills its free pages with something else does
 * not expect (5.5.6.6). */
static bool take_report(struct virtio_queue *q)
{
	struct virtio_balloon *b = balloon_of(q->dev);
	bool poisoned = get(&b->poison) != 0;
	struct virtq_chain chain;

	if (!pop(q, &chain))
		return false;
	device_count(&b->reported_bytes, chain.in_bytes);
	for (unsigned i = 0; i < chain.n_in && !poisoned; i++) {
		const struct iovec *range = &chain.iov[chain.n_out + i];
		uint64_t bytes = 0;
		int r = mm_discard_host(b->vdev.map, range->iov_base, range->iov_len, &bytes);

		count_discarded(b, r, bytes);
	}
	virtio_queue_done(q, &chain, 0);
	return true;
}

/* ---- statistics (5.5.6.3): the driver lends a buffer, giving it back asks for news ---- */

static void read_stats(struct virtio_balloon *b, const struct virtq_chain *chain)
{
	struct iov list = readable(chain);
	uint8_t entry[STAT_LEN];

	for (unsigned i = 0; i < STATS_MOST && read_next(&list, entry, sizeof(entry)); i++) {
		uint16_t tag = get_le16(entry);

		if (tag < STAT_TAGS)
			set(&b->guest[tag], get_le64(entry + 2));
	}
	device_count(&b->stats_updates, chain->out_bytes >= STAT_LEN);
}

static void schedule_stats(struct virtio_balloon *b, struct loop *loop)
{
	uint64_t interval = get(&b->interval_ns);

	loop_timer_cancel(loop, &b->timer);
	if (b->stats_held && interval)
		loop_timer_arm(loop, &b->timer, interval);
}

static bool take_stats(struct virtio_queue *q)
{
	struct virtio_balloon *b = balloon_of(q->dev);

	if (b->stats_held || !pop(q, &b->stats))
		return false;
	read_stats(b, &b->stats);
	b->stats_held = true;
	schedule_stats(b, q->loop);
	return true;
}

static void ask_for_stats(struct loop_timer *timer)
{
	struct virtio_balloon *b = container_of(timer, struct virtio_balloon, timer);
	struct virtio_queue *q = &b->vdev.queues[STATS];

	b->stats_held = false;
	virtio_queue_done(q, &b->stats, 0);
	virtio_queue_drain(q, take_stats);
}

static void interval_changed(struct loop_work *work)
{
	struct virtio_balloon *b = container_of(work, struct virtio_balloon, interval_changed);

	schedule_stats(b, b->vdev.queues[STATS].loop);
}

/* ---- queues ---- */

typedef bool (*take_fn)(struct virtio_queue *q);

/*
 * The numbers in 5.5.2 leave a gap for a queue whose feature was not negotiated; Linux (until 6.10
 * at least) closes it. We never have the hinting queue, number 3, so that both can be served:
 * whatever is not one of the first three is for reports.
 */
static take_fn role_of(const struct virtio_queue *q)
{
	if (q->index == INFLATE)
		return take_inflate;
	if (q->index == DEFLATE)
		return take_deflate;
	if (q->index == STATS && virtio_dev_has(q->dev, VIRTIO_BALLOON_F_STATS_VQ))
		return take_stats;
	return virtio_dev_has(q->dev, VIRTIO_BALLOON_F_REPORTING) ? take_report : NULL;
}

static void queue_kick(struct virtio_queue *q)
{
	take_fn role = role_of(q);

	if (role)
		virtio_queue_drain(q, role);
}

static void queue_stop(struct virtio_queue *q)
{
	struct virtio_balloon *b = balloon_of(q->dev);

	if (q->index == STATS) {
		loop_timer_cancel(q->loop, &b->timer);
		/* Taken again, and its old news read again, when the queue goes on. */
		if (b->stats_held && !q->vq.broken)
			virtq_unpop(&q->vq, &b->stats);
		b->stats_held = false;
	}
	virtio_queue_stopped(q);
}

/* ---- configuration space ---- */

static void read_config(struct virtio_balloon *b)
{
	const uint8_t *config = b->vdev.config;

	set(&b->target_bytes, (uint64_t)get_le32(config + CONFIG_NUM_PAGES) * PAGE);
	set(&b->actual_bytes, (uint64_t)get_le32(config + CONFIG_ACTUAL) * PAGE);
	set(&b->poison, get_le32(config + CONFIG_POISON));
}

static void config_written(struct virtio_dev *vdev, unsigned offset, unsigned len)
{
	(void)offset;
	(void)len;
	read_config(balloon_of(vdev));
}

static void load(struct virtio_dev *vdev, struct state_reader *r)
{
	(void)r;
	read_config(balloon_of(vdev));
}

/* What we want of the guest stays; what it has given is its own again. */
static void reset(struct virtio_dev *vdev)
{
	put_le32(vdev->config + CONFIG_ACTUAL, 0);
	put_le32(vdev->config + CONFIG_POISON, 0);
	read_config(balloon_of(vdev));
}

static uint64_t ram_bytes(const struct mm_map *map)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < map->n; i++)
		if (!map->regions[i].keep)
			sum += map->regions[i].size;
	return sum;
}

/* ---- verbs ---- */

static int parse_target(const struct virtio_balloon *b, const char *text, uint64_t *ret,
			struct err *err)
{
	uint64_t most = ram_bytes(b->vdev.map), bytes;

	if (text_parse_size(text, MIB(1), &bytes) < 0 || !is_aligned(bytes, PAGE))
		return err_set(err, -EINVAL,
			       "\"size\" must be a size in steps of 4K, such as 512M, and not "
			       "\"%s\"",
			       text);
	if (bytes > most || bytes / PAGE > UINT32_MAX)
		return err_set(err, -ERANGE,
			       "\"size\" is what the guest shall give back, and it has %llu MiB",
			       (unsigned long long)(most >> 20));
	*ret = bytes;
	return 0;
}

static int verb_set(struct device *dev, const struct device_value *values, struct err *err)
{
	struct virtio_dev *vdev = container_of(dev, struct virtio_dev, dev);
	struct virtio_balloon *b = balloon_of(vdev);
	const struct device_value *size = &values[0], *stats = &values[1];
	uint64_t target = 0, interval = 0;
	uint8_t pages[4];
	int r = 0;

	if (!size->given && !stats->given)
		return err_set(err, -EINVAL, "nothing to set: give size= or stats=");
	if (size->given)
		r = parse_target(b, size->text, &target, err);
	if (r == 0 && stats->given && text_parse_duration(stats->text, &interval) < 0)
		r = err_set(err, -EINVAL,
			    "\"stats\" must be a time such as 10s, or 0, and not \"%s\"",
			    stats->text);
	if (r < 0)
		return r;
	if (size->given) {
		put_le32(pages, (uint32_t)(target / PAGE));
		set(&b->target_bytes, target);
		virtio_dev_set_config(vdev, CONFIG_NUM_PAGES, pages, sizeof(pages));
	}
	if (stats->given) {
		set(&b->interval_ns, interval);
		loop_post(vdev->queues[STATS].loop, &b->interval_changed);
	}
	return 0;
}

static const struct device_param set_params[] = {
	{.name = "size",
	 .type = DEVICE_PARAM_TEXT,
	 .optional = true,
	 .min = 1,
	 .max = 32,
	 .help = "what the guest shall give back, with K, M, G or T; a bare number counts MiB"},
	{.name = "stats",
	 .type = DEVICE_PARAM_TEXT,
	 .optional = true,
	 .min = 1,
	 .max = 32,
	 .help = "ask for statistics this often, such as 10s; 0 is never"},
};

static const struct device_verb verbs[] = {
	{.name = "set",
	 .help = "ask the guest to give memory back, or to take it again",
	 .params = set_params,
	 .n_params = ARRAY_SIZE(set_params),
	 .run = verb_set},
};

#define BALLOON_STAT(member, text) DEVICE_STAT(struct virtio_balloon, member, text)
#define GUEST_STAT(tag, as, text)                                                                  \
	{                                                                                          \
		.name = (as), .help = (text),                                                      \
		.offset = offsetof(struct virtio_balloon, guest[tag])                              \
	}

static const struct device_stat stats[] = {
	BALLOON_STAT(target_bytes, "bytes that the guest shall give back"),
	BALLOON_STAT(actual_bytes, "bytes that the guest says it has given back"),
	BALLOON_STAT(inflated_pages, "pages of 4 KiB that the guest gave back, over time"),
	BALLOON_STAT(deflated_pages, "pages of 4 KiB that the guest took again, over time"),
	BALLOON_STAT(oom_deflated_pages, "those that it took though they were asked for"),
	BALLOON_STAT(bad_pages, "pages that the guest gave back and never had"),
	BALLOON_STAT(reported_bytes, "bytes that the guest reported as free, over time"),
	BALLOON_STAT(discarded_bytes, "bytes that went back to the host, over time"),
	BALLOON_STAT(discards, "times that memory went back: pages side by side go together"),
	BALLOON_STAT(discard_failures, "times that the host did not take memory back"),
	BALLOON_STAT(stats_updates, "times that the guest sent statistics"),
	GUEST_STAT(VIRTIO_BALLOON_S_MEMTOT, "guest_total_bytes", "memory of the guest"),
	GUEST_STAT(VIRTIO_BALLOON_S_MEMFREE, "guest_free_bytes", "memory that it doesn't use"),
	GUEST_STAT(VIRTIO_BALLOON_S_AVAIL, "guest_available_bytes",
		   "memory that it could use without swapping"),
	GUEST_STAT(VIRTIO_BALLOON_S_CACHES, "guest_cache_bytes", "memory in its file cache"),
	GUEST_STAT(VIRTIO_BALLOON_S_SWAP_IN, "guest_swapped_in_bytes", "memory it swapped in"),
	GUEST_STAT(VIRTIO_BALLOON_S_SWAP_OUT, "guest_swapped_out_bytes", "memory it swapped out"),
	GUEST_STAT(VIRTIO_BALLOON_S_MAJFLT, "guest_major_faults", "page faults that read a disk"),
	GUEST_STAT(VIRTIO_BALLOON_S_MINFLT, "guest_minor_faults", "page faults that did not"),
	GUEST_STAT(VIRTIO_BALLOON_S_HTLB_PGALLOC, "guest_huge_pages",
		   "huge pages that it allocated"),
	GUEST_STAT(VIRTIO_BALLOON_S_HTLB_PGFAIL, "guest_huge_page_failures",
		   "huge pages that it could not allocate"),
	GUEST_STAT(10 /* VIRTIO_BALLOON_S_OOM_KILL */, "guest_oom_kills",
		   "processes that it killed for want of memory"),
};

/* ---- making and freeing ---- */

static void balloon_free(struct device *dev)
{
	struct virtio_balloon *b = balloon_of(container_of(dev, struct virtio_dev, dev));

	if (b->vdev.queues) {
		struct loop *loop = b->vdev.queues[STATS].loop;

		loop_timer_cancel(loop, &b->timer);
		loop_work_cancel(loop, &b->interval_changed);
	}
	virtio_dev_done(&b->vdev);
	free(b->iov);
	free(b);
}

static const struct device_ops device_ops = {
	VIRTIO_DEVICE_OPS,
	.free = balloon_free,
	.state_type = "virtio-balloon",
	.help = "memory balloon",
	.stats = stats,
	.n_stats = ARRAY_SIZE(stats),
	.verbs = verbs,
	.n_verbs = ARRAY_SIZE(verbs),
};

static const struct virtio_dev_ops virtio_ops = {
	.config_written = config_written,
	.queue_kick = queue_kick,
	.queue_stop = queue_stop,
	.reset = reset,
	.load = load,
};

static uint64_t features_of(const struct virtio_balloon_setup *setup)
{
	uint64_t features = VIRTIO_FEATURES_COMMON | VIRTIO_BIT(VIRTIO_F_IN_ORDER) |
			    VIRTIO_BIT(VIRTIO_BALLOON_F_STATS_VQ);

	if (!setup->packed)
		features &= ~VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	if (setup->deflate_on_oom)
		features |= VIRTIO_BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
	/* Without the latter Linux reports nothing when it clears pages as it frees them. */
	if (setup->reporting)
		features |= VIRTIO_BIT(VIRTIO_BALLOON_F_REPORTING) |
			    VIRTIO_BIT(VIRTIO_BALLOON_F_PAGE_POISON);
	return features;
}

static int init_virtio(struct virtio_balloon *b, const struct virtio_balloon_setup *setup)
{
	static const uint8_t writable[CONFIG_LEN] = {
		[CONFIG_ACTUAL] = 0xff,	    [CONFIG_ACTUAL + 1] = 0xff, [CONFIG_ACTUAL + 2] = 0xff,
		[CONFIG_ACTUAL + 3] = 0xff, [CONFIG_POISON] = 0xff,	[CONFIG_POISON + 1] = 0xff,
		[CONFIG_POISON + 2] = 0xff, [CONFIG_POISON + 3] = 0xff,
	};
	uint8_t config[CONFIG_LEN] = {0};

	put_le32(config + CONFIG_NUM_PAGES, (uint32_t)(setup->target / PAGE));
	return virtio_dev_init(
		&b->vdev, &(struct virtio_dev_setup){
				  .id = setup->id,
				  .device = &device_ops,
				  .ops = &virtio_ops,
				  .type = VIRTIO_ID_BALLOON,
				  .features = features_of(setup),
				  .map = setup->map,
				  .config = config,
				  .writable = writable,
				  .config_len = sizeof(config),
				  .n_queues = setup->reporting ? QUEUES : QUEUES_WITHOUT_REPORTING,
				  .queue_size = setup->queue_size,
				  .loops = setup->loops,
				  .n_loops = setup->n_loops,
			  });
}

static void warn_of_huge_pages(const struct virtio_balloon_setup *setup)
{
	uint64_t granule = mm_discard_granule(setup->map);
	char text[16];

	if (granule > PAGE)
		log_warn("%s: the guest's memory is in huge pages of %s, and only whole ones go "
			 "back to the host: pages in the balloon stay%s",
			 setup->id, text_format_size(granule, text, sizeof(text)),
			 setup->reporting ? ", those that are reported free go" : "");
}

int virtio_balloon_new(const struct virtio_balloon_setup *setup, struct virtio_dev **ret)
{
	struct virtio_balloon *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->queue_size = setup->queue_size;
	b->timer.fired = ask_for_stats;
	b->interval_changed.run = interval_changed;
	set(&b->interval_ns, setup->stats_ns);
	b->iov = calloc((size_t)setup->queue_size * QUEUES, sizeof(*b->iov));
	r = init_virtio(b, setup);
	if (r < 0 || !b->iov) {
		balloon_free(&b->vdev.dev);
		return -ENOMEM;
	}
	read_config(b);
	warn_of_huge_pages(setup);
	*ret = &b->vdev;
	return 0;
}
