/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver for the first port of a virtio console (virtio 1.2, 5.3) that sends more than any driver
 * does: chains=N chains of segments=N segments, each of which is the same mib=N MiB of memory.
 * Prints `sent`, and is done when all have come back.
 */
#include "rt/args.h"
#include "rt/guest.h"
#include "rt/print.h"
#include "rt/vdev.h"
#include "rt/vring.h"

enum { QUEUE_SEND = 1, QUEUES = 2, MOST = 64, INDIRECT = 4 };

static struct vdev console;
static struct vring rings[QUEUES];
static struct vring_memory memory[QUEUES] __attribute__((aligned(4096)));
static struct vring_desc table[MOST] __attribute__((aligned(64)));

static uint32_t number(const char *name, uint32_t fallback)
{
	uint64_t n = args_number(name, fallback);

	return n < fallback ? (uint32_t)n : fallback;
}

static bool set_up_queue(unsigned i)
{
	uint16_t size = vdev_queue_max(&console, i);

	if (!guest_check(size >= MOST, "the queues are large enough"))
		return false;
	vring_init(&rings[i], &memory[i], MOST, false);
	vring_no_interrupts(&rings[i]);
	vdev_set_queue(&console, i, MOST, memory[i].desc, &memory[i].driver, &memory[i].device,
		       0xffff);
	return true;
}

static bool bring_up(void)
{
	const uint64_t wanted = 1ull << VDEV_F_VERSION_1 | 1ull << VDEV_F_INDIRECT;
	bool ok = true;

	if (!guest_check(vdev_find(VDEV_CONSOLE, 0, &console), "there is a console") ||
	    !guest_check(vdev_begin(&console, wanted) && console.features == wanted,
			 "the features are accepted"))
		return false;
	for (unsigned i = 0; i < QUEUES && ok; i++)
		ok = set_up_queue(i);
	vdev_driver_ok(&console);
	return ok;
}

/* All chains have one table, and all its segments are one piece of memory. */
static void send(void)
{
	const struct vring_buffer all = {table, number("segments", MOST) * sizeof(table[0]), false};
	struct vring *ring = &rings[QUEUE_SEND];
	uint32_t n = number("segments", MOST);

	for (uint32_t i = 0; i < n; i++)
		table[i] = (struct vring_desc){.addr = 16 << 20,
					       .len = (uint32_t)args_number("mib", 16) << 20,
					       .flags_or_id = i + 1 < n ? VRING_NEXT : 0,
					       .next_or_flags = (uint16_t)(i + 1)};
	n = number("chains", MOST);
	for (uint16_t i = 0; i < n; i++) {
		vring_add(ring, i, &all, 1);
		ring->m->desc[i].flags_or_id |= INDIRECT;
	}
	(void)vring_publish(ring);
	vdev_kick_at(vdev_kick_address(&console, QUEUE_SEND), QUEUE_SEND);
}

static void wait_for(uint32_t n)
{
	uint32_t len;

	while (n > 0)
		if (vring_take(&rings[QUEUE_SEND], &len) >= 0)
			n--;
}

int guest_main(const struct pvh_start_info *info)
{
	bool ok;

	guest_init(info);
	ok = bring_up();
	if (ok) {
		send();
		print("sent\n");
		wait_for(number("chains", MOST));
	}
	return guest_finish("console", ok);
}
