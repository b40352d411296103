/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/devices/vblk_world.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/endian.h"
#include "devices/virtio_blk.h"
#include "tests/unit/event/engine.h"

struct vdev_world w;
struct blk *vblk_blk;
struct fake_blk vblk_fake;
char vblk_path[64];
uint32_t vblk_used;

/* ---- the file ---- */

uint8_t vblk_pattern(uint64_t offset)
{
	return (uint8_t)(offset / BLK_SECTOR + 1);
}

uint8_t vblk_file_byte(uint64_t offset)
{
	int fd = open(vblk_path, O_RDONLY | O_CLOEXEC);
	uint8_t byte = 0;

	cr_assert_eq(pread(fd, &byte, 1, (off_t)offset), 1);
	cr_assert_eq(close(fd), 0);
	return byte;
}

static void make_file(void)
{
	uint8_t *bytes = malloc(VBLK_SIZE);
	int fd;

	(void)snprintf(vblk_path, sizeof(vblk_path), "/var/tmp/vmm-vblk-XXXXXX");
	fd = mkstemp(vblk_path);
	cr_assert_geq(fd, 0);
	for (uint64_t i = 0; i < VBLK_SIZE; i++)
		bytes[i] = vblk_pattern(i);
	cr_assert_eq(write(fd, bytes, VBLK_SIZE), VBLK_SIZE);
	cr_assert_eq(close(fd), 0);
	free(bytes);
}

/* ---- the fake disk ---- */

static void fake_submit(struct blk_req *req)
{
	atomic_fetch_add(&vblk_fake.n_seen, 1);
	if (req->stable)
		atomic_fetch_add(&vblk_fake.n_stable, 1);
	if (atomic_load(&vblk_fake.keep))
		blk_list_add(&vblk_fake.kept, req);
	else
		blk_done(req, atomic_load(&vblk_fake.results[req->op]));
}

static void fake_free(struct blk *blk)
{
	(void)blk;
}

static void answer(struct loop_work *work)
{
	struct blk_req *req;

	(void)work;
	while ((req = blk_list_take(&vblk_fake.kept)))
		blk_done(req, atomic_load(&vblk_fake.results[req->op]));
}

void vblk_answer_kept(void)
{
	atomic_store(&vblk_fake.keep, false);
	vblk_fake.answer.run = answer;
	loop_post(w.loop, &vblk_fake.answer);
	vdev_settle(&w);
}

struct blk *vblk_open_fake(void)
{
	static const struct blk_ops ops = {.submit = fake_submit, .free = fake_free};

	memset(&vblk_fake, 0, sizeof(vblk_fake));
	blk_init(&vblk_fake.blk, &ops);
	vblk_fake.blk.size = VBLK_SIZE;
	vblk_fake.blk.info = (struct blk_info){.logical_block = 512,
					       .physical_block = 4096,
					       .discard_granularity = 4096,
					       .flush = true};
	return &vblk_fake.blk;
}

/* ---- the device ---- */

void vblk_begin(unsigned combination)
{
	vdev_world_init(&w, combination);
	make_file();
}

struct blk *vblk_open_file(bool ro, enum blk_cache cache)
{
	const struct blk_opts opts = {
		.what = "--disk", .path = vblk_path, .cache = cache, .ro = ro, .lock = true};
	struct err err = {0};
	struct blk *blk = NULL;
	int r = blk_open(&opts, &blk, &err);

	cr_assert_eq(r, 0, "%s", err.msg);
	return blk;
}

struct virtio_dev *vblk_make(struct blk *blk, unsigned n_queues)
{
	const struct virtio_blk_setup setup = {
		.id = "disk0",
		.blk = blk,
		.map = &w.mem.map,
		.loops = &w.loop,
		.n_loops = 1,
		.n_queues = n_queues,
		.queue_size = VDEV_QUEUE_SIZE,
		.packed = true,
		.serial = "a serial of 20 bytes",
	};
	struct virtio_dev *dev = NULL;

	vblk_blk = blk;
	cr_assert_eq(virtio_blk_new(&setup, &dev), 0);
	return dev;
}

static unsigned n_queues_wanted;

static struct virtio_dev *make_again(void)
{
	if (vblk_blk != &vblk_fake.blk) {
		vblk_blk = blk_free(vblk_blk);
		vblk_blk = vblk_open_file(false, BLK_CACHE_WRITEBACK);
	}
	return vblk_make(vblk_blk, n_queues_wanted);
}

void vblk_replace(unsigned n_queues)
{
	n_queues_wanted = n_queues;
	vdev_replace(&w, make_again);
}

void vblk_up(unsigned combination, unsigned n_queues, uint64_t features)
{
	vblk_begin(combination);
	vdev_take(&w, vblk_make(vblk_open_file(false, BLK_CACHE_WRITEBACK), n_queues));
	vdev_up(&w, features);
}

void vblk_end(void)
{
	vdev_world_done(&w);
	vblk_blk = blk_free(vblk_blk);
	(void)unlink(vblk_path);
}

/* ---- requests ---- */

uint64_t vblk_header(uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr header = {.type = htole32(type), .sector = htole64(sector)};

	return vdev_bytes(&w, &header, sizeof(header));
}

uint64_t vblk_status(void)
{
	return vdev_bytes(&w, &(uint8_t){VBLK_POISON}, 1);
}

uint8_t vblk_byte(uint64_t gpa)
{
	return *(uint8_t *)guest_ptr(&w.mem, gpa, 1);
}

static bool reads_data(uint32_t type)
{
	return type != VIRTIO_BLK_T_IN && type != VIRTIO_BLK_T_GET_ID;
}

/* The segments of a usual request; the number of those that the device reads. */
static unsigned make_segs(struct driver_seg segs[3], unsigned *ret_in, uint32_t type,
			  uint64_t sector, uint64_t data, uint32_t len)
{
	unsigned n = 0, n_out;

	segs[n++] =
		(struct driver_seg){vblk_header(type, sector), sizeof(struct virtio_blk_outhdr)};
	if (len)
		segs[n++] = (struct driver_seg){data, len};
	n_out = len && reads_data(type) ? 2 : 1;
	segs[n++] = (struct driver_seg){vblk_status(), 1};
	*ret_in = n - n_out;
	return n_out;
}

uint8_t vblk_do(unsigned queue, uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	struct driver_seg segs[3];
	unsigned n_in, n_out = make_segs(segs, &n_in, type, sector, data, len);

	vblk_used = vdev_request(&w, queue, segs, n_out, n_in);
	return vblk_byte(segs[n_out + n_in - 1].gpa);
}

uint64_t vblk_add(unsigned queue, uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	struct driver_queue *dq = &w.q[queue].dq;
	struct driver_seg segs[3];
	unsigned n_in, n_out = make_segs(segs, &n_in, type, sector, data, len);
	int r = w.setup.indirect ? driver_add_indirect(dq, segs, n_out, n_in, NULL)
				 : driver_add(dq, segs, n_out, n_in, NULL);

	cr_assert_eq(r, 0);
	return segs[n_out + n_in - 1].gpa;
}

uint8_t vblk_ranges(uint32_t type, const struct vblk_range *ranges, unsigned n)
{
	uint8_t bytes[64 * 16];

	for (unsigned i = 0; i < n; i++) {
		put_le64(bytes + i * 16, ranges[i].sector);
		put_le32(bytes + i * 16 + 8, ranges[i].sectors);
		put_le32(bytes + i * 16 + 12, ranges[i].flags);
	}
	return vblk_do(0, type, 0, vdev_bytes(&w, bytes, n * 16), n * 16);
}
