/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk over time: limits, resets and pauses with requests under way, save and load, several
 * queues, resize. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "devices/virtio_blk.h"
#include "tests/unit/devices/vblk_world.h"
#include "tests/unit/event/engine.h"

TestSuite(virtio_blk_life, .timeout = 100);

#define WCE VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE)
#define ALL (VBLK_USUAL | WCE | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES))

enum { CAPACITY = VBLK_SIZE / 512, WCE_AT = 32 };

static uint64_t memory(uint32_t len)
{
	return guest_alloc(&w.mem, len, 4096);
}

/* By name; texts[i] is that of its parameter i, NULL where it isn't given. */
static int run_verb(const char *name, const char *const *texts, struct err *err)
{
	const struct device_ops *ops = w.dev->dev.ops;

	*err = (struct err){0};
	for (unsigned i = 0; i < ops->n_verbs; i++) {
		struct device_value values[8] = {0};

		if (strcmp(ops->verbs[i].name, name) != 0)
			continue;
		for (unsigned p = 0; p < ops->verbs[i].n_params; p++)
			values[p] = (struct device_value){.given = texts[p],
							  .text = texts[p],
							  .len = texts[p] ? strlen(texts[p]) : 0};
		return ops->verbs[i].run(&w.dev->dev, values, err);
	}
	cr_assert_fail("there is no verb %s", name);
	return -ENOENT;
}

static int resize(const char *size, struct err *err)
{
	return run_verb("resize", &size, err);
}

static int limit(const char *bw, const char *iops, struct err *err)
{
	return run_verb("limit", (const char *[]){bw, NULL, iops, NULL}, err);
}

/* ---- resize ---- */

Test(virtio_blk_life, resize__is_told_to_the_driver)
{
	struct err err;
	struct stat st;
	uint64_t data;
	uint32_t generation;

	vblk_up(0, 1, ALL);
	data = memory(512);
	generation = virtio_dev_generation(w.dev);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, CAPACITY, data, 512), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(resize("8M", &err), 0, "%s", err.msg);
	vdev_await_config(&w);
	cr_assert_eq(vdev_config(&w, 0, 8), MIB(8) / 512);
	cr_assert_neq(virtio_dev_generation(w.dev), generation);
	cr_assert_eq(stat(vblk_path, &st), 0);
	cr_assert_eq(st.st_size, MIB(8));
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, MIB(8) / 512 - 1, data, 512), VIRTIO_BLK_S_OK);

	/* Outside, both ways. */
	cr_assert_eq(truncate(vblk_path, MIB(9)), 0);
	cr_assert_eq(resize(NULL, &err), 0, "%s", err.msg);
	vdev_await_config(&w);
	cr_assert_eq(vdev_config(&w, 0, 8), MIB(9) / 512);
	cr_assert_eq(truncate(vblk_path, MIB(1)), 0);
	cr_assert_eq(resize(NULL, &err), 0, "%s", err.msg);
	vdev_await_config(&w);
	cr_assert_eq(vdev_config(&w, 0, 8), MIB(1) / 512);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, MIB(1) / 512, data, 512), VIRTIO_BLK_S_IOERR);
	vblk_end();
}

Test(virtio_blk_life, a_resize_that_changes_nothing__is_no_news)
{
	struct err err;

	vblk_up(0, 1, ALL);
	cr_assert_eq(resize(NULL, &err), 0);
	cr_assert_eq(resize("4M", &err), 0);
	cr_assert_eq(vdev_config_changes(&w), 0);
	cr_assert_eq(resize("4M", &err), 0);
	cr_assert_eq(vdev_config(&w, 0, 8), CAPACITY);
	vblk_end();
}

