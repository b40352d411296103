/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exit port: the guest ends the VM with a code of its own. The low byte of a write to the first
 * of its four ports is the code, unchanged; the other three ports are there because QEMU's
 * isa-debug-exit has them too, so that one guest image runs under both. Reads give 0. vCPU threads;
 * keeps no state.
 */
#ifndef VMM_DEVICES_EXIT_PORT_H
#define VMM_DEVICES_EXIT_PORT_H

#include <stdint.h>

#include "base/compiler.h"

struct device;
struct io_bus;
struct run_wire;

int exit_port_new(struct io_bus *pio, uint16_t port, struct run_wire *run,
		  struct device **ret) must_check;

#endif
