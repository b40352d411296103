/* SPDX-License-Identifier: Apache-2.0 */
/* The guest put into memory: at the start, and again at each reset in place. */
#include <string.h>

#include "machine/vm_internal.h"

int vm_load_kernel(struct vm *vm, struct boot_entry *ret, struct err *err)
{
	static const enum boot_protocol protocols[] = {
		[CONFIG_PROTOCOL_AUTO] = BOOT_AUTO,
		[CONFIG_PROTOCOL_LINUX64] = BOOT_LINUX64,
		[CONFIG_PROTOCOL_PVH] = BOOT_PVH,
	};
	struct boot_params params = {
		.kernel = vm->res->kernel,
		.initrd = vm->res->initrd,
		.cmdline = vm->res->cmdline,
		.protocol = protocols[vm->config->kernel.protocol],
		.ram = &vm->map,
		.platform = vm->platform,
	};

	return boot_load(&params, ret, err);
}

/* Each vCPU gets back the whole state that it had before its first KVM_RUN, the boot vCPU's entry
 * included. */
static int restore_vcpus(struct vm *vm, struct err *err)
{
	for (unsigned i = 0; i < vm->vcpus.n; i++) {
		int r = kvm_vcpu_restore(vm->vcpus.threads[i].vcpu);

		if (r < 0)
			return err_set(err, r, "vCPU %u can't be reset: %s", i, strerror(-r));
	}
	return 0;
}

int vm_reset_in_place(struct vm *vm, struct err *err)
{
	struct boot_entry entry;
	int r;

	for (unsigned i = 0; i < vm->n_devices; i++)
		vm->devices[i]->ops->reset(vm->devices[i]);
	r = kvm_vm_reset(vm->kvm);
	if (r < 0)
		return err_set(err, r, "the interrupt controllers can't be reset: %s",
			       strerror(-r));
	r = mm_ram_clear(vm->ram);
	if (r < 0)
		return err_set(err, r, "the guest's memory can't be cleared: %s", strerror(-r));
	r = vm_load_kernel(vm, &entry, err);
	return r < 0 ? r : restore_vcpus(vm, err);
}
