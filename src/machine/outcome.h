/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run ended: the exit contract of docs/reference/exit-codes.md. `reason` tells a guest's own
 * 124, 125 or 255 from ours.
 */
#ifndef VMM_MACHINE_OUTCOME_H
#define VMM_MACHINE_OUTCOME_H

enum end_reason {
	END_NONE, /* still running */
	END_POWEROFF,
	END_REBOOT,
	END_EXIT, /* the guest's own code, by the exit port */
	END_TIMEOUT,
	END_PANIC,
	END_TRIPLE_FAULT,
	END_WATCHDOG, /* the guest stopped feeding it */
	END_KILLED,   /* by a signal to vmm, or through the control socket */
	END_QUIT,     /* Ctrl-A x */
	END_VMM_ERROR,
	END_REASONS,
};

enum { EXIT_TIMEOUT = 124, EXIT_VMM_ERROR = 125, EXIT_GUEST_DIED = 255 };

struct outcome {
	enum end_reason reason;
	int guest_exit; /* END_EXIT: 0 to 255; else -1 */
	int signal;	/* the first signal that asked vmm to stop, 0 for none */
};

/* "poweroff", "reboot", "exit", ... */
const char *outcome_reason_name(enum end_reason reason);
/* vmm's exit status. */
int outcome_exit_code(const struct outcome *outcome);

#endif
