/* SPDX-License-Identifier: Apache-2.0 */
/* All devices brought to rest, for a pause. */
#include "machine/vm_internal.h"

/* The first n of them. */
static void resume(struct vm *vm, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (vm->devices[i]->ops->resume)
			vm->devices[i]->ops->resume(vm->devices[i]);
}

int vm_quiesce_devices(struct vm *vm, struct err *err)
{
	for (unsigned i = 0; i < vm->n_devices; i++) {
		struct device *dev = vm->devices[i];
		int r = dev->ops->quiesce ? dev->ops->quiesce(dev, err) : 0;

		if (r < 0) {
			resume(vm, i);
			return r;
		}
	}
	return 0;
}

void vm_resume_devices(struct vm *vm)
{
	resume(vm, vm->n_devices);
}
