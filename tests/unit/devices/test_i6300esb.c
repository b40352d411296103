/* SPDX-License-Identifier: Apache-2.0 */
#include "pci_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>

#include "base/clock.h"
#include "base/endian.h"
#include "devices/i6300esb.h"
#include "tests/unit/loop_world.h"
#include "tests/unit/saved.h"

enum {
	SLOT = 5,
	CONFIG = 0x60,
	FAST = 0x04,
	INT_OFF = 0x03,
	NO_OUTPUT = 0x20,
	LOCK = 0x68,
	LOCKED = 1,
	ENABLE = 2,
	FREE_RUN = 4,
	TIMER1 = 0,
	TIMER2 = 4,
	INT_STATUS = 8,
	RELOAD = 12,
	PING = 0x100,
	TIMEOUT = 0x200,
	MOST = 0xfffff,
};

static struct pci_world w;
static struct fake_run run;
static struct device *dev;
static uint64_t bar;

static struct device *make(unsigned slot)
{
	const struct i6300esb_setup setup = {.id = "watchdog0",
					     .bus = w.bus,
					     .slot = slot,
					     .loop = world_loop,
					     .run = &run.wire,
					     .action = WATCHDOG_PAUSE};
	struct device *made = NULL;

	cr_assert_eq(i6300esb_new(&setup, &made), 0);
	return made;
}

