/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/vm.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "machine/layout.h"
#include "machine/vm_internal.h"
#include "sandbox/sandbox.h"

enum sandbox_mode vm_sandbox_mode(const struct vm_config *config)
{
	static const enum sandbox_mode modes[] = {
		[CONFIG_SANDBOX_STRICT] = SANDBOX_STRICT,
		[CONFIG_SANDBOX_LOG] = SANDBOX_LOG,
		[CONFIG_SANDBOX_OFF] = SANDBOX_OFF,
	};

	return modes[config->sandbox];
}

static void set_topology(struct vm *vm)
{
	vm->topology = vm_topology(vm->config);
	for (unsigned i = 0; i < vm->config->cpus.boot; i++)
		vm->apic_ids[i] = cpu_topology_apic_id(&vm->topology, i);
}

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

static int add_memory(struct vm *vm, struct err *err)
{
	const struct vm_config *c = vm->config;
	struct mm_ram_opts opts = {
		.size = c->memory.size,
		.page_size = c->memory.hugepages,
		.shared = c->memory.shared == CONFIG_SHARED_ON,
		.thp = c->memory.thp,
	};
	int r = mm_ram_new(&opts, &vm->ram, err);

	if (r < 0)
		return r;
	mm_ram_layout(vm->ram, LAYOUT_HOLE_START, LAYOUT_HOLE_END, &vm->map);
	r = set_platform(vm, err);
	if (r == 0)
		r = kvm_vm_set_memory(vm->kvm, &vm->map, err);
	if (r == 0 && c->memory.prefault)
		r = prefault(vm, err);
	return r;
}

static int add_vcpus(struct vm *vm, struct err *err)
{
	vm->vcpus.ports = &vm->ports;
	vm->vcpus.memory = &vm->memory;
	vm->vcpus.stopped = vm_vcpu_stopped;
	return vcpus_init(&vm->vcpus, vm->kvm, &vm->topology, vm->config->cpus.boot, err);
}

/* The state that a reset in place brings back. Where KVM can't save it, only --on-reboot restart
 * has to know now; a user who asks for a reset is told then. */
static int save_power_on_state(struct vm *vm, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; i < vm->vcpus.n && r == 0; i++)
		r = kvm_vcpu_save(vm->vcpus.threads[i].vcpu);
	vm->save_error = r;
	if (r < 0 && vm->config->on_reboot == CONFIG_REBOOT_RESTART)
		return err_set(err, r, "--on-reboot restart: this host's KVM can't save a vCPU: %s",
			       strerror(-r));
	return 0;
}

static int build(struct vm *vm, struct err *err)
{
	int r = loop_new(&vm->loop);

	if (r < 0)
		return err_set(err, r, "can't make the event loop: %s", strerror(-r));
	r = kvm_vm_new(&vm->res->host, &vm->kvm, err);
	if (r == 0)
		r = add_memory(vm, err);
	if (r == 0)
		r = add_vcpus(vm, err);
	if (r == 0)
		r = vm_add_devices(vm, err);
	if (r == 0)
		r = vm_load_guest(vm, err);
	if (r == 0)
		r = save_power_on_state(vm, err);
	return r;
}

int vm_new(const struct vm_config *config, struct vm_resources *res, struct vm **ret,
	   struct err *err)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return err_set(err, -ENOMEM, "out of memory");
	vm->config = config;
	vm->res = res;
	set_topology(vm);
	vm_run_init(vm);
	vm_steer_init(vm);
	r = build(vm, err);
	if (r < 0) {
		(void)vm_free(vm);
		return r;
	}
	*ret = vm;
	return 0;
}

struct vm *vm_free(struct vm *vm)
{
	if (!vm)
		return NULL;
	vcpus_stop(&vm->vcpus);
	vm_steer_done(vm);
	for (unsigned i = vm->n_devices; i-- > 0;)
		(void)device_free(vm->devices[i]);
	vm_resources_close(vm->res);
	vcpus_done(&vm->vcpus);
	(void)kvm_vm_free(vm->kvm);
	(void)mm_ram_free(vm->ram);
	(void)loop_free(vm->loop);
	free(vm->failure);
	free(vm);
	return NULL;
}
