/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm doctor`: everything but KVM itself. Nothing here keeps a VM from running. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/doctor_check.h"
#include "cli/doctor_parse.h"
#include "mm/cgroup.h"
#include "sandbox/sandbox.h"
#include "vhost/probe.h"

/* A number of /sys, 0 when it can't be read. */
static uint64_t read_number(const char *path)
{
	_cleanup_free_ char *text = doctor_read(path);
	uint64_t n = 0;

	if (!text)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	return text_parse_uint(text, &n) < 0 ? 0 : n;
}

static void check_hugepages(struct doctor_result *ret, const char *name, unsigned kib,
			    unsigned example)
{
	char dir[64], path[96], value[32];
	uint64_t total, left;

	(void)snprintf(dir, sizeof(dir), "/sys/kernel/mm/hugepages/hugepages-%ukB", kib);
	(void)snprintf(path, sizeof(path), "%s/nr_hugepages", dir);
	if (access(path, F_OK) != 0) {
		doctor_say(ret, DOCTOR_INFO, "unsupported", "this host has no huge pages of %s.",
			   name);
		return;
	}
	total = read_number(path);
	(void)snprintf(path, sizeof(path), "%s/free_hugepages", dir);
	left = read_number(path);
	(void)snprintf(value, sizeof(value), "%" PRIu64 "/%" PRIu64, left, total);
	if (left > 0) {
		doctor_say(ret, DOCTOR_OK, value,
			   "%" PRIu64 " of %" PRIu64 " huge pages of %s are free.", left, total,
			   name);
		return;
	}
	doctor_say(ret, DOCTOR_INFO, value,
		   "%s huge pages of %s: only `-m SIZE,hugepages=%s` needs them.",
		   total ? "all are in use of the" : "none are reserved of the", name, name);
	doctor_fix(ret, "echo %" PRIu64 " | sudo tee %s/nr_hugepages", total + example, dir);
}

static void check_hugepages_2m(struct doctor_result *ret, struct doctor_facts *facts)
{
	(void)facts;
	check_hugepages(ret, "2M", 2048, 512);
}

static void check_hugepages_1g(struct doctor_result *ret, struct doctor_facts *facts)
{
	(void)facts;
	check_hugepages(ret, "1G", 1048576, 1);
}

/* Transparent huge pages, for private or for shared memory: `good` is the setting to choose. */
static void check_thp_file(struct doctor_result *ret, const char *file, const char *kind,
			   const char *good)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	char choice[32];

	if (asprintf(&path, "/sys/kernel/mm/transparent_hugepage/%s", file) < 0)
		path = NULL;
	text = path ? doctor_read(path) : NULL;
	if (!text || doctor_parse_choice(text, choice, sizeof(choice)) < 0) {
		doctor_say(ret, DOCTOR_INFO, "unsupported",
			   "this kernel has no transparent huge pages for %s guest memory.", kind);
	} else if (strcmp(choice, "never") == 0 || strcmp(choice, "deny") == 0) {
		doctor_say(ret, DOCTOR_WARN, choice,
			   "%s guest memory is made of 4K pages only (%s is %s), which slows it.",
			   kind, file, choice);
		doctor_fix(ret, "echo %s | sudo tee %s", good, path);
	} else {
		doctor_say(ret, DOCTOR_OK, choice,
			   "transparent huge pages back %s guest memory (%s is %s).", kind, file,
			   choice);
	}
}

static void check_thp(struct doctor_result *ret, struct doctor_facts *facts)
{
	(void)facts;
	check_thp_file(ret, "enabled", "private", "madvise");
}

static void check_thp_shmem(struct doctor_result *ret, struct doctor_facts *facts)
{
	(void)facts;
	check_thp_file(ret, "shmem_enabled", "shared", "advise");
}

static void explain_no_io_uring(struct doctor_result *ret, int error)
{
	uint64_t disabled = read_number("/proc/sys/kernel/io_uring_disabled");

	if (error == ENOSYS) {
		doctor_say(ret, DOCTOR_INFO, "absent",
			   "this kernel has no io_uring: vmm uses epoll instead.");
	} else if (disabled) {
		doctor_say(ret, DOCTOR_INFO, "disabled",
			   "io_uring is switched off (kernel.io_uring_disabled is %" PRIu64
			   "): vmm uses epoll instead.",
			   disabled);
		doctor_fix(ret, "sudo sysctl kernel.io_uring_disabled=0");
	} else {
		doctor_say(ret, DOCTOR_INFO, "denied",
			   "io_uring is refused (%s), as many containers do by seccomp: vmm uses "
			   "epoll instead.",
			   strerror(error));
	}
}

static void check_io_uring(struct doctor_result *ret, struct doctor_facts *facts)
{
	enum { ENTRIES = 8 };
	struct io_uring ring;
	int error = io_uring_queue_init(ENTRIES, &ring, 0);

	(void)facts;
	if (error < 0) {
		explain_no_io_uring(ret, -error);
		return;
	}
	io_uring_queue_exit(&ring);
	doctor_say(ret, DOCTOR_OK, "allowed", "io_uring is allowed.");
}

/* A device node that something optional needs: what open() said, in words. */
static void explain_device(struct doctor_result *ret, const char *path, const char *module,
			   const char *use, int error)
{
	if (error == EACCES || error == EPERM) {
		doctor_say(ret, DOCTOR_INFO, "denied",
			   "%s is there but this user may not open it: no %s.", path, use);
		doctor_fix(ret, "sudo setfacl -m u:$USER:rw %s", path);
	} else if (error == ENOENT || error == ENODEV || error == ENXIO) {
		doctor_say(ret, DOCTOR_INFO, "absent", "%s is not there: no %s.", path, use);
		doctor_fix(ret, "sudo modprobe %s", module);
	} else {
		doctor_say(ret, DOCTOR_INFO, "error", "%s does not answer (%s): no %s.", path,
			   strerror(error), use);
	}
}

static void check_vhost(struct doctor_result *ret, const char *path, const char *module,
			const char *use)
{
	uint64_t features;
	char value[32];
	int error = vhost_kernel_probe(path, &features);

	if (error < 0) {
		explain_device(ret, path, module, use, -error);
		return;
	}
	(void)snprintf(value, sizeof(value), "0x%" PRIx64, features);
	doctor_say(ret, DOCTOR_OK, value, "%s is usable: %s (features %s).", path, use, value);
}

static void check_vhost_net(struct doctor_result *ret, struct doctor_facts *facts)
{
	(void)facts;
	check_vhost(ret, "/dev/vhost-net", "vhost_net", "network data path in the kernel");
}

static void check_vhost_vsock(struct doctor_result *ret, struct doctor_facts *facts)
{
	(void)facts;
	check_vhost(ret, "/dev/vhost-vsock", "vhost_vsock", "vsock to the guest");
}

static void check_tun(struct doctor_result *ret, struct doctor_facts *facts)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	(void)facts;
	if (fd < 0)
		explain_device(ret, "/dev/net/tun", "tun", "tap networking", errno);
	else
		doctor_say(ret, DOCTOR_OK, "usable", "/dev/net/tun is usable: tap networking.");
}

static void check_memlock(struct doctor_result *ret, struct doctor_facts *facts)
{
	struct rlimit limit = {0};
	char value[32];

	(void)facts;
	if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
		return;
	if (limit.rlim_cur == RLIM_INFINITY) {
		doctor_say(ret, DOCTOR_OK, "unlimited", "locked memory is not limited.");
		return;
	}
	(void)text_format_size(limit.rlim_cur, value, sizeof(value));
	doctor_say(ret, DOCTOR_INFO, value,
		   "at most %s of memory can be locked: enough, except for devices passed through "
		   "and locked guest memory.",
		   value);
	doctor_fix(ret, "ulimit -l unlimited   # as root, or memlock in "
			"/etc/security/limits.conf");
}

static void check_cgroup(struct doctor_result *ret, struct doctor_facts *facts)
{
	char value[32];
	bool v1 = false;
	uint64_t limit;

	(void)facts;
	if (cgroup_memory_limit(&limit, &v1) < 0) {
		doctor_say(ret, DOCTOR_INFO, "none", "no memory cgroup limits this process.");
		return;
	}
	if (limit == UINT64_MAX) {
		doctor_say(ret, DOCTOR_OK, "unlimited", "the memory cgroup (v%d) sets no limit.",
			   v1 ? 1 : 2);
		return;
	}
	(void)text_format_size(limit, value, sizeof(value));
	doctor_say(ret, DOCTOR_INFO, value,
		   "the memory cgroup (v%d) allows %s: a guest that touches more is killed.",
		   v1 ? 1 : 2, value);
}

static void check_landlock(struct doctor_result *ret, struct doctor_facts *facts)
{
	int abi = sandbox_landlock_abi();
	char gaps[256], value[16];

	(void)facts;
	doctor_landlock_gaps(abi, gaps, sizeof(gaps));
	(void)snprintf(value, sizeof(value), "%d", abi);
	if (abi == 0) {
		doctor_say(ret, DOCTOR_WARN, value,
			   "this kernel has no Landlock, so seccomp alone guards: %s.", gaps);
		doctor_fix(ret,
			   "cat /sys/kernel/security/lsm   # put landlock into this list: lsm= "
			   "on the kernel command line");
	} else if (*gaps) {
		doctor_say(ret, DOCTOR_INFO, value,
			   "Landlock's ABI is %d, which leaves to seccomp alone: %s.", abi, gaps);
	} else {
		doctor_say(ret, DOCTOR_OK, value,
			   "Landlock's ABI is %d, which leaves nothing open that vmm closes.", abi);
	}
}

static void check_seccomp(struct doctor_result *ret, struct doctor_facts *facts)
{
	unsigned action = SECCOMP_RET_TRAP;

	(void)facts;
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0) {
		doctor_say(ret, DOCTOR_OK, "available", "the kernel has seccomp filters.");
		return;
	}
	doctor_say(ret, DOCTOR_WARN, "absent",
		   "seccomp filters can't be used (%s): `vmm run` works with --sandbox off only.",
		   strerror(errno));
}

const struct doctor_check doctor_host_checks[] = {
	{"hugepages-2M", check_hugepages_2m},
	{"hugepages-1G", check_hugepages_1g},
	{"thp", check_thp},
	{"thp-shmem", check_thp_shmem},
	{"io_uring", check_io_uring},
	{"vhost-net", check_vhost_net},
	{"vhost-vsock", check_vhost_vsock},
	{"tun", check_tun},
	{"memlock", check_memlock},
	{"cgroup", check_cgroup},
	{"landlock", check_landlock},
	{"seccomp", check_seccomp},
};
const size_t doctor_host_check_count = ARRAY_SIZE(doctor_host_checks);
