/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU thread: KVM_RUN and the device models that its exits reach. It opens, reads, accepts and
 * waits for nothing, and the state of a vCPU is main's to read and write. */
#ifndef VMM_SANDBOX_ROLES_VCPU_H
#define VMM_SANDBOX_ROLES_VCPU_H

#include <linux/kvm.h>

#include "sandbox/roles/rule.h"

static const struct rule vcpu_rules[] = {
	ALLOW_IOCTL(KVM_RUN),
	/* A device raises or lowers its interrupt line. */
	ALLOW_IOCTL(KVM_IRQ_LINE),
};

#endif
