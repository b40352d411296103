/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watchdog of Intel's 6300ESB I/O controller hub (data sheet 300641, chapter 16), the one that
 * guests of all kinds have a driver for: a PCI function with two timers one after the other. The
 * guest feeds it; when both have run out, it hangs.
 *
 * Time counts on main's loop and only while the machine runs: from quiesce to resume it stands
 * still. That the watchdog has fired is remembered over the reset that follows, so that the guest
 * can tell (WDT_TIMEOUT).
 */
#ifndef VMM_DEVICES_I6300ESB_H
#define VMM_DEVICES_I6300ESB_H

#include "base/compiler.h"
#include "bus/device.h"
#include "bus/wires.h"
#include "event/loop.h"
#include "pci/bus.h"

struct i6300esb_setup {
	const char *id; /* borrowed, as are bus, loop and run */
	struct pci_bus *bus;
	unsigned slot;
	struct loop *loop;    /* main's */
	struct run_wire *run; /* hears GUEST_WATCHDOG, on main */
	enum watchdog_action action;
};

/* Main, while the machine is built; freed before the loop, and after the vCPUs are gone. 0 or
 * -errno. */
int i6300esb_new(const struct i6300esb_setup *setup, struct device **ret) must_check;

#endif
