/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_mem.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "devices/virtio_mem.h"
#include "mm/ram.h"
#include "tests/unit/devices/vdev_world.h"

enum { BLOCK = 2 << 20, BLOCKS = 70, PLUGGED_SIZE = 40, REQUESTED_SIZE = 48 };
enum {
	ACK = VIRTIO_MEM_RESP_ACK,
	NACK = VIRTIO_MEM_RESP_NACK,
	BUSY = VIRTIO_MEM_RESP_BUSY,
	ERROR = VIRTIO_MEM_RESP_ERROR
};
static const uint64_t REGION = GIB(8), SIZE = (uint64_t)BLOCKS * BLOCK;

static struct vdev_world w;
static struct mm_ram *ram;
static struct virtio_mem_setup setup;

static struct virtio_dev *make(void)
{
	struct virtio_dev *dev = NULL;

	setup.loops = &w.loop;
	cr_assert_eq(virtio_mem_new(&setup, &dev), 0);
	return dev;
}

static void prepare(unsigned combination, const struct mm_ram_opts *opts)
{
	struct mm_region region;
	struct err err = {0};

	vdev_world_init(&w, combination);
	if (mm_ram_new(opts, &ram, &err) < 0)
		cr_skip_test("%s", err.msg);
	mm_ram_region(ram, GPA(REGION), 0, opts->size, &region);
	cr_assert_eq(mm_map_add(&w.mem.map, &region), 0);
	setup = (struct virtio_mem_setup){.id = "mem0",
					  .map = &w.mem.map,
					  .n_loops = 1,
					  .packed = true,
					  .queue_size = VDEV_QUEUE_SIZE,
					  .gpa = REGION,
					  .size = opts->size};
}

static void begin(unsigned combination)
{
	prepare(combination, &(struct mm_ram_opts){.size = SIZE});
	vdev_take(&w, make());
	vdev_up(&w, VIRTIO_BIT(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE));
}

static void end(void)
{
	w.mem.map.n = 2; /* the region is ours */
	vdev_world_done(&w);
	mm_ram_free(ram);
}

static void request_size(const char *size)
{
	struct err err;

	cr_assert_eq(vdev_verb(&w, size, NULL, &err), 0, "%s", err.msg);
}

/* The response's type, and with state the state. */
static unsigned ask_at(uint16_t type, uint64_t gpa, uint16_t n, unsigned *state)
{
	struct driver_seg segs[2] = {{.len = 24}, {.len = 10}};
	uint8_t bytes[34] = {0};
	const uint8_t *response;

	put_le16(bytes, type);
	put_le64(bytes + 8, gpa);
	put_le16(bytes + 16, n);
	memset(bytes + 24, 0xee, 10);
	segs[0].gpa = vdev_bytes(&w, bytes, sizeof(bytes));
	segs[1].gpa = segs[0].gpa + 24;
	cr_assert_eq(vdev_request(&w, 0, segs, 1, 1), 10);
	response = guest_ptr(&w.mem, segs[1].gpa, 10);
	if (state)
		*state = get_le16(response + 8);
	return get_le16(response);
}

static unsigned ask(uint16_t type, unsigned block, uint16_t n)
{
	return ask_at(type, REGION + (uint64_t)block * BLOCK, n, NULL);
}

static unsigned state_of(unsigned block, uint16_t n)
{
	unsigned state = 99;

	cr_assert_eq(ask_at(VIRTIO_MEM_REQ_STATE, REGION + (uint64_t)block * BLOCK, n, &state),
		     ACK);
	return state;
}

static void touch(unsigned block)
{
	memset((char *)ram->host + (uint64_t)block * BLOCK, 0xaa, BLOCK);
}

/* Blocks of which any page is there. */
static unsigned resident(void)
{
	static unsigned char present[(uint64_t)BLOCKS * BLOCK / 4096];
	unsigned n = 0;

	cr_assert_eq(mincore(ram->host, SIZE, present), 0);
	for (unsigned i = 0; i < BLOCKS; i++)
		n += memchr(present + i * BLOCK / 4096, 1, BLOCK / 4096) != NULL;
	return n;
}

