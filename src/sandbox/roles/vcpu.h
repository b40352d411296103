/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU thread: KVM_RUN and the device models that its exits reach. It opens, accepts and waits
 * for nothing, reads eventfds only, and the state of a vCPU is main's to read and write. */
#ifndef VMM_SANDBOX_ROLES_VCPU_H
#define VMM_SANDBOX_ROLES_VCPU_H

#include <linux/kvm.h>

#include "sandbox/roles/rule.h"

static const struct rule vcpu_rules[] = {
	ALLOW_IOCTL(KVM_RUN),
	/* A device raises or lowers its interrupt line. */
	ALLOW_IOCTL(KVM_IRQ_LINE),
	/* The guest masks and unmasks an MSI, or moves a BAR with doorbells in it. */
	ALLOW_IOCTL(KVM_IRQFD),
	ALLOW_IOCTL(KVM_SET_GSI_ROUTING),
	ALLOW_IOCTL(KVM_IOEVENTFD),
	/* What is pending of a masked MSI is its eventfd's count, 8 bytes long. */
	ALLOW_WHEN(read, 2, 8),
};

#endif
