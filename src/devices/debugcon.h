/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The debug console: one port, each byte written goes to a character stream, a read gives 0xe9, by
 * which guests find it. vCPU threads; keeps no state but a counter.
 */
#ifndef VMM_DEVICES_DEBUGCON_H
#define VMM_DEVICES_DEBUGCON_H

#include <stdint.h>

#include "base/compiler.h"

struct chr;
struct device;
struct io_bus;

/* chr is borrowed and outlives the device. 0 or -errno. */
int debugcon_new(struct io_bus *pio, uint16_t port, struct chr *chr,
		 struct device **ret) must_check;

#endif
