/* SPDX-License-Identifier: Apache-2.0 */
/* What the user does to a running VM, tried on firmware guests: this needs KVM. */
#include "steered_vm.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static struct steered s;

static void tear_down(void)
{
	steered_done(&s);
}

TestSuite(steer, .fini = tear_down, .timeout = 60);

static void assert_events(const char *expected)
{
	cr_assert_str_eq(s.events, expected);
}

static void assert_busy(int r, struct err *err, const char *why)
{
	cr_assert_eq(r, -EBUSY);
	cr_assert_not_null(strstr(err->msg, why), "%s", err->msg);
	*err = (struct err){0};
}

/* ---- steps that many tests take ---- */

static bool until_ready(struct steered *v)
{
	return steered_has_said(v, "ready\n");
}

static bool pause_it(struct steered *v)
{
	cr_assert_eq(vm_pause(v->vm, &v->err), 0, "%s", v->err.msg);
	cr_assert_str_eq(vm_state(v->vm), "paused");
	v->noted = clock_now_ns();
	return true;
}

static bool resume_it(struct steered *v)
{
	cr_assert_eq(vm_resume(v->vm, &v->err), 0, "%s", v->err.msg);
	cr_assert_str_eq(vm_state(v->vm), "running");
	return true;
}

static bool kill_it(struct steered *v)
{
	cr_assert_eq(vm_kill(v->vm, "api", &v->err), 0);
	cr_assert_str_eq(vm_state(v->vm), "ended");
	return true;
}

static bool stop_it(struct steered *v)
{
	cr_assert_eq(vm_stop(v->vm, 20 * NS_PER_S, "api", &v->err), 0);
	cr_assert_str_eq(vm_state(v->vm), "stopping");
	return true;
}

/* ---- pause ---- */

static bool until_noisy(struct steered *v)
{
	return steered_has_said(v, "noise 10\n");
}

static bool pause_noisy(struct steered *v)
{
	pause_it(v);
	v->noted = steered_io_exits(v);
	return pause_it(v) && (v->noted = steered_io_exits(v));
}

static bool still_for_50_ms(struct steered *v)
{
	static uint64_t since;

	if (!since)
		since = clock_now_ns();
	cr_assert_eq(steered_io_exits(v), v->noted, "a paused guest does nothing");
	return clock_now_ns() - since > 50 * NS_PER_MS;
}

static bool resume_twice(struct steered *v)
{
	return resume_it(v) && resume_it(v);
}

static bool until_it_goes_on(struct steered *v)
{
	return steered_io_exits(v) > v->noted + 100;
}

Test(steer, pause_stands_still_and_resume_goes_on__each_told_once)
{
	steered_init(&s, "noisy");
	s.steps[0] = until_noisy;
	s.steps[1] = pause_noisy;
	s.steps[2] = still_for_50_ms;
	s.steps[3] = resume_twice;
	s.steps[4] = until_it_goes_on;
	s.steps[5] = kill_it;
	steered_run(&s);
	assert_events("started; running; paused; resumed; stopping by=api grace_ms=0; ended "
		      "reason=killed exit_code=137");
}

static bool refuses_all_but_the_end(struct steered *v)
{
	assert_busy(vm_pause(v->vm, &v->err), &v->err, "stopping");
	assert_busy(vm_reset(v->vm, &v->err), &v->err, "stopping");
	cr_assert_eq(vm_resume(v->vm, &v->err), 0, "it runs");
	cr_assert_eq(vm_nmi(v->vm, &v->err), 0, "a guest that hangs on its way down");
	return true;
}

Test(steer, stopping_vm_is_not_paused_and_not_reset)
{
	steered_init(&s, "ignore-button");
	s.steps[0] = until_ready;
	s.steps[1] = stop_it;
	s.steps[2] = refuses_all_but_the_end;
	steered_run(&s);
	/* The NMI is a trap that the guest knows nothing of. */
	cr_assert_eq(s.outcome.reason, END_EXIT);
	cr_assert(steered_has_said(&s, "unexpected trap 2"));
}

