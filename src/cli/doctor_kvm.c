/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vmm doctor`: /dev/kvm. Asked here by the two ioctls that need no VM, since only machine/ may
 * include kvm/.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/doctor_check.h"
#include "cli/doctor_parse.h"

static bool cpu_has(const char *flag)
{
	_cleanup_free_ char *cpuinfo = doctor_read("/proc/cpuinfo");

	return cpuinfo && doctor_parse_cpu_flag(cpuinfo, flag);
}

static void explain_absence(struct doctor_result *ret)
{
	if (cpu_has("vmx") || cpu_has("svm")) {
		const char *module = cpu_has("vmx") ? "kvm_intel" : "kvm_amd";

		doctor_say(ret, DOCTOR_FAIL, "absent",
			   "/dev/kvm is not there although the CPU can virtualise: the module %s "
			   "is not loaded, or virtualisation is off in the firmware.",
			   module);
		doctor_fix(ret, "sudo modprobe %s", module);
		return;
	}
	doctor_say(ret, DOCTOR_FAIL, "absent",
		   "/dev/kvm is not there and the CPU shows neither VT-x nor AMD-V: %s.",
		   cpu_has("hypervisor")
			   ? "this is a virtual machine, its host has to offer nested "
			     "virtualisation"
			   : "switch virtualisation on in the firmware set-up");
	if (cpu_has("hypervisor"))
		doctor_fix(ret, "sudo modprobe kvm_intel nested=1   # on the host of this "
				"virtual machine; kvm_amd on AMD");
}

static void check_device(struct doctor_result *ret, struct doctor_facts *facts)
{
	int error = facts->kvm_fd < 0 ? -facts->kvm_fd : 0;

	if (error == 0) {
		doctor_say(ret, DOCTOR_OK, "usable", "/dev/kvm is there and permitted.");
	} else if (error == EACCES || error == EPERM) {
		doctor_say(
			ret, DOCTOR_FAIL, "denied",
			"/dev/kvm is there but this user may not open it; after joining the "
			"group, log in anew (for now only: sudo setfacl -m u:$USER:rw /dev/kvm).");
		doctor_fix(ret, "sudo usermod -aG kvm $USER");
	} else if (error == ENOENT || error == ENODEV || error == ENXIO) {
		explain_absence(ret);
	} else {
		doctor_say(ret, DOCTOR_FAIL, "error", "/dev/kvm can't be opened: %s.",
			   strerror(error));
	}
}

static const struct capability {
	int number;
	const char *name;
} required[] = {
	{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
	{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
	{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
	{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
	{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
	{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
	{KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
	{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
	{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
	{KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
	{KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR"},
	{KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
	{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
};

static void check_capabilities(struct doctor_result *ret, struct doctor_facts *facts, int api)
{
	struct str missing = {0};
	_cleanup_free_ char *list = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
		if (ioctl(facts->kvm_fd, KVM_CHECK_EXTENSION, required[i].number) <= 0)
			str_addf(&missing, " %s", required[i].name);
	}
	list = str_steal(&missing);
	facts->kvm_ok = list && !*list;
	if (facts->kvm_ok)
		doctor_say(ret, DOCTOR_OK, "complete",
			   "KVM speaks API %d and has all that vmm needs (%zu capabilities).", api,
			   ARRAY_SIZE(required));
	else
		doctor_say(ret, DOCTOR_FAIL, "incomplete",
			   "KVM lacks what vmm needs:%s; a newer kernel may have it.",
			   list ? list : " (out of memory)");
}

static void check_api(struct doctor_result *ret, struct doctor_facts *facts)
{
	int api;

	if (facts->kvm_fd < 0) {
		doctor_say(ret, DOCTOR_INFO, "unknown",
			   "KVM's version and capabilities can't be asked without /dev/kvm.");
		return;
	}
	api = ioctl(facts->kvm_fd, KVM_GET_API_VERSION, 0);
	if (api == KVM_API_VERSION)
		check_capabilities(ret, facts, api);
	else
		doctor_say(ret, DOCTOR_FAIL, "wrong-api",
			   "/dev/kvm answers with API version %d, vmm needs %d.", api,
			   KVM_API_VERSION);
}

static enum doctor_kvm_kind kind_here(void)
{
	bool hardware = access("/sys/module/kvm_intel", F_OK) == 0 ||
			access("/sys/module/kvm_amd", F_OK) == 0;

	return doctor_kvm_kind(cpu_has("vmx") || cpu_has("svm"), hardware,
			       access("/sys/module/kvm_pvm", F_OK) == 0);
}

static void check_kind(struct doctor_result *ret, struct doctor_facts *facts)
{
	switch (kind_here()) {
	case DOCTOR_KVM_HARDWARE:
		facts->kvm_hardware = true;
		doctor_say(ret, DOCTOR_OK, "hardware",
			   "the CPU virtualises (%s)%s: Linux guests run at full speed.",
			   cpu_has("vmx") ? "VT-x" : "AMD-V",
			   cpu_has("hypervisor") ? ", nested in another virtual machine" : "");
		break;
	case DOCTOR_KVM_SOFTWARE:
		doctor_say(ret, DOCTOR_WARN, "software",
			   "KVM is a software one (kvm_pvm, no VT-x or AMD-V): firmware guests "
			   "and `vmm selftest` run; a stock Linux kernel does not boot here: use "
			   "tools/lab or a host with VT-x/AMD-V.");
		doctor_fix(ret, "tools/lab");
		break;
	case DOCTOR_KVM_UNKNOWN:
		doctor_say(ret, facts->kvm_fd < 0 ? DOCTOR_INFO : DOCTOR_WARN, "unknown",
			   "no VT-x or AMD-V and no known software KVM: whether Linux guests boot "
			   "here, only a try will tell.");
		break;
	}
}

const struct doctor_check doctor_kvm_checks[] = {
	{"kvm-device", check_device},
	{"kvm-api", check_api},
	{"kvm-kind", check_kind},
};
const size_t doctor_kvm_check_count = ARRAY_SIZE(doctor_kvm_checks);