static void plug_and_unplug(unsigned combination)
{
	begin(combination);
	request_size("32M");
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 0, 4), ACK);
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 62, 4), ACK, "across a word of the bitmap");
	cr_assert_eq(vdev_config(&w, PLUGGED_SIZE, 8), 8 * BLOCK);
	cr_assert_eq(vdev_stat(&w, "plugged_bytes"), 8 * BLOCK);
	cr_assert_eq(state_of(0, 4), VIRTIO_MEM_STATE_PLUGGED);
	cr_assert_eq(state_of(62, 4), VIRTIO_MEM_STATE_PLUGGED);
	cr_assert_eq(state_of(61, 1), VIRTIO_MEM_STATE_UNPLUGGED);
	cr_assert_eq(state_of(66, 4), VIRTIO_MEM_STATE_UNPLUGGED);
	cr_assert_eq(state_of(3, 2), VIRTIO_MEM_STATE_MIXED);
	touch(0);
	touch(1);
	touch(63);
	cr_assert_eq(resident(), 3);
	cr_assert_eq(ask(VIRTIO_MEM_REQ_UNPLUG, 1, 1), ACK);
	cr_assert_eq(ask(VIRTIO_MEM_REQ_UNPLUG, 63, 3), ACK);
	cr_assert_eq(resident(), 1);
	cr_assert_eq(state_of(0, 4), VIRTIO_MEM_STATE_MIXED);
	cr_assert_eq(vdev_config(&w, PLUGGED_SIZE, 8), 4 * BLOCK);
	cr_assert_eq(ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0), ACK);
	cr_assert_eq(resident(), 0);
	cr_assert_eq(state_of(0, BLOCKS), VIRTIO_MEM_STATE_UNPLUGGED);
	cr_assert_eq(vdev_config(&w, PLUGGED_SIZE, 8), 0);
	end();
}

Test(virtio_mem, plug_and_unplug__in_all_formats_of_the_ring)
{
	for (unsigned i = 0; i < VDEV_COMBINATIONS; i++)
		plug_and_unplug(i);
}

Test(virtio_mem, configuration__says_where_it_is)
{
	begin(0);
	cr_assert_eq(vdev_config(&w, 0, 8), BLOCK, "2 MiB unless it is said");
	cr_assert_eq(vdev_config(&w, 8, 2), 0);
	cr_assert_eq(vdev_config(&w, 16, 8), REGION);
	cr_assert_eq(vdev_config(&w, 24, 8), SIZE);
	cr_assert_eq(vdev_config(&w, 32, 8), SIZE);
	cr_assert_eq(vdev_config(&w, PLUGGED_SIZE, 8), 0);
	cr_assert_eq(vdev_config(&w, REQUESTED_SIZE, 8), 0);
	vdev_write_config(&w, REQUESTED_SIZE, 8, SIZE);
	cr_assert_eq(vdev_config(&w, REQUESTED_SIZE, 8), 0, "not the driver's to write");
	end();
}

Test(virtio_mem, more_than_requested__is_refused)
{
	begin(0);
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 0, 1), NACK);
	request_size("6M");
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 0, 4), NACK);
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 0, 2), ACK);
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 2, 2), NACK);
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 2, 1), ACK);
	cr_assert_eq(vdev_stat(&w, "refusals"), 3);
	request_size("0");
	cr_assert_eq(ask(VIRTIO_MEM_REQ_UNPLUG, 0, 3), ACK, "giving back is always right");
	end();
}

