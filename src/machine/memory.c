/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's memory: RAM, what devices bring along, and the windows between. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/log.h"
#include "machine/layout.h"
#include "machine/vm_internal.h"

/*
 * The 64-bit BAR window takes the top quarter of what the guest can address, 46 bits at most: it is
 * far above RAM, and every guest kernel can map it.
 */
static int set_platform(struct vm *vm, struct err *err)
{
	unsigned bits = MIN(kvm_vm_physical_bits(vm->kvm), 46u);
	uint64_t top = UINT64_C(1) << bits;
	const struct mm_region *last = &vm->map.regions[vm->map.n - 1];

	vm->platform = (struct boot_platform){
		.n_cpus = vm->config->cpus.boot,
		.apic_ids = vm->apic_ids,
		.ecam_base = LAYOUT_ECAM_BASE,
		.ecam_size = LAYOUT_ECAM_SIZE,
		.mmio32_base = LAYOUT_MMIO32_BASE,
		.mmio32_size = LAYOUT_MMIO32_SIZE,
		.mmio64_base = top - top / 4,
		.mmio64_size = top / 4,
		.ioapic_base = LAYOUT_IOAPIC_BASE,
		.lapic_base = LAYOUT_LAPIC_BASE,
		.sleep_port = LAYOUT_PORT_SLEEP,
		.reset_port = LAYOUT_PORT_RESET,
		.reset_value = LAYOUT_RESET_VALUE,
		.ged_port = LAYOUT_PORT_GED,
		.ged_gsi = LAYOUT_GSI_GED,
		.serial_port = LAYOUT_PORT_COM1,
		.serial_gsi = LAYOUT_GSI_COM1,
		.rtc_port = LAYOUT_PORT_RTC,
		.pvpanic_port = LAYOUT_PORT_PVPANIC,
	};
	if (last->gpa.v + last->size > vm->platform.mmio64_base)
		return err_set(
			err, -EINVAL,
			"--mem: %llu MiB is more than a guest on this host can address (%llu MiB)",
			(unsigned long long)(vm->ram->size >> 20),
			(unsigned long long)((vm->platform.mmio64_base - GIB(1)) >> 20));
	return 0;
}

struct prefault_job {
	struct mm_prefault how;
	enum sandbox_mode mode;
};

static int enter_worker_role(const struct mm_prefault *how)
{
	const struct prefault_job *job =
		(const void *)((const char *)how - offsetof(struct prefault_job, how));

	return sandbox_enter_role(job->mode, SANDBOX_WORKER, NULL);
}

static void show_progress(uint64_t done, uint64_t total)
{
	unsigned percent = (unsigned)(done * 100 / total);

	if (isatty(STDERR_FILENO))
		(void)dprintf(STDERR_FILENO, "\rvmm: guest memory %3u%%%s", percent,
			      done == total ? "\n" : "");
	else
		log_info("guest memory %u%%", percent);
}

/* The signals that end a run are blocked and wait for the loop, which does not run yet. */
static bool stop_is_pending(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGTERM) > 0 || sigismember(&pending, SIGINT) > 0 ||
		sigismember(&pending, SIGHUP) > 0);
}

static int prefault(struct vm *vm, struct err *err)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct prefault_job job = {
		.mode = vm_sandbox_mode(vm->config),
		.how = {.threads = cpus > 0 ? (unsigned)cpus : 1,
			.enter = enter_worker_role,
			.cancelled = stop_is_pending,
			.progress = log_enabled(LOG_WARN) ? show_progress : NULL},
	};

	return mm_ram_prefault(vm->ram, &job.how, err);
}

/* ---- memory that devices bring along, above RAM and out of e820 ---- */

static uint64_t end_of_memory(const struct vm *vm)
{
	const struct mm_region *last = &vm->map.regions[vm->map.n - 1];

	return MAX(last->gpa.v + last->size, LAYOUT_HOLE_END);
}

static int add_region(struct vm *vm, const struct mm_region *region, bool ro, const char *option,
		      struct err *err)
{
	uint64_t end;
	int r;

	if (ckd_add(&end, region->gpa.v, region->size) || end > vm->platform.mmio64_base)
		return err_set(err, -EINVAL,
			       "%s: %llu MiB more is beyond what a guest on this host can address",
			       option, (unsigned long long)(region->size >> 20));
	r = mm_map_add(&vm->map, region);
	if (r < 0)
		return err_set(err, r, "%s: too many regions of memory", option);
	return kvm_vm_add_memory(vm->kvm, region, ro, err);
}

static int add_pmem(struct vm *vm, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; i < vm->config->n_pmem && r == 0; i++) {
		const struct pmem *p = vm->res->backends.pmem[i];
		struct mm_region region;

		pmem_region(p, GPA(align_up(end_of_memory(vm), GIB(1))), &region);
		vm->pmem_gpa[i] = region.gpa;
		r = add_region(vm, &region, p->ro, "--pmem", err);
	}
	return r;
}

/* Back ends in other processes work in the guest's memory. */
static bool is_shared(const struct vm_config *config)
{
	return config->memory.shared == CONFIG_SHARED_ON || config->n_vhost_users > 0;
}

/* The region of virtio-mem, all of it as one slot; what is not plugged costs nothing. */
static int add_pluggable(struct vm *vm, struct err *err)
{
	const struct vm_config *c = vm->config;
	struct mm_ram_opts opts = {
		.page_size = c->memory.hugepages,
		.shared = is_shared(c),
		.thp = c->memory.thp,
		.on_demand = true,
	};
	struct mm_region region;
	int r;

	if (c->memory.max <= c->memory.size)
		return 0;
	opts.size = c->memory.max - c->memory.size;
	r = mm_ram_new(&opts, &vm->pluggable, err);
	if (r < 0)
		return r;
	/* The largest memory block of Linux: what is not a whole one at either end can't be used.
	 */
	mm_ram_region(vm->pluggable, GPA(align_up(end_of_memory(vm), GIB(2))), 0, opts.size,
		      &region);
	vm->pluggable_gpa = region.gpa;
	return add_region(vm, &region, false, "--mem max=", err);
}

int vm_add_memory(struct vm *vm, struct err *err)
{
	const struct vm_config *c = vm->config;
	struct mm_ram_opts opts = {
		.size = c->memory.size,
		.page_size = c->memory.hugepages,
		.shared = is_shared(c),
		.thp = c->memory.thp,
	};
	int r = mm_ram_new(&opts, &vm->ram, err);

	if (r < 0)
		return r;
	mm_ram_layout(vm->ram, LAYOUT_HOLE_START, LAYOUT_HOLE_END, &vm->ram_map);
	vm->map = vm->ram_map;
	r = set_platform(vm, err);
	if (r == 0)
		r = kvm_vm_set_memory(vm->kvm, &vm->map, err);
	if (r == 0)
		r = add_pmem(vm, err);
	if (r == 0)
		r = add_pluggable(vm, err);
	if (r == 0 && c->memory.prefault)
		r = prefault(vm, err);
	return r;
}
