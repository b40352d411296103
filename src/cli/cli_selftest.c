/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vmm selftest`: the small guests that come with vmm, each in a `vmm run` of its own, and what
 * their ends say about this host.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "machine/outcome.h"

enum { PATH_BYTES = 768 };

struct selftest {
	const char *id, *shows;
	const char *guest; /* GUEST.elf */
	const char *append, *cpus;
	int expect; /* exit status */
};

static const struct selftest selftests[] = {
	{"boot", "a guest starts, prints and hands its exit code back", "hello", "code=42", "1",
	 42},
	{"poweroff", "ACPI power-off ends the run", "exit", "how=poweroff", "1", 0},
	{"reset", "the ACPI reset register ends the run", "exit", "how=reset-acpi", "1", 0},
	{"triple-fault", "a triple fault is told from a clean end", "exit", "how=triple", "1",
	 EXIT_GUEST_DIED},
	{"panic", "pvpanic is heard", "exit", "how=pvpanic", "1", EXIT_GUEST_DIED},
	{"timer", "APIC timer and inter-processor interrupts arrive", "timer", "", "1", 0},
	{"smp", "the other processors start", "smp", "cpus=2", "2", 0},
	{"memory", "memory and ACPI tables are where they are said to be", "memmap", "", "1", 0},
	{"pci", "PCI configuration space, by ports and by ECAM", "pci", "", "1", 0},
	{"serial", "the serial port and its interrupt", "uart", "", "1", 0},
	{"clock", "the real-time clock runs", "rtc", "", "1", 0},
};

/* Where the guests are: as installed, or beside the binary in a build tree. */
static int guest_path(const char *guest, char *path, size_t len)
{
	char exe[PATH_BYTES];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;

	(void)snprintf(path, len, "%s/%s.elf", VMM_GUESTS_DIR, guest);
	if (access(path, R_OK) == 0)
		return 0;
	if (n < 0)
		return -errno;
	exe[n] = '\0';
	slash = strrchr(exe, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	if ((size_t)snprintf(path, len, "%s/../firmware/%s.elf", exe, guest) >= len)
		return -ENAMETOOLONG;
	return access(path, R_OK) == 0 ? 0 : -errno;
}

static _Noreturn void child(const struct selftest *test, const char *kernel, int out)
{
	const char *const argv[] = {"vmm",	  "run", "-k",	      kernel,  "-a",
				    test->append, "-c",	 test->cpus,  "-m",    "64",
				    "--timeout",  "60s", "--console", "stdio", NULL};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)dup2(null, STDIN_FILENO);
	(void)dup2(out, STDOUT_FILENO);
	(void)dup2(out, STDERR_FILENO);
	/* execv's prototype predates const. */
	(void)execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
	_exit(EXIT_VMM_ERROR);
}

/* The first line that vmm itself wrote, to say why. */
static void keep_reason(const char *output, char *why, size_t len)
{
	const char *at = strstr(output, "vmm: ");

	if (!at)
		return;
	(void)snprintf(why, len, "%.*s", (int)strcspn(at, "\n"), at);
}

struct verdict {
	int status; /* exit status, or -errno when it could not be run */
	char why[256];
	uint64_t ms;
};

static void collect_output(int fd, char *output, size_t len)
{
	size_t used = 0;
	ssize_t n;

	while ((n = read(fd, output + used, len - 1 - used)) > 0) {
		used += (size_t)n;
		if (used == len - 1)
			used = len / 2; /* the start and the end are what tells */
	}
	output[used] = '\0';
}

static void run_one(const struct selftest *test, struct verdict *ret)
{
	char kernel[PATH_BYTES], output[1536];
	uint64_t start = clock_now_ns();
	int status = 0, pipe_fds[2];
	pid_t pid;

	*ret = (struct verdict){.status = guest_path(test->guest, kernel, sizeof(kernel))};
	if (ret->status < 0) {
		(void)snprintf(ret->why, sizeof(ret->why), "the guest %s.elf is not in %s",
			       test->guest, VMM_GUESTS_DIR);
		return;
	}
	if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
		ret->status = -errno;
		return;
	}
	pid = fork();
	if (pid == 0)
		child(test, kernel, pipe_fds[1]);
	(void)close(pipe_fds[1]);
	collect_output(pipe_fds[0], output, sizeof(output));
	(void)close(pipe_fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0) {
		ret->status = -errno;
		return;
	}
	ret->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	ret->ms = (clock_now_ns() - start) / NS_PER_MS;
	if (ret->status != test->expect)
		keep_reason(output, ret->why, sizeof(ret->why));
}

static void print_line(const struct selftest *test, const struct verdict *v)
{
	bool ok = v->status == test->expect;

	(void)printf("%-4s %-13s %s", ok ? "ok" : "FAIL", test->id, test->shows);
	if (!ok)
		(void)printf(" (exit %d instead of %d)%s%s", v->status, test->expect,
			     *v->why ? ": " : "", v->why);
	(void)printf("\n");
	(void)fflush(stdout);
}

static json_t *verdict_json(const struct selftest *test, const struct verdict *v)
{
	return json_pack("{s:s, s:s, s:b, s:i, s:i, s:I, s:s}", "id", test->id, "shows",
			 test->shows, "ok", v->status == test->expect, "exit_code", v->status,
			 "expected", test->expect, "ms", (json_int_t)v->ms, "why", v->why);
}

int cli_selftest(int argc, char *const argv[])
{
	bool json = argc == 1 && strcmp(argv[0], "--json") == 0;
	json_t *list = json_array(), *all;
	unsigned failed = 0;

	if (argc > (json ? 1 : 0)) {
		bool help = strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0;

		if (!help)
			(void)fprintf(stderr, "vmm: error: selftest: \"%s\" is not known\n",
				      argv[json ? 1 : 0]);

		(void)fprintf(help ? stdout : stderr, "usage: vmm selftest [--json]\nRuns the "
						      "guests that come with vmm; exit status 0 "
						      "when all do what they should.\n");
		json_decref(list);
		return help ? 0 : EXIT_VMM_ERROR;
	}
	for (size_t i = 0; i < ARRAY_SIZE(selftests); i++) {
		struct verdict v;

		run_one(&selftests[i], &v);
		failed += v.status != selftests[i].expect;
		if (json)
			(void)json_array_append_new(list, verdict_json(&selftests[i], &v));
		else
			print_line(&selftests[i], &v);
	}
	all = json_pack("{s:i, s:b, s:o}", "version", 1, "ok", failed == 0, "tests", list);
	if (json && all) {
		(void)json_dumpf(all, stdout, JSON_INDENT(2));
		(void)printf("\n");
	} else if (!json) {
		(void)printf(
			"%s\n",
			failed ? "Some of it does not work on this host; `vmm doctor` may say why."
			       : "All of it works on this host.");
	}
	json_decref(all);
	return failed ? EXIT_VMM_ERROR : 0;
}