static uint64_t find_bar(unsigned slot)
{
	pci_world_set_config(&w, slot, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	return pci_world_config(&w, slot, PCI_BASE_ADDRESS_0, 4);
}

static void set_up(void)
{
	pci_world_init(&w);
	fake_run_init(&run);
	cr_assert_eq(loop_new(&world_loop), 0);
	dev = make(SLOT);
	bar = find_bar(SLOT);
}

static void tear_down(void)
{
	device_free(dev);
	pci_world_done(&w);
	loop_free(world_loop);
}

TestSuite(i6300esb, .init = set_up, .fini = tear_down);

/* ---- a guest's driver ---- */

static uint64_t in(unsigned reg, unsigned size)
{
	return pci_world_load(&w, bar + reg, size);
}

static void out(unsigned reg, unsigned size, uint64_t value)
{
	pci_world_store(&w, bar + reg, size, value);
}

static void unlock(void)
{
	out(RELOAD, 2, 0x80);
	out(RELOAD, 2, 0x86);
}

static void set_timers(uint32_t first, uint32_t second)
{
	unlock();
	out(TIMER1, 4, first);
	unlock();
	out(TIMER2, 4, second);
}

static void ping(void)
{
	unlock();
	out(RELOAD, 2, PING);
}

static void config(uint16_t value)
{
	pci_world_set_config(&w, SLOT, CONFIG, 2, value);
}

static void lock(uint8_t value)
{
	pci_world_set_config(&w, SLOT, LOCK, 1, value);
}

static uint64_t stat(const char *name)
{
	for (unsigned i = 0; i < dev->ops->n_stats; i++)
		if (strcmp(dev->ops->stats[i].name, name) == 0)
			return device_stat_value(dev, &dev->ops->stats[i]);
	cr_assert_fail("there is no counter %s", name);
	return 0;
}

static bool has_asked(void *times)
{
	return run.requests >= *(unsigned *)times;
}

static void await_requests(unsigned times)
{
	world_run_until(has_asked, &times);
}

static bool has_expired(void *times)
{
	return stat("expirations") >= *(unsigned *)times;
}

/* ---- finding it ---- */

Test(i6300esb, is_what_drivers_look_for)
{
	cr_assert_eq(pci_world_config(&w, SLOT, PCI_VENDOR_ID, 4), 0x25ab8086);
	cr_assert_eq(pci_world_config(&w, SLOT, PCI_CLASS_REVISION, 4) >> 8, 0x088000);
	cr_assert_neq(bar, 0);
	cr_assert_eq(in(TIMER1, 4), MOST);
	cr_assert_eq(in(TIMER2, 4), MOST);
	cr_assert_eq(in(RELOAD, 2), 0);
	cr_assert_eq(in(100, 4), 0);
}

Test(i6300esb, a_slot_that_is_taken__is_refused)
{
	const struct i6300esb_setup setup = {
		.id = "watchdog1", .bus = w.bus, .slot = SLOT, .loop = world_loop};
	struct device *other = NULL;

	cr_assert_eq(i6300esb_new(&setup, &other), -EBUSY);
}

/* ---- registers ---- */

Test(i6300esb, timers__are_protected_by_the_sequence_and_have_20_bits)
{
	out(TIMER1, 4, 1);
	cr_assert_eq(in(TIMER1, 4), MOST);
	out(RELOAD, 2, 0x86);
	out(TIMER1, 4, 1);
	cr_assert_eq(in(TIMER1, 4), MOST, "half a sequence");
	out(RELOAD, 2, 0x80);
	out(RELOAD, 2, 0x87);
	out(TIMER1, 4, 1);
	cr_assert_eq(in(TIMER1, 4), MOST, "a wrong one");
	unlock();
	out(TIMER1, 4, 0xfff12345);
	cr_assert_eq(in(TIMER1, 4), 0x12345);
	out(TIMER2, 4, 2);
	cr_assert_eq(in(TIMER2, 4), MOST, "it is good for one write");
	unlock();
	out(TIMER2, 4, 2);
	cr_assert_eq(in(TIMER2, 4), 2);
	cr_assert_eq(in(0, 8), UINT64_C(2) << 32 | 0x12345, "all widths");
	cr_assert_eq(in(1, 2), 0x123);
	cr_assert_eq(in(2, 1), 0x01);
	unlock();
	out(TIMER1, 2, 0);
	cr_assert_eq(in(TIMER1, 4), 0x12345, "half a register");
}

Test(i6300esb, ping__is_protected_too)
{
	out(RELOAD, 2, PING);
	cr_assert_eq(stat("pings"), 0);
	ping();
	out(RELOAD, 2, PING);
	cr_assert_eq(stat("pings"), 1);
}

Test(i6300esb, configuration__has_only_the_bits_that_are_there)
{
	config(0xffff);
	cr_assert_eq(pci_world_config(&w, SLOT, CONFIG, 2), 0x27);
	lock(0xfc);
	cr_assert_eq(pci_world_config(&w, SLOT, LOCK, 1), FREE_RUN);
}

Test(i6300esb, odd_accesses__do_no_harm)
{
	for (unsigned reg = 0; reg < 32; reg++)
		for (unsigned size = 1; size <= 8; size *= 2) {
			out(reg, size, UINT64_MAX);
			(void)in(reg, size);
		}
	for (unsigned reg = 4080; reg <= 4088; reg++)
		out(reg, 8, UINT64_MAX);
	cr_assert_eq(in(TIMER1, 4), MOST);
}

/* ---- time ---- */

Test(i6300esb, unfed__it_asks_for_its_action_after_two_stages)
{
	config(FAST | INT_OFF);
	set_timers(1000, 1000);
	lock(ENABLE);
	await_requests(1);
	cr_assert_eq(run.what, GUEST_WATCHDOG);
	cr_assert_eq(run.value, WATCHDOG_PAUSE);
	cr_assert_eq(stat("first_stages"), 1);
	cr_assert_eq(stat("expirations"), 1);
	cr_assert_eq(in(RELOAD, 2), TIMEOUT);
	cr_assert_eq(in(INT_STATUS, 4), 0, "its interrupt is off");
	world_run_for(20 * NS_PER_MS);
	cr_assert_eq(run.requests, 1, "once");
	ping();
	await_requests(2);
}

Test(i6300esb, slow_ticks__are_about_a_millisecond)
{
	uint64_t start = clock_now_ns();

	set_timers(9, 9);
	lock(ENABLE);
	await_requests(1);
	cr_assert_geq(clock_now_ns() - start, 19 * NS_PER_MS);
	cr_assert_eq(in(INT_STATUS, 4), 1, "the first stage wanted an interrupt");
	out(INT_STATUS, 4, 1);
	cr_assert_eq(in(INT_STATUS, 4), 0);
}

Test(i6300esb, free_run__it_goes_on_by_itself)
{
	config(FAST);
	set_timers(1000, 1000);
	lock(ENABLE | FREE_RUN);
	await_requests(3);
}

Test(i6300esb, timers_of_nothing__do_not_keep_main_busy)
{
	uint64_t start = clock_now_ns();

	config(FAST);
	set_timers(0, 0);
	lock(ENABLE | FREE_RUN);
	await_requests(5);
	world_run_for(20 * NS_PER_MS);
	cr_assert_leq(run.requests, (clock_now_ns() - start) / (2 * NS_PER_MS));
}

Test(i6300esb, without_output__it_only_counts)
{
	unsigned times = 1;

	config(FAST | NO_OUTPUT);
	set_timers(1000, 1000);
	lock(ENABLE);
	world_run_until(has_expired, &times);
	cr_assert_eq(run.requests, 0);
	cr_assert_eq(in(RELOAD, 2), 0);
}

Test(i6300esb, off__nothing_happens)
{
	config(FAST);
	set_timers(1000, 1000);
	ping();
	cr_assert_eq(stat("pings"), 1);
	world_run_for(20 * NS_PER_MS);
	lock(ENABLE);
	lock(0);
	world_run_for(20 * NS_PER_MS);
	cr_assert_eq(run.requests, 0);
	cr_assert_eq(stat("first_stages"), 0);
}

Test(i6300esb, locked__it_can_not_be_turned_off)
{
	config(FAST);
	set_timers(1000, 1000);
	lock(LOCKED | ENABLE);
	lock(0);
	cr_assert_eq(pci_world_config(&w, SLOT, LOCK, 1), LOCKED | ENABLE);
	await_requests(1);
	dev->ops->reset(dev);
	cr_assert_eq(pci_world_config(&w, SLOT, LOCK, 1), 0);
}

static void quiesce(void)
{
	struct err err = {0};

	cr_assert_eq(dev->ops->quiesce(dev, 10 * NS_PER_S, &err), 0);
}

/* How much time is left, of a paused one. */
static uint64_t left(void)
{
	struct saved saved;

	saved_take(&saved, dev);
	return get_le64(saved.payload + saved.len - 8);
}

Test(i6300esb, ping__gives_all_the_time_again)
{
	const uint64_t all = (uint64_t)(MOST + 1) * (1 << 15) * 1000 / 33;

	set_timers(MOST, 0);
	lock(ENABLE);
	world_run_for(NS_PER_MS);
	quiesce();
	cr_assert_lt(left(), all);
	ping();
	cr_assert_eq(left(), all);
	cr_assert_eq(stat("pings"), 1);
}

Test(i6300esb, ping__brings_it_back_to_the_first_stage)
{
	set_timers(0, MOST);
	lock(ENABLE);
	for (unsigned n = 1; n < 5; n++) {
		while (stat("first_stages") < n)
			world_run_for(NS_PER_MS);
		ping();
	}
	cr_assert_eq(stat("expirations"), 0);
}

Test(i6300esb, a_shorter_time__is_kept_to_at_once)
{
	set_timers(MOST, MOST);
	lock(ENABLE);
	world_run_for(NS_PER_MS);
	config(FAST);
	set_timers(1000, 1000);
	ping();
	await_requests(1);
}

Test(i6300esb, paused__its_time_stands_still)
{
	uint64_t before;

	config(FAST);
	set_timers(1000, 1000);
	lock(ENABLE);
	quiesce();
	before = left();
	world_run_for(20 * NS_PER_MS);
	quiesce();
	cr_assert_eq(left(), before);
	cr_assert_eq(stat("first_stages"), 0);
	dev->ops->resume(dev);
	await_requests(1);
}

/* ---- reset, save and load ---- */

Test(i6300esb, reset__remembers_that_it_has_fired_and_nothing_else)
{
	config(FAST);
	set_timers(1000, 1000);
	lock(ENABLE);
	await_requests(1);
	ping();
	dev->ops->reset(dev);
	cr_assert_eq(pci_world_config(&w, SLOT, CONFIG, 2), 0);
	bar = find_bar(SLOT);
	cr_assert_eq(in(TIMER1, 4), MOST);
	cr_assert_eq(in(RELOAD, 2), TIMEOUT);
	world_run_for(20 * NS_PER_MS);
	cr_assert_eq(run.requests, 1);
	unlock();
	out(RELOAD, 2, TIMEOUT | PING);
	cr_assert_eq(in(RELOAD, 2), 0);
}

Test(i6300esb, saved_and_loaded__it_goes_on_where_it_was)
{
	struct saved saved;
	struct err err = {0};

	config(FAST);
	set_timers(MOST, 1000);
	lock(LOCKED | ENABLE);
	out(RELOAD, 2, 0x80);
	quiesce();
	saved_take(&saved, dev);
	tear_down();
	set_up();
	cr_assert_eq(saved_load(&saved, dev, &err), 0, "%s", err.msg);
	dev->ops->resume(dev);
	cr_assert_eq(in(TIMER2, 4), 1000);
	cr_assert_eq(pci_world_config(&w, SLOT, LOCK, 1), LOCKED | ENABLE);
	out(RELOAD, 2, 0x86);
	out(TIMER1, 4, 1000);
	cr_assert_eq(in(TIMER1, 4), 1000, "in the middle of the sequence, too");
	await_requests(1);
}

Test(i6300esb, spoilt_state__is_refused_or_survived)
{
	struct saved saved;
	struct err err = {0};

	set_timers(MOST, MOST);
	lock(ENABLE);
	quiesce();
	saved_take(&saved, dev);
	saved_check_lengths(&saved, dev);
	saved_check_bytes(&saved, dev, NULL);
	cr_assert_eq(saved_load(&saved, dev, &err), 0, "%s", err.msg);
}
