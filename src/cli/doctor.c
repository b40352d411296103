/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm doctor`: runs the checks and prints them, for people or as JSON. */
#include "cli/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cli/doctor_check.h"
#include "machine/outcome.h"

enum { CHECKS_MAX = 32 };

struct report {
	struct {
		const char *id;
		struct doctor_result result;
	} checks[CHECKS_MAX];
	size_t n;
	struct doctor_facts facts;
};

static const char *const status_names[] = {
	[DOCTOR_OK] = "ok", [DOCTOR_INFO] = "info", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail"};

void doctor_say(struct doctor_result *ret, enum doctor_status status, const char *value,
		const char *fmt, ...)
{
	va_list ap;

	ret->status = status;
	(void)snprintf(ret->value, sizeof(ret->value), "%s", value);
	va_start(ap, fmt);
	(void)vsnprintf(ret->message, sizeof(ret->message), fmt, ap);
	va_end(ap);
}

void doctor_fix(struct doctor_result *ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(ret->fix, sizeof(ret->fix), fmt, ap);
	va_end(ap);
}

char *doctor_read(const char *path)
{
	enum { MOST = 65536 };
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *buf = fd >= 0 ? malloc(MOST) : NULL;
	size_t len = 0;
	ssize_t n = 1;

	if (!buf)
		return NULL;
	while (n > 0 && len < MOST - 1) {
		n = read(fd, buf + len, MOST - 1 - len);
		if (n < 0)
			return NULL;
		len += (size_t)n;
	}
	buf[len] = '\0';
	return TAKE_PTR(buf);
}

static void run_checks(struct report *report, const struct doctor_check *checks, size_t n)
{
	for (size_t i = 0; i < n && report->n < CHECKS_MAX; i++) {
		report->checks[report->n].id = checks[i].id;
		checks[i].run(&report->checks[report->n].result, &report->facts);
		report->n++;
	}
}

static const char *summary(const struct report *report)
{
	if (!report->facts.kvm_ok)
		return "VMs can't run here: see the lines marked fail.";
	if (!report->facts.kvm_hardware)
		return "VMs run here, but a stock Linux kernel does not boot on this KVM.";
	return "VMs run here, Linux guests included.";
}

static void print_table(const struct report *report)
{
	for (size_t i = 0; i < report->n; i++) {
		const struct doctor_result *result = &report->checks[i].result;

		(void)printf("%-4s  %-12s  %s\n", status_names[result->status],
			     report->checks[i].id, result->message);
		if (result->fix[0])
			(void)printf("%20sfix: %s\n", "", result->fix);
	}
	(void)printf("\n%s\n", summary(report));
}

static json_t *checks_json(const struct report *report)
{
	json_t *array = json_array();

	for (size_t i = 0; i < report->n; i++) {
		const struct doctor_result *result = &report->checks[i].result;
		const char *fix = result->fix[0] ? result->fix : NULL;

		(void)json_array_append_new(
			array, json_pack("{s:s, s:s, s:s, s:s, s:s?}", "id", report->checks[i].id,
					 "status", status_names[result->status], "value",
					 result->value, "message", result->message, "fix", fix));
	}
	return array;
}

static int print_json(const struct report *report)
{
	bool linux_too = report->facts.kvm_ok && report->facts.kvm_hardware;
	json_t *root = json_pack("{s:s, s:b, s:b, s:s, s:o}", "version", VMM_VERSION, "can_run",
				 report->facts.kvm_ok, "can_run_linux", linux_too, "summary",
				 summary(report), "checks", checks_json(report));
	int ret = root ? json_dumpf(root, stdout, JSON_INDENT(2)) : -1;

	json_decref(root);
	(void)putchar('\n');
	return ret;
}

static int examine(bool json)
{
	/* Large for a stack. */
	_cleanup_free_ struct report *report = calloc(1, sizeof(*report));
	int kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	bool ok;

	if (!report) {
		(void)fd_close(kvm_fd);
		(void)fprintf(stderr, "vmm: error: doctor: out of memory\n");
		return EXIT_VMM_ERROR;
	}
	report->facts.kvm_fd = kvm_fd < 0 ? -errno : kvm_fd;
	run_checks(report, doctor_kvm_checks, doctor_kvm_check_count);
	run_checks(report, doctor_host_checks, doctor_host_check_count);
	(void)fd_close(kvm_fd);
	ok = report->facts.kvm_ok;
	if (!json)
		print_table(report);
	else if (print_json(report) < 0)
		ok = false;
	if (fflush(stdout) != 0) {
		(void)fprintf(stderr, "vmm: error: doctor: standard output: %s\n", strerror(errno));
		return EXIT_VMM_ERROR;
	}
	return ok ? 0 : EXIT_VMM_ERROR;
}

int cli_doctor(int argc, char *const argv[])
{
	bool json = false;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			json = true;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			(void)printf("usage: vmm doctor [--json]\n\n"
				     "Says what this host offers to VMs, what it lacks and how to "
				     "get it. Changes nothing.\n"
				     "Exit status: 0 when VMs can run here, 125 when not.\n");
			return 0;
		} else {
			(void)fprintf(stderr,
				      "vmm: error: doctor: \"%s\" is not known; it takes --json "
				      "only\n",
				      argv[i]);
			return EXIT_VMM_ERROR;
		}
	}
	return examine(json);
}
