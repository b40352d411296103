/* SPDX-License-Identifier: Apache-2.0 */
#include "net_world.h"
#include "tap_world.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

static struct net *net;
static struct end end;
static struct err err;

static void set_up(void)
{
	net_world_set_up();
	tap_world_enter();
	tap_make("one", IFF_TAP);
	tap_make("many", IFF_TAP | IFF_MULTI_QUEUE);
	err = (struct err){0};
}

static void tear_down(void)
{
	net = net_free(net);
	net_world_tear_down();
}

TestSuite(net_tap, .init = set_up, .fini = tear_down, .timeout = 60);

static void open_tap(const char *name, unsigned queues)
{
	cr_assert_eq(net_tap_open("--net", name, queues, &net, &err), 0, "%s", err.msg);
	end_attach(&end, net, 0);
	tap_set_up(name, true);
}

static void host_sends(int host, size_t len, uint8_t mark)
{
	uint8_t frame[2048];

	tap_frame(frame, len, mark);
	cr_assert_eq(send(host, frame, len, 0), (ssize_t)len, "%s", strerror(errno));
}

static int guest_sends(struct end *e, size_t len, uint8_t mark)
{
	uint8_t frame[2048], header[NET_HEADER_LEN] = {0};
	struct iovec iov[] = {{header, sizeof(header)}, {frame, 20}, {frame + 20, len - 20}};

	tap_frame(frame, len, mark);
	return net_send(e->port, iov, 3);
}

static void host_receives(int host, size_t len, uint8_t mark)
{
	struct pollfd p = {.fd = host, .events = POLLIN};
	uint8_t frame[2048];

	cr_assert_eq(poll(&p, 1, 10000), 1);
	cr_assert_eq(recv(host, frame, sizeof(frame), 0), (ssize_t)len);
	cr_assert_eq(frame[len - 1], mark);
}

/* ---- frames ---- */

Test(net_tap, frames_go_both_ways_with_a_header_of_twelve_bytes)
{
	int host;

	open_tap("one", 1);
	host = tap_host_side("one");
	cr_assert(net_is_up(net));
	cr_assert_str_eq(net_describe(net), "tap one");
	host_sends(host, 100, 1);
	end_wait_frames(&end, 1);
	cr_assert_eq(end.len[0], 100);
	cr_assert_eq(end.mark[0], 1);
	cr_assert_eq(guest_sends(&end, 200, 2), 0);
	host_receives(host, 200, 2);
}

Test(net_tap, many_frames_arrive_in_order_a_few_at_a_time)
{
	int host;

	open_tap("one", 1);
	host = tap_host_side("one");
	end.budget = 3;
	for (unsigned i = 0; i < 100; i++)
		host_sends(host, 100, (uint8_t)i);
	end_wait_frames(&end, 100);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(end.mark[i], i);
}

Test(net_tap, nothing_is_received_that_nobody_wants)
{
	int host;

	open_tap("one", 1);
	host = tap_host_side("one");
	end.room = 2;
	for (unsigned i = 0; i < 4; i++)
		host_sends(host, 100, (uint8_t)i);
	end_wait_frames(&end, 2);
	cr_assert_lt(world_run_for(100 * NS_PER_MS), 10 * NS_PER_MS, "it spins");
	cr_assert_eq(end.n, 2);
	end.room = 100;
	net_want_rx(end.port, true);
	end_wait_frames(&end, 4);
}

Test(net_tap, frame_without_sense_is_refused_and_the_next_one_goes)
{
	uint8_t header[NET_HEADER_LEN] = {[1] = 0x55}, frame[100];
	struct iovec iov[] = {{header, sizeof(header)}, {frame, sizeof(frame)}};
	int host;

	open_tap("one", 1);
	host = tap_host_side("one");
	tap_frame(frame, sizeof(frame), 1);
	cr_assert_lt(net_send(end.port, iov, 2), 0, "no such kind of segmentation");
	cr_assert_lt(net_send(end.port, iov, 1), 0, "no frame at all");
	cr_assert(net_is_up(net));
	cr_assert_eq(guest_sends(&end, 100, 2), 0);
	host_receives(host, 100, 2);
}

