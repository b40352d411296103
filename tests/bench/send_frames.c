/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends Ethernet frames out of an interface as fast as it takes them, until it is ended by a
 * signal:
 *
 *   send-frames INTERFACE SIZE
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, MAX_FRAME = 1514 };

static unsigned char frame[MAX_FRAME] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
					 0,    0,    0,	   0,	 2,    0x88, 0xb5};

int main(int argc, char *argv[])
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct iovec iov = {.iov_base = frame};
	struct mmsghdr messages[BATCH];
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (argc != 3 || fd < 0)
		return 2;
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	iov.iov_len = strtoul(argv[2], NULL, 10);
	if (!to.sll_ifindex || iov.iov_len > MAX_FRAME ||
	    bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		perror(argv[1]);
		return 1;
	}
	for (unsigned i = 0; i < BATCH; i++)
		messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
	for (;;)
		(void)sendmmsg(fd, messages, BATCH, 0);
}
