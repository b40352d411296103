/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/inet.h"

#include "rt/cpu.h"
#include "rt/mem.h"
#include "rt/print.h"

enum {
	ETHER = 14,
	IP = ETHER + 20, /* where the payload of IPv4 begins; no options are sent */
	UDP = IP + 8,
	TYPE_IP = 0x0800,
	TYPE_ARP = 0x0806,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	DHCP_SERVER = 67,
	DHCP_CLIENT = 68,
	DHCP_OPTIONS = 240,
	DHCP_DISCOVER = 1,
	DHCP_REQUEST = 3,
	DHCP_ACK = 5,
	FIN = 1,
	SYN = 2,
	RST = 4,
	PSH = 8,
	ACK = 16,
	WINDOW = 1024,
	MSS = 512,
};
#define AGAIN_TSC 1000000000ull /* a fraction of a second */

static const struct inet_ops *ops;
static uint8_t my_mac[6], peer_mac[6];
static struct inet_lease lease;
static uint8_t in[INET_FRAME], out[INET_FRAME];
static uint16_t echo_port;
static bool have_peer_mac;
static unsigned dhcp_type; /* of the last answer */
static uint32_t dhcp_server, dhcp_offer;

static struct {
	uint32_t address;
	uint16_t port, local;
	uint32_t next_out, next_in;
	bool is_open, refused, remote_closed, listening;
	char line[INET_LINE], said[INET_LINE];
	unsigned n;
} tcp;

/* ---- bytes ---- */

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

static uint32_t sum(const uint8_t *at, unsigned len)
{
	uint32_t total = 0;

	for (unsigned i = 0; i + 1 < len; i += 2)
		total += get16(at + i);
	return len & 1 ? total + (uint32_t)(at[len - 1] << 8) : total;
}

static uint16_t folded(uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)~total;
}

/* ---- sending ---- */

static void send_ether(const uint8_t to[6], unsigned type, unsigned len)
{
	memcpy(out, to, 6);
	memcpy(out + 6, my_mac, 6);
	put16(out + 12, type);
	ops->send(out, len);
}

/* What lies at out + IP. The checksum of TCP and UDP is at sum_at within it. */
static void send_ip(uint32_t to, unsigned protocol, unsigned len, unsigned sum_at)
{
	static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint8_t *ip = out + ETHER;

	memset(ip, 0, IP - ETHER);
	ip[0] = 0x45;
	put16(ip + 2, IP - ETHER + len);
	ip[8] = 64;
	ip[9] = (uint8_t)protocol;
	put32(ip + 12, lease.address);
	put32(ip + 16, to);
	put16(ip + 10, folded(sum(ip, IP - ETHER)));
	put16(out + IP + sum_at, 0);
	put16(out + IP + sum_at, folded(sum(ip + 12, 8) + protocol + len + sum(out + IP, len)));
	send_ether(to == ~0u ? everybody : peer_mac, TYPE_IP, IP + len);
}

static void send_udp(uint32_t to, uint16_t from_port, uint16_t to_port, unsigned len)
{
	put16(out + IP, from_port);
	put16(out + IP + 2, to_port);
	put16(out + IP + 4, UDP - IP + len);
	send_ip(to, PROTOCOL_UDP, UDP - IP + len, 6);
}

static void send_tcp(unsigned flags, const void *data, unsigned len)
{
	uint8_t *t = out + IP;
	unsigned head = flags & SYN ? 24 : 20;

	put16(t, tcp.local);
	put16(t + 2, tcp.port);
	put32(t + 4, tcp.next_out);
	put32(t + 8, flags & ACK ? tcp.next_in : 0);
	t[12] = (uint8_t)(head / 4 << 4);
	t[13] = (uint8_t)flags;
	put16(t + 14, WINDOW);
	put16(t + 18, 0);
	if (flags & SYN)
		put32(t + 20, 2 << 24 | 4 << 16 | MSS);
	memcpy(t + head, data, len);
	send_ip(tcp.address, PROTOCOL_TCP, head + len, 16);
	tcp.next_out += len + (flags & (SYN | FIN) ? 1 : 0);
}

/* ---- ARP ---- */

static void send_arp(unsigned operation, const uint8_t to[6], uint32_t address)
{
	uint8_t *a = out + ETHER;

	put16(a, 1);
	put16(a + 2, TYPE_IP);
	put16(a + 4, 6 << 8 | 4);
	put16(a + 6, operation);
	memcpy(a + 8, my_mac, 6);
	put32(a + 14, lease.address);
	memcpy(a + 18, to, 6);
	put32(a + 24, address);
	send_ether(to, TYPE_ARP, ETHER + 28);
}