/* ---- offloads ---- */

/* A broadcast from the host's own stack: it leaves the checksum to whoever can. */
static uint8_t flags_of_datagram(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
	unsigned before = end.n;
	uint8_t flags = 0xff;

	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)), 0);
	cr_assert_eq(inet_pton(AF_INET, "10.9.8.255", &to.sin_addr), 1);
	cr_assert_eq(sendto(fd, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
	while (flags == 0xff) {
		end_wait_frames(&end, ++before);
		/* An IPv4 broadcast with UDP; others (IPv6 discovery) come and go. */
		if (end.frame[12] == 8 && end.frame[13] == 0 && end.frame[23] == 17)
			flags = end.header[0];
	}
	close(fd);
	return flags;
}

Test(net_tap, offloads_follow_what_the_guest_can)
{
	open_tap("one", 1);
	tap_set_address("one", "10.9.8.1");
	end.budget = 1;
	cr_assert_eq(net_offloads(net),
		     NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN);
	cr_assert_eq(flags_of_datagram() & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, "off at first");
	cr_assert_eq(net_set_offloads(net, NET_OFFLOAD_CSUM), 0);
	cr_assert(flags_of_datagram() & VIRTIO_NET_HDR_F_NEEDS_CSUM);
	cr_assert_eq(net_set_offloads(net, 0), 0);
	cr_assert_eq(flags_of_datagram() & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
}

/* ---- queues ---- */

Test(net_tap, queues_that_are_not_enabled_get_no_frames)
{
	static struct end second;
	int host;

	open_tap("many", 2);
	host = tap_host_side("many");
	cr_assert_eq(net_n_ports(net), 2);
	end_attach(&second, net, 1);
	for (unsigned i = 0; i < 20; i++)
		host_sends(host, 100, (uint8_t)i);
	end_wait_frames(&end, 20);
	cr_assert_lt(world_run_for(100 * NS_PER_MS), 10 * NS_PER_MS, "it spins");
	cr_assert_eq(second.downs + end.downs, 0);
	cr_assert_eq(second.n, 0);

	cr_assert_eq(net_port_enable(second.port, true), 0);
	cr_assert_eq(guest_sends(&second, 100, 7), 0);
	host_receives(host, 100, 7);
	cr_assert_eq(net_port_enable(second.port, false), 0);
	for (unsigned i = 0; i < 20; i++)
		host_sends(host, 100, (uint8_t)i);
	end_wait_frames(&end, 40);
	cr_assert_eq(guest_sends(&second, 100, 8), 0);
	host_receives(host, 100, 8);
	(void)world_run_for(NS_PER_MS);
	cr_assert_eq(second.n + second.downs, 0);
	cr_assert(net_is_up(net), "a disabled queue does not take the link down");
}

Test(net_tap, flow_goes_to_the_queue_that_it_came_from)
{
	static struct end second;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;

	open_tap("many", 2);
	tap_set_address("many", "10.9.8.1");
	end_attach(&second, net, 1);
	cr_assert_eq(net_port_enable(second.port, true), 0);
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)), 0);
	cr_assert_eq(inet_pton(AF_INET, "10.9.8.255", &to.sin_addr), 1);
	/* Flows are spread by their hash: of so many, some take either queue. */
	for (unsigned i = 1; i <= 64; i++) {
		to.sin_port = htons((uint16_t)(1000 + i));
		cr_assert_eq(sendto(fd, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
	}
	while (end.n + second.n < 64)
		(void)world_run_for(NS_PER_MS);
	cr_assert_gt(end.n, 0);
	cr_assert_gt(second.n, 0);
	close(fd);
}

/* ---- the host changes ---- */

Test(net_tap, interface_that_is_down_loses_frames_and_comes_back)
{
	int host;

	open_tap("one", 1);
	tap_set_up("one", false);
	cr_assert_eq(guest_sends(&end, 100, 1), -EIO);
	cr_assert_lt(world_run_for(100 * NS_PER_MS), 10 * NS_PER_MS, "it spins");
	cr_assert(net_is_up(net));
	tap_set_up("one", true);
	host = tap_host_side("one");
	cr_assert_eq(guest_sends(&end, 100, 2), 0);
	host_receives(host, 100, 2);
}

Test(net_tap, deleted_interface_takes_the_link_down_once_and_does_not_spin)
{
	static struct end second;

	open_tap("many", 2);
	end_attach(&second, net, 1);
	cr_assert_eq(net_port_enable(second.port, true), 0);
	(void)world_run_for(NS_PER_MS);
	tap_delete("many");
	while (end.downs + second.downs == 0)
		(void)world_run_for(NS_PER_MS);
	cr_assert_lt(world_run_for(100 * NS_PER_MS), 10 * NS_PER_MS, "it spins");
	cr_assert_eq(end.downs + second.downs, 1);
	cr_assert_not(net_is_up(net));
	cr_assert_eq(guest_sends(&end, 100, 1), -ENOTCONN);
	cr_assert_lt(net_set_offloads(net, NET_OFFLOAD_CSUM), 0);
	cr_assert_lt(net_port_enable(second.port, false), 0);
	cr_assert_lt(world_run_for(100 * NS_PER_MS), 10 * NS_PER_MS, "it spins");
}

Test(net_tap, deleted_interface_is_noticed_while_nobody_wants_frames)
{
	open_tap("one", 1);
	net_want_rx(end.port, false);
	(void)world_run_for(NS_PER_MS);
	tap_delete("one");
	end_wait_down(&end, 1);
}

Test(net_tap, deleted_interface_is_noticed_by_sending_and_by_receiving)
{
	struct iovec iov[] = {{end.frame, sizeof(end.frame)}};

	open_tap("one", 1);
	tap_delete("one");
	cr_assert_eq(guest_sends(&end, 100, 1), -ENOTCONN);
	cr_assert_eq(end.downs, 1);
	cr_assert_eq(net_recv(end.port, iov, 1), -ENOTCONN);
	cr_assert_eq(end.downs, 1);
}

/* ---- opening by name ---- */

#define cr_assert_says(text)                                                                       \
	cr_assert_not_null(strstr(err.msg, text), "'%s' is not in: %s", text, err.msg)

static int try_open(const char *name, unsigned queues)
{
	err = (struct err){0};
	return net_tap_open("--net tap", name, queues, &net, &err);
}

Test(net_tap, tap_of_another_vm_is_refused)
{
	struct net *other = NULL;

	cr_assert_eq(net_tap_open("--net", "one", 1, &other, &err), 0);
	cr_assert_eq(try_open("one", 1), -EBUSY);
	cr_assert_says("--net tap: the tap 'one' is in use by another VM");
	cr_assert_says("ip tuntap add dev NAME mode tap user");
	other = net_free(other);
	cr_assert_eq(try_open("one", 1), 0, "%s", err.msg);
}

Test(net_tap, multi_queue_tap_of_another_vm_is_refused_though_the_kernel_lets_it)
{
	struct net *other = NULL;

	cr_assert_eq(net_tap_open("--net", "many", 2, &other, &err), 0, "%s", err.msg);
	cr_assert_eq(try_open("many", 2), -EBUSY);
	cr_assert_says("the tap 'many' is in use by another VM");
	cr_assert_says("mode tap multi_queue user");
	other = net_free(other);
	cr_assert_eq(try_open("many", 2), 0, "%s", err.msg);
}

Test(net_tap, number_of_queues_must_fit_the_tap)
{
	cr_assert_eq(try_open("one", 2), -EINVAL);
	cr_assert_says("the tap 'one' is not multi-queue, and 2 queues were asked for");
	cr_assert_eq(try_open("many", 1), -EINVAL);
	cr_assert_says("the tap 'many' is multi-queue, and one queue was asked for");
	cr_assert_eq(try_open("many", 0), -EINVAL);
	cr_assert_eq(try_open("many", NET_MAX_PORTS + 1), -EINVAL);
	cr_assert_says("a network device has 1 to 16");
}

Test(net_tap, interface_that_is_no_tap_is_refused)
{
	tap_make("tun", IFF_TUN);
	cr_assert_eq(try_open("lo", 1), -EINVAL);
	cr_assert_says("the interface 'lo' is not a tap");
	cr_assert_eq(try_open("tun", 1), -EINVAL);
	cr_assert_says("the interface 'tun' is not a tap");
}

Test(net_tap, impossible_names_are_refused)
{
	static const char *const names[] = {"", "a23456789b123456", "tap%d", "a/b", "a b"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cr_assert_eq(try_open(names[i], 1), -EINVAL, "%s", names[i]);
		cr_assert_says("is no name of an interface");
	}
}

Test(net_tap, tap_that_did_not_exist_is_made_and_goes_again)
{
	cr_assert_eq(try_open("fresh", 1), 0, "%s", err.msg);
	cr_assert_neq(if_nametoindex("fresh"), 0);
	net = net_free(net);
	cr_assert_eq(if_nametoindex("fresh"), 0);
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	cr_assert_eq(syscall(SYS_capset, &head, none), 0);
}

Test(net_tap, without_rights_the_message_says_how_to_get_them)
{
	int owned = tap_attach("one", IFF_TAP | IFF_NO_PI);

	cr_assert_eq(ioctl(owned, TUNSETOWNER, 4711UL), 0);
	close(owned);
	drop_capabilities();
	if (access("/dev/net/tun", R_OK | W_OK) < 0)
		cr_skip_test("/dev/net/tun is for root only");
	cr_assert_eq(try_open("one", 1), -EPERM);
	cr_assert_says("the tap 'one' is another user's");
	cr_assert_eq(try_open("missing", 1), -EPERM);
	cr_assert_says("there is no interface 'missing', and making one takes CAP_NET_ADMIN");
	cr_assert_says("ip tuntap add dev missing mode tap user");
}

/* ---- inherited ---- */

static int try_adopt(int fd)
{
	err = (struct err){0};
	return net_tap_adopt("--net fd", fd, &net, &err);
}

Test(net_tap, inherited_tap_is_used)
{
	int fd = tap_attach("one", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR), host;

	cr_assert_eq(fcntl(fd, F_SETFD, 0), 0);
	cr_assert_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
	cr_assert_eq(try_adopt(fd), 0, "%s", err.msg);
	cr_assert_str_eq(net_describe(net), "tap one");
	cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	end_attach(&end, net, 0);
	tap_set_up("one", true);
	host = tap_host_side("one");
	host_sends(host, 100, 1);
	end_wait_frames(&end, 1);
	cr_assert_eq(end.mark[0], 1);
}

Test(net_tap, inherited_descriptor_that_is_no_such_tap_is_refused)
{
	int fds[2];

	tap_make("tun", IFF_TUN);
	cr_assert_eq(try_adopt(1000), -EBADF);
	cr_assert_says("descriptor 1000 is not open");
	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(try_adopt(fds[0]), -EINVAL);
	cr_assert_says("is not a tap");
	cr_assert_eq(try_adopt(open("/dev/net/tun", O_RDWR)), -EINVAL);
	cr_assert_says("attached to no interface");
	cr_assert_eq(try_adopt(tap_attach("tun", IFF_TUN | IFF_NO_PI)), -EINVAL);
	cr_assert_says("is the tun interface 'tun'");
	cr_assert_eq(try_adopt(tap_attach("one", IFF_TAP | IFF_NO_PI)), -EINVAL);
	cr_assert_says("must set IFF_VNET_HDR");
}
