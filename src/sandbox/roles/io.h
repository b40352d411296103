/* SPDX-License-Identifier: Apache-2.0 */
/* An I/O thread: a loop with either engine, and the queues of the devices on it. It opens nothing,
 * and connects to unix sockets only. */
#ifndef VMM_SANDBOX_ROLES_IO_H
#define VMM_SANDBOX_ROLES_IO_H

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "sandbox/roles/rule.h"

static const struct rule io_rules[] = {
	/* The io_uring engine. Its ring is restricted when it is made, so that these two reach no
	   other operation than the calls below do. register: enabling the ring on its thread, the
	   table of files. epoll_ctl: whether a descriptor can be polled at all. */
	ALLOW(io_uring_enter),
	ALLOW(io_uring_register),
	ALLOW(epoll_ctl),

	/* The epoll engine; epoll_wait for a kernel without epoll_pwait2. */
	ALLOW(epoll_wait),
	ALLOW(epoll_pwait2),

	/* Images, by the epoll engine, and what io_uring would not wait for. */
	ALLOW(preadv),
	ALLOW(preadv2),
	ALLOW(pwritev),
	ALLOW(pwritev2),
	ALLOW(fdatasync),
	/* Discard and write-zeroes; shared memory that the guest gives back. */
	ALLOW(fallocate),

	/* Eventfds, taps, streams of a console. */
	ALLOW(read),
	ALLOW(readv),

	/* Sockets that are there: packets of a stream network, vsock's connections. */
	ALLOW(accept4),
	ALLOW(recvfrom),
	ALLOW(recvmsg),
	ALLOW(sendto),
	ALLOW(sendmsg),
	ALLOW(shutdown),
	ALLOW(close),
	/* vsock: the guest's connection to a port is one to a unix socket of the host, whose path
	   is the configured one with the port behind it. There is no socket of another family to
	   connect. */
	ALLOW_WHEN(socket, 0, AF_UNIX),
	/* vhost-user: the back end's own requests come on a socket that is made for them; how large
	   the file is that it sends. */
	ALLOW_WHEN(socketpair, 0, AF_UNIX),
	ALLOW(fstat),
	ALLOW_WHEN(newfstatat, 3, AT_EMPTY_PATH),
	ALLOW(connect),

	/* What a network guest can finish itself, and which queues of a tap it reads. */
	ALLOW_IOCTL(TUNSETOFFLOAD),
	ALLOW_IOCTL(TUNSETQUEUE),

	/* Balloon, free page reporting, virtio-mem: the guest's memory goes and comes. */
	ALLOW_MADVISE(MADV_FREE),
	ALLOW_MADVISE(MADV_REMOVE),
	ALLOW_MADVISE(MADV_POPULATE_WRITE),

	/* The interrupt line of a device whose interrupt is a level. */
	ALLOW_IOCTL(KVM_IRQ_LINE),
};

#endif
