/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a tap, and telling people why it didn't work. Main, before the lock-down. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "backend/net_tap.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"

#define TUN "/dev/net/tun"

/* One attempt to open an interface: what its messages need. */
struct attempt {
	const char *what, *name;
	unsigned queues;
	bool existed;
};

static bool is_multi(const struct attempt *a)
{
	return a->queues > 1;
}

/* " multi_queue", for the command that a message suggests. */
static const char *multi_word(bool multi)
{
	return multi ? " multi_queue" : "";
}

static int open_tun(const struct attempt *a, struct err *err)
{
	int fd = open(TUN, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return err_set(err, -errno,
			       "%s: this host has no " TUN " (%s); load it with 'modprobe tun', "
			       "into a container with --device " TUN ", or use a network that "
			       "needs none: user",
			       a->what, strerror(errno));
	if (errno == EACCES || errno == EPERM)
		return err_set(err, -errno,
			       "%s: no permission to open " TUN
			       " (%s); it is for everybody ('chmod 0666 " TUN
			       "') on most hosts, since the taps have owners",
			       a->what, strerror(errno));
	return err_set(err, -errno, "%s: cannot open " TUN ": %s", a->what, strerror(errno));
}

static int attach(int fd, const char *name, bool multi)
{
	struct ifreq ifr = {0};

	ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multi ? IFF_MULTI_QUEUE : 0));
	memcpy(ifr.ifr_name, name, strlen(name));
	return ioctl(fd, TUNSETIFF, &ifr) < 0 ? -errno : 0;
}

/* EINVAL has two reasons. Asked for the other way round, a tap would answer differently. */
static int explain_invalid(const struct attempt *a, struct err *err)
{
	_cleanup_close_ int fd = open(TUN, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || attach(fd, a->name, !is_multi(a)) == -EINVAL)
		return err_set(err, -EINVAL, "%s: the interface '%s' is not a tap", a->what,
			       a->name);
	if (is_multi(a))
		return err_set(err, -EINVAL,
			       "%s: the tap '%s' is not multi-queue, and %u queues were asked for; "
			       "take queues=1, or make it with 'ip tuntap add dev %s mode tap "
			       "multi_queue user %u'",
			       a->what, a->name, a->queues, a->name, getuid());
	return err_set(err, -EINVAL,
		       "%s: the tap '%s' is multi-queue, and one queue was asked for; take "
		       "queues=2 or more, or make it with 'ip tuntap add dev %s mode tap user %u'",
		       a->what, a->name, a->name, getuid());
}

static int explain_permission(const struct attempt *a, struct err *err)
{
	if (a->existed)
		return err_set(err, -EPERM,
			       "%s: the tap '%s' is another user's; make it anew with 'ip tuntap "
			       "add dev %s mode tap%s user %u', or run vmm with CAP_NET_ADMIN",
			       a->what, a->name, a->name, multi_word(is_multi(a)), getuid());
	return err_set(err, -EPERM,
		       "%s: there is no interface '%s', and making one takes CAP_NET_ADMIN; let "
		       "root do it: 'ip tuntap add dev %s mode tap%s user %u && ip link set %s up'",
		       a->what, a->name, a->name, multi_word(is_multi(a)), getuid(), a->name);
}

/* A VM that has just ended may hold the tap a little longer, by its io_uring. */
static bool busy_for_now(unsigned *tries)
{
	enum { TRIES = 25 };
	static const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};

	return ++*tries <= TRIES && nanosleep(&pause, NULL) == 0;
}

static int in_use(const struct attempt *a, struct err *err)
{
	return err_set(err, -EBUSY,
		       "%s: the tap '%s' is in use by another VM; stop that, or make another tap "
		       "for this one with 'ip tuntap add dev NAME mode tap%s user %u'",
		       a->what, a->name, multi_word(is_multi(a)), getuid());
}

static int explain(const struct attempt *a, int code, struct err *err)
{
	if (code == -EBUSY)
		return in_use(a, err);
	if (code == -EPERM || code == -EACCES)
		return explain_permission(a, err);
	if (code == -EINVAL)
		return explain_invalid(a, err);
	return err_set(err, code, "%s: cannot attach to the tap '%s': %s", a->what, a->name,
		       strerror(-code));
}

static int open_queue(const struct attempt *a, struct err *err)
{
	_cleanup_close_ int fd = open_tun(a, err);
	unsigned tries = 0;
	int r;

	if (fd < 0)
		return fd;
	do
		r = attach(fd, a->name, is_multi(a));
	while (r == -EBUSY && busy_for_now(&tries));
	if (r < 0)
		return explain(a, r, err);
	return TAKE_FD(fd);
}

/* ---- is somebody else there? ---- */

/* The attribute of this type among `len` bytes of attributes, or NULL. */
static const struct rtattr *find_attr(const struct rtattr *a, int len, unsigned type)
{
	while (RTA_OK(a, len)) {
		int step = (int)RTA_ALIGN(a->rta_len);

		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
		a = (const void *)((const char *)a + step);
		len -= step;
	}
	return NULL;
}

/* RTA_DATA() for what is const. */
static const void *payload(const struct rtattr *a)
{
	return (const char *)a + RTA_LENGTH(0);
}

static const struct rtattr *find_inner(const struct rtattr *outer, unsigned type)
{
	return outer ? find_attr(payload(outer), (int)RTA_PAYLOAD(outer), type) : NULL;
}

