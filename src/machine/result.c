/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/result.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "machine/version.h"

enum { RESULT_VERSION = 1 };

int result_open(const char *path, struct err *err)
{
	int fd;

	/* jansson seeds its hash tables from /dev/urandom, which can't be opened later. */
	json_object_seed(0);
	/* O_NONBLOCK: a FIFO that nobody reads is refused and not waited for. */
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);

	return fd < 0 ? err_set(err, -errno, "--result %s: %s", path, strerror(errno)) : fd;
}

static void set_new(json_t *object, const char *key, json_t *value)
{
	/* A NULL value (out of memory, bad UTF-8) leaves the key out; the rest is still worth
	 * writing. */
	if (value)
		(void)json_object_set_new(object, key, value);
}

/* What a guest printed need not be UTF-8: other bytes become U+FFFD, so that the JSON stays valid.
 */
static json_t *json_text(const char *text)
{
	static const char replacement[] = "\xef\xbf\xbd";
	json_t *json = text ? json_string(text) : NULL;
	struct str clean = {0};
	char *copy;

	if (json || !text)
		return json;
	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c < 0x80)
			str_addn(&clean, c, 1);
		else
			str_add(&clean, replacement);
	}
	copy = str_steal(&clean);
	json = copy ? json_string(copy) : NULL;
	free(copy);
	return json;
}

static json_t *json_ms(uint64_t ns)
{
	return json_real((double)(ns / NS_PER_US) / 1000.0);
}

/* Since the start; null for what never happened. */
static json_t *json_since(uint64_t start_ns, uint64_t at_ns)
{
	return at_ns ? json_ms(at_ns - start_ns) : json_null();
}

static json_t *timings(const struct result_input *in, const struct vm_report *report)
{
	json_t *o = json_object();

	set_new(o, "start", json_real(0));
	set_new(o, "first_kvm_run", json_since(in->start_ns, report->first_run_ns));
	set_new(o, "first_console_byte", json_since(in->start_ns, report->first_console_ns));
	set_new(o, "exit", json_since(in->start_ns, in->exit_ns));
	return o;
}

static uint64_t timeval_ns(struct timeval tv)
{
	return (uint64_t)tv.tv_sec * NS_PER_S + (uint64_t)tv.tv_usec * NS_PER_US;
}

static void add_usage(json_t *o)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) < 0)
		return;
	set_new(o, "cpu_ms",
		json_pack("{s:o, s:o}", "user", json_ms(timeval_ns(usage.ru_utime)), "system",
			  json_ms(timeval_ns(usage.ru_stime))));
	set_new(o, "rss_peak_kib", json_integer(usage.ru_maxrss));
}

static json_t *exits(struct vm *vm)
{
	json_t *o = json_object();
	const char *name;
	uint64_t count;

	for (unsigned i = 0; vm && (name = vm_exit_count(vm, i, &count)); i++)
		if (count)
			set_new(o, name, json_integer((json_int_t)count));
	return o;
}

static json_t *versions(const struct result_input *in)
{
	return json_pack("{s:s, s:o, s:s}", "vmm", VMM_VERSION, "kvm_api",
			 in->kvm_api ? json_integer(in->kvm_api) : json_null(), "host_kernel",
			 in->host_kernel);
}

static void add_end(json_t *o, const struct result_input *in)
{
	const struct outcome *end = in->outcome;

	set_new(o, "version", json_integer(RESULT_VERSION));
	set_new(o, "name", json_text(in->config->name));
	set_new(o, "reason", json_string(outcome_reason_name(end->reason)));
	set_new(o, "exit_code", json_integer(outcome_exit_code(end)));
	set_new(o, "guest_exit",
		end->reason == END_EXIT ? json_integer(end->guest_exit) : json_null());
	set_new(o, "signal", end->signal ? json_integer(end->signal) : json_null());
	set_new(o, "error", in->error ? json_text(in->error) : json_null());
}

static json_t *result_json(const struct result_input *in)
{
	struct vm_report report = {0};
	json_t *o = json_object();

	if (in->vm)
		vm_report(in->vm, &report);
	add_end(o, in);
	set_new(o, "started_monotonic_ns", json_integer((json_int_t)in->start_ns));
	set_new(o, "started_unix_ms", json_integer((json_int_t)in->start_unix_ms));
	set_new(o, "resets", json_integer(report.resets));
	set_new(o, "timings_ms", timings(in, &report));
	add_usage(o);
	set_new(o, "exits", exits(in->vm));
	set_new(o, "versions", versions(in));
	set_new(o, "console",
		json_pack("{s:I, s:I}", "written", (json_int_t)report.console_written, "dropped",
			  (json_int_t)report.console_dropped));
	set_new(o, "console_tail", json_text(report.console_tail ? report.console_tail : ""));
	set_new(o, "panic_text", report.panic_text ? json_text(report.panic_text) : json_null());
	set_new(o, "kvm_failure", report.failure ? json_text(report.failure) : json_null());
	vm_report_done(&report);
	return o;
}

int result_write(int fd, const struct result_input *in)
{
	json_t *o = result_json(in);
	_cleanup_free_ char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
	int r;

	json_decref(o);
	if (!text)
		return -ENOMEM;
	r = fd_write_full(fd, text, strlen(text));
	return r < 0 ? r : fd_write_full(fd, "\n", 1);
}

int result_write_short(int fd, const struct result_input *in)
{
	_cleanup_free_ char *text = NULL;
	json_t *o = json_object();
	int r;

	add_end(o, in);
	text = json_dumps(o, JSON_INDENT(2));
	json_decref(o);
	if (!text)
		return -ENOMEM;
	r = fd_write_full(fd, text, strlen(text));
	return r < 0 ? r : fd_write_full(fd, "\n", 1);
}

int result_write_lost(int fd)
{
	static const char text[] = "{\"version\": 1, \"reason\": \"lost\", \"exit_code\": 137}\n";

	return fd_write_full(fd, text, sizeof(text) - 1);
}

/* Right-aligned: JSON allows blanks before a number and no zeros. */
static void put_digits(char *at, unsigned n, int value)
{
	for (; n-- > 0; value /= 10)
		at[n] = value ? (char)('0' + value % 10) : ' ';
}

/* No stdio here: the process has just crashed. */
void result_write_crash(int fd, int sig)
{
	char text[] = "{\"version\": 1, \"reason\": \"vmm_error\", \"exit_code\": CCC, "
		      "\"guest_exit\": null, \"signal\": NN, "
		      "\"error\": \"vmm crashed with signal NN; please report it\"}\n";
	/* The process dies of the signal, but of SIGSYS, whose handler leaves with 125. */
	int code = sig == SIGSYS ? EXIT_VMM_ERROR : 128 + sig;

	if (fd < 0)
		return;
	put_digits(strstr(text, "CCC"), 3, code);
	put_digits(strstr(text, "NN"), 2, sig);
	put_digits(strstr(text, "NN"), 2, sig);
	if (write(fd, text, sizeof(text) - 1) < 0)
		return;
}
