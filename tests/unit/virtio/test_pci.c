/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio over PCI (virtio 1.2, 4.1), found and driven as Linux does it. */
#include "pci_guest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "tests/unit/saved.h"

static struct pci_guest g;
static const struct driver_setup split = {.size = 16, .event_idx = true};
static const struct driver_setup packed = {.size = 16, .packed = true, .event_idx = true};

static void set_up(void)
{
	pci_guest_init(&g);
	pci_guest_start(&g);
	pci_guest_probe(&g);
}

static void tear_down(void)
{
	pci_guest_done(&g);
}

TestSuite(virtio_pci, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- what a driver finds ---- */

Test(virtio_pci, identity__is_that_of_a_modern_device)
{
	cr_assert_eq(pci_world_config(&g.pci, 1, PCI_VENDOR_ID, 2), 0x1af4);
	cr_assert_eq(pci_world_config(&g.pci, 1, PCI_DEVICE_ID, 2), 0x1040 + VIRTIO_ID_RNG);
	cr_assert_geq(pci_world_config(&g.pci, 1, PCI_REVISION_ID, 1), 1);
	cr_assert_geq(pci_world_config(&g.pci, 1, PCI_SUBSYSTEM_ID, 2), 0x40);
	cr_assert_eq(pci_world_config(&g.pci, 1, PCI_INTERRUPT_PIN, 1), 0, "there is no line");
}

Test(virtio_pci, capabilities__all_lie_in_the_bar_and_apart)
{
	for (unsigned i = 0; i < 4; i++) {
		const struct pci_place *a = &g.place[1 + i];

		cr_assert_gt(a->len, 0, "type %u", 1 + i);
		cr_assert_leq(a->offset + a->len, 0x8000);
		for (unsigned j = 0; j < i; j++) {
			const struct pci_place *b = &g.place[1 + j];

			cr_assert(a->offset >= b->offset + b->len ||
				  b->offset >= a->offset + a->len);
		}
	}
	cr_assert_geq(g.place[VIRTIO_CAP_COMMON].len, sizeof(struct virtio_common_cfg));
	cr_assert_eq(g.place[VIRTIO_CAP_NOTIFY].offset % 4, 0);
	cr_assert_geq(g.place[VIRTIO_CAP_NOTIFY].len, ECHO_QUEUES * g.notify_multiplier);
	cr_assert_gt(g.window, 0);
	cr_assert_gt(g.msix, 0);
	cr_assert_gt(pci_world_capability(&g.pci, 1, PCI_CAP_ID_EXP), 0);
}

/* ---- registers ---- */

#define AT(field) offsetof(struct virtio_common_cfg, field)

Test(virtio_pci, common__any_width_reads_the_same_bytes)
{
	uint8_t bytes[sizeof(struct virtio_common_cfg)];

	pci_set(&g, AT(queue_select), 2, 2);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)pci_get(&g, i, 1);
	for (unsigned size = 2; size <= 8; size *= 2)
		for (unsigned i = 0; i + size <= sizeof(bytes); i += size) {
			uint64_t value = 0;

			memcpy(&value, bytes + i, size);
			cr_assert_eq(pci_get(&g, i, size), value, "%u bytes at %u", size, i);
		}
	cr_assert_eq(pci_get(&g, AT(num_queues), 2), ECHO_QUEUES);
	cr_assert_eq(pci_get(&g, AT(queue_size), 2), ECHO_QUEUE_SIZE);
	cr_assert_eq(pci_get(&g, sizeof(bytes), 4), 0);
}