Test(virtio_mem, what_can_not_be__is_an_error_and_changes_nothing)
{
	begin(0);
	request_size("140M");
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 10, 10), ACK);
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 0, 0), ERROR, "no blocks");
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 9, 2), ERROR, "one is plugged");
	cr_assert_eq(ask(VIRTIO_MEM_REQ_UNPLUG, 19, 2), ERROR, "one is not");
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, BLOCKS - 1, 2), ERROR, "over the end");
	cr_assert_eq(ask(VIRTIO_MEM_REQ_STATE, 0, UINT16_MAX), ERROR, "far over the end");
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, BLOCKS, 1), ERROR, "behind it");
	cr_assert_eq(ask_at(VIRTIO_MEM_REQ_PLUG, REGION - BLOCK, 1, NULL), ERROR, "before it");
	cr_assert_eq(ask_at(VIRTIO_MEM_REQ_PLUG, REGION + 4096, 1, NULL), ERROR, "unaligned");
	cr_assert_eq(ask_at(VIRTIO_MEM_REQ_PLUG, 0, 1, NULL), ERROR, "RAM");
	cr_assert_eq(ask_at(VIRTIO_MEM_REQ_PLUG, GIB(3), 1, NULL), ERROR, "the hole");
	cr_assert_eq(ask_at(VIRTIO_MEM_REQ_PLUG, UINT64_MAX - BLOCK + 1, 2, NULL), ERROR, "wraps");
	cr_assert_eq(ask(4, 0, 1), ERROR, "unknown");
	cr_assert_eq(ask(UINT16_MAX, 0, 1), ERROR);
	cr_assert_eq(vdev_stat(&w, "errors"), 13);
	cr_assert_eq(vdev_stat(&w, "plugged_bytes"), 10 * BLOCK);
	cr_assert_eq(state_of(10, 10), VIRTIO_MEM_STATE_PLUGGED);
	end();
}

Test(virtio_mem, malformed_requests__need_a_reset)
{
	enum { NEXT = 1, WRITE = 2 };
	static const struct driver_desc bad[][2] = {
		{{.addr = MIB(1), .len = 23, .flags = NEXT, .more = 1},
		 {.addr = MIB(1), .len = 10, .flags = WRITE}},
		{{.addr = MIB(1), .len = 24, .flags = NEXT, .more = 1},
		 {.addr = MIB(1), .len = 9, .flags = WRITE}},
		{{.addr = MIB(1), .len = 24, .flags = NEXT, .more = 1},
		 {.addr = GUEST_LOW_END - 2, .len = 10, .flags = WRITE}},
		{{.addr = UINT64_MAX - 2, .len = 24, .flags = NEXT, .more = 1},
		 {.addr = MIB(1), .len = 10, .flags = WRITE}},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		begin(i & 1);
		vdev_break(&w, 0, bad[i], 2);
		vdev_reset(&w);
		vdev_up(&w, 0);
		cr_assert_eq(state_of(0, 1), VIRTIO_MEM_STATE_UNPLUGGED);
		end();
	}
}

Test(virtio_mem, set__tells_the_guest_and_plugging_does_not)
{
	struct err err;
	uint32_t before;

	begin(0);
	request_size("64M");
	vdev_await_config(&w);
	cr_assert_eq(vdev_config(&w, REQUESTED_SIZE, 8), MIB(64));
	cr_assert_eq(vdev_stat(&w, "requested_bytes"), MIB(64));
	before = virtio_dev_generation(w.dev);
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 0, 4), ACK);
	cr_assert_eq(vdev_config_changes(&w), 0);
	cr_assert_neq(virtio_dev_generation(w.dev), before, "but it is not read torn");
	cr_assert_eq(vdev_verb(&w, "3M", NULL, &err), -EINVAL);
	cr_assert(strstr(err.msg, "steps of 2M") && strstr(err.msg, "140M"), "%s", err.msg);
	cr_assert_eq(vdev_verb(&w, "142M", NULL, &err), -EINVAL);
	cr_assert_eq(vdev_verb(&w, "lots", NULL, &err), -EINVAL);
	cr_assert(strstr(err.msg, "lots"), "%s", err.msg);
	cr_assert_eq(vdev_config(&w, REQUESTED_SIZE, 8), MIB(64));
	end();
}

Test(virtio_mem, a_driver_that_goes__leaves_memory_plugged_and_a_machine_reset_does_not)
{
	begin(0);
	request_size("64M");
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 5, 3), ACK);
	touch(5);
	vdev_reset(&w);
	vdev_up(&w, 0);
	cr_assert_eq(state_of(5, 3), VIRTIO_MEM_STATE_PLUGGED);
	cr_assert_eq(vdev_config(&w, PLUGGED_SIZE, 8), 3 * BLOCK);
	cr_assert_eq(resident(), 1);

	w.dev->dev.ops->reset(&w.dev->dev);
	cr_assert_eq(resident(), 0);
	cr_assert_eq(vdev_config(&w, PLUGGED_SIZE, 8), 0);
	cr_assert_eq(vdev_config(&w, REQUESTED_SIZE, 8), MIB(64), "the guest shall plug it again");
	vdev_up(&w, 0);
	cr_assert_eq(state_of(0, BLOCKS), VIRTIO_MEM_STATE_UNPLUGGED);
	end();
}