/* A vCPU asked for its end just before it parked; nobody has read the mail yet. */
static bool resume_with_mail(struct steered *v)
{
	pause_it(v);
	mailbox_put(&v->vm->mailbox, MAIL_EXIT, 7);
	resume_it(v);
	cr_assert_eq(v->vm->vcpus.want, VCPUS_PARK, "the guest must not go on");
	loop_post(vm_loop(v->vm), &v->vm->mail);
	return true;
}

Test(steer, guest_that_asked_for_its_end_does_not_run_on_by_a_resume)
{
	steered_init(&s, "noisy");
	s.steps[0] = until_noisy;
	s.steps[1] = resume_with_mail;
	steered_run(&s);
	assert_events("started; running; paused; resumed; ended reason=exit exit_code=7");
}

static bool mail_while_paused(struct steered *v)
{
	pause_it(v);
	mailbox_put(&v->vm->mailbox, MAIL_POWER_OFF, 0);
	loop_post(vm_loop(v->vm), &v->vm->mail);
	return true;
}

Test(steer, what_the_guest_asked_for_before_a_pause_is_done_during_it)
{
	steered_init(&s, "noisy");
	s.steps[0] = until_noisy;
	s.steps[1] = mail_while_paused;
	steered_run(&s);
	assert_events("started; running; paused; ended reason=poweroff exit_code=0");
}

static bool restart_while_paused(struct steered *v)
{
	pause_it(v);
	mailbox_put(&v->vm->mailbox, MAIL_RESET, 0);
	loop_post(vm_loop(v->vm), &v->vm->mail);
	return true;
}

static bool until_reset_and_still_paused(struct steered *v)
{
	if (vm_resets(v->vm) == 0)
		return false;
	cr_assert_str_eq(vm_state(v->vm), "paused");
	cr_assert_eq(v->vm->vcpus.want, VCPUS_PARK);
	return true;
}

Test(steer, restart_that_the_guest_asked_for_leaves_a_paused_machine_paused)
{
	steered_init(&s, "hlt-forever");
	s.config.on_reboot = CONFIG_REBOOT_RESTART;
	s.steps[0] = until_ready;
	s.steps[1] = restart_while_paused;
	s.steps[2] = until_reset_and_still_paused;
	s.steps[3] = kill_it;
	steered_run(&s);
	assert_events("started; running; paused; reset number=1 by=guest; stopping by=api "
		      "grace_ms=0; ended reason=killed exit_code=137");
}

/* ---- stop ---- */

Test(steer, stop_of_a_paused_vm_lets_it_run_for_it)
{
	steered_init(&s, "wait-button");
	s.steps[0] = until_ready;
	s.steps[1] = pause_it;
	s.steps[2] = stop_it;
	steered_run(&s);
	assert_events("started; running; paused; resumed; stopping by=api grace_ms=20000; "
		      "power_button; ended "
		      "reason=poweroff exit_code=0");
}

static bool terminate(struct steered *v)
{
	(void)v;
	return kill(getpid(), SIGTERM) == 0;
}

Test(steer, sigterm_to_a_paused_vm_lets_it_run_for_it)
{
	steered_init(&s, "wait-button");
	s.steps[0] = until_ready;
	s.steps[1] = pause_it;
	s.steps[2] = terminate;
	steered_run(&s);
	assert_events("started; running; paused; resumed; stopping by=signal grace_ms=10000; "
		      "power_button; "
		      "ended reason=poweroff exit_code=0");
	cr_assert_eq(s.outcome.signal, SIGTERM);
}

static bool stop_sooner(struct steered *v)
{
	cr_assert_eq(vm_stop(v->vm, 40 * NS_PER_S, "api", &v->err), 0, "longer: no change");
	cr_assert_eq(vm_stop(v->vm, 20 * NS_PER_MS, "api", &v->err), 0);
	return true;
}

Test(steer, of_two_stops_the_shorter_time_counts)
{
	steered_init(&s, "ignore-button");
	s.steps[0] = until_ready;
	s.steps[1] = stop_it;
	s.steps[2] = stop_sooner;
	steered_run(&s);
	assert_events(
		"started; running; stopping by=api grace_ms=20000; power_button; stopping by=api "
		"grace_ms=20; ended reason=killed exit_code=137");
}

