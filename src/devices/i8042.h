/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left of the keyboard controller: ports 0x60 (data) and 0x64 (status, command), no
 * keyboard, no mouse. Command 0xfe pulses the reset line; everything reads 0, so a guest that waits
 * for the input buffer to be empty goes on. vCPU threads; keeps no state but a
 * counter.
 */
#ifndef VMM_DEVICES_I8042_H
#define VMM_DEVICES_I8042_H

#include "base/compiler.h"

struct device;
struct io_bus;
struct run_wire;

int i8042_new(struct io_bus *pio, struct run_wire *run, struct device **ret) must_check;

#endif