Test(virtio_pci, common__takes_a_field_in_its_own_width_only)
{
	pci_set(&g, AT(device_status), 2, 0x0101);
	pci_set(&g, AT(device_status), 4, 1);
	cr_assert_eq(pci_get(&g, AT(device_status), 1), 0);
	pci_set(&g, AT(queue_select), 1, 1);
	pci_set(&g, AT(queue_select), 4, 1);
	cr_assert_eq(pci_get(&g, AT(queue_select), 2), 0);
	pci_set(&g, AT(device_feature_select), 2, 1);
	pci_set(&g, AT(device_feature_select), 8, 1);
	cr_assert_eq(pci_get(&g, AT(device_feature_select), 4), 0);
	pci_set(&g, AT(queue_desc), 2, 0xffff);
	pci_set(&g, AT(queue_desc) + 1, 4, 0xffff);
	cr_assert_eq(pci_get(&g, AT(queue_desc), 8), 0);
	pci_set(&g, AT(device_status), 1, 1);
	cr_assert_eq(pci_get(&g, AT(device_status), 1), 1);
}

Test(virtio_pci, common__addresses_by_halves_or_whole)
{
	static const uint64_t at[] = {AT(queue_desc), AT(queue_driver), AT(queue_device)};

	for (unsigned i = 0; i < 3; i++) {
		pci_set(&g, at[i], 8, UINT64_C(0x1122334455667000) + i);
		cr_assert_eq(pci_get(&g, at[i], 8), UINT64_C(0x1122334455667000) + i);
		pci_set(&g, at[i] + 4, 4, 7);
		cr_assert_eq(pci_get(&g, at[i], 8), UINT64_C(0x755667000) + i);
		pci_set(&g, at[i], 4, 8);
		cr_assert_eq(pci_get(&g, at[i], 8), UINT64_C(0x700000008));
	}
}

Test(virtio_pci, common__features_by_words)
{
	uint64_t offered = VIRTIO_FEATURES_COMMON | 5;

	for (unsigned word = 0; word < 4; word++) {
		pci_set(&g, AT(device_feature_select), 4, word);
		cr_assert_eq(pci_get(&g, AT(device_feature), 4),
			     word < 2 ? (uint32_t)(offered >> (32 * word)) : 0);
		pci_set(&g, AT(driver_feature_select), 4, word);
		pci_set(&g, AT(driver_feature), 4, UINT32_MAX);
		cr_assert_eq(pci_get(&g, AT(driver_feature), 4),
			     word < 2 ? (uint32_t)(offered >> (32 * word)) : 0);
	}
}

Test(virtio_pci, common__a_queue_that_is_not_there)
{
	pci_set(&g, AT(queue_select), 2, ECHO_QUEUES);
	cr_assert_eq(pci_get(&g, AT(queue_size), 2), 0);
	pci_set(&g, AT(queue_msix_vector), 2, 0);
	cr_assert_eq(pci_get(&g, AT(queue_msix_vector), 2), 0xffff);
	pci_set(&g, AT(queue_enable), 2, 1);
	cr_assert_eq(pci_get(&g, AT(queue_enable), 2), 0);
}

Test(virtio_pci, common__zero_does_not_disable_a_queue)
{
	pci_guest_agree(&g, &split);
	pci_guest_set_up_queue(&g, 0);
	pci_set(&g, AT(queue_enable), 2, 0);
	cr_assert_eq(pci_get(&g, AT(queue_enable), 2), 1);
	pci_set(&g, AT(queue_size), 2, 8);
	pci_set(&g, AT(queue_desc), 8, 0xdead000);
	cr_assert_eq(pci_get(&g, AT(queue_size), 2), 16, "it is frozen");
	cr_assert_eq(pci_get(&g, AT(queue_desc), 8), g.dq[0].desc_gpa);
}

Test(virtio_pci, config__has_a_generation_and_an_interrupt)
{
	uint64_t generation = pci_get(&g, AT(config_generation), 1);

	pci_guest_up(&g, &split);
	cr_assert_eq(pci_guest_load(&g, VIRTIO_CAP_DEVICE, 0, 8), UINT64_C(0x0807060504030201));
	virtio_dev_set_config(g.dev, 0, "x", 1);
	cr_assert(fake_msi_await(&g.wires.msi[0]));
	cr_assert_neq(pci_get(&g, AT(config_generation), 1), generation);
	cr_assert_eq(pci_guest_load(&g, VIRTIO_CAP_DEVICE, 0, 1), 'x');
	pci_guest_store(&g, VIRTIO_CAP_DEVICE, 8, 2, 0xbbaa);
	cr_assert_eq(pci_guest_load(&g, VIRTIO_CAP_DEVICE, 8, 2), 0xbbaa);
}

