/* SPDX-License-Identifier: Apache-2.0 */
/* All devices brought to rest, for a pause or a reset. */
#include "base/checked.h"
#include "base/clock.h"
#include "machine/vm_internal.h"

int vm_quiesce_devices(struct vm *vm, uint64_t patience_ns, struct err *err)
{
	uint64_t start = clock_now_ns();

	for (unsigned i = 0; i < vm->n_devices; i++) {
		struct device *dev = vm->devices[i];
		uint64_t gone = clock_now_ns() - start;
		int r = 0;

		if (dev->ops->quiesce)
			r = dev->ops->quiesce(dev, patience_ns - MIN(gone, patience_ns), err);
		if (r < 0)
			return r;
	}
	return 0;
}

void vm_resume_devices(struct vm *vm)
{
	for (unsigned i = 0; i < vm->n_devices; i++)
		if (vm->devices[i]->ops->resume)
			vm->devices[i]->ops->resume(vm->devices[i]);
}
