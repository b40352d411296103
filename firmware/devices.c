/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver for one virtio device of each kind, all at once: brings up those that there are and has
 * each do one thing. For net that is a frame of type 0x88b5 in each direction, the guest's first;
 * for vsock a connection of the host's to port 1234, which it accepts.
 *
 * stop=master (pci), stop=ready (mmio) or stop=queues: then stops all queues of each device in
 * turn, by bus mastering, by QueueReady or each by a reset of its own; says "stopped NAME", waits
 * for a byte of input, resets the device, says "reset NAME", brings it up again and has it do the
 * same. Without it, or when that is done: "ready", and asleep until a byte of input comes.
 * Others: packed=1.
 */
#include "rt/apic.h"
#include "rt/args.h"
#include "rt/cpu.h"
#include "rt/guest.h"
#include "rt/mem.h"
#include "rt/print.h"
#include "rt/serial.h"
#include "rt/vdev.h"
#include "rt/vring.h"

enum { QUEUES = 8, RING = 16, PAGE = 4096, F_STATUS = 1 << 16 };

struct driver {
	const char *name;
	unsigned type;
	uint64_t features;
	bool (*work)(struct driver *d); /* true: it did its thing */

	bool found;
	struct vdev dev;
	unsigned n_queues;
	struct vring rings[QUEUES];
	struct vring_memory memory[QUEUES] __attribute__((aligned(PAGE)));
};

/* ---- requests ---- */

static void kick(struct driver *d, unsigned queue)
{
	if (vring_publish(&d->rings[queue]))
		vdev_kick_at(vdev_kick_address(&d->dev, queue), queue);
}

static uint32_t await(struct driver *d, unsigned queue)
{
	uint32_t written;

	while (vring_take(&d->rings[queue], &written) < 0)
		cpu_pause();
	return written;
}

static uint32_t request(struct driver *d, unsigned queue, const struct vring_buffer *b, unsigned n)
{
	vring_add(&d->rings[queue], 0, b, n);
	kick(d, queue);
	return await(d, queue);
}

/* ---- what each does ---- */

/* 5.1.6: a frame to everybody, and the first of its kind that comes back. */
static bool exchange_frames(struct driver *d)
{
	enum { RX, TX, CONFIG_STATUS = 6, LINK_UP = 1, HEADER = 12, TYPE_AT = HEADER + 12 };
	static const uint8_t type[2] = {0x88, 0xb5}; /* for experiments */
	static uint8_t out[HEADER + 60], in[2048];
	const struct vring_buffer to = {out, sizeof(out), false}, from = {in, sizeof(in), true};

	while (!(vdev_config8(&d->dev, CONFIG_STATUS) & LINK_UP))
		cpu_pause();
	memset(out + HEADER, 0xff, 6);
	memcpy(out + TYPE_AT, type, sizeof(type));
	vring_add(&d->rings[RX], 0, &from, 1);
	kick(d, RX);
	(void)request(d, TX, &to, 1);
	while (await(d, RX) < sizeof(out) || memcmp(in + TYPE_AT, type, sizeof(type)) != 0) {
		vring_add(&d->rings[RX], 0, &from, 1);
		kick(d, RX);
	}
	return true;
}

/* 5.2.6 */
static bool read_sector(struct driver *d)
{
	enum { OK = 0 };
	static uint8_t head[16], data[512], status;
	const struct vring_buffer b[] = {
		{head, sizeof(head), false}, {data, sizeof(data), true}, {&status, 1, true}};

	status = 0xff;
	return request(d, 0, b, 3) == sizeof(data) + 1 && status == OK;
}

/* 5.3.6 */
static bool write_line(struct driver *d)
{
	enum { TX = 1 };
	static const char line[] = "the console works\n";
	const struct vring_buffer b = {line, sizeof(line) - 1, false};

	(void)request(d, TX, &b, 1);
	return true;
}

/* 5.4.6 */
static bool get_entropy(struct driver *d)
{
	static uint8_t bytes[64];
	const struct vring_buffer b = {bytes, sizeof(bytes), true};

	return request(d, 0, &b, 1) > 0;
}

/* 5.5.6: a page goes into the balloon. */
static bool give_page(struct driver *d)
{
	enum { INFLATE = 0 };
	static uint8_t page[PAGE] __attribute__((aligned(PAGE)));
	static uint32_t number;
	const struct vring_buffer b = {&number, sizeof(number), false};

	number = (uint32_t)((uintptr_t)page / PAGE);
	page[0] = 1;
	(void)request(d, INFLATE, &b, 1);
	return page[0] == 0;
}

/* 5.15.6: the first block is not plugged. */
static bool ask_state(struct driver *d)
{
	enum { STATE = 3, ACK = 0, UNPLUGGED = 1, CONFIG_ADDR = 16 };
	static struct {
		uint16_t type, padding[3];
		uint64_t addr;
		uint16_t blocks, padding2[3];
	} question;
	static struct {
		uint16_t type, padding[3], state;
	} answer;
	const struct vring_buffer b[] = {{&question, sizeof(question), false},
					 {&answer, sizeof(answer), true}};

	question.type = STATE;
	question.addr = vdev_config32(&d->dev, CONFIG_ADDR) |
			(uint64_t)vdev_config32(&d->dev, CONFIG_ADDR + 4) << 32;
	question.blocks = 1;
	answer.type = answer.state = 0xffff;
	return request(d, 0, b, 2) == sizeof(answer) && answer.type == ACK &&
	       answer.state == UNPLUGGED;
}

