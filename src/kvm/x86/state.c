/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a vCPU before its first KVM_RUN, and its return at a reset in place.
 *
 * Order of restoring: special registers first, since they hold the APIC base and mode that the
 * local APIC's own state depends on and the features that MSRs are checked against; the time stamp
 * counter is left to run, because writing it on each vCPU at a different moment would put them out
 * of step.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "kvm/vcpu_internal.h"

enum { MSR_TSC = 0x10, MSR_TSC_DEADLINE = 0x6e0 };

struct vcpu_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp_state;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debugregs;
	struct kvm_xsave *xsave;
	struct kvm_msrs *msrs;
	bool has_xcrs;
};

struct vcpu_state *vcpu_state_free(struct vcpu_state *state)
{
	if (!state)
		return NULL;
	free(state->xsave);
	free(state->msrs);
	free(state);
	return NULL;
}
DEFINE_CLEANUP(struct vcpu_state *, vcpu_state_free);

static int msr_list(const struct kvm_vcpu *vcpu, struct kvm_msr_list **ret)
{
	struct kvm_msr_list probe = {.nmsrs = 0}, *list;

	if (ioctl(vcpu->vm->host->fd, KVM_GET_MSR_INDEX_LIST, &probe) < 0 && errno != E2BIG)
		return -errno;
	list = calloc(1, sizeof(*list) + probe.nmsrs * sizeof(list->indices[0]));
	if (!list)
		return -ENOMEM;
	list->nmsrs = probe.nmsrs;
	if (ioctl(vcpu->vm->host->fd, KVM_GET_MSR_INDEX_LIST, list) < 0) {
		int e = errno;

		free(list);
		return -e;
	}
	*ret = list;
	return 0;
}

int vcpu_msr(const struct kvm_vcpu *vcpu, unsigned long request, struct kvm_msr_entry *entry)
{
	union {
		struct kvm_msrs msrs;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} one = {.msrs.nmsrs = 1};
	int n;

	one.msrs.entries[0] = *entry;
	n = ioctl(vcpu->fd, request, &one);
	*entry = one.msrs.entries[0];
	return n < 0 ? -errno : n == 1 ? 0 : -EINVAL;
}

/* The guest can write these, and KVM's list leaves them out. */
static const uint32_t mtrrs[] = {
	0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207, 0x208, 0x209,
	0x20a, 0x20b, 0x20c, 0x20d, 0x20e, 0x20f, 0x250, 0x258, 0x259, 0x268,
	0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f, 0x2ff,
};

/*
 * Gets or sets them all, and keeps those that KVM lets through. A call does up to the first that it
 * doesn't, so what is left goes in the next: many in each call, since one call for each MSR is most
 * of what saving a vCPU costs.
 */
static void transfer_msrs(const struct kvm_vcpu *vcpu, unsigned long request, struct kvm_msrs *msrs)
{
	enum { PIECE = 64 };
	union {
		struct kvm_msrs msrs;
		uint8_t room[sizeof(struct kvm_msrs) + PIECE * sizeof(struct kvm_msr_entry)];
	} piece;
	uint32_t kept = 0, at = 0;

	while (at < msrs->nmsrs) {
		uint32_t n = MIN(msrs->nmsrs - at, (uint32_t)PIECE), done;
		int r;

		piece.msrs = (struct kvm_msrs){.nmsrs = n};
		memcpy(piece.msrs.entries, &msrs->entries[at], n * sizeof(msrs->entries[0]));
		r = ioctl(vcpu->fd, request, &piece);
		done = r > 0 ? MIN((uint32_t)r, n) : 0;
		memcpy(&msrs->entries[kept], piece.msrs.entries, done * sizeof(msrs->entries[0]));
		kept += done;
		at += done < n ? done + 1 : n;
	}
	msrs->nmsrs = kept;
}

