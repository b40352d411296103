/* SPDX-License-Identifier: Apache-2.0 */
#include "steered_vm.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static const char *guest_path(void)
{
	static char path[512];
	const char *dir = getenv("VMM_GUESTS");

	if (!dir)
		cr_skip_test("VMM_GUESTS, the directory of the firmware guests, is not set");
	(void)snprintf(path, sizeof(path), "%s/exit.elf", dir);
	if (access(path, R_OK) < 0)
		cr_skip_test("there is no guest %s", path);
	if (access("/dev/kvm", R_OK | W_OK) < 0)
		cr_skip_test("no guest can run here: /dev/kvm can't be opened");
	return path;
}

/* ---- events ---- */

static void on_event(struct vm_listener *listener, const struct vm_event *event)
{
	struct steered *s = container_of(listener, struct steered, listener);
	size_t len = strlen(s->events);

	len += (size_t)snprintf(s->events + len, sizeof(s->events) - len, "%s%s", len ? "; " : "",
				event->name);
	for (unsigned i = 0; i < VM_EVENT_FIELDS && event->fields[i].key; i++) {
		size_t room = sizeof(s->events) - len;

		if (event->fields[i].text)
			len += (size_t)snprintf(s->events + len, room, " %s=%s",
						event->fields[i].key, event->fields[i].text);
		else
			len += (size_t)snprintf(s->events + len, room, " %s=%lld",
						event->fields[i].key,
						(long long)event->fields[i].number);
	}
}

/* ---- steps ---- */

static void on_tick(struct loop_timer *timer)
{
	struct steered *s = container_of(timer, struct steered, tick);

	if (s->step < STEERED_MAX_STEPS && s->steps[s->step] && s->steps[s->step](s))
		s->step++;
	loop_timer_arm(vm_loop(s->vm), timer, NS_PER_MS);
}

static void on_guard(struct loop_timer *timer)
{
	struct steered *s = container_of(timer, struct steered, guard);

	s->expired = true;
	vm_end(s->vm, END_QUIT);
}

/* ---- life ---- */

void steered_init(struct steered *s, const char *how)
{
	char append[128];

	memset(s, 0, sizeof(*s));
	log_init(-1, LOG_ERROR);
	vm_config_init(&s->config);
	(void)snprintf(append, sizeof(append), "how=%s", how);
	s->config.kernel.path = strdup(guest_path());
	s->config.kernel.append = strdup(append);
	s->config.memory.size = 32 << 20;
	s->config.cpus.boot = 1;
	s->config.sandbox = CONFIG_SANDBOX_OFF;
	free(s->config.console);
	s->config.console = strdup("none");
	s->listener.event = on_event;
	s->tick.fired = on_tick;
	s->guard.fired = on_guard;
}

static void check_events(const struct steered *s)
{
	const char *ended = strstr(s->events, "; ended reason=");

	cr_assert_eq(strncmp(s->events, "started; running; ", 18), 0, "%s", s->events);
	cr_assert_not_null(ended, "%s", s->events);
	cr_assert_null(strchr(ended + 1, ';'), "the end comes once and last: %s", s->events);
	cr_assert_str_eq(vm_state(s->vm), "ended");
}

void steered_run(struct steered *s)
{
	struct err err = {0};

	vm_block_signals();
	cr_assert_eq(vm_resources_open(&s->config, false, &s->res, &err), 0, "%s", err.msg);
	cr_assert_eq(vm_new(&s->config, &s->res, &s->vm, &err), 0, "%s", err.msg);
	vm_set_listener(s->vm, &s->listener);
	cr_assert_eq(vm_start(s->vm, &err), 0, "%s", err.msg);
	cr_assert_eq(vm_first_run_ns(s->vm), 0);
	loop_timer_arm(vm_loop(s->vm), &s->tick, 0);
	loop_timer_arm(vm_loop(s->vm), &s->guard, 30 * NS_PER_S);
	cr_assert_eq(vm_run(s->vm, &s->outcome, &err), 0, "%s", err.msg);
	cr_assert_not(s->expired, "step %u waits for what does not happen; %s", s->step, s->events);
	check_events(s);
}

void steered_done(struct steered *s)
{
	s->vm = vm_free(s->vm);
	vm_config_done(&s->config);
}

/* ---- looking ---- */

unsigned steered_count(struct steered *s, const char *text)
{
	char *tail = vm_console_tail(s->vm);
	unsigned n = 0;

	cr_assert_not_null(tail);
	for (const char *at = tail; (at = strstr(at, text)); at++)
		n++;
	free(tail);
	return n;
}

bool steered_has_said(struct steered *s, const char *text)
{
	return steered_count(s, text) > 0;
}

uint64_t steered_io_exits(struct steered *s)
{
	const char *name;
	uint64_t n;

	for (unsigned i = 0; (name = vm_vcpu_exit_count(s->vm, 0, i, &n)); i++)
		if (strcmp(name, "io") == 0)
			return n;
	cr_assert_fail("no such exit");
	return 0;
}

bool steered_waited(struct steered *s, uint64_t ns)
{
	return clock_now_ns() - s->noted >= ns;
}
