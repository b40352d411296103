/* SPDX-License-Identifier: Apache-2.0 */
/* Data sheet 300641 of Intel's 6300ESB, chapter 16. */
#include "rt/watchdog.h"

#include <stdint.h>

#include "rt/args.h"
#include "rt/io.h"
#include "rt/pci.h"

enum {
	ID = 0x25ab8086,
	CONFIG = 0x60,
	CONFIG_INT_OFF = 0x03,
	LOCK = 0x68,
	LOCK_ENABLE = 0x02,
	LOCK_FREE_RUN = 0x04,
	TIMER1 = 0x00,
	TIMER2 = 0x04,
	RELOAD = 0x0c,
};

/* Each write to a timer comes after this sequence. */
static void set_timer(uintptr_t bar, unsigned timer, uint32_t ticks)
{
	mmio_write32(bar + RELOAD, 0x80);
	mmio_write32(bar + RELOAD, 0x86);
	mmio_write32(bar + timer, ticks);
}

static void arm(unsigned slot)
{
	uint32_t ticks = (uint32_t)args_number("watchdog", 0);
	uintptr_t bar = pci_bar_address(slot, 0);

	pci_enable(slot);
	pci_write(slot, CONFIG, CONFIG_INT_OFF);
	set_timer(bar, TIMER1, ticks);
	set_timer(bar, TIMER2, ticks);
	pci_write(slot, LOCK,
		  args_find("watchdog-again") ? LOCK_ENABLE | LOCK_FREE_RUN : LOCK_ENABLE);
}

void watchdog_arm(void)
{
	if (!args_find("watchdog"))
		return;
	for (unsigned slot = 1; slot < 32; slot++)
		if (pci_read(slot, 0) == ID)
			arm(slot);
}
