/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU thread: KVM_RUN and the device models that its exits reach. It opens, accepts and waits
 * for nothing. */
#ifndef VMM_SANDBOX_ROLES_VCPU_H
#define VMM_SANDBOX_ROLES_VCPU_H

#include <linux/kvm.h>

#include "sandbox/roles/rule.h"

static const struct rule vcpu_rules[] = {
	ALLOW_IOCTL(KVM_RUN),
	/* Takes a kick that came while it was not wanted. */
	ALLOW(rt_sigtimedwait),
};

#endif
