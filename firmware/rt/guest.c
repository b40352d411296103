/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/guest.h"

#include "rt/args.h"
#include "rt/idt.h"
#include "rt/print.h"
#include "rt/serial.h"
#include "rt/ways.h"

void guest_init(const struct pvh_start_info *info)
{
	args_init((const char *)(uintptr_t)info->cmdline);
	serial_init();
	idt_init();
}

bool guest_check(bool ok, const char *what)
{
	if (!ok)
		print("check failed: %s\n", what);
	return ok;
}

int guest_finish(const char *name, bool ok)
{
	print("%s: %s\n", name, ok ? "ok" : "failed");
	if (ok && args_is("then", "poweroff"))
		ways_poweroff();
	if (ok && args_is("then", "reset"))
		ways_reset_acpi();
	if (ok && args_is("then", "ask"))
		ways_ask();
	return ok ? 0 : 1;
}
