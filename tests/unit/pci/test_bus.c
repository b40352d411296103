/* SPDX-License-Identifier: Apache-2.0 */
#include "pci_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdatomic.h>

static struct pci_world w;
static struct pci_probe a, b;
static const struct pci_bar small = {.size = 0x4000};
static const struct pci_bar wide = {.size = 0x4000, .is_64 = true};

static void set_up(void)
{
	pci_world_init(&w);
	pci_probe_init(&a, 0xa, 0, &wide, MMIO32);
	pci_probe_init(&b, 0xb, 0, &small, MMIO32 + 0x4000);
	cr_assert_eq(pci_bus_attach(w.bus, 1, &a.f), 0);
	cr_assert_eq(pci_bus_attach(w.bus, 2, &b.f), 0);
}

static void tear_down(void)
{
	pci_world_done(&w);
}

TestSuite(pci_bus, .init = set_up, .fini = tear_down);

static void enable(unsigned slot, bool on)
{
	pci_world_set_config(&w, slot, PCI_COMMAND, 2, on ? PCI_COMMAND_MEMORY : 0);
}

static void move(unsigned slot, uint64_t base)
{
	pci_world_set_config(&w, slot, PCI_BASE_ADDRESS_0, 4, (uint32_t)base);
	if (slot == 1)
		pci_world_set_config(&w, slot, PCI_BASE_ADDRESS_1, 4, base >> 32);
}

Test(pci_bus, attach__refuses_what_is_taken_or_not_there)
{
	struct pci_probe c;

	pci_probe_init(&c, 0xc, 0, &small, 0);
	cr_assert_eq(pci_bus_attach(w.bus, 1, &c.f), -EBUSY);
	cr_assert_eq(pci_bus_attach(w.bus, 0, &c.f), -EINVAL, "the bridge is there");
	cr_assert_eq(pci_bus_attach(w.bus, 32, &c.f), -EINVAL);
	cr_assert_eq(pci_bus_attach(w.bus, 31, &c.f), 0);
	cr_assert_eq(pci_world_config(&w, 31, PCI_VENDOR_ID, 4), 0x10421af4);
}

Test(pci_bus, slots__have_function_0_only)
{
	cr_assert_eq(pci_world_config(&w, 1, PCI_VENDOR_ID, 4), 0x10421af4);
	for (unsigned function = 1; function < 8; function++)
		cr_assert_eq(pci_world_load(&w, ECAM + (1 << 15) + (function << 12), 4),
			     0xffffffff);
	cr_assert_eq(pci_world_config(&w, 3, PCI_VENDOR_ID, 4), 0xffffffff);
}

Test(pci_bus, ports__reach_the_same_functions)
{
	pci_world_out(&w, 0xcf8, 4, 0x80000000 | 2 << 11 | PCI_COMMAND);
	pci_world_out(&w, 0xcfc, 2, PCI_COMMAND_MEMORY);
	cr_assert(b.decodes);
	cr_assert_eq(pci_world_in(&w, 0xcfc, 2), PCI_COMMAND_MEMORY);
}

Test(pci_bus, place__gives_aligned_room_until_there_is_none)
{
	cr_assert_eq(pci_bus_place(w.bus, 0x1000), MMIO32);
	cr_assert_eq(pci_bus_place(w.bus, 0x4000), MMIO32 + 0x4000);
	cr_assert_eq(pci_bus_place(w.bus, 0x1000), MMIO32 + 0x8000);
	cr_assert_eq(pci_bus_place(w.bus, MMIO32_SIZE), 0);
	cr_assert_eq(pci_bus_place(w.bus, MMIO32_SIZE / 2), MMIO32 + MMIO32_SIZE / 2);
	cr_assert_eq(pci_bus_place(w.bus, 0x1000), 0);
	cr_assert_eq(pci_bus_place(w.bus, UINT64_C(1) << 63), 0);
}

Test(pci_bus, bar__answers_where_it_decodes)
{
	cr_assert_eq(pci_world_load(&w, MMIO32 + 0x10, 4), 0xffffffff, "memory is not enabled");
	enable(1, true);
	cr_assert_eq(pci_world_load(&w, MMIO32 + 0x10, 4), 0xa);
	cr_assert_eq(a.offset, 0x10);
	cr_assert_eq(a.size, 4);
	cr_assert_eq(a.bar, 0);
	pci_world_store(&w, MMIO32 + 0x3ff8, 8, UINT64_C(0x1122334455667788));
	cr_assert_eq(a.offset, 0x3ff8);
	cr_assert_eq(a.value, UINT64_C(0x1122334455667788));
	enable(1, false);
	cr_assert_eq(pci_world_load(&w, MMIO32 + 0x10, 4), 0xffffffff);
}

Test(pci_bus, bar__follows_a_move_while_it_decodes)
{
	enable(1, true);
	move(1, MMIO64 + 0x7000000);
	cr_assert_eq(pci_world_load(&w, MMIO32, 4), 0xffffffff);
	cr_assert_eq(pci_world_load(&w, MMIO64 + 0x7000000 + 0x123, 1), 0xa);
	cr_assert_eq(a.offset, 0x123);
	move(1, MMIO32 + 0x100000);
	cr_assert_eq(pci_world_load(&w, MMIO64 + 0x7000000, 1), 0xff);
	cr_assert_eq(pci_world_load(&w, MMIO32 + 0x100000, 1), 0xa);
}

