/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include "base/compiler.h"
#include "machine/outcome.h"

static const struct cli_command commands[] = {
	{"ps", cli_ps, "[-q] [--json]", "list the VMs that run, and those that left something",
	 "RESULT is how a VM ended: the reason and the exit code, or \"lost\" when it was killed.",
	 OPTION_QUIET | OPTION_JSON, 0, 0},
	{"status", cli_status, "[--json] NAME", "say whether a VM runs",
	 "Exit status: 0 it runs, 3 it does not run, 4 it does not answer.", OPTION_JSON, 1, 1},
	{"inspect", cli_inspect, "NAME",
	 "print all that is known of a VM: state, configuration, result", "The output is JSON.",
	 OPTION_JSON, 1, 1},
	{"stats", cli_stats, "[--json] NAME", "print the counters of a VM and its devices", NULL,
	 OPTION_JSON, 1, 1},
	{"events", cli_events, "[--since N] [--no-follow] [--json] NAME",
	 "print what happens to a VM", "With --json, one JSON object a line.",
	 OPTION_SINCE | OPTION_NO_FOLLOW | OPTION_JSON, 1, 1},
	{"logs", cli_logs, "[-f] [--vmm] [--json] NAME", "print the console's log of a VM",
	 "Of a VM that keeps no such log, the console's last lines. With --json, one JSON object a "
	 "line.",
	 OPTION_FOLLOW | OPTION_VMM_LOG | OPTION_JSON, 1, 1},
	{"attach", cli_attach, "[--no-input] NAME", "connect the terminal to a VM's console",
	 "On a terminal, all keys go to the guest but Ctrl-A d (detach), Ctrl-A a (one Ctrl-A) "
	 "and\n"
	 "Ctrl-A h (help). With --no-input, Ctrl-C detaches.",
	 OPTION_NO_INPUT, 1, 1},
	{"pause", cli_steer, "[--json] NAME...", "stop the processors of VMs", NULL, OPTION_JSON, 1,
	 0},
	{"resume", cli_steer, "[--json] NAME...", "let paused VMs go on", NULL, OPTION_JSON, 1, 0},
	{"reset", cli_steer, "[--json] NAME...", "reset VMs, as their reset button would", NULL,
	 OPTION_JSON, 1, 0},
	{"power-button", cli_steer, "[--json] NAME...",
	 "press the power button of VMs and wait for nothing", NULL, OPTION_JSON, 1, 0},
	{"nmi", cli_steer, "[--json] NAME...", "send every processor of VMs an NMI", NULL,
	 OPTION_JSON, 1, 0},
	{"stop", cli_stop, "[--timeout TIME] [--no-wait] [--json] NAME... | --all",
	 "shut VMs down: by the power button, then by force", "A VM that does not run is fine.",
	 OPTION_TIMEOUT | OPTION_NO_WAIT | OPTION_ALL | OPTION_JSON, 1, 0},
	{"kill", cli_kill, "[--json] NAME... | --all", "end VMs at once",
	 "A VM that does not run is fine; one that does not answer for 5 s gets SIGKILL.",
	 OPTION_ALL | OPTION_JSON, 1, 0},
	{"wait", cli_wait, "[--json] NAME...", "wait until VMs have ended",
	 "Exit status: that of the VM named last; 137 when it was killed and left no result.",
	 OPTION_JSON, 1, 0},
	{"rm", cli_rm, "[-f] [--json] NAME... | --dead", "remove what VMs left that do not run",
	 NULL, OPTION_FORCE | OPTION_DEAD | OPTION_JSON, 1, 0},
	{"device", cli_device, "[--json] NAME [DEVICE [VERB [KEY=VALUE...]]]",
	 "list the devices of a VM, show one, or have it do something", NULL, OPTION_JSON, 1, 0},
	{"log-level", cli_log_level, "[--json] NAME [error|warn|info|debug]",
	 "print or set how much a VM's vmm logs", NULL, OPTION_JSON, 1, 2},
};

const struct cli_command *commands_at(unsigned index)
{
	return index < ARRAY_SIZE(commands) ? &commands[index] : NULL;
}

int commands_run(const struct cli_command *command, int argc, char *const argv[])
{
	struct cli_options options;
	struct err err = {0};
	int status = EXIT_VMM_ERROR;

	if (options_parse(command, argc, argv, &options, &err) < 0) {
		(void)fprintf(stderr, "vmm: error: %s\n", err.msg);
	} else if (option_given(&options, OPTION_HELP)) {
		options_print_help(command, stdout);
		status = 0;
	} else {
		status = command->run(&options);
	}
	options_done(&options);
	return status;
}
