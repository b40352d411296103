/* SPDX-License-Identifier: Apache-2.0 */
/* The guest put into memory: at the start, and again at each reset in place. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "machine/vm_internal.h"

static int refresh_size(struct boot_file *file, struct err *err)
{
	struct stat st;

	if (file->fd < 0)
		return 0;
	if (fstat(file->fd, &st) < 0)
		return err_set(err, -errno, "%s: %s", file->name, strerror(errno));
	file->size = (uint64_t)st.st_size;
	return 0;
}

static int load_kernel(struct vm *vm, struct boot_entry *ret, struct err *err)
{
	static const enum boot_protocol protocols[] = {
		[CONFIG_PROTOCOL_AUTO] = BOOT_AUTO,
		[CONFIG_PROTOCOL_LINUX64] = BOOT_LINUX64,
		[CONFIG_PROTOCOL_PVH] = BOOT_PVH,
	};
	struct boot_params params = {
		.cmdline = vm->res->cmdline,
		.protocol = protocols[vm->config->kernel.protocol],
		.ram = &vm->ram_map,
		.platform = vm->platform,
	};
	int r = refresh_size(&vm->res->kernel, err);

	if (r == 0)
		r = refresh_size(&vm->res->initrd, err);
	if (r < 0)
		return r;
	params.kernel = vm->res->kernel;
	params.initrd = vm->res->initrd;
	return boot_load(&params, ret, err);
}

int vm_load_guest(struct vm *vm, struct err *err)
{
	struct boot_entry boot;
	struct kvm_entry entry;
	int r = load_kernel(vm, &boot, err);

	if (r < 0)
		return r;
	entry = (struct kvm_entry){
		.long_mode = boot.protocol == BOOT_LINUX64,
		.rip = boot.rip,
		.rsp = boot.rsp,
		.rsi = boot.rsi,
		.rbx = boot.rbx,
		.cr3 = boot.cr3,
		.gdt = boot.gdt.v,
		.gdt_limit = boot.gdt_limit,
	};
	return kvm_vcpu_set_entry(vm->vcpus.threads[0].vcpu, &entry, err);
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

/* Fresh zeros, and all of them there again if they were to be. No thread can be made for it any
 * more. */
static int clear_memory(struct vm *vm, struct err *err)
{
	static const struct mm_prefault by_ourselves = {.threads = 0};
	int r = mm_ram_clear(vm->ram);

	if (r < 0)
		return err_set(err, r, "the guest's memory can't be cleared: %s", strerror(-r));
	return vm->config->memory.prefault ? mm_ram_prefault(vm->ram, &by_ourselves, err) : 0;
}

/* Main does nothing else meanwhile. */
#define RESET_PATIENCE_NS (500 * NS_PER_MS)

static int reset_all(struct vm *vm, struct err *err)
{
	int r;

	for (unsigned i = 0; i < vm->n_devices; i++)
		vm->devices[i]->ops->reset(vm->devices[i]);
	r = kvm_vm_reset(vm->kvm);
	if (r < 0)
		return err_set(err, r, "the interrupt controllers can't be reset: %s",
			       strerror(-r));
	r = clear_memory(vm, err);
	if (r == 0)
		r = restore_vcpus(vm, err);
	/* Last, since the files may have been written since: the entry is the new kernel's. */
	return r < 0 ? r : vm_load_guest(vm, err);
}

int vm_reset_in_place(struct vm *vm, struct err *err)
{
	bool at_rest = vm->phase == VM_PAUSED, again = vm->phase == VM_RESETTING;
	int r;

	/* What the host still does for the old guest must not end up in the new one's memory. */
	r = at_rest ? 0 : vm_quiesce_devices(vm, again ? 0 : RESET_PATIENCE_NS, err);
	if (r < 0)
		return r;
	r = reset_all(vm, err);
	if (!at_rest)
		vm_resume_devices(vm);
	return r;
}
