/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick of `tools/bench start`: the least program that makes the VM that `vmm run` makes
 * (KVM, its interrupt controllers and routes, the memory slots, one vCPU with the host's CPUID) and
 * runs one instruction. Prints CLOCK_MONOTONIC in ns as it was right before KVM_RUN. Argument: MiB
 * of guest memory, at most 3072.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

enum { PINS = 24, CPUID_ROOM = 128, CODE = 0x1000, OUT_DX_AL = 0xee };

union cpuid_room {
	struct kvm_cpuid2 table;
	uint8_t room[sizeof(struct kvm_cpuid2) + CPUID_ROOM * sizeof(struct kvm_cpuid_entry2)];
};

union routing_room {
	struct kvm_irq_routing table;
	uint8_t room[sizeof(struct kvm_irq_routing) + PINS * sizeof(struct kvm_irq_routing_entry)];
};

static int checked(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

static void make_irqchip(int vm)
{
	static union routing_room routing;
	uint64_t identity = UINT64_C(0xfeffc000);

	checked(ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity), "KVM_SET_IDENTITY_MAP_ADDR");
	checked(ioctl(vm, KVM_SET_TSS_ADDR, 0xfeffd000UL), "KVM_SET_TSS_ADDR");
	checked(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	routing.table.nr = PINS;
	for (unsigned pin = 0; pin < PINS; pin++) {
		routing.table.entries[pin].gsi = pin;
		routing.table.entries[pin].type = KVM_IRQ_ROUTING_IRQCHIP;
		routing.table.entries[pin].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
		routing.table.entries[pin].u.irqchip.pin = pin;
	}
	checked(ioctl(vm, KVM_SET_GSI_ROUTING, &routing), "KVM_SET_GSI_ROUTING");
}

static uint8_t *make_memory(int vm, size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct kvm_userspace_memory_region slot = {.memory_size = bytes,
						   .userspace_addr = (uintptr_t)memory};

	if (memory == MAP_FAILED)
		err(1, "mmap of the guest's memory");
	checked(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
	return memory;
}

static struct kvm_run *make_vcpu(int kvm, int vm, int *ret_vcpu)
{
	static union cpuid_room cpuid = {.table.nent = CPUID_ROOM};
	struct kvm_sregs sregs;
	struct kvm_regs regs = {.rip = CODE, .rdx = 0xf4, .rflags = 2};
	int size = checked(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	int vcpu = checked(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	void *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	if (run == MAP_FAILED)
		err(1, "mmap of the vCPU");
	checked(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "KVM_GET_SUPPORTED_CPUID");
	checked(ioctl(vcpu, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
	checked(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	checked(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	checked(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	*ret_vcpu = vcpu;
	return run;
}

int main(int argc, char *argv[])
{
	size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 128;
	int kvm = checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	int vm = checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	struct timespec now;
	struct kvm_run *run;
	uint8_t *memory;
	int vcpu;

	make_irqchip(vm);
	memory = make_memory(vm, mib << 20);
	memory[CODE] = OUT_DX_AL;
	run = make_vcpu(kvm, vm, &vcpu);
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	checked(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != 0xf4)
		errx(1, "the guest did not run its instruction: exit reason %u", run->exit_reason);
	printf("%" PRIu64 "\n", (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
	return 0;
}
