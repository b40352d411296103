/* SPDX-License-Identifier: Apache-2.0 */
/* The device table: what this machine has, in the order in which it is made. A new device is a row
 * here. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "devices/acpi_pm.h"
#include "devices/debugcon.h"
#include "devices/exit_port.h"
#include "devices/i6300esb.h"
#include "devices/i8042.h"
#include "devices/pvpanic.h"
#include "devices/rtc_cmos.h"
#include "devices/serial16550.h"
#include "machine/layout.h"
#include "machine/vm_internal.h"
#include "pci/host_bridge.h"

static int add_pci(struct vm *vm, struct device **ret)
{
	struct pci_host_bridge_wiring wiring = {
		.ports = &vm->ports,
		.memory = &vm->memory,
		.run = &vm->run_wire,
		.ecam_base = LAYOUT_ECAM_BASE,
		.ecam_size = LAYOUT_ECAM_SIZE,
		.mmio32 = {vm->platform.mmio32_base, vm->platform.mmio32_size},
		.mmio64 = {vm->platform.mmio64_base, vm->platform.mmio64_size},
	};

	return pci_host_bridge_new(&wiring, &vm->pci, ret);
}

static int add_power_management(struct vm *vm, struct device **ret)
{
	int r = acpi_pm_new(&vm->ports, LAYOUT_PORT_SLEEP, &vm->run_wire,
			    kvm_vm_irq_line(vm->kvm, LAYOUT_GSI_GED), ret);

	if (r == 0)
		vm->power_management = *ret;
	return r;
}

static void on_serial_byte(struct serial16550_tap *tap, uint8_t byte)
{
	console_watch_bytes(&container_of(tap, struct vm, tap)->watch, &byte, 1);
}

static int add_serial(struct vm *vm, struct device **ret)
{
	vm->tap.byte = on_serial_byte;
	return serial16550_new(&vm->ports, LAYOUT_PORT_COM1,
			       kvm_vm_irq_line(vm->kvm, LAYOUT_GSI_COM1), vm_serial_chr(vm),
			       &vm->tap, ret);
}

static int64_t wall_clock(void)
{
	/* time() would be a system call of its own where there is no vDSO. */
	return (int64_t)(clock_ns(CLOCK_REALTIME) / NS_PER_S);
}

static int add_rtc(struct vm *vm, struct device **ret)
{
	return rtc_cmos_new(&vm->ports, wall_clock, ret);
}

static int add_i8042(struct vm *vm, struct device **ret)
{
	return i8042_new(&vm->ports, &vm->run_wire, ret);
}

static int add_pvpanic(struct vm *vm, struct device **ret)
{
	return pvpanic_new(&vm->ports, LAYOUT_PORT_PVPANIC, &vm->run_wire, ret);
}

static int add_exit_port(struct vm *vm, struct device **ret)
{
	return exit_port_new(&vm->ports, LAYOUT_PORT_EXIT, &vm->run_wire, ret);
}

static int add_debugcon(struct vm *vm, struct device **ret)
{
	return debugcon_new(&vm->ports, LAYOUT_PORT_DEBUGCON, vm->res->debugcon, ret);
}

struct device_row {
	const char *what;
	int (*add)(struct vm *vm, struct device **ret);
};

static const struct device_row device_table[] = {
	{"PCI host bridge", add_pci}, {"power management", add_power_management},
	{"serial port", add_serial},  {"real-time clock", add_rtc},
	{"i8042", add_i8042},	      {"pvpanic", add_pvpanic},
	{"exit port", add_exit_port}, {"debug console", add_debugcon},
};

static_assert(ARRAY_SIZE(device_table) <= VM_MAX_DEVICES, "struct vm has room for each device");

int vm_add_devices(struct vm *vm, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(device_table); i++) {
		int r = device_table[i].add(vm, &vm->devices[vm->n_devices]);

		if (r < 0)
			return err_set(err, r, "the machine's %s can't be made: %s",
				       device_table[i].what, strerror(-r));
		vm->n_devices++;
	}
	return 0;
}

int vm_add_watchdog(struct vm *vm, struct err *err)
{
	static const enum watchdog_action actions[] = {
		[CONFIG_WATCHDOG_RESET] = WATCHDOG_RESET,
		[CONFIG_WATCHDOG_POWEROFF] = WATCHDOG_POWEROFF,
		[CONFIG_WATCHDOG_PAUSE] = WATCHDOG_PAUSE,
		[CONFIG_WATCHDOG_NONE] = WATCHDOG_NONE,
	};
	bool on_pci = vm->config->transport == CONFIG_TRANSPORT_PCI;
	const struct i6300esb_setup setup = {
		.id = "watchdog0",
		.bus = vm->pci,
		.slot = on_pci ? vm->n_slots + 1 : 1,
		.loop = vm->loop,
		.run = &vm->run_wire,
		.action = actions[vm->config->watchdog],
	};
	int r;

	if (vm->config->watchdog == CONFIG_WATCHDOG_OFF)
		return 0;
	if (setup.slot > VM_MAX_SLOTS)
		return err_set(err, -ENOSPC,
			       "--watchdog: the PCI bus has room for %d devices, and this is one "
			       "more",
			       VM_MAX_SLOTS);
	r = i6300esb_new(&setup, &vm->devices[vm->n_devices]);
	if (r < 0)
		return err_set(err, r, "--watchdog: the device can't be made: %s", strerror(-r));
	vm->n_devices++;
	return 0;
}
