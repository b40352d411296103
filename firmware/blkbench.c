/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random 4 KiB requests to a virtio disk from CPL 3, polled: the guest's half of the block rows of
 * tools/bench. Words: depth=N, write=1, requests=N, packed=1. Prints "begin", waits for a byte of
 * input, runs, prints "end TICKS", waits for a byte, and exits with 0 if no request failed. Runs
 * unchanged under QEMU.
 */
#include "abi.h"

#include "rt/args.h"
#include "rt/cpu.h"
#include "rt/guest.h"
#include "rt/io.h"
#include "rt/mem.h"
#include "rt/print.h"
#include "rt/serial.h"
#include "rt/user.h"
#include "rt/vdev.h"
#include "rt/vring.h"

enum { BLOCK = 4096, SECTORS = BLOCK / 512, MAX_DEPTH = 64, SEGMENTS = 3 };

struct request {
	uint32_t type, reserved;
	uint64_t sector;
	uint8_t status;
} __attribute__((aligned(64)));

static struct vdev disk;
static struct vring ring;
static struct vring_memory ring_memory __attribute__((aligned(4096)));
static struct request requests[MAX_DEPTH];
static uint8_t blocks[MAX_DEPTH][BLOCK] __attribute__((aligned(4096)));
static volatile uint32_t *kick;
static uint64_t n_blocks, n_requests;
static unsigned depth, type;
static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void add(unsigned i)
{
	const struct vring_buffer buffers[SEGMENTS] = {{&requests[i], 16, false},
						       {blocks[i], BLOCK, type == 0},
						       {&requests[i].status, 1, true}};

	requests[i].sector = next_random() % n_blocks * SECTORS;
	vring_add(&ring, (uint16_t)(i * SEGMENTS), buffers, SEGMENTS);
}

static void show_to_device(void)
{
	if (vring_publish(&ring))
		vdev_kick_at(kick, 0);
}

/* Keeps `depth` requests under way until all are done; the number that failed. */
static unsigned run(void)
{
	uint64_t begun = depth, done = 0;
	unsigned failed = 0;
	uint32_t len;

	for (unsigned i = 0; i < depth; i++)
		add(i);
	show_to_device();
	while (done < n_requests) {
		bool more = false;
		int id;

		while ((id = vring_take(&ring, &len)) >= 0) {
			done++;
			failed += requests[id / SEGMENTS].status != 0;
			if (begun >= n_requests)
				continue;
			add((unsigned)id / SEGMENTS);
			begun++;
			more = true;
		}
		if (more)
			show_to_device();
		else
			cpu_pause();
	}
	return failed;
}

static void measure(void)
{
	uint64_t start, ticks;
	unsigned failed;

	print("begin\n");
	(void)serial_getc();
	start = rdtsc();
	failed = run();
	ticks = rdtsc() - start;
	print("end %lu\n", ticks);
	(void)serial_getc();
	for (;;)
		outb(VMM_EXIT_PORT, failed != 0);
}

enum { F_FLUSH = 9 };

static bool bring_up(void)
{
	/* With FLUSH, a write need not be on the disk when it is done (virtio 1.2, 5.2.6.2). */
	uint64_t wanted = 1ull << VDEV_F_VERSION_1 | 1ull << F_FLUSH |
			  (args_is("packed", "1") ? 1ull << VDEV_F_RING_PACKED : 0);

	if (!vdev_find(VDEV_BLK, 0, &disk) || !vdev_begin(&disk, wanted))
		return false;
	vring_init(&ring, &ring_memory, VRING_MAX, disk.features >> VDEV_F_RING_PACKED & 1);
	vring_no_interrupts(&ring);
	vdev_set_queue(&disk, 0, VRING_MAX, ring_memory.desc, &ring_memory.driver,
		       &ring_memory.device, 0xffff);
	vdev_driver_ok(&disk);
	kick = vdev_kick_address(&disk, 0);
	return true;
}

int guest_main(const struct pvh_start_info *info)
{
	guest_init(info);
	depth = (unsigned)args_number("depth", 1);
	type = args_is("write", "1");
	n_requests = args_number("requests", 100000);
	if (!guest_check(depth >= 1 && depth <= MAX_DEPTH && n_requests >= depth,
			 "depth=1 to 64, and no more than requests=") ||
	    !guest_check(bring_up(), "there is a disk"))
		return guest_finish("blkbench", false);
	n_blocks = (vdev_config32(&disk, 0) | (uint64_t)vdev_config32(&disk, 4) << 32) / SECTORS;
	for (unsigned i = 0; i < MAX_DEPTH; i++)
		requests[i].type = type;
	user_run(measure);
}