Test(virtio_blk_life, a_bad_resize__is_told)
{
	static const char *const bad[] = {"1M", "lots", "0", "-5", "5000001", "99999999T"};
	struct err err;

	vblk_up(0, 1, ALL);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_assert_lt(resize(bad[i], &err), 0, "%s", bad[i]);
		cr_assert_neq(err.msg[0], 0, "%s", bad[i]);
	}
	cr_assert_eq(vdev_config(&w, 0, 8), CAPACITY);
	cr_assert_eq(vdev_config_changes(&w), 0);
	vblk_end();
}

/* ---- limits ---- */

Test(virtio_blk_life, a_limit__holds_and_is_changed_while_it_does)
{
	uint64_t data, start, statuses[20];
	struct err err;

	vblk_up(0, 1, ALL);
	data = memory(512);
	cr_assert_eq(limit(NULL, "100", &err), 0, "%s", err.msg);
	cr_assert_eq(blk_limits(vblk_blk)->iops, 100);
	start = clock_now_ns();
	for (unsigned i = 0; i < 10; i++)
		statuses[i] = vblk_add(0, VIRTIO_BLK_T_IN, i, data, 512);
	for (unsigned i = 0; i < 10; i++)
		statuses[10 + i] = 0;
	vdev_publish(&w, 0);
	for (unsigned i = 0; i < 10; i++)
		(void)vdev_await_used(&w, 0);
	cr_assert_eq(vdev_stat(&w, "throttled"), 0, "a burst of a tenth of a second");
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 10; i++)
			statuses[i] = vblk_add(0, VIRTIO_BLK_T_IN, i, data, 512);
		vdev_publish(&w, 0);
		for (unsigned i = 0; i < 10; i++)
			(void)vdev_await_used(&w, 0);
	}
	cr_assert_geq(clock_now_ns() - start, 18 * NS_PER_S / 100);
	cr_assert_gt(vdev_stat(&w, "throttled"), 0);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(vblk_byte(statuses[i]), VIRTIO_BLK_S_OK);

	/* From an hour to nothing. */
	cr_assert_eq(limit("1", NULL, &err), 0, "%s", err.msg);
	cr_assert_eq(blk_limits(vblk_blk)->iops, 100, "it stays");
	for (unsigned i = 0; i < 10; i++)
		(void)vblk_add(0, VIRTIO_BLK_T_IN, i, data, 512);
	vdev_publish(&w, 0);
	(void)vdev_await_used(&w, 0);
	cr_assert_eq(limit("0", "0", &err), 0, "%s", err.msg);
	for (unsigned i = 1; i < 10; i++)
		(void)vdev_await_used(&w, 0);
	vblk_end();
}

Test(virtio_blk_life, a_bad_limit__is_told)
{
	struct err err;

	vblk_up(0, 1, ALL);
	cr_assert_eq(limit(NULL, NULL, &err), -EINVAL);
	cr_assert_not_null(strstr(err.msg, "bw="));
	cr_assert_lt(limit("fast", NULL, &err), 0);
	cr_assert_not_null(strstr(err.msg, "bw: 'fast'"));
	cr_assert_lt(limit(NULL, "many", &err), 0);
	cr_assert_not_null(strstr(err.msg, "iops: 'many'"));
	cr_assert_eq(blk_limits(vblk_blk)->bw, 0);
	vblk_end();
}

/* An hour's worth of requests waits; a reset or a pause does not wait for it. */
static void stop_with_throttled(bool reset)
{
	uint64_t data, start;
	struct err err;

	vblk_up(0, 1, ALL);
	data = memory(4096);
	cr_assert_eq(limit("1", NULL, &err), 0);
	for (unsigned i = 0; i < 8; i++)
		(void)vblk_add(0, VIRTIO_BLK_T_OUT, i * 8, data, 4096);
	vdev_publish(&w, 0);
	(void)vdev_await_used(&w, 0);
	start = clock_now_ns();
	if (reset) {
		vdev_reset(&w);
	} else {
		cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0, "%s",
			     err.msg);
		cr_assert(driver_has_used(&w.q[0].dq));
	}
	cr_assert_lt(clock_now_ns() - start, 5 * NS_PER_S);
	cr_assert_eq(vdev_stat(&w, "writes"), 8);
	cr_assert_geq(vdev_stat(&w, "throttled"), 6);
	cr_assert_eq(limit("0", NULL, &err), 0);
	if (reset)
		vdev_up(&w, ALL);
	else
		w.dev->dev.ops->resume(&w.dev->dev);
	for (unsigned i = 1; i < 8 && !reset; i++)
		(void)vdev_await_used(&w, 0);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, 0, data, 4096), VIRTIO_BLK_S_OK);
	vblk_end();
}

