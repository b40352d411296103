/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/backend/tap_world.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PROTOCOL = 0x88b5 }; /* IEEE 802: local experimental */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return done;
}

/* Root of its own user namespace, where the process is nobody special. */
static void enter_user_namespace(void)
{
	char map[64];
	unsigned uid = getuid();

	if (unshare(CLONE_NEWUSER) < 0)
		cr_skip_test("no network namespace without privileges here: %s", strerror(errno));
	(void)snprintf(map, sizeof(map), "0 %u 1", uid);
	if (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/uid_map", map))
		cr_skip_test("no user namespace: %s", strerror(errno));
}

void tap_world_enter(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0) {
		enter_user_namespace();
		if (unshare(CLONE_NEWNET) < 0)
			cr_skip_test("no network namespace of its own: %s", strerror(errno));
	}
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		cr_skip_test("/dev/net/tun: %s", strerror(errno));
	close(fd);
	/* Or the host's stack sends frames of its own to each interface. No file, no IPv6. */
	(void)write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
}

int tap_attach(const char *name, int flags)
{
	struct ifreq ifr = {0};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	cr_assert_geq(fd, 0);
	ifr.ifr_flags = (short)flags;
	strcpy(ifr.ifr_name, name);
	if (ioctl(fd, TUNSETIFF, &ifr) == 0)
		return fd;
	close(fd);
	return -errno;
}

static void set_persistent(const char *name, int flags, long on)
{
	int fd = tap_attach(name, flags | IFF_NO_PI);

	cr_assert_geq(fd, 0, "%s: %s", name, strerror(-fd));
	cr_assert_eq(ioctl(fd, TUNSETPERSIST, on), 0);
	close(fd);
}

void tap_make(const char *name, int flags)
{
	set_persistent(name, flags, 1);
}

static struct ifreq name_it(const char *name)
{
	struct ifreq ifr = {0};

	strcpy(ifr.ifr_name, name);
	return ifr;
}

static void ask(unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(ioctl(fd, request, ifr), 0, "%s: %s", ifr->ifr_name, strerror(errno));
	close(fd);
}

/* As `ip link delete`, while it is attached: the deletion of a link takes netlink. */
void tap_delete(const char *name)
{
	char command[64];

	(void)snprintf(command, sizeof(command), "ip link delete %s", name);
	cr_assert_eq(system(command), 0);
}

void tap_set_up(const char *name, bool up)
{
	struct ifreq ifr = name_it(name);

	ifr.ifr_flags = up ? IFF_UP : 0;
	ask(SIOCSIFFLAGS, &ifr);
}

static void set_in_addr(struct ifreq *ifr, const char *address)
{
	struct sockaddr_in in = {.sin_family = AF_INET};

	cr_assert_eq(inet_pton(AF_INET, address, &in.sin_addr), 1);
	memcpy(&ifr->ifr_addr, &in, sizeof(in));
}

void tap_set_address(const char *name, const char *address)
{
	struct ifreq ifr = name_it(name);

	set_in_addr(&ifr, address);
	ask(SIOCSIFADDR, &ifr);
	set_in_addr(&ifr, "255.255.255.0");
	ask(SIOCSIFNETMASK, &ifr);
}

int tap_host_side(const char *name)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(PROTOCOL),
				 .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(PROTOCOL));

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

void tap_frame(uint8_t *frame, size_t len, uint8_t mark)
{
	static const uint8_t head[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
				       0,    0,	   0,	 0,    1,    0x88, 0xb5};

	memset(frame, mark, len);
	memcpy(frame, head, sizeof(head));
}
