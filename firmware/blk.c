/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver for virtio-blk (virtio 1.2, 5.2) that polls, or sleeps for MSI-X or for the pin
 * irq_pin=N with irq=1: what it writes comes back. Words: disk=N, packed=1, queues=N, rounds=N
 * (each with a reset of the device in between), requests=N at once, fail=1 and ro=1 (reads, writes
 * are to end with an I/O error), show=1 (prints the capacity and the serial), load=1 (goes on
 * until a byte of input), wait=1 or wait=irq (does a round for each byte of input until q: f and w
 * are rounds whose reads or writes fail; asleep meanwhile with irq).
 */
#include "rt/apic.h"
#include "rt/args.h"
#include "rt/cpu.h"
#include "rt/guest.h"
#include "rt/idt.h"
#include "rt/mem.h"
#include "rt/print.h"
#include "rt/serial.h"
#include "rt/vdev.h"
#include "rt/vring.h"

enum {
	T_IN = 0,
	T_OUT = 1,
	T_FLUSH = 4,
	T_GET_ID = 8,
	S_OK = 0,
	S_IOERR = 1,
	SECTOR = 512,
	BLOCK = 4096,
	MAX_REQUESTS = 32,
	MAX_QUEUES = 8,
	VECTOR = 0x40,
	SERIAL_LEN = 20,
	STATUS_POISON = 0xee,
};

struct request {
	uint32_t type, reserved;
	uint64_t sector;
	uint8_t status;
} __attribute__((aligned(64)));

static struct vdev disk;
static struct queue {
	struct vring ring;
	volatile uint32_t *kick;
} queues[MAX_QUEUES];
static struct vring_memory memory[MAX_QUEUES] __attribute__((aligned(4096)));
static unsigned n_queues;
static struct request requests[MAX_REQUESTS];
static uint8_t blocks[MAX_REQUESTS][BLOCK] __attribute__((aligned(4096)));
static volatile unsigned interrupts, empty_interrupts;
static bool by_interrupt;

static void on_interrupt(struct trap_frame *frame)
{
	(void)frame;
	interrupts++;
	if (disk.mmio && !vdev_take_interrupt(&disk))
		empty_interrupts++;
	apic_eoi();
}

static bool set_up_queue(unsigned i)
{
	struct queue *q = &queues[i];
	struct vring_memory *m = &memory[i];
	uint16_t size = vdev_queue_max(&disk, i);

	if (!guest_check(size > 0, "there are so many queues"))
		return false;
	if (size > VRING_MAX)
		size = VRING_MAX;
	memset(m, 0, sizeof(*m));
	vring_init(&q->ring, m, size, disk.features >> VDEV_F_RING_PACKED & 1);
	if (!by_interrupt)
		vring_no_interrupts(&q->ring);
	vdev_set_queue(&disk, i, size, m->desc, &m->driver, &m->device, by_interrupt ? 0 : 0xffff);
	q->kick = vdev_kick_address(&disk, i);
	return true;
}

static void set_up_interrupt(void)
{
	if (disk.mmio)
		ioapic_route((unsigned)args_number("irq_pin", 0), VECTOR, apic_id());
	else
		vdev_msix(&disk, 0, VECTOR);
}

static bool bring_up(void)
{
	uint64_t wanted = 1ull << VDEV_F_VERSION_1 |
			  (args_is("packed", "1") ? 1ull << VDEV_F_RING_PACKED : 0);
	bool ok = true;

	if (!guest_check(vdev_begin(&disk, wanted), "the features are accepted"))
		return false;
	if (by_interrupt)
		set_up_interrupt();
	for (unsigned i = 0; i < n_queues && ok; i++)
		ok = set_up_queue(i);
	vdev_driver_ok(&disk);
	return ok && guest_check(vdev_queue_is_frozen(&disk, 0), "the queue is frozen");
}

static void add(unsigned i, uint32_t type, uint64_t sector, uint32_t len)
{
	struct vring_buffer buffers[3] = {{&requests[i], 16, false},
					  {blocks[i], len, type != T_OUT},
					  {&requests[i].status, 1, true}};

	requests[i] = (struct request){.type = type, .sector = sector, .status = STATUS_POISON};
	if (len == 0)
		buffers[1] = buffers[2];
	vring_add(&queues[i % n_queues].ring, (uint16_t)(i * 3), buffers, len ? 3 : 2);
}

static unsigned take_all(void)
{
	unsigned n = 0;
	uint32_t len;

	for (unsigned i = 0; i < n_queues; i++)
		while (vring_take(&queues[i].ring, &len) >= 0)
			n++;
	return n;
}

static void wait_for(unsigned n)
{
	unsigned seen = interrupts;

	for (;;) {
		n -= take_all();
		if (n == 0)
			return;
		while (by_interrupt && interrupts == seen)
			irq_wait();
		seen = interrupts;
	}
}