Test(virtio_blk_life, a_reset__does_not_wait_for_a_limit)
{
	stop_with_throttled(true);
}

Test(virtio_blk_life, a_pause__does_not_wait_for_a_limit)
{
	stop_with_throttled(false);
}

/* ---- requests under way ---- */

static void wait_for_seen(unsigned n)
{
	while (atomic_load(&vblk_fake.n_seen) < n)
		vdev_settle(&w);
}

Test(virtio_blk_life, a_reset__is_done_when_the_last_request_is)
{
	uint64_t data, status;

	vblk_begin(0);
	vdev_take(&w, vblk_make(vblk_open_fake(), 1));
	vdev_up(&w, ALL);
	data = memory(512);
	atomic_store(&vblk_fake.keep, true);
	status = vblk_add(0, VIRTIO_BLK_T_IN, 0, data, 512);
	vdev_publish(&w, 0);
	wait_for_seen(1);
	virtio_dev_write_status(w.dev, 0);
	vdev_settle(&w);
	cr_assert_neq(virtio_dev_status(w.dev), 0, "it may still write to the guest's memory");
	vblk_answer_kept();
	virtio_dev_await_reset(w.dev);
	cr_assert_eq(virtio_dev_status(w.dev), 0);
	cr_assert_eq(vblk_byte(status), VIRTIO_BLK_S_OK);
	vdev_up(&w, ALL);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, 0, data, 512), VIRTIO_BLK_S_OK);
	vblk_end();
}

Test(virtio_blk_life, one_queue_is_reset__while_another_works)
{
	const uint64_t ring_reset = VIRTIO_BIT(40);
	struct virtio_queue_regs regs;
	uint64_t data;

	vblk_begin(0);
	vdev_take(&w, vblk_make(vblk_open_fake(), 2));
	vdev_up(&w, ALL | ring_reset);
	data = memory(512);
	atomic_store(&vblk_fake.keep, true);
	(void)vblk_add(1, VIRTIO_BLK_T_IN, 0, data, 512);
	vdev_publish(&w, 1);
	wait_for_seen(1);
	atomic_store(&vblk_fake.keep, false);
	virtio_dev_reset_queue(w.dev, 1);
	vdev_settle(&w);
	cr_assert(virtio_dev_queue_regs(w.dev, 1, &regs) && regs.resetting);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, 0, data, 512), VIRTIO_BLK_S_OK);
	vblk_answer_kept();
	cr_assert(virtio_dev_queue_regs(w.dev, 1, &regs) && !regs.resetting && !regs.enabled);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_IN, 0, data, 512), VIRTIO_BLK_S_OK);
	vblk_end();
}

/* ---- save and load ---- */

/* Each block is written and read back in turn, while the device is replaced again and again with
 * requests under way. */
