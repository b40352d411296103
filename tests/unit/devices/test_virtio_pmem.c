/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "base/fd.h"
#include "devices/virtio_pmem.h"
#include "tests/unit/devices/data_path.h"
#include "tests/unit/devices/vdev_world.h"

enum { OK = 0, EIO_ANSWER = 1, FLUSH = 0 };

static struct vdev_world w;
static struct virtio_pmem_setup setup;

static struct virtio_dev *make(void)
{
	struct virtio_dev *dev = NULL;

	setup.loops = &w.loop;
	cr_assert_eq(virtio_pmem_new(&setup, &dev), 0);
	return dev;
}

static void begin(unsigned combination, int fd, bool ro)
{
	vdev_world_init(&w, combination);
	setup = (struct virtio_pmem_setup){.id = "pmem0",
					   .map = &w.mem.map,
					   .n_loops = 1,
					   .packed = true,
					   .queue_size = VDEV_QUEUE_SIZE,
					   .fd = fd,
					   .ro = ro,
					   .gpa = GIB(8),
					   .size = MIB(64)};
	vdev_take(&w, make());
	vdev_up(&w, 0);
}

static void end(void)
{
	vdev_world_done(&w);
	(void)close(setup.fd);
}

static int a_file(void)
{
	int fd = memfd_create("pmem", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

/* What fdatasync() refuses: a failing disk. */
static int a_bad_file(void)
{
	int fd = eventfd_new();

	cr_assert_geq(fd, 0);
	return fd;
}

struct request {
	struct driver_seg segs[2];
};

static struct request flush_request(uint32_t type)
{
	uint8_t bytes[8];
	uint64_t gpa;

	put_le32(bytes, type);
	put_le32(bytes + 4, 0xffffffff);
	gpa = vdev_bytes(&w, bytes, 8);
	return (struct request){
		.segs = {{.gpa = gpa, .len = 4}, {.gpa = gpa + 4, .len = 4}},
	};
}

static uint32_t answer(const struct request *r)
{
	return get_le32(guest_ptr(&w.mem, r->segs[1].gpa, 4));
}

static uint32_t ask(uint32_t type)
{
	struct request r = flush_request(type);

	cr_assert_eq(vdev_request(&w, 0, r.segs, 1, 1), 4);
	return answer(&r);
}

Test(virtio_pmem, flush__in_all_formats_of_the_ring)
{
	for (unsigned i = 0; i < VDEV_COMBINATIONS; i++) {
		begin(i, a_file(), false);
		cr_assert_eq(vdev_config(&w, 0, 8), GIB(8));
		cr_assert_eq(vdev_config(&w, 8, 8), MIB(64));
		for (unsigned n = 0; n < 100; n++)
			cr_assert_eq(ask(FLUSH), OK);
		cr_assert_eq(vdev_stat(&w, "flushes"), 100);
		cr_assert_eq(vdev_stat(&w, "syncs"), 100);
		end();
	}
}

Test(virtio_pmem, many_at_once__share_syncs_and_are_all_answered)
{
	for (unsigned i = 0; i < VDEV_COMBINATIONS; i++) {
		struct request r[8];

		begin(i, a_file(), false);
		for (unsigned n = 0; n < ARRAY_SIZE(r); n++) {
			r[n] = flush_request(FLUSH);
			cr_assert_eq(driver_add(&w.q[0].dq, r[n].segs, 1, 1, NULL), 0);
		}
		vdev_publish(&w, 0);
		for (unsigned n = 0; n < ARRAY_SIZE(r); n++)
			cr_assert_eq(vdev_await_used(&w, 0), 4);
		for (unsigned n = 0; n < ARRAY_SIZE(r); n++)
			cr_assert_eq(answer(&r[n]), OK);
		cr_assert_eq(vdev_stat(&w, "flushes"), 8);
		cr_assert_lt(vdev_stat(&w, "syncs"), 8);
		end();
	}
}

Test(virtio_pmem, a_sync_that_fails__is_an_error_for_the_guest_and_nothing_more)
{
	for (unsigned i = 0; i < 4; i++) {
		begin(i, a_bad_file(), false);
		cr_assert_eq(ask(FLUSH), EIO_ANSWER);
		cr_assert_eq(ask(FLUSH), EIO_ANSWER);
		cr_assert_eq(vdev_stat(&w, "errors"), 2);
		cr_assert_eq(vdev_stat(&w, "guest_errors"), 0);
		end();
	}
}

Test(virtio_pmem, read_only__has_nothing_to_sync)
{
	begin(0, a_bad_file(), true);
	for (unsigned n = 0; n < 100; n++)
		cr_assert_eq(ask(FLUSH), OK);
	cr_assert_eq(vdev_stat(&w, "syncs"), 0);
	end();
}

struct kick {
	struct loop_work work;
	uint64_t flushes;
};

static void kick(struct loop_work *work)
{
	struct kick *k = container_of(work, struct kick, work);

	w.dev->ops->queue_kick(&w.dev->queues[0]);
	k->flushes = vdev_stat(&w, "flushes");
}

Test(virtio_pmem, read_only__answers_so_many_in_a_turn_and_no_more)
{
	struct kick k = {.work.run = kick};
	struct request r;

	begin(4, a_bad_file(), true);
	vdev_settle(&w);
	r = flush_request(FLUSH);
	for (unsigned n = 0; n < VDEV_QUEUE_SIZE; n++)
		cr_assert_eq(driver_add_indirect(&w.q[0].dq, r.segs, 1, 1, NULL), 0);
	(void)driver_publish(&w.q[0].dq);
	loop_post(w.loop, &k.work);
	for (unsigned n = 0; n < VDEV_QUEUE_SIZE; n++)
		cr_assert_eq(vdev_await_used(&w, 0), 4);
	cr_assert_gt(k.flushes, 0);
	cr_assert_lt(k.flushes, VDEV_QUEUE_SIZE);
	end();
}

Test(virtio_pmem, unknown_requests__are_answered_with_an_error_in_their_turn)
{
	for (unsigned i = 0; i < VDEV_COMBINATIONS; i++) {
		struct request r[3];

		begin(i, a_file(), false);
		for (unsigned n = 0; n < 3; n++) {
			r[n] = flush_request(n == 1 ? 77 : FLUSH);
			cr_assert_eq(driver_add(&w.q[0].dq, r[n].segs, 1, 1, NULL), 0);
		}
		vdev_publish(&w, 0);
		for (unsigned n = 0; n < 3; n++)
			cr_assert_eq(vdev_await_used(&w, 0), 4);
		cr_assert_eq(answer(&r[0]), OK);
		cr_assert_eq(answer(&r[1]), EIO_ANSWER);
		cr_assert_eq(answer(&r[2]), OK);
		end();
	}
}

Test(virtio_pmem, type_and_answer__may_be_cut_into_bytes)
{
	struct driver_seg segs[8];
	struct request r;

	begin(4, a_file(), false);
	r = flush_request(FLUSH);
	for (unsigned i = 0; i < 8; i++)
		segs[i] = (struct driver_seg){.gpa = r.segs[0].gpa + i, .len = 1};
	cr_assert_eq(vdev_request(&w, 0, segs, 4, 4), 4);
	cr_assert_eq(answer(&r), OK);
	end();
}

static void breaks_and_recovers(const struct driver_desc *descs, unsigned n)
{
	begin(0, a_file(), false);
	vdev_break(&w, 0, descs, n);
	vdev_reset(&w);
	vdev_up(&w, 0);
	cr_assert_eq(ask(FLUSH), OK);
	end();
}

Test(virtio_pmem, malformed_requests__need_a_reset)
{
	enum { NEXT = 1, WRITE = 2 };
	static const struct driver_desc bad[][2] = {
		{{.addr = MIB(1), .len = 3, .flags = NEXT, .more = 1},
		 {.addr = MIB(1), .len = 4, .flags = WRITE}},
		{{.addr = MIB(1), .len = 4, .flags = NEXT, .more = 1},
		 {.addr = MIB(1), .len = 3, .flags = WRITE}},
		{{.addr = MIB(1), .len = 4, .flags = NEXT, .more = 1}, {.addr = MIB(1), .len = 4}},
		{{.addr = GUEST_LOW_END - 2, .len = 4, .flags = NEXT, .more = 1},
		 {.addr = MIB(1), .len = 4, .flags = WRITE}},
		{{.addr = MIB(1), .len = 4, .flags = NEXT, .more = 1},
		 {.addr = UINT64_MAX - 2, .len = 4, .flags = WRITE}},
		{{.addr = MIB(1), .len = 4, .flags = NEXT | WRITE, .more = 1},
		 {.addr = MIB(1), .len = 4}},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		breaks_and_recovers(bad[i], 2);
}

Test(virtio_pmem, reset_under_way__every_flush_is_done_or_forgotten)
{
	begin(1, a_file(), false);
	for (unsigned i = 0; i < 200; i++) {
		struct request r = flush_request(FLUSH);

		cr_assert_eq(driver_add(&w.q[0].dq, r.segs, 1, 1, NULL), 0);
		vdev_publish(&w, 0);
		vdev_reset(&w);
		vdev_up(&w, 0);
	}
	cr_assert_eq(ask(FLUSH), OK);
	end();
}

Test(virtio_pmem, saved_and_loaded_with_flushes_under_way__none_is_lost)
{
	for (unsigned i = 0; i < VDEV_COMBINATIONS; i++) {
		begin(i, a_file(), false);
		for (unsigned n = 0; n < 10; n++) {
			struct request r[6];

			for (unsigned k = 0; k < ARRAY_SIZE(r); k++) {
				r[k] = flush_request(FLUSH);
				cr_assert_eq(driver_add(&w.q[0].dq, r[k].segs, 1, 1, NULL), 0);
				vdev_publish(&w, 0);
			}
			vdev_replace(&w, make);
			for (unsigned k = 0; k < ARRAY_SIZE(r); k++)
				cr_assert_eq(vdev_await_used(&w, 0), 4);
			for (unsigned k = 0; k < ARRAY_SIZE(r); k++)
				cr_assert_eq(answer(&r[k]), OK);
		}
		end();
	}
}

Test(virtio_pmem, spoilt_state__is_refused_or_survived)
{
	struct saved saved;
	struct err err = {0};

	begin(0, a_file(), false);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0);
	saved_take(&saved, &w.dev->dev);
	saved_check_lengths(&saved, &w.dev->dev);
	saved_check_bytes(&saved, &w.dev->dev, NULL);
	cr_assert_eq(saved_load(&saved, &w.dev->dev, &err), 0, "%s", err.msg);
	end();
}

static void count_costs(unsigned combination, bool ro)
{
	begin(combination, a_file(), ro);
	cr_assert_eq(ask(FLUSH), OK);
	vdev_settle(&w);
	data_path_watch(&w);
	for (unsigned n = 0; n < 100; n++)
		cr_assert_eq(ask(FLUSH), OK);
	vdev_settle(&w);
	data_path_look_away();
	cr_assert_eq(data_path_allocations(), 0);
	cr_assert_eq(data_path_locks(), 0);
	end();
}

Test(virtio_pmem, nothing_is_allocated_or_locked)
{
	for (unsigned i = 0; i < VDEV_COMBINATIONS; i++)
		count_costs(i, i & 2);
}
