/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's KVM: /dev/kvm opened once, before the process is locked down, and what it can do.
 * Everything is asked of KVM; nothing is concluded from a version. Main thread.
 */
#ifndef VMM_KVM_HOST_H
#define VMM_KVM_HOST_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/err.h"

struct kvm_host {
	int fd;
	int api;	   /* KVM_GET_API_VERSION */
	int run_size;	   /* bytes to map per vCPU */
	int max_vcpus;	   /* vCPUs in a VM */
	int max_routes;	   /* GSIs with a route, IOAPIC pins included */
	bool tsc_deadline; /* the in-kernel APIC has the TSC deadline timer */
	bool any_length;   /* an ioeventfd takes writes of any size */
	bool xsave2;	   /* KVM_GET_XSAVE2 */
	int xsave_size;
	bool software; /* no VT-x or AMD-V under it */
};

/*
 * 0, or -errno with a message that says how to get access. An API other than 12 or a missing
 * capability that vmm can't do without is -ENOTSUP, and named.
 */
int kvm_host_open(struct kvm_host *ret, struct err *err) must_check;
void kvm_host_close(struct kvm_host *host);

#endif
