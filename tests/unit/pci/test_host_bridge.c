/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "pci/host_bridge.h"

#define ECAM UINT64_C(0xe0000000)

static struct io_bus ports, memory;
static unsigned resets;

static void on_request(struct run_wire *wire, enum guest_request what, unsigned value)
{
	(void)wire;
	(void)value;
	resets += what == GUEST_RESET;
}

static const struct run_wire_ops wire_ops = {.request = on_request};
static struct run_wire wire = {.ops = &wire_ops};
static struct device *bridge;

static void set_up(void)
{
	struct pci_host_bridge_wiring wiring = {.ports = &ports,
						.memory = &memory,
						.run = &wire,
						.ecam_base = ECAM,
						.ecam_size = 256 << 20};

	cr_assert_eq(pci_host_bridge_new(&wiring, &bridge), 0);
}

static void tear_down(void)
{
	bridge = device_free(bridge);
}

TestSuite(host_bridge, .init = set_up, .fini = tear_down);

static uint32_t in(uint16_t port, unsigned size)
{
	uint32_t v = 0;

	cr_assert(io_bus_read(&ports, port, size, &v));
	return v;
}

static void out(uint16_t port, unsigned size, uint32_t v)
{
	cr_assert(io_bus_write(&ports, port, size, &v));
}

static uint32_t ecam(uint64_t offset, unsigned size)
{
	uint32_t v = 0;

	cr_assert(io_bus_read(&memory, ECAM + offset, size, &v));
	return v;
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
	const struct device_ops *ops = bridge->ops;
	uint32_t zero = 0;

	out(0xcf8, 4, 0x80000000);
	(void)in(0xcf8, 4);
	cr_assert_eq(device_stat_value(bridge, &ops->stats[0]), 0, "the latch is not part of it");
	(void)in(0xcfc, 4);
	(void)ecam(0, 4);
	cr_assert(io_bus_write(&memory, ECAM + 4, 2, &zero));
	cr_assert_str_eq(ops->stats[0].name, "config_reads");
	cr_assert_eq(device_stat_value(bridge, &ops->stats[0]), 2);
	cr_assert_str_eq(ops->stats[1].name, "config_writes");
	cr_assert_eq(device_stat_value(bridge, &ops->stats[1]), 1);
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

	cr_assert(io_bus_write(&memory, ECAM + 0, 4, &all));
	cr_assert(io_bus_write(&memory, ECAM + 4, 2, &all));
	cr_assert_eq(ecam(0, 4), 0x00081b36);
	cr_assert_eq(ecam(4, 2), 0x0407);
	bridge->ops->reset(bridge);
	cr_assert_eq(ecam(4, 2), 0);
}

Test(host_bridge, reset_control_register_resets)
{
	resets = 0;
	out(0xcf9, 1, 0x02);
	cr_assert_eq(resets, 0);
	out(0xcf9, 1, 0x06);
	cr_assert_eq(resets, 1);
}

Test(host_bridge, wide_and_crossing_accesses_stay_inside)
{
	uint64_t v = 0;

	cr_assert(io_bus_read(&memory, ECAM + 4092, 8, &v));
	cr_assert(io_bus_read(&memory, ECAM + 4095, 4, &v));
	out(0xcf8, 4, 0x80000000);
	(void)io_bus_read(&ports, 0xcfe, 4, &v);
}
