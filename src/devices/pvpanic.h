/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvpanic, one port: a read tells the events it understands, a write reports one (QEMU
 * docs/specs/pvpanic: bit 0 the guest panicked, bit 1 it panicked and a crash kernel takes over).
 * vCPU threads; keeps no state but counters.
 */
#ifndef VMM_DEVICES_PVPANIC_H
#define VMM_DEVICES_PVPANIC_H

#include <stdint.h>

#include "base/compiler.h"

struct device;
struct io_bus;
struct run_wire;

int pvpanic_new(struct io_bus *pio, uint16_t port, struct run_wire *run,
		struct device **ret) must_check;

#endif