Test(virtio_mem, saved_and_loaded__it_goes_on)
{
	for (unsigned i = 0; i < VDEV_COMBINATIONS; i++) {
		begin(i);
		request_size("64M");
		cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 60, 10), ACK);
		for (unsigned n = 0; n < 3; n++) {
			vdev_replace(&w, make);
			cr_assert_eq(state_of(60, 10), VIRTIO_MEM_STATE_PLUGGED);
			cr_assert_eq(state_of(0, 60), VIRTIO_MEM_STATE_UNPLUGGED);
			cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 0, 22), ACK);
			cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 22, 1), NACK);
			cr_assert_eq(ask(VIRTIO_MEM_REQ_UNPLUG, 0, 22), ACK);
			cr_assert_eq(vdev_config(&w, PLUGGED_SIZE, 8), 10 * BLOCK);
			cr_assert_eq(vdev_config(&w, REQUESTED_SIZE, 8), MIB(64));
		}
		end();
	}
}

Test(virtio_mem, spoilt_state__is_refused_or_survived)
{
	struct saved saved;
	struct err err = {0};

	begin(0);
	cr_assert_eq(w.dev->dev.ops->quiesce(&w.dev->dev, 10 * NS_PER_S, &err), 0);
	saved_take(&saved, &w.dev->dev);
	saved_check_lengths(&saved, &w.dev->dev);
	saved_check_bytes(&saved, &w.dev->dev, NULL);
	saved.payload[saved.len - 1] = 0x80;
	cr_assert_lt(saved_load(&saved, &w.dev->dev, &err), 0, "a block behind the last");
	saved.payload[saved.len - 1] = 0;
	err = (struct err){0};
	cr_assert_eq(saved_load(&saved, &w.dev->dev, &err), 0, "%s", err.msg);
	end();
}

Test(virtio_mem, a_region_that_can_not_be__is_refused)
{
	struct virtio_dev *dev = NULL;
	struct virtio_mem_setup good;

	prepare(0, &(struct mm_ram_opts){.size = SIZE});
	setup.loops = &w.loop;
	good = setup;
	setup.size = SIZE + BLOCK;
	cr_assert_eq(virtio_mem_new(&setup, &dev), -EINVAL, "not all of it is in the map");
	setup = good;
	setup.gpa += 4096;
	setup.size = BLOCK;
	cr_assert_eq(virtio_mem_new(&setup, &dev), -EINVAL, "unaligned");
	setup = good;
	setup.block_size = MIB(3);
	cr_assert_eq(virtio_mem_new(&setup, &dev), -EINVAL);
	setup = good;
	setup.requested = MIB(1);
	cr_assert_eq(virtio_mem_new(&setup, &dev), -EINVAL);
	setup = good;
	setup.size = 0;
	cr_assert_eq(virtio_mem_new(&setup, &dev), -EINVAL);
	setup = good;
	setup.requested = MIB(4);
	vdev_take(&w, make());
	cr_assert_eq(vdev_config(&w, REQUESTED_SIZE, 8), MIB(4));
	end();
}

/* More than any host has. */
Test(virtio_mem, no_huge_pages__the_guest_is_told_to_wait)
{
	prepare(0, &(struct mm_ram_opts){.size = GIB(64), .page_size = MIB(2), .on_demand = true});
	setup.requested = GIB(64);
	vdev_take(&w, make());
	vdev_up(&w, 0);
	cr_assert_eq(vdev_config(&w, 0, 8), MIB(2));
	cr_assert_eq(ask(VIRTIO_MEM_REQ_PLUG, 0, 32768), BUSY);
	cr_assert_eq(vdev_stat(&w, "shortages"), 1);
	cr_assert_eq(vdev_stat(&w, "plugged_bytes"), 0);
	end();
}