Test(virtio_pci, every_place__can_be_read_and_written)
{
	for (unsigned size = 1; size <= 8; size *= 2)
		for (unsigned at = 0; at + size <= 0x8000; at += size) {
			pci_world_store(&g.pci, g.bar + at, size, UINT64_MAX);
			(void)pci_world_load(&g.pci, g.bar + at, size);
		}
	pci_set(&g, AT(device_status), 1, 0);
	pci_guest_up(&g, &split);
	pci_guest_works(&g);
}

/* ---- the window in configuration space (4.1.4.9) ---- */

static void open_window(uint32_t offset, uint32_t len)
{
	pci_world_set_config(&g.pci, 1, g.window + 4, 1, 0);
	pci_world_set_config(&g.pci, 1, g.window + 8, 4, offset);
	pci_world_set_config(&g.pci, 1, g.window + 12, 4, len);
}

Test(virtio_pci, window__reads_and_writes_the_bar)
{
	open_window((uint32_t)(g.place[VIRTIO_CAP_COMMON].offset + AT(device_status)), 1);
	pci_world_set_config(&g.pci, 1, g.window + 16, 1, 3);
	cr_assert_eq(pci_get(&g, AT(device_status), 1), 3);
	cr_assert_eq(pci_world_config(&g.pci, 1, g.window + 16, 1), 3);
	open_window((uint32_t)(g.place[VIRTIO_CAP_COMMON].offset + AT(num_queues)), 2);
	cr_assert_eq(pci_world_config(&g.pci, 1, g.window + 16, 2), ECHO_QUEUES);
	open_window((uint32_t)g.place[VIRTIO_CAP_DEVICE].offset, 4);
	cr_assert_eq(pci_world_config(&g.pci, 1, g.window + 16, 4), 0x04030201);
}

Test(virtio_pci, window__works_where_the_bar_does_not_decode)
{
	pci_world_set_config(&g.pci, 1, PCI_COMMAND, 2, 0);
	open_window((uint32_t)(g.place[VIRTIO_CAP_COMMON].offset + AT(num_queues)), 2);
	cr_assert_eq(pci_world_config(&g.pci, 1, g.window + 16, 2), ECHO_QUEUES);
}

Test(virtio_pci, window__rings_doorbells)
{
	pci_guest_up(&g, &split);
	cr_assert(pci_guest_add(&g, 1));
	open_window((uint32_t)(g.place[VIRTIO_CAP_NOTIFY].offset + g.notify_multiplier), 2);
	pci_world_set_config(&g.pci, 1, g.window + 16, 2, 1);
	pci_guest_await(&g, 1);
}

Test(virtio_pci, window__that_can_not_be_does_nothing)
{
	static const uint32_t bad[][2] = {{0x8000, 4}, {0x7ffe, 4}, {0, 0},	     {0, 3},
					  {0, 8},      {2, 4},	    {UINT32_MAX, 1}, {1, 2}};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		open_window(bad[i][0], bad[i][1]);
		pci_world_set_config(&g.pci, 1, g.window + 16, 4, 1);
		(void)pci_world_config(&g.pci, 1, g.window + 16, 4);
	}
	open_window((uint32_t)(g.place[VIRTIO_CAP_COMMON].offset + AT(device_status)), 1);
	pci_world_set_config(&g.pci, 1, g.window + 4, 1, 1);
	pci_world_set_config(&g.pci, 1, g.window + 16, 1, 1);
	cr_assert_eq(pci_get(&g, AT(device_status), 1), 0, "of another BAR");
}

