/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm run`: the start phases of docs/explanation/house.md, in order, and the way out. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/crash.h"
#include "config/config.h"
#include "machine/outcome.h"
#include "machine/resources.h"
#include "machine/result.h"
#include "machine/vm.h"
#include "sandbox/sandbox.h"

struct run {
	struct vm_config config;
	struct run_request request;
	struct vm_resources res;
	struct vm *vm;
	struct outcome outcome;
	struct err err;
	int result_fd, log_fd, kvm_api;
	uint64_t start_ns, start_unix_ms;
	struct utsname host; /* asked early: later the sandbox forbids it */
};

static int open_log(struct run *run)
{
	const char *path = run->config.log.path;

	if (path) {
		/* O_NONBLOCK: a FIFO that nobody reads is refused and not waited for. */
		run->log_fd = open(
			path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
			0666);
		if (run->log_fd < 0)
			return err_set(&run->err, -errno, "--log %s: %s", path, strerror(errno));
	}
	log_init(path ? run->log_fd : STDERR_FILENO, (enum log_level)run->config.log.level);
	return 0;
}

/* What ends the run is told in the log, and on standard error in any case. */
static void tell(const struct run *run, const char *text)
{
	log_error("%s", text);
	if (run->log_fd >= 0)
		(void)dprintf(STDERR_FILENO, "vmm: error: %s\n", text);
}

/* Result and log first, so that whatever goes wrong next is told where the user looks for it. */
static int open_reports(struct run *run)
{
	if (run->config.result) {
		run->result_fd = result_open(run->config.result, &run->err);
		if (run->result_fd < 0)
			return run->result_fd;
	}
	crash_set_result(run->result_fd);
	return open_log(run);
}

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
	const char *paths[VM_RESOURCES_MAX_PATHS];

	vm_resources_writable_paths(&run->config, paths);
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
		       {"--debugcon", run->res.debugcon}};

	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		const char *what = streams[i].chr ? chr_describe(streams[i].chr) : "";

		if (strncmp(what, "pty ", 4) == 0 && log_enabled(LOG_WARN))
			(void)dprintf(STDERR_FILENO, "vmm: %s: %s\n", streams[i].option, what);
	}
}

static int run_vm(struct run *run)
{
	int r = vm_resources_open(&run->config, run->request.dry_run, &run->res, &run->err);

	run->kvm_api = run->res.host.api;
	if (r < 0 || run->request.dry_run)
		return r;
	/* From here on the loop answers signals; until now they had their usual effect. */
	vm_block_signals();
	announce_streams(run);
	warn_of_software_kvm(run);
	r = lock_down(run);
	if (r == 0)
		r = vm_new(&run->config, &run->res, &run->vm, &run->err);
	if (r == 0)
		r = vm_start(run->vm, &run->err);
	/* What building took is not needed any more. */
	(void)malloc_trim(0);
	if (r == 0)
		r = vm_run(run->vm, &run->outcome, &run->err);
	return r;
}

/* The last lines of a guest that died, for whoever reads a CI log. */
static void show_console_tail(const struct run *run, const struct vm_report *report,
			      const char *what)
{
	enum { LINES = 24 };
	const char *tail = report->console_tail ? report->console_tail : "";
	const char *from = tail + strlen(tail);
	unsigned lines = 0;

	while (from > tail && lines <= LINES)
		if (*--from == '\n')
			lines++;
	tell(run, what);
	(void)dprintf(STDERR_FILENO, "%s\n", *from == '\n' ? from + 1 : from);
}

/* What KVM said of a vCPU; the first line was the error that has just been told. */
static void show_failure(const struct vm_report *report)
{
	const char *rest = report->failure ? strchr(report->failure, '\n') : NULL;

	if (rest)
		(void)dprintf(STDERR_FILENO, "%s", rest + 1);
}

/* Why the run ended, where it did not end well. */
static void show_death(struct run *run)
{
	struct vm_report report = {0};

	if (run->vm)
		vm_report(run->vm, &report);
	if (run->err.code)
		tell(run, run->err.msg);
	if (run->outcome.reason == END_PANIC)
		show_console_tail(run, &report, "the guest panicked; its last console lines:");
	else if (run->outcome.reason == END_TRIPLE_FAULT)
		show_console_tail(run, &report,
				  "the guest ended in a triple fault; its last console lines:");
	else if (run->outcome.reason == END_VMM_ERROR)
		show_failure(&report);
	vm_report_done(&report);
}

static void write_result(struct run *run)
{
	struct result_input in = {
		.config = &run->config,
		.outcome = &run->outcome,
		.error = run->err.code ? run->err.msg : NULL,
		.vm = run->vm,
		.start_ns = run->start_ns,
		.start_unix_ms = run->start_unix_ms,
		.exit_ns = clock_now_ns(),
		.host_kernel = run->host.release,
		.kvm_api = run->kvm_api,
	};

	int r = 0;

	if (run->result_fd >= 0 && !run->request.dry_run)
		r = result_write(run->result_fd, &in);
	if (r < 0)
		log_error("--result %s: can't write: %s", run->config.result, strerror(-r));
}

static void flush_console(struct run *run)
{
	enum { PATIENCE_MS = 100 };
	struct chr *const streams[] = {run->res.console, run->res.serial, run->res.debugcon};

	for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
		if (streams[i])
			chr_flush(streams[i], PATIENCE_MS);
	chr_restore_terminal();
}

/* The result before any word: standard error may be a pipe that nobody reads. */
static int finish(struct run *run, int r)
{
	if (run->vm)
		flush_console(run);
	if (r < 0)
		run->outcome.reason = END_VMM_ERROR;
	write_result(run);
	crash_set_result(-1);
	show_death(run);
	if (run->vm)
		run->vm = vm_free(run->vm);
	else
		vm_resources_close(&run->res);
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

/*
 * The command line is wrong, maybe before --result was reached: the result is still wanted where
 * the user said. The configuration's own error is the one to tell.
 */
static void open_result_anyway(struct run *run, int argc, char *const argv[])
{
	static const char flag[] = "--result";
	const char *path = run->config.result;
	struct err ignored = {0};

	for (int i = 0; i < argc && !path; i++) {
		size_t n = sizeof(flag) - 1;

		if (strncmp(argv[i], flag, n) == 0 && argv[i][n] == '=')
			path = argv[i] + n + 1;
		else if (strcmp(argv[i], flag) == 0 && i + 1 < argc)
			path = argv[i + 1];
	}
	if (path)
		run->result_fd = result_open(path, &ignored);
}

static int parse(struct run *run, int argc, char *const argv[])
{
	int r = config_parse_run(argc, argv, &run->config, &run->request, &run->err);

	if (r < 0)
		open_result_anyway(run, argc, argv);
	return r;
}

static int run_or_print(struct run *run)
{
	int r;

	if (run->request.print_config && config_print(&run->config, stdout) < 0)
		return err_set(&run->err, -EIO, "--print-config: can't write to standard output");
	if (run->request.print_config && !run->request.dry_run)
		return 0;
	r = run->request.dry_run ? 0 : open_reports(run);
	return r < 0 ? r : run_vm(run);
}

int cli_run(int argc, char *const argv[])
{
	struct run run = {.start_ns = clock_now_ns(), .result_fd = -1, .log_fd = -1};
	int r, status;

	/* One arena serves the few allocations that happen; more would only hold memory. */
	(void)mallopt(M_ARENA_MAX, 1);
	run.start_unix_ms = clock_ns(CLOCK_REALTIME) / NS_PER_MS;
	(void)uname(&run.host);
	crash_install();
	run.res = (struct vm_resources){.host.fd = -1, .kernel.fd = -1, .initrd.fd = -1};
	run.outcome.guest_exit = -1;
	r = parse(&run, argc, argv);
	if (r == 0)
		r = run.request.help ? show_help() : run_or_print(&run);
	if (r == 0 && run.request.dry_run && !run.request.help)
		(void)fprintf(stderr,
			      "vmm: the configuration is fine; nothing was started (--dry-run)\n");
	status = finish(&run, r);
	vm_config_done(&run.config);
	(void)fd_close(run.result_fd);
	(void)fd_close(run.log_fd);
	return status;
}