Test(pci_bus, overlap__the_lowest_slot_wins)
{
	enable(1, true);
	enable(2, true);
	move(2, MMIO32);
	cr_assert_eq(pci_world_load(&w, MMIO32, 4), 0xa);
	enable(1, false);
	cr_assert_eq(pci_world_load(&w, MMIO32, 4), 0xb);
}

Test(pci_bus, outside_the_windows__nothing_decodes)
{
	static const uint64_t places[] = {0,
					  0x100000,
					  MMIO32 - 0x4000,
					  ECAM,
					  0xfee00000,
					  0xffffc000,
					  MMIO64 - 0x4000,
					  MMIO64 + MMIO64_SIZE,
					  UINT64_MAX - 0x3fff};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		enable(1, false);
		move(1, places[i]);
		a.moves = 0;
		enable(1, true);
		cr_assert_eq(a.moves, 0, "at %#llx", (unsigned long long)places[i]);
		(void)pci_world_load(&w, places[i], 4);
		pci_world_store(&w, places[i], 4, 0);
	}
	cr_assert_eq(a.reads + a.writes, 0);
	cr_assert_eq(pci_world_config(&w, 0, PCI_VENDOR_ID, 4), 0x00081b36, "the ECAM is there");
	move(1, MMIO32);
	cr_assert(a.decodes, "and it comes back");
}

Test(pci_bus, sizing_while_it_decodes__is_harmless)
{
	enable(2, true);
	pci_world_set_config(&w, 2, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	cr_assert_not(b.decodes);
	cr_assert_eq(pci_world_config(&w, 2, PCI_BASE_ADDRESS_0, 4), 0xffffc000);
	move(2, MMIO32 + 0x4000);
	cr_assert_eq(pci_world_load(&w, MMIO32 + 0x4000, 2), 0xb);
}

Test(pci_bus, accesses__of_any_width_and_place_stay_inside)
{
	enable(1, true);
	cr_assert_eq(pci_world_load(&w, MMIO32 + 0x3ffc, 8), UINT64_MAX, "across the BAR's end");
	cr_assert_eq(a.reads, 0);
	cr_assert_eq(pci_world_load(&w, MMIO32 + 3, 2), 0xa, "not aligned, but inside");
	cr_assert_eq(a.offset, 3);
	for (unsigned size = 1; size <= 8; size++)
		for (unsigned at = 0x3ff0; at < 0x4010; at++) {
			(void)pci_world_load(&w, MMIO32 + at, size);
			cr_assert_leq(a.offset + a.size, 0x4000);
		}
	(void)pci_world_load(&w, MMIO32 + MMIO32_SIZE - 4, 8);
}

Test(pci_bus, config__8_bytes_and_unaligned_and_across_the_end)
{
	pci_world_set_config(&w, 1, PCI_BASE_ADDRESS_0, 8, MMIO64 + 0x4000);
	cr_assert_eq(pci_world_config(&w, 1, PCI_BASE_ADDRESS_0, 8),
		     (MMIO64 + 0x4000) | PCI_BASE_ADDRESS_MEM_TYPE_64);
	cr_assert_eq(pci_world_config(&w, 1, 1, 2), 0x421a);
	cr_assert_eq(pci_world_config(&w, 1, 1, 4), 0x0010421a);
	pci_world_set_config(&w, 1, PCI_COMMAND - 1, 4, 0x0000ff00u | PCI_COMMAND_MEMORY << 8);
	cr_assert(a.decodes, "a write across registers reaches the command register");
	cr_assert_eq(pci_world_config(&w, 1, 4094, 4), 0xffffffff, "across the end");
	cr_assert_eq(pci_world_config(&w, 1, 4092, 8) & 0xffffffff, 0, "the half that is inside");
	pci_world_set_config(&w, 1, 4094, 4, 0xffffffff);
	pci_world_set_config(&w, 1, 4092, 8, UINT64_MAX);
	pci_world_set_config(&w, 1, 4095, 7, UINT64_MAX);
	cr_assert_eq(pci_world_config(&w, 2, PCI_VENDOR_ID, 4), 0x10421af4);
}

Test(pci_bus, all_slots__can_be_taken)
{
	static struct pci_probe more[PCI_BUS_SLOTS];

	for (unsigned slot = 3; slot < PCI_BUS_SLOTS; slot++) {
		uint64_t at = pci_bus_place(w.bus, 0x4000);

		pci_probe_init(&more[slot], slot, 0, &small, at);
		cr_assert_eq(pci_bus_attach(w.bus, slot, &more[slot].f), 0);
		enable(slot, true);
		cr_assert_eq(pci_world_load(&w, at, 4), slot);
	}
}

/* Two vCPUs: one moves the BAR to and fro, the other reads wherever it may be. */
static atomic_bool done;

static void *mover(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 20000; i++) {
		move(2, MMIO32 + (i % 2 ? 0x100000 : 0x4000));
		if (i % 16 == 0)
			enable(2, i % 32 == 0);
	}
	atomic_store(&done, true);
	return NULL;
}

Test(pci_bus, moving_under_accesses__gives_either_answer)
{
	uint64_t answered = 0;
	pthread_t thread;

	enable(2, true);
	cr_assert_eq(pthread_create(&thread, NULL, mover, NULL), 0);
	while (!atomic_load(&done)) {
		uint64_t v = pci_world_load(&w, MMIO32 + 0x4000, 4);

		cr_assert(v == 0xb || v == 0xffffffff, "%#llx", (unsigned long long)v);
		answered += v == 0xb;
		(void)pci_world_load(&w, MMIO32 + 0x100000, 4);
	}
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_leq(answered, b.reads);
}