static void traffic(unsigned combination)
{
	enum { ROUNDS = 12, AT_ONCE = 8, BLOCK = 4096 };
	uint64_t data[AT_ONCE], statuses[AT_ONCE];

	vblk_up(combination, 2, ALL);
	vdev_write_config(&w, WCE_AT, 1, 0);
	for (unsigned i = 0; i < AT_ONCE; i++)
		data[i] = memory(BLOCK);
	for (unsigned round = 0; round < ROUNDS * 2; round++) {
		bool writing = round % 2 == 0;

		for (unsigned i = 0; i < AT_ONCE; i++) {
			memset(guest_ptr(&w.mem, data[i], BLOCK),
			       writing ? (int)(round / 2 * AT_ONCE + i) : VBLK_POISON, BLOCK);
			statuses[i] = vblk_add(i % 2, writing ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
					       i * 8, data[i], BLOCK);
		}
		vdev_publish(&w, 0);
		if (round % 3)
			vdev_publish(&w, 1);
		vblk_replace(2);
		cr_assert_eq(vdev_config(&w, WCE_AT, 1), 0);
		vdev_publish(&w, 1);
		for (unsigned i = 0; i < AT_ONCE; i++)
			(void)vdev_await_used(&w, i % 2);
		for (unsigned i = 0; i < AT_ONCE; i++) {
			cr_assert_eq(vblk_byte(statuses[i]), VIRTIO_BLK_S_OK);
			cr_assert_eq(vblk_byte(data[i]), (uint8_t)(round / 2 * AT_ONCE + i));
			cr_assert_eq(vblk_byte(data[i] + BLOCK - 1),
				     (uint8_t)(round / 2 * AT_ONCE + i));
		}
	}
	vblk_end();
}

Test(virtio_blk_life, save_and_load__under_traffic)
{
	for (unsigned i = 0; i < VBLK_COMBINATIONS; i++)
		traffic(i);
}

/* The state of a disk on the fake. */
static void saved_world(struct saved *saved)
{
	struct err err;

	vblk_begin(0);
	vdev_take(&w, vblk_make(vblk_open_fake(), 2));
	vdev_up(&w, ALL);
	vdev_write_config(&w, WCE_AT, 1, 0);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0);
	saved_take(saved, &w.dev->dev);
}

/* Another device on the fake, and a loop that doesn't run. */
static struct virtio_dev *make_apart(struct loop *loop)
{
	struct loop *running = w.loop;
	struct virtio_dev *dev;

	w.loop = loop;
	dev = vblk_make(&vblk_fake.blk, 2);
	w.loop = running;
	return dev;
}

