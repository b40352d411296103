/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames to or from a virtio network device from CPL 3, polled: the guest's half of the tap rows of
 * tools/bench. Words: rx=1 (receive, else send), frames=N, size=BYTES, packed=1. Prints "begin",
 * waits for a byte of input, runs, prints "end", waits for a byte, and exits with 0. Runs unchanged
 * under QEMU.
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

enum {
	RX,
	TX,
	QUEUES,
	BUFFER = 2048,
	HEADER = 12,
	IN_RING = 128,
	MIN_FRAME = 60,
	MAX_FRAME = 1514
};

static struct vdev net;
static struct vring rings[QUEUES];
static struct vring_memory memory[QUEUES] __attribute__((aligned(4096)));
static uint8_t buffers[IN_RING][BUFFER] __attribute__((aligned(4096)));
static volatile uint32_t *kicks[QUEUES];
static uint64_t n_frames;
static uint32_t frame_size;
static bool receive;

static void add(unsigned i)
{
	struct vring_buffer buffer = {buffers[i], receive ? BUFFER : HEADER + frame_size, receive};

	vring_add(&rings[receive ? RX : TX], (uint16_t)i, &buffer, 1);
}

static void show_to_device(void)
{
	unsigned queue = receive ? RX : TX;

	if (vring_publish(&rings[queue]))
		vdev_kick_at(kicks[queue], queue);
}

/* Keeps the ring full until all frames are done. */
static void run(void)
{
	struct vring *ring = &rings[receive ? RX : TX];
	uint64_t begun = IN_RING, done = 0;
	uint32_t len;

	while (done < n_frames) {
		bool more = false;
		int id;

		while ((id = vring_take(ring, &len)) >= 0) {
			done++;
			if (!receive && begun >= n_frames)
				continue;
			add((unsigned)id);
			begun++;
			more = true;
		}
		if (more)
			show_to_device();
		else
			cpu_pause();
	}
}

static void measure(void)
{
	print("begin\n");
	(void)serial_getc();
	for (unsigned i = 0; i < IN_RING; i++)
		add(i);
	show_to_device();
	run();
	print("end\n");
	(void)serial_getc();
	for (;;)
		outb(VMM_EXIT_PORT, 0);
}

/* To everybody, from a locally administered address, of a type for experiments (IEEE 802). */
static void fill_frames(void)
{
	static const uint8_t start[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
					0,    0,    0,	  0,	1,    0x88, 0xb5};

	for (unsigned i = 0; i < IN_RING; i++)
		memcpy(buffers[i] + HEADER, start, sizeof(start));
}

static bool bring_up(void)
{
	uint64_t wanted = 1ull << VDEV_F_VERSION_1 |
			  (args_is("packed", "1") ? 1ull << VDEV_F_RING_PACKED : 0);

	if (!vdev_find(VDEV_NET, 0, &net) || !vdev_begin(&net, wanted))
		return false;
	for (unsigned i = 0; i < QUEUES; i++) {
		vring_init(&rings[i], &memory[i], VRING_MAX,
			   net.features >> VDEV_F_RING_PACKED & 1);
		vring_no_interrupts(&rings[i]);
		vdev_set_queue(&net, i, VRING_MAX, memory[i].desc, &memory[i].driver,
			       &memory[i].device, 0xffff);
	}
	vdev_driver_ok(&net);
	for (unsigned i = 0; i < QUEUES; i++)
		kicks[i] = vdev_kick_address(&net, i);
	return true;
}

int guest_main(const struct pvh_start_info *info)
{
	guest_init(info);
	receive = args_is("rx", "1");
	n_frames = args_number("frames", 100000);
	frame_size = (uint32_t)args_number("size", MIN_FRAME);
	if (!guest_check(n_frames >= IN_RING && frame_size >= MIN_FRAME && frame_size <= MAX_FRAME,
			 "frames=128 or more, size=60 to 1514") ||
	    !guest_check(bring_up(), "there is a network device"))
		return guest_finish("netbench", false);
	fill_frames();
	user_run(measure);
}
