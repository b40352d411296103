/* SPDX-License-Identifier: Apache-2.0 */
#include "pci_world.h"

#include <criterion/criterion.h>

#include "state/state.h"

static struct pci_world w;

static void set_up(void)
{
	pci_world_init(&w);
}

static void tear_down(void)
{
	pci_world_done(&w);
}

TestSuite(host_bridge, .init = set_up, .fini = tear_down);

static uint32_t in(uint16_t port, unsigned size)
{
	return pci_world_in(&w, port, size);
}

static void out(uint16_t port, unsigned size, uint32_t v)
{
	pci_world_out(&w, port, size, v);
}

static uint32_t ecam(uint64_t offset, unsigned size)
{
	return (uint32_t)pci_world_load(&w, ECAM + offset, size);
}

Test(host_bridge, both_ways_see_the_same_bridge)
{
	out(0xcf8, 4, 0x80000000);
	cr_assert_eq(in(0xcfc, 4), 0x00081b36);
	cr_assert_eq(in(0xcfe, 2), 0x0008);
	cr_assert_eq(in(0xcfd, 1), 0x1b);
	cr_assert_eq(ecam(0, 4), 0x00081b36);
	cr_assert_eq(ecam(8, 4), 0x06000000, "a host bridge by class");
	cr_assert_eq(in(0xcf8, 4), 0x80000000, "the latch reads back");
}

Test(host_bridge, accesses_to_configuration_space_are_counted)
{
	const struct device_ops *ops = w.bridge->ops;
	uint32_t zero = 0;

	out(0xcf8, 4, 0x80000000);
	(void)in(0xcf8, 4);
	cr_assert_eq(device_stat_value(w.bridge, &ops->stats[0]), 0, "the latch is not part of it");
	(void)in(0xcfc, 4);
	(void)ecam(0, 4);
	cr_assert(io_bus_write(&w.memory, ECAM + 4, 2, &zero));
	cr_assert_str_eq(ops->stats[0].name, "config_reads");
	cr_assert_eq(device_stat_value(w.bridge, &ops->stats[0]), 2);
	cr_assert_str_eq(ops->stats[1].name, "config_writes");
	cr_assert_eq(device_stat_value(w.bridge, &ops->stats[1]), 1);
}

Test(host_bridge, absent_functions_read_all_ones)
{
	out(0xcf8, 4, 0x80000800);
	cr_assert_eq(in(0xcfc, 4), 0xffffffff);
	cr_assert_eq(ecam(1 << 15, 4), 0xffffffff);
	cr_assert_eq(ecam(1 << 20, 2), 0xffff, "nor is there anything on bus 1");
}

Test(host_bridge, data_port_is_dead_while_the_latch_is_off)
{
	out(0xcf8, 4, 0);
	cr_assert_eq(in(0xcfc, 4), 0xffffffff);
}

Test(host_bridge, only_writable_bits_take_a_write)
{
	uint32_t all = 0xffffffff;

	cr_assert(io_bus_write(&w.memory, ECAM + 0, 4, &all));
	cr_assert(io_bus_write(&w.memory, ECAM + 4, 2, &all));
	cr_assert_eq(ecam(0, 4), 0x00081b36);
	cr_assert_eq(ecam(4, 2), 0x0407);
	w.bridge->ops->reset(w.bridge);
	cr_assert_eq(ecam(4, 2), 0);
}

Test(host_bridge, reset_control_register_resets)
{
	out(0xcf9, 1, 0x02);
	cr_assert_eq(w.run.requests, 0);
	out(0xcf9, 1, 0x06);
	cr_assert_eq(w.run.requests, 1);
	cr_assert_eq(w.run.what, GUEST_RESET);
}

Test(host_bridge, wide_and_crossing_accesses_stay_inside)
{
	uint64_t v = 0;

	cr_assert(io_bus_read(&w.memory, ECAM + 4092, 8, &v));
	cr_assert(io_bus_read(&w.memory, ECAM + 4095, 4, &v));
	out(0xcf8, 4, 0x80000000);
	(void)io_bus_read(&w.ports, 0xcfe, 4, &v);
}

static void save(void *from, struct state_writer *to)
{
	struct device *dev = from;

	dev->ops->save(dev, to);
}

static void load(void *to, struct state_reader *r)
{
	struct device *dev = to;

	dev->ops->load(dev, r);
}

Test(host_bridge, state_comes_back_in_another_one)
{
	static struct pci_world other;

	pci_world_init(&other);
	out(0xcf8, 4, 0x80000004);
	out(0xcfc, 2, 0x0006);
	cr_assert_eq(pci_world_carry(save, w.bridge, load, other.bridge), 0);
	cr_assert_eq(pci_world_in(&other, 0xcf8, 4), 0x80000004);
	cr_assert_eq(pci_world_in(&other, 0xcfc, 2), 0x0006);
	pci_world_done(&other);
}