Test(steer, guest_that_hears_no_button_is_ended_at_once)
{
	steered_init(&s, "hlt-forever");
	s.steps[0] = until_ready;
	s.steps[1] = pause_it;
	s.steps[2] = terminate;
	steered_run(&s);
	assert_events("started; running; paused; stopping by=signal grace_ms=0; ended "
		      "reason=killed exit_code=143");
}

Test(steer, timeout_goes_on_during_a_pause)
{
	steered_init(&s, "ignore-button");
	s.config.timeout_ns = 300 * NS_PER_MS;
	s.config.stop_timeout_ns = 50 * NS_PER_MS;
	s.steps[0] = until_ready;
	s.steps[1] = pause_it;
	steered_run(&s);
	assert_events("started; running; paused; resumed; stopping by=timeout grace_ms=50; "
		      "power_button; ended "
		      "reason=timeout exit_code=124");
}

/* ---- reset ---- */

static bool reset_it(struct steered *v)
{
	cr_assert_eq(vm_reset(v->vm, &v->err), 0, "%s", v->err.msg);
	return true;
}

static bool reset_paused(struct steered *v)
{
	reset_it(v);
	cr_assert_str_eq(vm_state(v->vm), "paused");
	cr_assert_eq(vm_resets(v->vm), 1);
	v->noted = steered_io_exits(v);
	return true;
}

static bool until_ready_twice(struct steered *v)
{
	return steered_count(v, "ready\n") == 2;
}

Test(steer, reset_of_a_paused_vm_leaves_it_paused)
{
	steered_init(&s, "hlt-forever");
	s.steps[0] = until_ready;
	s.steps[1] = pause_it;
	s.steps[2] = reset_paused;
	s.steps[3] = still_for_50_ms;
	s.steps[4] = resume_it;
	s.steps[5] = until_ready_twice;
	s.steps[6] = kill_it;
	steered_run(&s);
	cr_assert_eq(steered_count(&s, "start 1\n"), 2, "the image is loaded anew");
	assert_events("started; running; paused; reset number=1 by=api; resumed; stopping by=api "
		      "grace_ms=0; ended reason=killed exit_code=137");
}

Test(steer, reset_is_a_restart_whatever_on_reboot_says)
{
	steered_init(&s, "spin");
	s.steps[0] = until_ready;
	s.steps[1] = reset_it;
	s.steps[2] = until_ready_twice;
	s.steps[3] = kill_it;
	steered_run(&s);
	cr_assert_not_null(strstr(s.events, "reset number=1 by=api"));
}

static bool reset_behind_an_exit(struct steered *v)
{
	mailbox_put(&v->vm->mailbox, MAIL_EXIT, 9);
	assert_busy(vm_reset(v->vm, &v->err), &v->err, "ended");
	return true;
}

Test(steer, exit_that_was_asked_for_before_a_reset_is_not_lost)
{
	steered_init(&s, "hlt-forever");
	s.steps[0] = until_ready;
	s.steps[1] = reset_behind_an_exit;
	steered_run(&s);
	assert_events("started; running; ended reason=exit exit_code=9");
}

/* ---- panics ---- */

static bool until_held(struct steered *v)
{
	return strcmp(vm_state(v->vm), "panicked") == 0;
}

static bool refuses_and_resets(struct steered *v)
{
	assert_busy(vm_pause(v->vm, &v->err), &v->err, "panicked");
	assert_busy(vm_resume(v->vm, &v->err), &v->err, "panicked");
	assert_busy(vm_nmi(v->vm, &v->err), &v->err, "panicked");
	assert_busy(vm_press_power_button(v->vm, &v->err), &v->err, "panicked");
	reset_it(v);
	cr_assert_str_eq(vm_state(v->vm), "running");
	return true;
}

