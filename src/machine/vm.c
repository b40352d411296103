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
		r = vm_add_memory(vm, err);
	if (r == 0)
		r = add_vcpus(vm, err);
	if (r == 0)
		r = vm_add_devices(vm, err);
	if (r == 0 && vm_has_virtio_devices(vm->config))
		r = vm_add_io_threads(vm, err);
	if (r == 0)
		r = vm_add_virtio_devices(vm, err);
	if (r == 0)
		r = vm_add_helpers(vm, err);
	if (r == 0)
		r = vm_add_watchdog(vm, err);
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
	vm_stop_io_threads(vm);
	for (unsigned i = vm->n_devices; i-- > 0;)
		(void)device_free(vm->devices[i]);
	vm_resources_close(vm->res);
	vm_free_io_threads(vm);
	vcpus_done(&vm->vcpus);
	(void)kvm_vm_free(vm->kvm);
	(void)mm_ram_free(vm->pluggable);
	(void)mm_ram_free(vm->ram);
	(void)loop_free(vm->loop);
	free(vm->failure);
	free(vm);
	return NULL;
}
