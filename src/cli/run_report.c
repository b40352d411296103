/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/crash.h"
#include "machine/result.h"

void run_report_init(struct run_report *report)
{
	*report = (struct run_report){
		.result_fd = -1,
		.log_fd = -1,
		.home_result_fd = -1,
		.start_ns = clock_now_ns(),
		.start_unix_ms = clock_ns(CLOCK_REALTIME) / NS_PER_MS,
	};
	(void)uname(&report->host);
}

void run_report_set_home(struct run_report *report, int fd)
{
	report->home_result_fd = fd;
	crash_set_results(report->result_fd, fd);
}

void run_report_done(struct run_report *report)
{
	report->result_fd = fd_close(report->result_fd);
	report->log_fd = fd_close(report->log_fd);
}

static int open_log(struct run_report *report, const struct vm_config *config, struct err *err)
{
	const char *path = config->log.path;

	if (path) {
		/* O_NONBLOCK: a FIFO that nobody reads is refused and not waited for. */
		report->log_fd = open(
			path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
			0666);
		if (report->log_fd < 0)
			return err_set(err, -errno, "--log %s: %s", path, strerror(errno));
	}
	log_init(path ? report->log_fd : STDERR_FILENO, (enum log_level)config->log.level);
	return 0;
}

int run_report_open(struct run_report *report, const struct vm_config *config, struct err *err)
{
	if (config->result) {
		report->result_fd = result_open(config->result, err);
		if (report->result_fd < 0)
			return report->result_fd;
	}
	crash_set_results(report->result_fd, report->home_result_fd);
	return open_log(report, config, err);
}

void run_report_open_anyway(struct run_report *report, const struct vm_config *config, int argc,
			    char *const argv[])
{
	static const char flag[] = "--result";
	const char *path = config->result;
	struct err ignored = {0};

	for (int i = 0; i < argc && !path; i++) {
		size_t n = sizeof(flag) - 1;

		if (strncmp(argv[i], flag, n) == 0 && argv[i][n] == '=')
			path = argv[i] + n + 1;
		else if (strcmp(argv[i], flag) == 0 && i + 1 < argc)
			path = argv[i + 1];
	}
	if (path)
		report->result_fd = result_open(path, &ignored);
}

/* What ends the run is told in the log, and on standard error in any case. */
static void tell(const struct run_report *report, const char *text)
{
	log_error("%s", text);
	if (report->log_fd >= 0)
		(void)dprintf(STDERR_FILENO, "vmm: error: %s\n", text);
}

/* The last lines of a guest that died, for whoever reads a CI log. */
static void show_console_tail(const struct run_report *report, const struct vm_report *said,
			      const char *what)
{
	enum { LINES = 24 };
	const char *tail = said->console_tail ? said->console_tail : "";
	const char *from = tail + strlen(tail);
	unsigned lines = 0;

	while (from > tail && lines <= LINES)
		if (*--from == '\n')
			lines++;
	tell(report, what);
	(void)dprintf(STDERR_FILENO, "%s\n", *from == '\n' ? from + 1 : from);
}

/* What KVM said of a vCPU; the first line was the error that has just been told. */
static void show_failure(const struct vm_report *said)
{
	const char *rest = said->failure ? strchr(said->failure, '\n') : NULL;

	if (rest)
		(void)dprintf(STDERR_FILENO, "%s", rest + 1);
}

static void show_death(const struct run_report *report, struct vm *vm,
		       const struct outcome *outcome, const struct err *err)
{
	struct vm_report said = {0};

	if (vm)
		vm_report(vm, &said);
	if (err->code)
		tell(report, err->msg);
	if (outcome->reason == END_PANIC)
		show_console_tail(report, &said, "the guest panicked; its last console lines:");
	else if (outcome->reason == END_TRIPLE_FAULT)
		show_console_tail(report, &said,
				  "the guest ended in a triple fault; its last console lines:");
	else if (outcome->reason == END_VMM_ERROR)
		show_failure(&said);
	vm_report_done(&said);
}

/* Of a disk that is full at least the end is told: a short result takes no more room than the page
 * that is there. */
static void write_result(int fd, const struct result_input *in, const char *where)
{
	int r = fd >= 0 ? result_write(fd, in) : 0;

	if (r == 0)
		return;
	log_error("%s: can't write all of it: %s", where, strerror(-r));
	if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0 || result_write_short(fd, in) < 0)
		log_error("%s: can't write: %s", where, strerror(errno));
}

/* The results before any word: standard error may be a pipe that nobody reads. */
void run_report_end(const struct run_report *report, const struct vm_config *config, struct vm *vm,
		    const struct outcome *outcome, const struct err *err)
{
	struct result_input in = {
		.config = config,
		.outcome = outcome,
		.error = err->code ? err->msg : NULL,
		.vm = vm,
		.start_ns = report->start_ns,
		.start_unix_ms = report->start_unix_ms,
		.exit_ns = clock_now_ns(),
		.host_kernel = report->host.release,
		.kvm_api = report->kvm_api,
	};

	write_result(report->result_fd, &in, "--result");
	if (report->home_result_fd >= 0)
		(void)lseek(report->home_result_fd, 0, SEEK_SET); /* over what "lost" said */
	write_result(report->home_result_fd, &in, "result in the state directory");
	crash_set_results(-1, -1);
	show_death(report, vm, outcome, err);
}
