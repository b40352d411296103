/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/assert.h"
#include "base/fd.h"
#include "base/log.h"
#include "kvm/vm_internal.h"
#include "kvm/x86/cpuid.h"

/* In the hole below 4 GiB, where no RAM and no device is: Intel processors of old need them. */
#define IDENTITY_MAP_ADDR UINT64_C(0xfeffc000)
#define TSS_ADDR	  0xfeffd000UL

static void line_set_level(struct irq_line *line, bool high)
{
	struct kvm_line *l = container_of(line, struct kvm_line, line);
	struct kvm_irq_level level = {.irq = l->gsi, .level = high};

	if (ioctl(l->vm->fd, KVM_IRQ_LINE, &level) < 0)
		log_guest("interrupt line %u: %s", l->gsi, strerror(errno));
}

static const struct irq_line_ops line_ops = {.set_level = line_set_level};

static int remember_irqchips(struct kvm_vm *vm)
{
	for (unsigned i = 0; i < IRQCHIPS; i++) {
		vm->power_on[i].chip_id = i;
		if (ioctl(vm->fd, KVM_GET_IRQCHIP, &vm->power_on[i]) < 0)
			return -errno;
	}
	return 0;
}

static int set_up(struct kvm_vm *vm, struct err *err)
{
	uint64_t identity = IDENTITY_MAP_ADDR;
	int r;

	/* EINTR comes from signals while the kernel sets up; it has no meaning here. */
	do {
		vm->fd = ioctl(vm->host->fd, KVM_CREATE_VM, 0);
	} while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0)
		return err_set(err, -errno, "KVM_CREATE_VM: %s", strerror(errno));
	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
	    ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDR) < 0)
		return err_set(err, -errno, "KVM_SET_TSS_ADDR: %s", strerror(errno));
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_set(err, -errno, "KVM_CREATE_IRQCHIP: %s", strerror(errno));
	r = kvm_wires_init(vm);
	if (r < 0)
		return err_set(err, r, "KVM_SET_GSI_ROUTING: %s", strerror(-r));
	r = remember_irqchips(vm);
	if (r < 0)
		return err_set(err, r, "KVM_GET_IRQCHIP: %s", strerror(-r));
	r = cpuid_supported(vm->host->fd, &vm->cpuid);
	if (r < 0)
		return err_set(err, r, "KVM_GET_SUPPORTED_CPUID: %s", strerror(-r));
	return 0;
}

int kvm_vm_new(const struct kvm_host *host, struct kvm_vm **ret, struct err *err)
{
	struct kvm_vm *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return err_set(err, -ENOMEM, "out of memory");
	vm->host = host;
	vm->fd = -1;
	for (unsigned gsi = 0; gsi < KVM_VM_GSIS; gsi++)
		vm->lines[gsi] = (struct kvm_line){.line.ops = &line_ops, .vm = vm, .gsi = gsi};
	r = set_up(vm, err);
	if (r < 0) {
		(void)kvm_vm_free(vm);
		return r;
	}
	*ret = vm;
	return 0;
}

struct kvm_vm *kvm_vm_free(struct kvm_vm *vm)
{
	if (!vm)
		return NULL;
	(void)fd_close(vm->fd);
	kvm_wires_done(vm);
	free(vm->cpuid);
	free(vm);
	return NULL;
}

int kvm_vm_add_memory(struct kvm_vm *vm, const struct mm_region *region, bool ro, struct err *err)
{
	struct kvm_userspace_memory_region slot = {
		.slot = vm->n_slots,
		.flags = ro ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = region->gpa.v,
		.memory_size = region->size,
		.userspace_addr = (uintptr_t)region->host,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
		return err_set(err, -errno, "KVM_SET_USER_MEMORY_REGION of %llu MiB: %s",
			       (unsigned long long)(region->size >> 20), strerror(errno));
	vm->n_slots++;
	return 0;
}

int kvm_vm_set_memory(struct kvm_vm *vm, const struct mm_map *map, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; i < map->n && r == 0; i++)
		r = kvm_vm_add_memory(vm, &map->regions[i], false, err);
	return r;
}

unsigned kvm_vm_physical_bits(const struct kvm_vm *vm)
{
	enum { LEAF_ADDRESS_SIZES = 0x80000008, WITHOUT_THE_LEAF = 36 };
	const struct kvm_cpuid_entry2 *e = cpuid_find(vm->cpuid, (uint32_t)LEAF_ADDRESS_SIZES, 0);

	return e ? e->eax & 0xff : WITHOUT_THE_LEAF;
}

struct irq_line *kvm_vm_irq_line(struct kvm_vm *vm, unsigned gsi)
{
	vmm_assert(gsi < KVM_VM_GSIS);
	return &vm->lines[gsi].line;
}

bool kvm_vm_gsi_enabled(const struct kvm_vm *vm, unsigned gsi)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};

	vmm_assert(gsi < KVM_VM_GSIS);
	if (ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) < 0)
		return false;
	return !chip.chip.ioapic.redirtbl[gsi].fields.mask;
}

int kvm_vm_reset(struct kvm_vm *vm)
{
	for (unsigned gsi = 0; gsi < KVM_VM_GSIS; gsi++)
		line_set_level(&vm->lines[gsi].line, false);
	for (unsigned i = 0; i < IRQCHIPS; i++)
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &vm->power_on[i]) < 0)
			return -errno;
	return kvm_msi_reset(vm);
}
