/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "machine/outcome.h"

struct row {
	struct outcome outcome;
	int code;
	const char *name;
};

Test(outcome, contract__each_reason_has_its_code_and_name)
{
	static const struct row rows[] = {
		{{.reason = END_POWEROFF, .guest_exit = -1}, 0, "poweroff"},
		{{.reason = END_REBOOT, .guest_exit = -1}, 0, "reboot"},
		{{.reason = END_EXIT, .guest_exit = 0}, 0, "exit"},
		{{.reason = END_EXIT, .guest_exit = 124}, 124, "exit"},
		{{.reason = END_EXIT, .guest_exit = 255}, 255, "exit"},
		{{.reason = END_TIMEOUT, .guest_exit = -1}, 124, "timeout"},
		{{.reason = END_PANIC, .guest_exit = -1}, 255, "panic"},
		{{.reason = END_TRIPLE_FAULT, .guest_exit = -1}, 255, "triple_fault"},
		{{.reason = END_KILLED, .signal = SIGTERM}, 143, "killed"},
		{{.reason = END_KILLED, .signal = SIGINT}, 130, "killed"},
		{{.reason = END_KILLED, .signal = 0}, 137, "killed"},
		{{.reason = END_QUIT, .guest_exit = -1}, 0, "quit"},
		{{.reason = END_VMM_ERROR, .guest_exit = -1}, 125, "vmm_error"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_eq(outcome_exit_code(&rows[i].outcome), rows[i].code, "%s", rows[i].name);
		cr_assert_str_eq(outcome_reason_name(rows[i].outcome.reason), rows[i].name);
	}
}