/* ---- requests, interrupts ---- */

static void check_requests(const struct driver_setup *setup)
{
	pci_guest_up(&g, setup);
	for (unsigned i = 0; i < 50; i++)
		pci_guest_works(&g);
	for (unsigned i = 0; i < ECHO_QUEUES; i++) {
		cr_assert(g.wires.bell[i].attached);
		cr_assert_eq(g.wires.bell[i].address, pci_guest_bell(&g, i));
	}
}

Test(virtio_pci, requests__go_by_doorbells_and_come_back_by_vectors)
{
	check_requests(&split);
}

Test(virtio_pci, requests__of_packed_queues)
{
	check_requests(&packed);
}

Test(virtio_pci, isr__says_what_it_was_while_msix_is_off)
{
	g.no_msix = true;
	pci_guest_up(&g, &split);
	cr_assert_eq(pci_guest_load(&g, VIRTIO_CAP_ISR, 0, 1), 0);
	cr_assert(pci_guest_add(&g, 0));
	pci_guest_kick(&g, 0);
	while (!pci_guest_collect(&g, 0))
		;
	pci_guest_settle(&g);
	cr_assert_eq(pci_guest_load(&g, VIRTIO_CAP_ISR, 0, 1), VIRTIO_ISR_QUEUE);
	cr_assert_eq(pci_guest_load(&g, VIRTIO_CAP_ISR, 0, 1), 0, "a read clears it");
	virtio_dev_set_config(g.dev, 0, "x", 1);
	cr_assert_eq(pci_guest_load(&g, VIRTIO_CAP_ISR, 0, 1), VIRTIO_ISR_CONFIG);
}

static void assign(unsigned queue, unsigned vector)
{
	pci_set(&g, AT(queue_select), 2, queue);
	pci_set(&g, AT(queue_msix_vector), 2, vector);
}

Test(virtio_pci, vectors__that_are_not_there_read_back_as_none)
{
	assign(0, 1);
	cr_assert_eq(pci_get(&g, AT(queue_msix_vector), 2), 1);
	assign(0, ECHO_QUEUES + 1);
	cr_assert_eq(pci_get(&g, AT(queue_msix_vector), 2), 0xffff);
	pci_set(&g, AT(config_msix_vector), 2, ECHO_QUEUES);
	cr_assert_eq(pci_get(&g, AT(config_msix_vector), 2), ECHO_QUEUES);
	pci_set(&g, AT(config_msix_vector), 2, 0x1000);
	cr_assert_eq(pci_get(&g, AT(config_msix_vector), 2), 0xffff);
}

Test(virtio_pci, vectors__can_be_shared_changed_and_taken_back)
{
	pci_guest_up(&g, &split);
	for (unsigned i = 0; i < ECHO_QUEUES; i++) {
		assign(i, 2);
		g.vectors[i] = 2;
	}
	pci_guest_works(&g);
	assign(3, 0xffff);
	cr_assert(pci_guest_add(&g, 3));
	pci_guest_kick(&g, 3);
	while (!pci_guest_collect(&g, 3))
		;
	pci_guest_settle(&g);
	for (unsigned i = 0; i < g.wires.n_msis; i++)
		cr_assert_eq(fake_msi_take(&g.wires.msi[i]), 0, "vector %u", i);
	cr_assert_eq(pci_guest_load(&g, VIRTIO_CAP_ISR, 0, 1), 0, "which is for lines");
}

Test(virtio_pci, vectors__of_a_queue_go_with_its_reset)
{
	pci_guest_up(&g, &split);
	pci_guest_works(&g);
	pci_set(&g, AT(queue_select), 2, 1);
	pci_set(&g, AT(queue_reset), 2, 1);
	while (pci_get(&g, AT(queue_reset), 2) != 0)
		;
	cr_assert_eq(pci_get(&g, AT(queue_enable), 2), 0);
	cr_assert_eq(pci_get(&g, AT(queue_msix_vector), 2), 0xffff);
	driver_reset(&g.dq[1]);
	pci_guest_set_up_queue(&g, 1);
	pci_guest_works(&g);
}

