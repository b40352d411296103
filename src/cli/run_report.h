/* SPDX-License-Identifier: Apache-2.0 */
/* How a run is reported: vmm's log, the result, and the last words on standard error. */
#ifndef VMM_CLI_RUN_REPORT_H
#define VMM_CLI_RUN_REPORT_H

#include <stdint.h>
#include <sys/utsname.h>

#include "base/compiler.h"
#include "base/err.h"
#include "config/config.h"
#include "machine/outcome.h"
#include "machine/vm.h"

struct run_report {
	int result_fd, log_fd; /* --result and --log; -1: none */
	int home_result_fd;    /* borrowed: the one in the state directory; -1: none */
	uint64_t start_ns, start_unix_ms;
	int kvm_api;
	struct utsname host; /* asked early: later the sandbox forbids it */
};

/* Takes the times. First thing in a run. */
void run_report_init(struct run_report *report);
/* The result of the state directory, borrowed; -1: none. */
void run_report_set_home(struct run_report *report, int fd);
void run_report_done(struct run_report *report);

/* Opens --result and --log, so that whatever goes wrong next is told where the user looks for it.
 */
int run_report_open(struct run_report *report, const struct vm_config *config,
		    struct err *err) must_check;
/*
 * The command line is wrong, maybe before --result was reached: the result is still wanted where
 * the user said. What goes wrong here is not told, the configuration's own error is.
 */
void run_report_open_anyway(struct run_report *report, const struct vm_config *config, int argc,
			    char *const argv[]);

/* Writes the results, then says on standard error and in the log why the run ended, where it did
 * not end well. vm may be NULL. */
void run_report_end(const struct run_report *report, const struct vm_config *config, struct vm *vm,
		    const struct outcome *outcome, const struct err *err);

#endif