static void on_arp(const uint8_t *a)
{
	uint32_t sender = get32(a + 14), target = get32(a + 24);

	if (target != lease.address || !lease.address)
		return;
	if (get16(a + 6) == 2 && sender == lease.gateway) {
		memcpy(peer_mac, a + 8, 6);
		have_peer_mac = true;
	} else if (get16(a + 6) == 1) {
		send_arp(2, a + 8, sender);
	}
}

/* Waits until *done, doing `again` from time to time. */
static void wait_for(const bool *done, void (*again)(void))
{
	uint64_t last = 0;

	while (!*done) {
		if (!last || rdtsc() - last > AGAIN_TSC) {
			again();
			last = rdtsc();
		}
		inet_poll();
	}
}

static void ask_for_gateway(void)
{
	static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	send_arp(1, everybody, lease.gateway);
}

/* ---- DHCP ---- */

static void send_dhcp(unsigned type)
{
	uint8_t *d = out + UDP, *o = d + DHCP_OPTIONS;

	memset(d, 0, DHCP_OPTIONS);
	d[0] = 1;
	d[1] = 1;
	d[2] = 6;
	put32(d + 4, 0x766d6d21);
	memcpy(d + 28, my_mac, 6);
	put32(d + 236, 0x63825363);
	o = (uint8_t *)memcpy(o, (const uint8_t[]){53, 1, (uint8_t)type, 55, 3, 1, 3, 26}, 8) + 8;
	if (type == DHCP_REQUEST) {
		o[0] = 50;
		o[1] = 4;
		put32(o + 2, dhcp_offer);
		o[6] = 54;
		o[7] = 4;
		put32(o + 8, dhcp_server);
		o += 12;
	}
	*o++ = 0xff;
	send_udp(~0u, DHCP_CLIENT, DHCP_SERVER, (unsigned)(o - d));
}

static void on_option(unsigned code, const uint8_t *value, unsigned len)
{
	if (code == 53 && len == 1)
		dhcp_type = value[0];
	else if (code == 54 && len == 4)
		dhcp_server = get32(value);
	else if (code == 1 && len == 4)
		lease.mask = get32(value);
	else if (code == 3 && len >= 4)
		lease.gateway = get32(value);
	else if (code == 26 && len == 2)
		lease.mtu = get16(value);
}

static void on_dhcp(const uint8_t *d, unsigned len)
{
	const uint8_t *o = d + DHCP_OPTIONS, *end = d + len;

	if (len < DHCP_OPTIONS || get32(d + 4) != 0x766d6d21)
		return;
	while (end - o >= 2 && *o != 0xff && end - o >= 2 + o[1]) {
		on_option(o[0], o + 2, o[1]);
		o += 2 + o[1];
	}
	dhcp_offer = get32(d + 16);
}

static bool dhcp_is_done;

static void ask_for_lease(void)
{
	send_dhcp(dhcp_type ? DHCP_REQUEST : DHCP_DISCOVER);
}

void inet_configure(struct inet_lease *ret)
{
	dhcp_type = 0;
	dhcp_is_done = have_peer_mac = false;
	memset(&lease, 0, sizeof(lease));
	wait_for(&dhcp_is_done, ask_for_lease);
	wait_for(&have_peer_mac, ask_for_gateway);
	*ret = lease;
}

void inet_print_address(const char *before, uint32_t address)
{
	print("%s %u.%u.%u.%u\n", before, address >> 24, address >> 16 & 255, address >> 8 & 255,
	      address & 255);
}

/* ---- UDP ---- */

void inet_echo_udp(uint16_t port)
{
	echo_port = port;
}

static void on_udp(uint32_t from, const uint8_t *u, unsigned len)
{
	if (len < UDP - IP)
		return;
	len -= UDP - IP;
	if (get16(u + 2) == DHCP_CLIENT) {
		on_dhcp(u + (UDP - IP), len);
		if (dhcp_type == DHCP_ACK) {
			lease.address = dhcp_offer;
			dhcp_is_done = true;
		} else if (dhcp_type) {
			ask_for_lease();
		}
	} else if (echo_port && get16(u + 2) == echo_port) {
		memcpy(out + UDP, u + (UDP - IP), len);
		send_udp(from, echo_port, get16(u), len);
	}
}

/* ---- TCP ---- */