/* 5.19.6 */
static bool flush(struct driver *d)
{
	static uint32_t type, result;
	const struct vring_buffer b[] = {{&type, sizeof(type), false},
					 {&result, sizeof(result), true}};

	result = UINT32_MAX;
	return request(d, 0, b, 2) == sizeof(result) && result == 0;
}

/* 5.10.6 */
struct vsock_packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
	uint8_t payload[212];
} __attribute__((packed));

/* Only one buffer is on offer: after the request comes nothing that would need another. */
static bool accept_connection(struct driver *d)
{
	enum { RX, TX, HEADER = 44, REQUEST = 1, RESPONSE = 2, STREAM = 1, PORT = 1234 };
	static struct vsock_packet in, out;
	const struct vring_buffer from = {&in, sizeof(in), true}, to = {&out, HEADER, false};

	vring_add(&d->rings[RX], 0, &from, 1);
	kick(d, RX);
	print("listening\n");
	if (await(d, RX) != HEADER || in.op != REQUEST || in.dst_port != PORT)
		return false;
	out = (struct vsock_packet){.src_cid = in.dst_cid,
				    .dst_cid = in.src_cid,
				    .src_port = in.dst_port,
				    .dst_port = in.src_port,
				    .type = STREAM,
				    .op = RESPONSE,
				    .buf_alloc = sizeof(in.payload)};
	(void)request(d, TX, &to, 1);
	return true;
}

static struct driver drivers[] = {
	{.name = "net", .type = VDEV_NET, .features = F_STATUS, .work = exchange_frames},
	{.name = "blk", .type = VDEV_BLK, .work = read_sector},
	{.name = "console", .type = VDEV_CONSOLE, .work = write_line},
	{.name = "rng", .type = VDEV_RNG, .work = get_entropy},
	{.name = "balloon", .type = VDEV_BALLOON, .work = give_page},
	{.name = "vsock", .type = VDEV_VSOCK, .work = accept_connection},
	{.name = "mem", .type = VDEV_MEM, .work = ask_state},
	{.name = "pmem", .type = VDEV_PMEM, .work = flush},
};
enum { DRIVERS = sizeof(drivers) / sizeof(drivers[0]) };

/* ---- up ---- */

static void set_queue(struct driver *d, unsigned i, uint16_t most)
{
	uint16_t size = most < RING ? most : RING;
	struct vring_memory *m = &d->memory[i];

	memset(m, 0, sizeof(*m));
	vring_init(&d->rings[i], m, size, d->dev.features >> VDEV_F_RING_PACKED & 1);
	vring_no_interrupts(&d->rings[i]);
	vdev_set_queue(&d->dev, i, size, m->desc, &m->driver, &m->device, 0xffff);
}

static bool bring_up(struct driver *d)
{
	uint64_t wanted = d->features | 1ull << VDEV_F_VERSION_1 | 1ull << VDEV_F_RING_RESET |
			  (args_is("packed", "1") ? 1ull << VDEV_F_RING_PACKED : 0);
	uint16_t most;

	if (!guest_check(vdev_begin(&d->dev, wanted), "the features are accepted"))
		return false;
	d->n_queues = 0;
	for (unsigned i = 0; i < QUEUES && (most = vdev_queue_max(&d->dev, i)) > 0; i++) {
		set_queue(d, i, most);
		d->n_queues++;
	}
	vdev_driver_ok(&d->dev);
	if (!d->work(d)) {
		print("%s failed\n", d->name);
		return false;
	}
	print("up %s\n", d->name);
	return true;
}

static bool bring_all_up(void)
{
	bool ok = true;

	for (unsigned i = 0; i < DRIVERS; i++) {
		struct driver *d = &drivers[i];

		d->found = vdev_find(d->type, 0, &d->dev);
		if (d->found)
			ok &= bring_up(d);
	}
	return ok;
}

/* ---- down and up again ---- */

static void stop_queues(struct driver *d)
{
	if (args_is("stop", "master")) {
		vdev_bus_master(&d->dev, false);
		return;
	}
	for (unsigned i = 0; i < d->n_queues; i++)
		if (args_is("stop", "ready"))
			vdev_unready_queue(&d->dev, i);
		else
			vdev_reset_queue(&d->dev, i);
}

static bool start_anew(struct driver *d)
{
	stop_queues(d);
	print("stopped %s\n", d->name);
	(void)serial_getc();
	vdev_reset(&d->dev);
	print("reset %s\n", d->name);
	if (args_is("stop", "master"))
		vdev_bus_master(&d->dev, true);
	return bring_up(d);
}

int guest_main(const struct pvh_start_info *info)
{
	bool ok;

	guest_init(info);
	apic_init();
	ok = bring_all_up();
	for (unsigned i = 0; i < DRIVERS && args_find("stop"); i++)
		if (drivers[i].found)
			ok &= start_anew(&drivers[i]);
	print("ready\n");
	(void)serial_getc_irq();
	return guest_finish("devices", ok);
}
