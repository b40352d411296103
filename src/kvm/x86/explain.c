/* SPDX-License-Identifier: Apache-2.0 */
/* One readable block about a vCPU that KVM could not run on. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/checked.h"
#include "kvm/vcpu_internal.h"

/* KVM_EXIT_INTERNAL_ERROR, Documentation/virt/kvm/api.rst */
static const char *suberror_name(uint32_t suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		return "an instruction that KVM had to emulate and does not know";
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "two exceptions at once";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "an exit while an event was being delivered";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "an exit that KVM did not expect";
	default:
		return "unknown";
	}
}

static void add_reason(const struct kvm_vcpu *vcpu, struct str *out)
{
	const struct kvm_run *run = vcpu->run;
	const char *name = kvm_exit_name(run->exit_reason);

	if (vcpu->run_errno) {
		str_addf(out, "vCPU %u: KVM_RUN failed: %s\n", vcpu->index,
			 strerror(vcpu->run_errno));
		return;
	}
	str_addf(out, "vCPU %u stopped: KVM exit %u (%s)", vcpu->index, run->exit_reason,
		 name ? name : "unknown");
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		str_addf(out, ", suberror %u: %s", run->internal.suberror,
			 suberror_name(run->internal.suberror));
	else if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		str_addf(out, ", hardware entry failure reason %#llx",
			 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
	str_add(out, "\n");
}

static void add_registers(const struct kvm_regs *r, const struct kvm_sregs *s, struct str *out)
{
	const struct {
		const char *name;
		unsigned long long value;
	} regs[] = {
		{"rip", r->rip}, {"rsp", r->rsp}, {"rflags", r->rflags}, {"rax", r->rax},
		{"rbx", r->rbx}, {"rcx", r->rcx}, {"rdx", r->rdx},	 {"rsi", r->rsi},
		{"rdi", r->rdi}, {"rbp", r->rbp}, {"r8", r->r8},	 {"r9", r->r9},
		{"r10", r->r10}, {"r11", r->r11}, {"r12", r->r12},	 {"r13", r->r13},
		{"r14", r->r14}, {"r15", r->r15}, {"cr0", s->cr0},	 {"cr2", s->cr2},
		{"cr3", s->cr3}, {"cr4", s->cr4}, {"efer", s->efer},	 {"cs", s->cs.selector},
	};

	for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
		str_addf(out, "  %-6s %016llx%s", regs[i].name, regs[i].value,
			 i % 3 == 2 ? "\n" : "");
}

/* The bytes at rip, as far as one page of the guest's own mapping goes. */
static unsigned instruction_bytes(const struct kvm_vcpu *vcpu, const struct mm_map *map,
				  uint64_t rip, uint8_t *ret, unsigned max)
{
	struct kvm_translation t = {.linear_address = rip};
	unsigned n = (unsigned)MIN(max, 4096 - (rip & 4095));

	if (ioctl(vcpu->fd, KVM_TRANSLATE, &t) < 0 || !t.valid)
		return 0;
	return mm_map_read(map, GPA(t.physical_address), ret, n) == 0 ? n : 0;
}

/* False when rip is not in RAM. */
static bool add_instruction(const struct kvm_vcpu *vcpu, const struct mm_map *map,
			    const struct kvm_regs *regs, const struct kvm_sregs *sregs,
			    struct str *out)
{
	uint8_t bytes[15];
	uint64_t linear = sregs->efer & (1u << 10) ? regs->rip : sregs->cs.base + regs->rip;
	unsigned n = instruction_bytes(vcpu, map, linear, bytes, sizeof(bytes));

	str_add(out, "  instruction bytes at rip:");
	for (unsigned i = 0; i < n; i++)
		str_addf(out, " %02x", bytes[i]);
	str_add(out, n ? "\n" : " none, rip is not in RAM\n");
	return n > 0;
}

static void add_meaning(const struct kvm_vcpu *vcpu, bool rip_in_ram, struct str *out)
{
	const struct kvm_run *run = vcpu->run;
	bool emulation = run->exit_reason == KVM_EXIT_INTERNAL_ERROR &&
			 run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION;

	str_add(out, "  what this probably means: ");
	if (vcpu->run_errno)
		str_add(out,
			"the host could not give KVM what it needed, memory most of all; see dmesg "
			"on the host.\n");
	else if (emulation && rip_in_ram && vcpu->vm->host->software)
		str_add(out, "this host's KVM is software, without VT-x or AMD-V: it emulates "
			     "kernel code one "
			     "instruction at a time and does not know this one. A stock Linux "
			     "kernel does not "
			     "run here; use a host with hardware KVM, or tools/lab (see `vmm "
			     "doctor`).\n");
	else if (emulation)
		str_add(out, "the guest executed from, or used an unusual instruction on, an "
			     "address that is not "
			     "RAM: a wild jump, or a kernel for another machine.\n");
	else if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		str_add(out,
			"the processor refused the guest's state: most often a host whose nested "
			"virtualization is incomplete.\n");
	else
		str_add(out, "KVM reported something that this machine has no answer to.\n");
}

void kvm_vcpu_explain(struct kvm_vcpu *vcpu, const struct mm_map *map, struct str *out)
{
	struct kvm_regs regs = {0};
	struct kvm_sregs sregs = {0};
	bool rip_in_ram = true;

	add_reason(vcpu, out);
	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) == 0 &&
	    ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) == 0) {
		add_registers(&regs, &sregs, out);
		rip_in_ram = add_instruction(vcpu, map, &regs, &sregs, out);
	}
	add_meaning(vcpu, rip_in_ram, out);
}
