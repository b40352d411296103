/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver for virtio-net (virtio 1.2, 5.1) that polls, with a little of the Internet on top: gets
 * an address by DHCP, then does what the words say. connect=PORT: connects to the gateway, says a
 * line and hears one. listen=PORT: prints "listening", answers each line of whoever connects until
 * one of them says quit, and sends back datagrams to the same port; meanwhile prints "link up" and
 * "link down". Others: net=N, packed=1.
 */
#include "rt/args.h"
#include "rt/cpu.h"
#include "rt/guest.h"
#include "rt/inet.h"
#include "rt/mem.h"
#include "rt/print.h"
#include "rt/vdev.h"
#include "rt/vring.h"

enum {
	RX,
	TX,
	QUEUES,
	BUFFERS = 16,
	HEADER = 12,
	BUFFER = 2048,
	F_MAC = 5,
	F_STATUS = 16,
	CONFIG_STATUS = 6,
	LINK_UP = 1,
	LOOK_TSC = 20000000, /* some milliseconds between looks at the link */
};

static struct vdev net;
static struct vring rings[QUEUES];
static struct vring_memory memory[QUEUES] __attribute__((aligned(4096)));
static uint8_t rx[BUFFERS][BUFFER] __attribute__((aligned(4096)));
static uint8_t tx[BUFFER] __attribute__((aligned(4096)));
static volatile uint32_t *kicks[QUEUES];

/* ---- the device ---- */

static void show_to_device(unsigned queue)
{
	if (vring_publish(&rings[queue]))
		vdev_kick_at(kicks[queue], queue);
}

static void offer(unsigned i)
{
	struct vring_buffer buffer = {rx[i], BUFFER, true};

	vring_add(&rings[RX], (uint16_t)i, &buffer, 1);
}

static void send(const void *frame, unsigned len)
{
	struct vring_buffer buffer = {tx, HEADER + len, false};
	uint32_t written;

	memset(tx, 0, HEADER);
	memcpy(tx + HEADER, frame, len);
	vring_add(&rings[TX], 0, &buffer, 1);
	show_to_device(TX);
	while (vring_take(&rings[TX], &written) < 0)
		cpu_pause();
}

static unsigned receive(void *frame)
{
	uint32_t len;
	int i = vring_take(&rings[RX], &len);

	if (i < 0)
		return 0;
	len = len < HEADER || len - HEADER > INET_FRAME ? 0 : len - HEADER;
	memcpy(frame, rx[i] + HEADER, len);
	offer((unsigned)i);
	show_to_device(RX);
	return len;
}

static bool bring_up(void)
{
	uint64_t wanted = 1ull << VDEV_F_VERSION_1 | 1ull << F_MAC | 1ull << F_STATUS |
			  (args_is("packed", "1") ? 1ull << VDEV_F_RING_PACKED : 0);

	if (!guest_check(vdev_begin(&net, wanted), "the features are accepted"))
		return false;
	for (unsigned q = 0; q < QUEUES; q++) {
		uint16_t size = vdev_queue_max(&net, q);

		if (size > VRING_MAX)
			size = VRING_MAX;
		vring_init(&rings[q], &memory[q], size, net.features >> VDEV_F_RING_PACKED & 1);
		vring_no_interrupts(&rings[q]);
		vdev_set_queue(&net, q, size, memory[q].desc, &memory[q].driver, &memory[q].device,
			       0xffff);
	}
	vdev_driver_ok(&net);
	for (unsigned q = 0; q < QUEUES; q++)
		kicks[q] = vdev_kick_address(&net, q);
	for (unsigned i = 0; i < BUFFERS; i++)
		offer(i);
	show_to_device(RX);
	return true;
}

static void print_mac(const uint8_t mac[6])
{
	print("mac %02x:%02x:%02x:%02x:%02x:%02x\n", mac[0], mac[1], mac[2], mac[3], mac[4],
	      mac[5]);
}

/* Says so when the link goes or comes, and once at first. */
static void watch_link(void)
{
	static uint64_t last;
	static int known = -1;
	int up;

	if (last && rdtsc() - last < LOOK_TSC)
		return;
	last = rdtsc();
	up = vdev_config8(&net, CONFIG_STATUS) & LINK_UP;
	if (up != known)
		print("link %s\n", up ? "up" : "down");
	known = up;
}

/* ---- what is done with it ---- */

static const char *hear(void)
{
	const char *line;

	while (!(line = inet_heard()) && !inet_is_closed())
		inet_poll();
	return line;
}

static bool call(uint32_t gateway, uint16_t port)
{
	const char *line;

	if (!guest_check(inet_connect(gateway, port), "the host takes the connection"))
		return false;
	inet_say("hello from the guest");
	line = hear();
	print("the host said: %s\n", line ? line : "(nothing)");
	inet_close();
	return guest_check(line, "the host answers");
}

static bool is(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static void serve(uint16_t port)
{
	inet_listen(port);
	inet_echo_udp(port);
	print("listening\n");
	for (;;) {
		const char *line = inet_heard();

		inet_poll();
		watch_link();
		if (!line)
			continue;
		print("somebody said: %s\n", line);
		inet_say(line);
		inet_close();
		if (is(line, "quit"))
			return;
	}
}

static bool use(void)
{
	static const struct inet_ops ops = {.send = send, .receive = receive};
	struct inet_lease lease;
	uint8_t mac[6];
	bool ok = true;

	for (unsigned i = 0; i < sizeof(mac); i++)
		mac[i] = vdev_config8(&net, i);
	print_mac(mac);
	watch_link();
	inet_init(&ops, mac);
	inet_configure(&lease);
	inet_print_address("address", lease.address);
	inet_print_address("gateway", lease.gateway);
	print("mtu %u\n", lease.mtu);
	if (args_find("connect"))
		ok = call(lease.gateway, (uint16_t)args_number("connect", 0));
	if (ok && args_find("listen"))
		serve((uint16_t)args_number("listen", 0));
	return ok;
}

int guest_main(const struct pvh_start_info *info)
{
	unsigned nth;
	bool ok;

	guest_init(info);
	nth = (unsigned)args_number("net", 0);
	ok = guest_check(vdev_find(VDEV_NET, nth, &net), "there is a network device");
	ok = ok && bring_up() && use();
	return guest_finish("net", ok);
}
