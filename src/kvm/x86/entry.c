/* SPDX-License-Identifier: Apache-2.0 */
/* The first instruction: registers and MSRs as firmware and boot loader would have left them. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "kvm/vcpu_internal.h"

#define CR0_PE	 (1u << 0)
#define CR0_ET	 (1u << 4)
#define CR0_PG	 (1u << 31)
#define CR4_PAE	 (1u << 5)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)

#define MSR_MTRR_DEF_TYPE 0x2ffu
#define MSR_MISC_ENABLE	  0x1a0u

enum { SELECTOR_CODE = 0x10, SELECTOR_DATA = 0x18, SELECTOR_TSS = 0x20 };

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type, bool long_mode)
{
	bool code = type & 8;

	return (struct kvm_segment){
		.base = 0,
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = code && long_mode,
		.db = !(code && long_mode),
	};
}

static void set_segments(struct kvm_sregs *sregs, const struct kvm_entry *entry)
{
	enum { CODE_RX_ACCESSED = 0xb, DATA_RW_ACCESSED = 0x3, BUSY_TSS = 0xb };
	struct kvm_segment data = flat_segment(SELECTOR_DATA, DATA_RW_ACCESSED, entry->long_mode);

	sregs->cs = flat_segment(SELECTOR_CODE, CODE_RX_ACCESSED, entry->long_mode);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = (struct kvm_segment){
		.limit = 0x67, .selector = SELECTOR_TSS, .type = BUSY_TSS, .present = 1};
	sregs->ldt = (struct kvm_segment){.unusable = 1};
	sregs->gdt = (struct kvm_dtable){.base = entry->gdt, .limit = entry->gdt_limit};
	sregs->idt = (struct kvm_dtable){0};
}

static int set_sregs(struct kvm_vcpu *vcpu, const struct kvm_entry *entry)
{
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	set_segments(&sregs, entry);
	sregs.cr0 = CR0_PE | CR0_ET;
	sregs.cr4 = 0;
	sregs.efer = 0;
	if (entry->long_mode) {
		sregs.cr3 = entry->cr3;
		sregs.cr4 = CR4_PAE;
		sregs.efer = EFER_LME | EFER_LMA;
		sregs.cr0 |= CR0_PG;
	}
	return ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 ? -errno : 0;
}

int kvm_vcpu_set_entry(struct kvm_vcpu *vcpu, const struct kvm_entry *entry, struct err *err)
{
	enum { RFLAGS_RESERVED = 2 };
	struct kvm_regs regs = {
		.rip = entry->rip,
		.rsp = entry->rsp,
		.rsi = entry->rsi,
		.rbx = entry->rbx,
		.rflags = RFLAGS_RESERVED,
	};
	int r = set_sregs(vcpu, entry);

	if (r < 0)
		return err_set(err, r, "KVM_SET_SREGS: %s", strerror(-r));
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return err_set(err, -errno, "KVM_SET_REGS: %s", strerror(errno));
	return 0;
}

/* One by one: a software KVM may not know all of them, and none is worth a refusal to start. */
void vcpu_init_msrs(struct kvm_vcpu *vcpu)
{
	static const struct kvm_msr_entry wanted[] = {
		{.index = MSR_MISC_ENABLE, .data = 1}, /* fast string operations */
		{.index = MSR_MTRR_DEF_TYPE,
		 .data = 1u << 11 | 6}, /* MTRRs on, memory is write-back */
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct kvm_msr_entry entry = wanted[i];

		if (vcpu_msr(vcpu, KVM_SET_MSRS, &entry) < 0)
			log_debug("vCPU %u: KVM does not take MSR %#x", vcpu->index, entry.index);
	}
}
