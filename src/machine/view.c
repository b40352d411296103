/* SPDX-License-Identifier: Apache-2.0 */
/* What can be seen of a VM, while it runs and for its result. */
#include <stdlib.h>
#include <string.h>

#include "machine/vm_internal.h"

struct loop *vm_loop(struct vm *vm)
{
	return vm->loop;
}

const char *vm_state(const struct vm *vm)
{
	static const char *const names[] = {
		[VM_RUNNING] = "running",     [VM_PAUSED] = "paused", [VM_STOPPING] = "stopping",
		[VM_RESETTING] = "resetting", [VM_HELD] = "panicked", [VM_ENDED] = "ended",
	};

	return names[vm->phase];
}

struct device *vm_device(struct vm *vm, unsigned index)
{
	return index < vm->n_devices ? vm->devices[index] : NULL;
}

struct device *vm_find_device(struct vm *vm, const char *id)
{
	for (unsigned i = 0; i < vm->n_devices; i++)
		if (strcmp(vm->devices[i]->id, id) == 0)
			return vm->devices[i];
	return NULL;
}

struct chr *vm_console(struct vm *vm)
{
	return vm_console_chr(vm);
}

unsigned vm_n_vcpus(const struct vm *vm)
{
	return vm->vcpus.n;
}

uint64_t vm_memory_size(const struct vm *vm)
{
	return vm->ram->size;
}

unsigned vm_resets(const struct vm *vm)
{
	return vm->resets;
}

uint64_t vm_first_run_ns(struct vm *vm)
{
	return vcpus_first_run_ns(&vm->vcpus);
}

char *vm_console_tail(struct vm *vm)
{
	return console_watch_tail(&vm->watch);
}

void vm_report(struct vm *vm, struct vm_report *ret)
{
	const struct chr *chr = vm_console_chr(vm);
	struct chr_stats stats = chr ? chr_stats(chr) : (struct chr_stats){0};
	uint64_t last;

	*ret = (struct vm_report){
		.first_run_ns = vcpus_first_run_ns(&vm->vcpus),
		.resets = vm->resets,
		.console_tail = console_watch_tail(&vm->watch),
		.failure = vm->failure ? strdup(vm->failure) : NULL,
		.panic_text = console_watch_panic_seen(&vm->watch)
				      ? console_watch_panic_text(&vm->watch)
				      : NULL,
		.console_written = stats.written,
		.console_dropped = stats.dropped,
	};
	console_watch_times(&vm->watch, &ret->first_console_ns, &last);
}

void vm_report_done(struct vm_report *report)
{
	free(report->console_tail);
	free(report->panic_text);
	free(report->failure);
	*report = (struct vm_report){0};
}

/* The named exit reason of this index, KVM_EXIT_REASONS past the last. */
static unsigned exit_reason(unsigned index)
{
	unsigned reason = 0;

	while (reason < KVM_EXIT_REASONS && (!kvm_exit_name(reason) || index-- > 0))
		reason++;
	return reason;
}

const char *vm_vcpu_exit_count(struct vm *vm, unsigned vcpu, unsigned index, uint64_t *ret_count)
{
	unsigned reason = exit_reason(index);

	if (vcpu >= vm->vcpus.n || reason == KVM_EXIT_REASONS)
		return NULL;
	*ret_count = kvm_vcpu_exits(vm->vcpus.threads[vcpu].vcpu, reason);
	return kvm_exit_name(reason);
}

const char *vm_exit_count(struct vm *vm, unsigned index, uint64_t *ret_count)
{
	unsigned reason = exit_reason(index);

	if (reason == KVM_EXIT_REASONS)
		return NULL;
	*ret_count = 0;
	for (unsigned i = 0; i < vm->vcpus.n; i++)
		*ret_count += kvm_vcpu_exits(vm->vcpus.threads[i].vcpu, reason);
	return kvm_exit_name(reason);
}