static void begin_connection(uint32_t address, uint16_t port, uint16_t local)
{
	tcp.address = address;
	tcp.port = port;
	tcp.local = local;
	tcp.next_out = (uint32_t)rdtsc();
	tcp.is_open = tcp.refused = tcp.remote_closed = false;
	tcp.n = 0;
}

static void on_call(uint32_t from, const uint8_t *t)
{
	begin_connection(from, get16(t), get16(t + 2));
	tcp.next_in = get32(t + 4) + 1;
	send_tcp(SYN | ACK, NULL, 0);
}

static void take_data(const uint8_t *data, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		if (tcp.n < sizeof(tcp.line) - 1)
			tcp.line[tcp.n++] = (char)data[i];
	tcp.next_in += len;
}

/* A segment of the connection, in order. */
static void on_segment(const uint8_t *t, unsigned len)
{
	unsigned flags = t[13], head = (unsigned)(t[12] >> 4) * 4;

	if (flags & SYN)
		tcp.next_in = get32(t + 4) + 1;
	else if (get32(t + 4) != tcp.next_in || head > len)
		return send_tcp(ACK, NULL, 0);
	if (flags & ACK)
		tcp.is_open = true;
	take_data(t + head, len - head);
	if (flags & FIN) {
		tcp.next_in++;
		tcp.remote_closed = true;
	}
	if (flags & (SYN | FIN) || len > head)
		send_tcp(ACK, NULL, 0);
}

static void on_tcp(uint32_t from, const uint8_t *t, unsigned len)
{
	if (len < 20 || get16(t + 2) != tcp.local)
		return;
	if ((t[13] & (SYN | ACK)) == SYN && tcp.listening)
		on_call(from, t);
	else if (from != tcp.address || get16(t) != tcp.port)
		return;
	else if (t[13] & RST)
		tcp.refused = tcp.remote_closed = true;
	else
		on_segment(t, len);
}

static void call(void)
{
	tcp.next_out = (uint32_t)rdtsc();
	send_tcp(SYN, NULL, 0);
}

bool inet_connect(uint32_t address, uint16_t port)
{
	uint64_t last = 0;

	tcp.listening = false;
	begin_connection(address, port, (uint16_t)(49152 + rdtsc() % 16384));
	while (!tcp.is_open && !tcp.refused) {
		if (!last || rdtsc() - last > AGAIN_TSC) {
			call();
			last = rdtsc();
		}
		inet_poll();
	}
	return !tcp.refused;
}

void inet_listen(uint16_t port)
{
	begin_connection(0, 0, port);
	tcp.listening = true;
}

void inet_say(const char *text)
{
	char line[INET_LINE];
	unsigned n = 0;

	while (text[n] && n < sizeof(line) - 1) {
		line[n] = text[n];
		n++;
	}
	line[n++] = '\n';
	send_tcp(PSH | ACK, line, n);
}

const char *inet_heard(void)
{
	unsigned at = 0;

	while (at < tcp.n && tcp.line[at] != '\n')
		at++;
	if (at == tcp.n)
		return NULL;
	memcpy(tcp.said, tcp.line, at);
	tcp.said[at++] = '\0';
	tcp.n -= at;
	memmove(tcp.line, tcp.line + at, tcp.n);
	return tcp.said;
}

bool inet_is_closed(void)
{
	return tcp.remote_closed;
}

void inet_close(void)
{
	if (tcp.is_open && !tcp.refused)
		send_tcp(FIN | ACK, NULL, 0);
	tcp.is_open = false;
}

/* ---- receiving ---- */

static void on_ip(const uint8_t *ip, unsigned len)
{
	unsigned head = (ip[0] & 15u) * 4, total = get16(ip + 2);
	uint32_t from = get32(ip + 12);

	if (ip[0] >> 4 != 4 || head < 20 || total < head || total > len)
		return;
	if (ip[9] == PROTOCOL_UDP)
		on_udp(from, ip + head, total - head);
	else if (ip[9] == PROTOCOL_TCP)
		on_tcp(from, ip + head, total - head);
}

void inet_poll(void)
{
	unsigned len = ops->receive(in);

	if (len >= ETHER + 28 && get16(in + 12) == TYPE_ARP)
		on_arp(in + ETHER);
	else if (len >= IP && get16(in + 12) == TYPE_IP)
		on_ip(in + ETHER, len - ETHER);
	else if (!len)
		cpu_pause();
}

void inet_init(const struct inet_ops *how, const uint8_t mac[6])
{
	ops = how;
	memcpy(my_mac, mac, 6);
}
