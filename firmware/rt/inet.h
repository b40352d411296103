/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of the Internet as a test needs, for one interface that polls: ARP, DHCP, UDP that is
 * sent back, and one TCP connection at a time, of short lines. What is lost before a connection is
 * there is sent again; after that the other side is taken to be next door.
 */
#ifndef GUEST_INET_H
#define GUEST_INET_H

#include <stdbool.h>
#include <stdint.h>

enum { INET_FRAME = 1514, INET_LINE = 256 };

struct inet_ops {
	void (*send)(const void *frame, unsigned len);
	/* The next frame's length; 0: none is there. At most INET_FRAME bytes. */
	unsigned (*receive)(void *frame);
};

struct inet_lease {
	uint32_t address, mask, gateway;
	unsigned mtu; /* 0: nothing was said */
};

void inet_init(const struct inet_ops *ops, const uint8_t mac[6]);

/* Takes what has come. To be called again and again. */
void inet_poll(void);

/* By DHCP; asks until somebody answers. */
void inet_configure(struct inet_lease *ret);
void inet_print_address(const char *before, uint32_t address);

/* UDP datagrams to this port go back to their sender. */
void inet_echo_udp(uint16_t port);

/* To a host of the gateway's side; false: refused. */
bool inet_connect(uint32_t address, uint16_t port);
/* From now on whoever connects to this port takes the place of the connection before. */
void inet_listen(uint16_t port);
/* A line of at most INET_LINE - 1 bytes goes out. */
void inet_say(const char *text);
/* The next line, without its end; NULL: not yet. Of a connection that is closed what it had. */
const char *inet_heard(void);
bool inet_is_closed(void); /* by the other side */
void inet_close(void);

#endif