Test(steer, held_guest_can_be_reset_or_ended_and_nothing_else)
{
	steered_init(&s, "pvpanic");
	s.config.on_panic = CONFIG_PANIC_WAIT;
	s.steps[0] = until_held;
	s.steps[1] = refuses_and_resets;
	s.steps[2] = until_held;
	s.steps[3] = kill_it;
	steered_run(&s);
	assert_events("started; running; panicked by=pvpanic; reset number=1 by=api; panicked "
		      "by=pvpanic; stopping by=api grace_ms=0; ended reason=panic exit_code=255");
}

static bool until_pvpanic(struct steered *v)
{
	return v->vm->pvpanic_ns != 0;
}

enum { PAUSE_MS = 700 };

static bool paused_for_longer_than_silence(struct steered *v)
{
	cr_assert_str_eq(vm_state(v->vm), "paused");
	return steered_waited(v, PAUSE_MS * NS_PER_MS);
}

static bool resume_and_note(struct steered *v)
{
	uint64_t pvpanic_ns = v->vm->pvpanic_ns;

	v->noted = clock_now_ns();
	resume_it(v);
	cr_assert_geq(v->vm->pvpanic_ns, pvpanic_ns + PAUSE_MS * NS_PER_MS,
		      "nor is it time in which the guest could have gone on printing");
	return true;
}

Test(steer, pause_is_no_silence_of_a_guest_that_panicked)
{
	steered_init(&s, "pvpanic");
	s.steps[0] = until_pvpanic;
	s.steps[1] = pause_it;
	s.steps[2] = paused_for_longer_than_silence;
	s.steps[3] = resume_and_note;
	steered_run(&s);
	cr_assert(steered_waited(&s, 490 * NS_PER_MS), "the whole silence is after the pause");
	assert_events("started; running; paused; resumed; panicked by=pvpanic; ended reason=panic "
		      "exit_code=255");
}

/* ---- NMI and power button ---- */

static bool nmi_paused(struct steered *v)
{
	pause_it(v);
	cr_assert_eq(vm_nmi(v->vm, &v->err), 0, "%s", v->err.msg);
	cr_assert_eq(v->vm->vcpus.want, VCPUS_PARK, "a paused machine stays paused");
	return resume_it(v);
}

Test(steer, nmi_reaches_the_guest_and_leaves_a_paused_vm_paused)
{
	steered_init(&s, "hlt-forever");
	s.config.cpus.boot = 2;
	s.steps[0] = until_ready;
	s.steps[1] = nmi_paused;
	steered_run(&s);
	cr_assert_eq(s.outcome.reason, END_EXIT);
	cr_assert_eq(steered_count(&s, "unexpected trap 2"), 1);
}

static bool press_it(struct steered *v)
{
	cr_assert_eq(vm_press_power_button(v->vm, &v->err), 0);
	cr_assert_str_eq(vm_state(v->vm), "running");
	return true;
}

Test(steer, power_button_is_the_guests_to_answer)
{
	steered_init(&s, "wait-button");
	s.steps[0] = until_ready;
	s.steps[1] = press_it;
	steered_run(&s);
	assert_events("started; running; power_button; ended reason=poweroff exit_code=0");
}

static bool after_the_end(struct steered *v)
{
	kill_it(v);
	assert_busy(vm_pause(v->vm, &v->err), &v->err, "ended");
	assert_busy(vm_resume(v->vm, &v->err), &v->err, "ended");
	assert_busy(vm_reset(v->vm, &v->err), &v->err, "ended");
	assert_busy(vm_nmi(v->vm, &v->err), &v->err, "ended");
	assert_busy(vm_press_power_button(v->vm, &v->err), &v->err, "ended");
	cr_assert_eq(vm_stop(v->vm, NS_PER_S, "api", &v->err), 0, "that is what was wanted");
	cr_assert_eq(vm_kill(v->vm, "api", &v->err), 0);
	return true;
}

Test(steer, nothing_is_told_or_done_after_the_end)
{
	steered_init(&s, "spin");
	s.steps[0] = until_ready;
	s.steps[1] = after_the_end;
	steered_run(&s);
	assert_events("started; running; stopping by=api grace_ms=0; ended reason=killed "
		      "exit_code=137");
}