Test(virtio_blk_life, the_write_cache__is_saved)
{
	uint64_t data;

	vblk_begin(0);
	vdev_take(&w, vblk_make(vblk_open_fake(), 2));
	vdev_up(&w, ALL);
	vdev_write_config(&w, WCE_AT, 1, 0);
	vblk_replace(2);
	data = memory(512);
	cr_assert_eq(vblk_do(0, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_OK);
	cr_assert_eq(vblk_fake.n_stable, 1);
	vblk_end();
}

Test(virtio_blk_life, a_smaller_disk__does_not_take_the_state)
{
	struct loop *loop = engine_loop(64, 0);
	struct virtio_dev *dev;
	struct saved saved;
	struct err err = {0};

	saved_world(&saved);
	vblk_fake.blk.size = VBLK_SIZE - 512;
	dev = make_apart(loop);
	cr_assert_lt(saved_load(&saved, &dev->dev, &err), 0);
	cr_assert_not_null(strstr(err.msg, "larger when it was saved"), "%s", err.msg);
	device_free(&dev->dev);
	vblk_fake.blk.size = 2 * VBLK_SIZE;
	dev = make_apart(loop);
	cr_assert_eq(saved_load(&saved, &dev->dev, &err), 0);
	device_free(&dev->dev);
	loop_free(loop);
	vblk_end();
}

Test(virtio_blk_life, a_spoilt_state__is_refused_or_survived)
{
	struct loop *loop = engine_loop(64, 0);
	struct virtio_dev *dev;
	struct saved saved;

	saved_world(&saved);
	dev = make_apart(loop);
	saved_check_lengths(&saved, &dev->dev);
	saved_check_bytes(&saved, &dev->dev, NULL);
	device_free(&dev->dev);
	loop_free(loop);
	vblk_end();
}

/* ---- queues on several threads ---- */

static struct {
	struct loop *loop;
	pthread_t thread;
} second;

static void *run_second(void *arg)
{
	(void)arg;
	cr_assert_eq(loop_run(second.loop), 0);
	return NULL;
}

static struct virtio_dev *make_on_two_loops(struct blk *blk)
{
	struct loop *loops[] = {w.loop, second.loop};
	const struct virtio_blk_setup setup = {.id = "disk0",
					       .blk = blk,
					       .map = &w.mem.map,
					       .loops = loops,
					       .n_loops = 2,
					       .n_queues = 4,
					       .queue_size = VDEV_QUEUE_SIZE,
					       .packed = true};
	struct virtio_dev *dev = NULL;

	vblk_blk = blk;
	cr_assert_eq(virtio_blk_new(&setup, &dev), 0);
	return dev;
}

/* On all four queues at once, each in its own part of the disk. */
static void write_and_check(unsigned rounds)
{
	enum { QUEUES = 4, AT_ONCE = 8, BLOCK = 4096 };
	uint64_t data[QUEUES][AT_ONCE];

	for (unsigned q = 0; q < QUEUES; q++)
		for (unsigned i = 0; i < AT_ONCE; i++)
			data[q][i] = memory(BLOCK);
	for (unsigned round = 0; round < rounds * 2; round++) {
		for (unsigned q = 0; q < QUEUES; q++) {
			for (unsigned i = 0; i < AT_ONCE; i++) {
				int byte = (int)(round / 2 + q * 50 + i);

				memset(guest_ptr(&w.mem, data[q][i], BLOCK),
				       round % 2 ? VBLK_POISON : byte, BLOCK);
				(void)vblk_add(q, round % 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
					       q * 512 + i * 8, data[q][i], BLOCK);
			}
			vdev_publish(&w, q);
		}
		for (unsigned q = 0; q < QUEUES; q++)
			for (unsigned i = 0; i < AT_ONCE; i++)
				(void)vdev_await_used(&w, q);
		for (unsigned q = 0; q < QUEUES && round % 2; q++)
			for (unsigned i = 0; i < AT_ONCE; i++)
				cr_assert_eq(vblk_byte(data[q][i] + BLOCK - 1),
					     (uint8_t)(round / 2 + q * 50 + i));
	}
}

static void four_queues(bool overlay, uint64_t iops)
{
	const struct blk_opts opts = {.what = "--disk",
				      .path = vblk_path,
				      .cache = BLK_CACHE_WRITEBACK,
				      .lock = true,
				      .overlay = overlay};
	struct blk *blk = NULL;
	struct err err = {0};

	vblk_begin(2);
	second.loop = engine_loop(64, 0);
	cr_assert_eq(blk_open(&opts, &blk, &err), 0, "%s", err.msg);
	blk_set_limits(blk, &(struct blk_limits){.iops = iops, .iops_burst = iops ? 1 : 0});
	vdev_take(&w, make_on_two_loops(blk));
	cr_assert_eq(pthread_create(&second.thread, NULL, run_second, NULL), 0);
	vdev_up(&w, VIRTIO_BIT(VIRTIO_BLK_F_MQ));
	write_and_check(20);
	cr_assert_eq(vdev_stat(&w, "errors"), 0);
	cr_assert_eq(vdev_stat(&w, "reads"), 20 * 32);
	cr_assert_eq(vdev_stat(&w, "writes"), 20 * 32);
	cr_assert_eq(vdev_stat(&w, "throttled") > 0, iops > 0);
	vdev_reset(&w);
	loop_stop(second.loop);
	cr_assert_eq(pthread_join(second.thread, NULL), 0);
	vblk_end();
	second.loop = loop_free(second.loop);
}

Test(virtio_blk_life, four_queues__on_two_threads)
{
	four_queues(false, 0);
}

Test(virtio_blk_life, four_queues__share_an_overlay)
{
	four_queues(true, 0);
}

Test(virtio_blk_life, four_queues__share_a_limit)
{
	four_queues(false, 4000);
}
