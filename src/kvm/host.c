/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "kvm/x86/cpuid.h"

struct required_cap {
	int cap;
	const char *name;
};

static const struct required_cap required_caps[] = {
	{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
	{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
	{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
	{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
	{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
	{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
	{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
	{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
	{KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
	{KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR"},
	{KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
	{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
};

static int open_device(struct err *err)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case EACCES:
	case EPERM:
		return err_set(
			err, -errno,
			"/dev/kvm: permission denied; `sudo usermod -aG kvm $USER` and log in "
			"anew, "
			"or `sudo setfacl -m u:$USER:rw /dev/kvm` (`vmm doctor` tells more)");
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return err_set(err, -errno,
			       "/dev/kvm is not there: load kvm_intel or kvm_amd, or enable "
			       "virtualization in "
			       "the firmware or in the hypervisor above (`vmm doctor` tells more)");
	default:
		return err_set(err, -errno, "/dev/kvm: %s", strerror(errno));
	}
}

static int check(int fd, struct err *err)
{
	int api = ioctl(fd, KVM_GET_API_VERSION, 0);

	if (api < 0)
		return err_set(err, -errno, "/dev/kvm is not KVM: %s", strerror(errno));
	if (api != KVM_API_VERSION)
		return err_set(err, -ENOTSUP, "/dev/kvm speaks API %d, vmm needs %d", api,
			       KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(required_caps); i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, required_caps[i].cap) <= 0)
			return err_set(err, -ENOTSUP, "this host's KVM lacks %s, which vmm needs",
				       required_caps[i].name);
	return 0;
}

int kvm_host_open(struct kvm_host *ret, struct err *err)
{
	int fd = open_device(err);
	int r;

	if (fd < 0)
		return fd;
	r = check(fd, err);
	if (r < 0) {
		(void)fd_close(fd);
		return r;
	}
	ret->fd = fd;
	ret->api = KVM_API_VERSION;
	ret->run_size = ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	ret->max_vcpus = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	ret->max_routes = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING);
	ret->tsc_deadline = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	ret->any_length = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD_ANY_LENGTH) > 0;
	ret->xsave_size = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	ret->xsave2 = ret->xsave_size > 0;
	if (ret->xsave_size < (int)sizeof(struct kvm_xsave))
		ret->xsave_size = (int)sizeof(struct kvm_xsave);
	ret->software = !cpuid_host_has_virtualization();
	return 0;
}

void kvm_host_close(struct kvm_host *host)
{
	host->fd = fd_close(host->fd);
}
