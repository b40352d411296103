/* SPDX-License-Identifier: Apache-2.0 */
/* What is seen of a VM, and its devices' verbs, on firmware guests: this needs KVM. */
#include "steered_vm.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"

static struct steered s;

static void tear_down(void)
{
	steered_done(&s);
}

TestSuite(view, .fini = tear_down, .timeout = 60);

static bool until_ready(struct steered *v)
{
	return steered_has_said(v, "ready\n");
}

static uint64_t stat(struct steered *v, const char *id, const char *name)
{
	struct device *dev = vm_find_device(v->vm, id);
	const struct device_stat *s_at;

	cr_assert_not_null(dev, "%s", id);
	for (unsigned i = 0; (s_at = device_stat_at(dev, i)); i++)
		if (strcmp(s_at->name, name) == 0)
			return device_stat_value(dev, s_at);
	cr_assert_fail("%s has no %s", id, name);
	return 0;
}

static int verb(struct steered *v, const char *id, const char *name, const char *text)
{
	struct device *dev = vm_find_device(v->vm, id);
	struct device_value value = {.given = true, .text = text, .len = strlen(text)};

	cr_assert_not_null(dev, "%s", id);
	for (unsigned i = 0; i < dev->ops->n_verbs; i++)
		if (strcmp(dev->ops->verbs[i].name, name) == 0)
			return dev->ops->verbs[i].run(dev, &value, &v->err);
	cr_assert_fail("%s has no %s", id, name);
	return 0;
}

static bool look_round(struct steered *v)
{
	struct device *dev;
	unsigned n = 0;

	for (; (dev = vm_device(v->vm, n)); n++) {
		cr_assert_not_null(dev->ops->help, "%s", dev->id);
		cr_assert_eq(vm_find_device(v->vm, dev->id), dev, "ids are unique");
	}
	cr_assert_geq(n, 8);
	cr_assert_null(vm_find_device(v->vm, "serial1"));
	cr_assert_eq(vm_n_vcpus(v->vm), 1);
	cr_assert_eq(vm_memory_size(v->vm), 32 << 20);
	cr_assert_neq(vm_first_run_ns(v->vm), 0);
	cr_assert_not_null(vm_console(v->vm));
	cr_assert_str_eq(vm_state(v->vm), "running");
	cr_assert_geq(stat(v, "serial0", "tx_bytes"), strlen("ready\n"));
	return verb(v, "serial0", "send", "5") == 0;
}

Test(view, devices_counters_and_what_is_typed_reaches_the_guest)
{
	steered_init(&s, "ask");
	s.steps[0] = until_ready;
	s.steps[1] = look_round;
	steered_run(&s);
	cr_assert_eq(s.outcome.reason, END_EXIT);
	cr_assert_eq(s.outcome.guest_exit, 5);
	cr_assert_eq(stat(&s, "serial0", "rx_bytes"), 1);
}

Test(view, exits_of_all_vcpus_are_the_sum_of_each)
{
	uint64_t all, one, sum;
	const char *name;
	unsigned i = 0;

	steered_init(&s, "exit");
	s.config.cpus.boot = 2;
	steered_run(&s);
	for (; (name = vm_exit_count(s.vm, i, &all)); i++) {
		sum = 0;
		for (unsigned vcpu = 0; vcpu < vm_n_vcpus(s.vm); vcpu++) {
			cr_assert_str_eq(vm_vcpu_exit_count(s.vm, vcpu, i, &one), name);
			sum += one;
		}
		cr_assert_eq(sum, all, "%s", name);
	}
	cr_assert_geq(i, 10);
	cr_assert_null(vm_vcpu_exit_count(s.vm, 0, i, &one));
	cr_assert_null(vm_vcpu_exit_count(s.vm, 2, 0, &one));
}

static bool press_by_verb(struct steered *v)
{
	return verb(v, "acpi_pm", "power-button", "") == 0;
}

Test(view, power_button_verb_is_noticed_by_the_guest)
{
	steered_init(&s, "wait-button");
	s.steps[0] = until_ready;
	s.steps[1] = press_by_verb;
	steered_run(&s);
	cr_assert_eq(s.outcome.reason, END_POWEROFF);
	cr_assert_eq(stat(&s, "acpi_pm", "power_button_presses"), 1);
	cr_assert_eq(stat(&s, "acpi_pm", "power_button_noticed"), 1);
}