Test(virtio_pci, vectors__go_with_msix_off_and_come_back_with_it)
{
	pci_guest_up(&g, &split);
	pci_guest_works(&g);
	pci_world_set_config(&g.pci, 1, g.msix + PCI_MSIX_FLAGS, 2, 0);
	cr_assert(pci_guest_add(&g, 0));
	pci_guest_kick(&g, 0);
	while (!pci_guest_collect(&g, 0))
		;
	pci_guest_settle(&g);
	cr_assert_not(g.wires.msi[1].route.ops->pending(&g.wires.msi[1].route));
	cr_assert_eq(pci_guest_load(&g, VIRTIO_CAP_ISR, 0, 1), VIRTIO_ISR_QUEUE);
	cr_assert(driver_interrupts_on(&g.dq[0]) == false);
	pci_world_set_config(&g.pci, 1, g.msix + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	pci_guest_works(&g);
}

Test(virtio_pci, vectors__of_a_masked_function_wait)
{
	pci_guest_up(&g, &split);
	pci_world_set_config(&g.pci, 1, g.msix + PCI_MSIX_FLAGS, 2,
			     PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	cr_assert(pci_guest_add(&g, 0));
	pci_guest_kick(&g, 0);
	while (!pci_guest_collect(&g, 0))
		;
	pci_guest_settle(&g);
	cr_assert_eq(fake_msi_take(&g.wires.msi[1]), 0);
	pci_world_set_config(&g.pci, 1, g.msix + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(fake_msi_take(&g.wires.msi[1]), 1);
}

/* ---- where the BAR is ---- */

Test(virtio_pci, doorbells__follow_the_bar)
{
	uint64_t old = g.bar;

	pci_guest_up(&g, &split);
	pci_guest_works(&g);
	pci_guest_move_bar(&g, MMIO64 + 0x10000000);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		cr_assert_eq(g.wires.bell[i].address, pci_guest_bell(&g, i));
	cr_assert_not(fake_wires_write(&g.wires, old + 0x4000, 2, 0));
	cr_assert_eq(pci_world_load(&g.pci, old + AT(num_queues), 2), 0xffff);
	pci_guest_works(&g);
}

Test(virtio_pci, doorbells__are_silent_while_the_bar_does_not_decode)
{
	pci_guest_up(&g, &split);
	pci_world_set_config(&g.pci, 1, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		cr_assert_not(g.wires.bell[i].attached);
	cr_assert_eq(pci_get(&g, AT(num_queues), 2), 0xffff);
	pci_world_set_config(&g.pci, 1, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	pci_guest_works(&g);
}

Test(virtio_pci, doorbells__that_the_kernel_can_not_have_are_written_by_hand)
{
	pci_guest_up(&g, &split);
	g.wires.refuse_attach = true;
	pci_guest_move_bar(&g, MMIO64 + 0x20000000);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		cr_assert_not(g.wires.bell[i].attached);
	pci_guest_works(&g);
	pci_world_store(&g.pci, pci_guest_bell(&g, ECHO_QUEUES), 2, 0);
}

/* ---- bus mastering, resets ---- */

Test(virtio_pci, bus_master__off_stops_the_queues_on_lets_them_go_on)
{
	pci_guest_up(&g, &split);
	for (unsigned i = 0; i < 20; i++) {
		pci_guest_works(&g);
		pci_world_set_config(&g.pci, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		echo_await(g.echo, &g.echo->stops, ECHO_QUEUES * (i + 1));
		pci_guest_settle(&g);
		cr_assert(pci_guest_add(&g, 0));
		pci_guest_kick(&g, 0);
		pci_guest_settle(&g);
		cr_assert_not(driver_has_used(&g.dq[0]));
		pci_world_set_config(&g.pci, 1, PCI_COMMAND, 2,
				     PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		pci_guest_await(&g, 0);
	}
}

Test(virtio_pci, driver_reset__takes_vectors_and_selectors_back)
{
	pci_guest_up(&g, &split);
	pci_guest_works(&g);
	pci_set(&g, AT(device_feature_select), 4, 1);
	pci_guest_reset(&g);
	cr_assert_eq(pci_get(&g, AT(config_msix_vector), 2), 0xffff);
	cr_assert_eq(pci_get(&g, AT(device_feature_select), 4), 0);
	cr_assert_eq(pci_get(&g, AT(queue_select), 2), 0);
	for (unsigned i = 0; i < ECHO_QUEUES; i++) {
		pci_set(&g, AT(queue_select), 2, i);
		cr_assert_eq(pci_get(&g, AT(queue_msix_vector), 2), 0xffff);
	}
	pci_guest_up(&g, &packed);
	pci_guest_works(&g);
}

static void function_level_reset(void)
{
	unsigned express = pci_world_capability(&g.pci, 1, PCI_CAP_ID_EXP);

	pci_world_set_config(&g.pci, 1, express + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_BCR_FLR);
}

Test(virtio_pci, flr__resets_the_device_too)
{
	pci_guest_up(&g, &split);
	pci_guest_works(&g);
	function_level_reset();
	while (virtio_dev_status(g.dev) != 0)
		;
	cr_assert_eq(pci_world_config(&g.pci, 1, PCI_COMMAND, 2), 0);
	cr_assert_eq(
		pci_world_config(&g.pci, 1, g.msix + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE, 0);
	cr_assert_not(g.wires.bell[0].attached);
	pci_guest_probe(&g);
	pci_guest_up(&g, &packed);
	pci_guest_works(&g);
}

Test(virtio_pci, flr__with_requests_in_flight_leaves_no_interrupt_behind)
{
	pci_guest_up(&g, &split);
	atomic_store(&g.echo->mode, ECHO_HOLD);
	cr_assert(pci_guest_add(&g, 0));
	pci_guest_kick(&g, 0);
	echo_await(g.echo, &g.echo->kept, 1);
	function_level_reset();
	cr_assert_neq(virtio_dev_status(g.dev), 0);
	echo_let_go(g.echo, 0);
	while (virtio_dev_status(g.dev) != 0)
		;
	for (unsigned i = 0; i < g.wires.n_msis; i++)
		cr_assert_not(g.wires.msi[i].route.ops->pending(&g.wires.msi[i].route), "%u", i);
	cr_assert_eq(atomic_load(&g.echo->resets), 1);
	atomic_store(&g.echo->mode, ECHO_NOW);
	pci_guest_probe(&g);
	pci_guest_up(&g, &split);
	pci_guest_works(&g);
}

Test(virtio_pci, machine_reset__puts_everything_back)
{
	pci_guest_up(&g, &split);
	pci_guest_works(&g);
	pci_guest_move_bar(&g, MMIO64);
	g.dev->dev.ops->reset(&g.dev->dev);
	cr_assert_eq(virtio_dev_status(g.dev), 0);
	cr_assert_eq(pci_world_config(&g.pci, 1, PCI_COMMAND, 2), 0);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		cr_assert_not(g.wires.bell[i].attached);
	pci_guest_probe(&g);
	cr_assert_lt(g.bar, GIB(4), "where it was at first");
	pci_guest_up(&g, &packed);
	pci_guest_works(&g);
}

/* ---- state ---- */

static struct pci_guest other;
static struct saved saved;

static void save_it(void)
{
	struct err err = {0};

	cr_assert_eq(g.dev->dev.ops->quiesce(&g.dev->dev, 10 * NS_PER_S, &err), 0);
	saved_take(&saved, &g.dev->dev);
}

Test(virtio_pci, state__goes_on_in_another_device)
{
	struct err err = {0};

	pci_guest_up(&g, &split);
	pci_guest_works(&g);
	pci_guest_move_bar(&g, MMIO64 + 0x10000000);
	pci_set(&g, AT(queue_select), 2, 2);
	cr_assert(pci_guest_add(&g, 2));
	pci_world_set_config(&g.pci, 1, g.msix + PCI_MSIX_FLAGS, 2,
			     PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	virtio_dev_set_config(g.dev, 0, "x", 1);
	save_it();
	pci_guest_init(&other);
	cr_assert_eq(saved_load(&saved, &other.dev->dev, &err), 0, "%s", err.msg);
	pci_guest_inherit(&other, &g);
	pci_guest_start(&other);
	cr_assert_eq(pci_get(&other, AT(queue_select), 2), 2);
	cr_assert_eq(pci_get(&other, AT(queue_msix_vector), 2), 3);
	cr_assert_eq(pci_get(&other, AT(device_status), 1), DEV_UP);
	pci_world_set_config(&other.pci, 1, other.msix + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(fake_msi_take(&other.wires.msi[0]), 1, "what was pending");
	pci_guest_settle(&other);
	cr_assert_eq(atomic_load(&other.echo->starts), 0, "it is held until it is resumed");
	other.dev->dev.ops->resume(&other.dev->dev);
	pci_guest_await(&other, 2);
	for (unsigned i = 0; i < 20; i++)
		pci_guest_works(&other);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		cr_assert_eq(other.wires.bell[i].address, pci_guest_bell(&g, i));
	pci_guest_disinherit(&other);
	pci_guest_done(&other);
}

Test(virtio_pci, state__of_another_length_is_refused)
{
	pci_guest_up(&g, &split);
	save_it();
	pci_guest_init(&other);
	saved_check_lengths(&saved, &other.dev->dev);
	pci_guest_done(&other);
}

/* ---- places and wires ---- */

TestSuite(virtio_pci_bus, .timeout = 60);

Test(virtio_pci_bus, all_31_slots__have_room_and_their_own_bar)
{
	static struct echo *echoes[31];
	struct virtio_transport *t;

	pci_guest_init_bare(&g);
	for (unsigned i = 0; i < 31; i++) {
		echoes[i] = echo_new(&g.mem.map, &g.loop, 1);
		cr_assert_eq(
			virtio_pci_new(&echoes[i]->virtio, g.pci.bus, i + 1, &g.wires.maker, &t),
			0);
		pci_world_set_config(&g.pci, i + 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		cr_assert_neq(pci_guest_bar(&g, i + 1), 0);
		for (unsigned j = 0; j < i; j++)
			cr_assert_neq(pci_guest_bar(&g, i + 1), pci_guest_bar(&g, j + 1));
		cr_assert_eq(pci_world_load(&g.pci, pci_guest_bar(&g, i + 1) + AT(num_queues), 2),
			     ECHO_QUEUES);
	}
	for (unsigned i = 0; i < 31; i++)
		(void)device_free(&echoes[i]->virtio.dev);
	pci_guest_done(&g);
}

static void check_fails(unsigned slot, int error)
{
	struct echo *echo = echo_new(&g.mem.map, &g.loop, 1);
	struct virtio_transport *t = NULL;

	cr_assert_eq(virtio_pci_new(&echo->virtio, g.pci.bus, slot, &g.wires.maker, &t), error);
	cr_assert_null(t);
	cr_assert_null(echo->virtio.transport);
	(void)device_free(&echo->virtio.dev);
}

Test(virtio_pci_bus, what_is_missing__is_an_error)
{
	pci_guest_init(&g);
	check_fails(1, -EBUSY);
	check_fails(32, -EINVAL);
	g.wires.most_msis = g.wires.n_msis + 2;
	check_fails(2, -ENOSPC);
	g.wires.most_msis = FAKE_MSIS;
	g.wires.most_bells = g.wires.n_bells + 2;
	check_fails(2, -ENOSPC);
	pci_guest_done(&g);
}