static unsigned attr_u32(const struct rtattr *a)
{
	unsigned v = 0;

	if (a && RTA_PAYLOAD(a) >= sizeof(v))
		memcpy(&v, payload(a), sizeof(v));
	return v;
}

/* The queues that anybody has of the interface, from the answer to RTM_GETLINK. 0: not known. */
static unsigned queues_in_answer(const struct nlmsghdr *h, size_t len)
{
	const size_t head = NLMSG_SPACE(sizeof(struct ifinfomsg));
	const struct rtattr *info, *data;

	if (len < head || h->nlmsg_len < head || h->nlmsg_len > len || h->nlmsg_type != RTM_NEWLINK)
		return 0;
	info = find_attr((const void *)((const char *)h + head), (int)(h->nlmsg_len - head),
			 IFLA_LINKINFO);
	data = find_inner(info, IFLA_INFO_DATA);
	return attr_u32(find_inner(data, IFLA_TUN_NUM_QUEUES)) +
	       attr_u32(find_inner(data, IFLA_TUN_NUM_DISABLED_QUEUES));
}

static unsigned count_queues(const char *name)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg ifi;
	} ask = {.h = {.nlmsg_len = sizeof(ask),
		       .nlmsg_type = RTM_GETLINK,
		       .nlmsg_flags = NLM_F_REQUEST},
		 .ifi.ifi_index = (int)if_nametoindex(name)};
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	_cleanup_free_ struct nlmsghdr *answer = calloc(1, 32768);
	ssize_t n;

	if (fd < 0 || !answer || send(fd, &ask, sizeof(ask), 0) < 0)
		return 0;
	n = recv(fd, answer, 32768, 0);
	return n > 0 ? queues_in_answer(answer, (size_t)n) : 0;
}

/* The kernel keeps a second VM from a tap with one queue; from one with several it doesn't, and the
 * two would share the frames between them. */
static int check_alone(const struct attempt *a, struct err *err)
{
	if (is_multi(a) && count_queues(a->name) > a->queues)
		return in_use(a, err);
	return 0;
}

/* ---- open ---- */

static void remark(const struct attempt *a)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};

	memcpy(ifr.ifr_name, a->name, strlen(a->name));
	if (!a->existed)
		log_warn("%s: there was no interface '%s': it was made, and goes with the VM; "
			 "give it an address or a bridge and 'ip link set %s up'",
			 a->what, a->name, a->name);
	else if (fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &ifr) == 0 && !(ifr.ifr_flags & IFF_UP))
		log_warn("%s: the tap '%s' is down: nothing passes until 'ip link set %s up'",
			 a->what, a->name, a->name);
}

static int check_request(const char *what, const char *name, unsigned queues, struct err *err)
{
	if (*name == '\0' || strlen(name) >= IFNAMSIZ || strpbrk(name, "/%: \t\n"))
		return err_set(err, -EINVAL,
			       "%s: '%s' is no name of an interface: 1 to %d characters, none of "
			       "them '/', ':', '%%' or a space",
			       what, name, IFNAMSIZ - 1);
	if (queues < 1 || queues > NET_MAX_PORTS)
		return err_set(err, -EINVAL, "%s: %u queues: a network device has 1 to %d", what,
			       queues, NET_MAX_PORTS);
	return 0;
}

int net_tap_open(const char *what, const char *name, unsigned queues, struct net **ret,
		 struct err *err)
{
	struct attempt a = {.what = what, .name = name, .queues = queues};
	int fds[NET_MAX_PORTS];
	unsigned n = 0;
	int r = check_request(what, name, queues, err);

	if (r < 0)
		return r;
	a.existed = if_nametoindex(name) != 0;
	while (n < queues && (r = open_queue(&a, err)) >= 0)
		fds[n++] = r;
	if (r >= 0)
		r = check_alone(&a, err);
	if (r >= 0)
		r = net_tap_new(what, name, fds, queues, ret, err);
	if (r < 0) {
		while (n > 0)
			fd_close(fds[--n]);
		return r;
	}
	remark(&a);
	return 0;
}

/* ---- adopt ---- */

/* IFF_NO_PI can't be asked for: in the kernel's answer its bit is IFF_NOFILTER. */
static int check_flags(const char *what, int fd, unsigned flags, const char *name, struct err *err)
{
	if (!(flags & IFF_TAP))
		return err_set(err, -EINVAL,
			       "%s: descriptor %d is the tun interface '%s', which carries IP "
			       "packets; a tap (IFF_TAP) is needed",
			       what, fd, name);
	if (!(flags & IFF_VNET_HDR))
		return err_set(err, -EINVAL,
			       "%s: descriptor %d is the tap '%s' without headers for offloads; "
			       "its opener must set IFF_VNET_HDR",
			       what, fd, name);
	return 0;
}

int net_tap_adopt(const char *what, int fd, struct net **ret, struct err *err)
{
	struct ifreq ifr = {0};
	int r;

	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_set(
			err, -errno,
			"%s: descriptor %d is not open; the caller must leave it open to vmm", what,
			fd);
	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return err_set(err, -EINVAL, "%s: descriptor %d is not a tap%s", what, fd,
			       errno == EBADFD ? ": it is " TUN ", attached to no interface" : "");
	ifr.ifr_name[IFNAMSIZ - 1] = '\0';
	r = check_flags(what, fd, (unsigned short)ifr.ifr_flags, ifr.ifr_name, err);
	return r < 0 ? r : net_tap_new(what, ifr.ifr_name, &fd, 1, ret, err);
}