/* n requests of one kind at once; all of them end with `status`. */
static bool all(unsigned n, uint32_t type, uint64_t sector, uint32_t len, uint8_t status)
{
	bool ok = true;

	for (unsigned i = 0; i < n; i++)
		add(i, type, sector + i * (BLOCK / SECTOR), len);
	for (unsigned i = 0; i < n_queues; i++)
		if (vring_publish(&queues[i].ring))
			vdev_kick_at(queues[i].kick, i);
	wait_for(n);
	for (unsigned i = 0; i < n; i++)
		ok &= requests[i].status == status;
	if (!ok)
		print("type %u: status %u, not %u\n", type, requests[0].status, status);
	return ok;
}

static uint32_t stamp(unsigned round, unsigned i)
{
	return 0xb10c0000u + round * MAX_REQUESTS + i;
}

static void fill(unsigned round, unsigned i)
{
	for (unsigned at = 0; at < BLOCK; at += SECTOR)
		memcpy(&blocks[i][at], &(uint32_t){stamp(round, i)}, 4);
}

static bool is_filled(unsigned round, unsigned i)
{
	uint32_t word;

	for (unsigned at = 0; at < BLOCK; at += SECTOR) {
		memcpy(&word, &blocks[i][at], 4);
		if (word != stamp(round, i))
			return false;
	}
	return true;
}

static bool write_and_read(unsigned round, unsigned n)
{
	bool ok = true;

	for (unsigned i = 0; i < n; i++)
		fill(round, i);
	ok &= guest_check(all(n, T_OUT, 0, BLOCK, S_OK), "writes are done");
	ok &= guest_check(all(1, T_FLUSH, 0, 0, S_OK), "a flush is done");
	memset(blocks, 0, sizeof(blocks));
	ok &= guest_check(all(n, T_IN, 0, BLOCK, S_OK), "reads are done");
	for (unsigned i = 0; i < n; i++)
		ok &= guest_check(is_filled(round, i), "what was written is read");
	return ok;
}

static void show(void)
{
	print("capacity %u sectors\n", vdev_config32(&disk, 0));
	if (all(1, T_GET_ID, 0, SERIAL_LEN, S_OK)) {
		blocks[0][SERIAL_LEN] = 0;
		print("serial %s\n", (const char *)blocks[0]);
	}
}

static bool one_round(unsigned round, unsigned n, uint8_t how)
{
	if (how == 'f')
		return guest_check(all(n, T_IN, 0, BLOCK, S_IOERR), "reads fail");
	if (how == 'w')
		return guest_check(all(n, T_OUT, 0, BLOCK, S_IOERR), "writes fail");
	return write_and_read(round, n);
}

static bool rounds_until_input(unsigned n)
{
	unsigned rounds = 0;
	bool ok = true;

	print("ready\n");
	while (ok && serial_poll() < 0)
		ok = one_round(rounds++, n, 0);
	print("rounds %u\n", rounds);
	return ok;
}

static bool rounds_by_input(unsigned n)
{
	bool asleep = args_is("wait", "irq"), ok = true;

	for (unsigned round = 0;; round++) {
		uint8_t how;

		print("ready\n");
		how = asleep ? serial_getc_irq() : serial_getc();
		if (how == 'q')
			return ok;
		ok &= one_round(round, n, how);
		print("round %u capacity %u\n", round, vdev_config32(&disk, 0));
	}
}

static bool first_rounds(unsigned n)
{
	unsigned rounds = (unsigned)args_number("rounds", 1);
	uint8_t how = args_is("fail", "1") ? 'f' : args_is("ro", "1") ? 'w' : 0;
	bool ok = guest_check(rounds > 0 && n_queues > 0 && n_queues <= MAX_QUEUES && n > 0 &&
				      n <= MAX_REQUESTS,
			      "rounds=, queues= and requests= are possible");

	for (unsigned round = 0; round < rounds && ok; round++) {
		ok = bring_up() && one_round(round, n, how);
		if (ok && round == 0 && args_is("show", "1"))
			show();
	}
	return ok;
}

int guest_main(const struct pvh_start_info *info)
{
	unsigned n;
	bool ok;

	guest_init(info);
	apic_init();
	by_interrupt = args_is("irq", "1");
	n_queues = (unsigned)args_number("queues", 1);
	n = (unsigned)args_number("requests", 8);
	idt_set(VECTOR, on_interrupt);
	ok = guest_check(vdev_find(VDEV_BLK, (unsigned)args_number("disk", 0), &disk),
			 "there is a disk") &&
	     first_rounds(n);
	if (ok && args_is("load", "1"))
		ok = rounds_until_input(n);
	if (ok && args_find("wait"))
		ok = rounds_by_input(n);
	if (ok && by_interrupt)
		print("interrupts %s, %u empty\n", interrupts ? "came" : "missing",
		      empty_interrupts);
	return guest_finish("blk", ok);
}
