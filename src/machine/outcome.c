/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/outcome.h"

#include <signal.h>

#include "base/assert.h"

const char *outcome_reason_name(enum end_reason reason)
{
	static const char *const names[END_REASONS] = {
		[END_NONE] = "none",
		[END_POWEROFF] = "poweroff",
		[END_REBOOT] = "reboot",
		[END_EXIT] = "exit",
		[END_TIMEOUT] = "timeout",
		[END_PANIC] = "panic",
		[END_TRIPLE_FAULT] = "triple_fault",
		[END_WATCHDOG] = "watchdog",
		[END_KILLED] = "killed",
		[END_QUIT] = "quit",
		[END_VMM_ERROR] = "vmm_error",
	};

	vmm_assert(reason < END_REASONS);
	return names[reason];
}

int outcome_exit_code(const struct outcome *o)
{
	switch (o->reason) {
	case END_NONE:
	case END_POWEROFF:
	case END_REBOOT:
	case END_QUIT:
		return 0;
	case END_EXIT:
		return o->guest_exit;
	case END_TIMEOUT:
		return EXIT_TIMEOUT;
	case END_PANIC:
	case END_TRIPLE_FAULT:
	case END_WATCHDOG:
		return EXIT_GUEST_DIED;
	case END_KILLED:
		/* Without a signal it was the control socket: as if killed by force. */
		return 128 + (o->signal ? o->signal : SIGKILL);
	case END_VMM_ERROR:
	case END_REASONS:
		break;
	}
	return EXIT_VMM_ERROR;
}
