/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm run`: the start phases of docs/explanation/house.md, in order, and the way out. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/chr.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/console_log.h"
#include "cli/crash.h"
#include "cli/detach.h"
#include "cli/run_home.h"
#include "cli/run_report.h"
#include "config/config.h"
#include "control/control.h"
#include "machine/outcome.h"
#include "machine/resources.h"
#include "machine/vm.h"
#include "sandbox/sandbox.h"

struct run {
	struct vm_config config;
	struct run_request request;
	struct run_report report;
	struct run_home home;
	struct detach detach;
	int events_fd;			/* of --events fd:N; -1 */
	struct console_log console_log; /* of a detached VM */
	struct vm_resources res;
	struct control *control;
	struct vm *vm;
	struct outcome outcome;
	struct err err;
};

/* A bzImage is Linux for sure, and on a software KVM it gets stuck before it says a word. */
static void warn_of_software_kvm(const struct run *run)
{
	if (run->res.host.software && run->res.kernel_kind == KERNEL_BZIMAGE)
		log_warn("this host's KVM is software, without VT-x or AMD-V: a stock Linux kernel "
			 "does not "
			 "boot on it (see `vmm doctor`)");
}

static int lock_down(struct run *run)
{
	const char *paths[VM_RESOURCES_MAX_PATHS + RUN_HOME_PATHS + 1];
	unsigned n = 0;

	vm_resources_writable_paths(&run->config, paths);
	while (paths[n])
		n++;
	run_home_paths(&run->home, paths + n);
	return sandbox_lock_process(vm_sandbox_mode(&run->config), paths, &run->err);
}

/* A pseudo-terminal's name is found out only now, and the user has to know it. */
static void announce_streams(const struct run *run)
{
	const struct {
		const char *option;
		const struct chr *chr;
	} streams[] = {{"--console", run->res.console},
		       {"--serial", run->res.serial},
		       {"--debugcon", run->res.debugcon},
		       {"--hvc", run->res.hvc}};

	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		const char *what = streams[i].chr ? chr_describe(streams[i].chr) : "";

		if (strncmp(what, "pty ", 4) == 0 && log_enabled(LOG_WARN))
			(void)dprintf(STDERR_FILENO, "vmm: %s: %s\n", streams[i].option, what);
	}
}

/* The state directory, and with it where a detached VM's output goes. */
static int move_in(struct run *run)
{
	bool detached = run->request.detach;
	int r = run_home_make(&run->home, &run->config, detached && !run->request.remove,
			      &run->err);

	run_report_set_home(&run->report, run->home.result_fd);
	if (r == 0 && detached)
		r = console_log_open(&run->console_log, run->home.rundir.dir_fd, &run->err);
	if (r == 0 && detached)
		r = detach_streams(run->console_log.fd, &run->err);
	return r;
}

static int open_control(struct run *run)
{
	struct control_options options = {
		.config = &run->config,
		.rundir = run->home.claimed ? &run->home.rundir : NULL,
		.events_fd = run->events_fd,
		.detached = run->request.detach,
		.start_ns = run->report.start_ns,
		.start_unix_ms = run->report.start_unix_ms,
	};

	if (!options.rundir && !run->config.events)
		return 0;
	return control_open(&options, &run->control, &run->err);
}

/* Whichever of the streams is standard output writes to the console's log. */
static void watch_console_log(struct run *run)
{
	for (unsigned i = 0; i < vm_n_streams(&run->res); i++) {
		struct chr *chr = vm_stream(&run->res, i);

		if (chr && chr_is_stdio(chr))
			console_log_watch(&run->console_log, chr);
	}
}

/* Everything by path, and then nothing more. */
static int open_and_lock(struct run *run)
{
	int r;

	/* From here on the loop answers signals, so that none of them leaves anything behind; until
	 * now they had their usual effect. */
	vm_block_signals();
	r = move_in(run);
	if (r == 0)
		r = vm_resources_open(&run->config, false, &run->res, &run->err);
	run->report.kvm_api = run->res.host.api;
	if (r == 0)
		r = open_control(run);
	if (r < 0)
		return r;
	announce_streams(run);
	warn_of_software_kvm(run);
	if (run->request.detach)
		r = detach_errors_open(&run->detach, run->home.rundir.dir_fd, &run->err);
	if (run->request.detach)
		watch_console_log(run);
	return r < 0 ? r : lock_down(run);
}

static int start(struct run *run)
{
	int r = vm_new(&run->config, &run->res, &run->vm, &run->err);

	if (r == 0 && run->control)
		r = control_start(run->control, run->vm, &run->err);
	if (r == 0 && run->request.detach)
		r = detach_errors(&run->detach, &run->err);
	if (r == 0)
		r = vm_start(run->vm, &run->err);
	/* What building took is not needed any more. */
	(void)malloc_trim(0);
	return r;
}

static int run_vm(struct run *run)
{
	int r = open_and_lock(run);

	if (r == 0)
		r = start(run);
	if (r < 0)
		return r;
	run_home_write_pid(&run->home);
	detach_ready(&run->detach, run->config.name);
	return vm_run(run->vm, &run->outcome, &run->err);
}

static void flush_console(struct run *run)
{
	enum { PATIENCE_MS = 100 };

	for (unsigned i = 0; i < vm_n_streams(&run->res); i++)
		if (vm_stream(&run->res, i))
			chr_flush(vm_stream(&run->res, i), PATIENCE_MS);
	chr_restore_terminal();
}

/* A start that failed leaves nothing behind. */
static void leave(struct run *run, bool failed)
{
	if (failed)
		run_home_discard(&run->home);
	run_home_leave(&run->home);
}

static int finish(struct run *run, int r)
{
	bool ran = run->vm && vm_first_run_ns(run->vm) != 0;

	if (run->vm)
		flush_console(run);
	if (r < 0)
		run->outcome.reason = END_VMM_ERROR;
	control_stop(run->control);
	if (!run->request.dry_run)
		run_report_end(&run->report, &run->config, run->vm, &run->outcome, &run->err);
	else if (r < 0)
		log_error("%s", run->err.msg);
	if (r < 0)
		detach_failed(&run->detach, run->err.msg);
	if (run->vm)
		run->vm = vm_free(run->vm);
	else
		vm_resources_close(&run->res);
	run->control = control_free(run->control);
	leave(run, !ran);
	return outcome_exit_code(&run->outcome);
}

static int show_help(void)
{
	(void)printf("usage: vmm run -k KERNEL [OPTION]...\n\n"
		     "Boots a kernel in a virtual machine and waits for its end. Exit status: 0 "
		     "power-off or "
		     "reboot,\nthe guest's own code through the exit port, 124 timeout, 125 an "
		     "error of vmm or in "
		     "the\nconfiguration, 255 the guest panicked.\n\n");
	config_print_help(stdout);
	return 0;
}

static int parse(struct run *run, int argc, char *const argv[])
{
	int r = config_parse_run(argc, argv, &run->config, &run->request, &run->err);

	if (r == 0 && run->request.detach && run->config.control == CONFIG_CONTROL_OFF)
		r = err_set(&run->err, -EINVAL,
			    "--detach: a VM in the background can only be reached by its control "
			    "socket: leave out --control off");
	if (r == 0 && !run->request.help && !run->request.print_config)
		r = control_take_fd(run->config.events, &run->events_fd, &run->err);
	if (r < 0)
		run_report_open_anyway(&run->report, &run->config, argc, argv);
	return r;
}

static int print_config(struct run *run)
{
	if (config_print(&run->config, stdout) < 0)
		return err_set(&run->err, -EIO, "--print-config: can't write to standard output");
	return 0;
}

static int dry_run(struct run *run)
{
	int r = vm_resources_open(&run->config, true, &run->res, &run->err);

	if (r == 0)
		(void)fprintf(stderr, "vmm: the configuration is fine; nothing was started "
				      "(--dry-run)\n");
	return r;
}

static int run_or_print(struct run *run)
{
	int r = run->request.print_config ? print_config(run) : 0;

	if (r < 0 || run->request.dry_run)
		return r < 0 ? r : dry_run(run);
	if (run->request.print_config)
		return 0;
	r = run_report_open(&run->report, &run->config, &run->err);
	return r < 0 ? r : run_vm(run);
}

/* True in the parent of a detached VM, and when it could not be made: *ret is how vmm ends. */
static bool leave_to_child(struct run *run, int *ret)
{
	const struct run_request *request = &run->request;

	if (!request->detach || request->help || request->print_config || request->dry_run)
		return false;
	*ret = EXIT_VMM_ERROR;
	run->detach.keep_fd = run->events_fd;
	switch (detach_fork(&run->detach, ret, &run->err)) {
	case 0:
		return false;
	case 1:
		return true;
	default:
		*ret = finish(run, -EAGAIN);
		return true;
	}
}

static int run_to_the_end(struct run *run, int argc, char *const argv[])
{
	int status, r = parse(run, argc, argv);

	if (r == 0 && leave_to_child(run, &status))
		return status;
	if (r == 0)
		r = run->request.help ? show_help() : run_or_print(run);
	return finish(run, r);
}

int cli_run(int argc, char *const argv[])
{
	struct run *run = calloc(1, sizeof(*run)); /* the paths in it are too much for a stack */
	int status;

	if (!run)
		return EXIT_VMM_ERROR;
	/* One arena serves the few allocations that happen; more would only hold memory. */
	(void)mallopt(M_ARENA_MAX, 1);
	run_report_init(&run->report);
	crash_install();
	run->home = RUN_HOME_NONE;
	run->detach = DETACH_NONE;
	run->events_fd = -1;
	run->console_log = CONSOLE_LOG_NONE;
	run->res = (struct vm_resources){.host.fd = -1, .kernel.fd = -1, .initrd.fd = -1};
	run->outcome.guest_exit = -1;
	status = run_to_the_end(run, argc, argv);
	vm_config_done(&run->config);
	run_report_done(&run->report);
	console_log_close(&run->console_log);
	(void)fd_close(run->events_fd);
	free(run);
	return status;
}