static void add_msr(struct kvm_msrs *msrs, uint32_t index)
{
	if (index != MSR_TSC && index != MSR_TSC_DEADLINE)
		msrs->entries[msrs->nmsrs++] = (struct kvm_msr_entry){.index = index};
}

/* Keeps the MSRs that can be read and written back; the rest can't have been changed by us either.
 */
static int save_msrs(const struct kvm_vcpu *vcpu, struct kvm_msrs **ret)
{
	_cleanup_free_ struct kvm_msr_list *list = NULL;
	struct kvm_msrs *msrs;
	int r = msr_list(vcpu, &list);

	if (!list)
		return r;
	msrs = calloc(1,
		      sizeof(*msrs) + (list->nmsrs + ARRAY_SIZE(mtrrs)) * sizeof(msrs->entries[0]));
	if (!msrs)
		return -ENOMEM;
	for (uint32_t i = 0; i < list->nmsrs; i++)
		add_msr(msrs, list->indices[i]);
	for (size_t i = 0; i < ARRAY_SIZE(mtrrs); i++)
		add_msr(msrs, mtrrs[i]);
	transfer_msrs(vcpu, KVM_GET_MSRS, msrs);
	transfer_msrs(vcpu, KVM_SET_MSRS, msrs);
	*ret = msrs;
	return 0;
}

static void restore_msrs(const struct kvm_vcpu *vcpu, struct kvm_msrs *msrs)
{
	uint32_t n = msrs->nmsrs;

	transfer_msrs(vcpu, KVM_SET_MSRS, msrs);
	if (msrs->nmsrs < n)
		log_debug("vCPU %u: %u MSRs could not be reset", vcpu->index, n - msrs->nmsrs);
}

/* The fixed-size parts: what to get and set, and where it lies in struct vcpu_state. */
struct part {
	unsigned long get, set;
	size_t offset;
};

#define PART(what, member)                                                                         \
	{                                                                                          \
		KVM_GET_##what, KVM_SET_##what, offsetof(struct vcpu_state, member)                \
	}
static const struct part parts[] = {
	PART(SREGS, sregs),	    PART(LAPIC, lapic), PART(VCPU_EVENTS, events),
	PART(DEBUGREGS, debugregs), PART(REGS, regs),	PART(MP_STATE, mp_state),
};

int kvm_vcpu_save(struct kvm_vcpu *vcpu)
{
	_cleanup_(vcpu_state_free_cleanup) struct vcpu_state *state = calloc(1, sizeof(*state));
	const struct kvm_host *host = vcpu->vm->host;
	int r;

	if (!state)
		return -ENOMEM;
	state->xsave = calloc(1, (size_t)host->xsave_size);
	if (!state->xsave)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (ioctl(vcpu->fd, parts[i].get, (char *)state + parts[i].offset) < 0)
			return -errno;
	if (ioctl(vcpu->fd, host->xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, state->xsave) < 0)
		return -errno;
	state->has_xcrs = ioctl(vcpu->fd, KVM_GET_XCRS, &state->xcrs) == 0;
	r = save_msrs(vcpu, &state->msrs);
	if (r < 0)
		return r;
	(void)vcpu_state_free(vcpu->saved);
	vcpu->saved = TAKE_PTR(state);
	return 0;
}

int kvm_vcpu_restore(struct kvm_vcpu *vcpu)
{
	struct vcpu_state *state = vcpu->saved;

	if (!state)
		return -ENODATA;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &state->sregs) < 0)
		return -errno;
	if (state->has_xcrs && ioctl(vcpu->fd, KVM_SET_XCRS, &state->xcrs) < 0)
		return -errno;
	if (ioctl(vcpu->fd, KVM_SET_XSAVE, state->xsave) < 0)
		return -errno;
	restore_msrs(vcpu, state->msrs);
	for (size_t i = 1; i < ARRAY_SIZE(parts); i++)
		if (ioctl(vcpu->fd, parts[i].set, (char *)state + parts[i].offset) < 0)
			return -errno;
	return 0;
}
