/* SPDX-License-Identifier: Apache-2.0 */
#include "pci_world.h"

#include <criterion/criterion.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "state/state.h"

static struct pci_probe p;
static const struct pci_bar small = {.size = 0x4000};
static const struct pci_bar wide = {.size = 0x8000, .is_64 = true};
static const struct pci_bar huge = {.size = UINT64_C(4) << 30, .is_64 = true, .prefetchable = true};

static uint32_t rd(unsigned offset, unsigned size)
{
	return pci_function_read(&p.f, offset, size);
}

static void wr(unsigned offset, unsigned size, uint32_t value)
{
	pci_function_write(&p.f, offset, size, value);
}

Test(pci_function, header__is_of_type_0_with_its_identity)
{
	pci_probe_init(&p, 0, 0, &small, 0);
	cr_assert_eq(rd(PCI_VENDOR_ID, 4), 0x10421af4);
	cr_assert_eq(rd(PCI_CLASS_REVISION, 4), 0x01000001);
	cr_assert_eq(rd(PCI_HEADER_TYPE, 1), 0);
	cr_assert_eq(rd(PCI_SUBSYSTEM_VENDOR_ID, 4), 0x10421af4);
	cr_assert_eq(rd(PCI_INTERRUPT_PIN, 1), 0);
	cr_assert_eq(rd(PCI_STATUS, 2), 0, "no capabilities, no list");
}

Test(pci_function, bar__shows_its_size_when_all_ones_are_written)
{
	pci_probe_init(&p, 0, 2, &small, 0xc0004000);
	cr_assert_eq(rd(PCI_BASE_ADDRESS_2, 4), 0xc0004000);
	wr(PCI_BASE_ADDRESS_2, 4, 0xffffffff);
	cr_assert_eq(rd(PCI_BASE_ADDRESS_2, 4), 0xffffc000);
	wr(PCI_BASE_ADDRESS_2, 4, 0xc0004000);
	cr_assert_eq(rd(PCI_BASE_ADDRESS_2, 4), 0xc0004000);
	wr(PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	cr_assert_eq(rd(PCI_BASE_ADDRESS_0, 4), 0, "there is no such BAR");
	cr_assert_eq(p.moves, 0, "it doesn't decode");
}

Test(pci_function, wide_bar__takes_two_registers)
{
	pci_probe_init(&p, 0, 0, &wide, 0);
	cr_assert_eq(rd(PCI_BASE_ADDRESS_0, 4), PCI_BASE_ADDRESS_MEM_TYPE_64);
	wr(PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	wr(PCI_BASE_ADDRESS_1, 4, 0xffffffff);
	cr_assert_eq(rd(PCI_BASE_ADDRESS_0, 4), 0xffff8000 | PCI_BASE_ADDRESS_MEM_TYPE_64);
	cr_assert_eq(rd(PCI_BASE_ADDRESS_1, 4), 0xffffffff);
}

Test(pci_function, huge_bar__has_no_address_bits_in_its_lower_half)
{
	pci_probe_init(&p, 0, 4, &huge, 0);
	wr(PCI_BASE_ADDRESS_4, 4, 0xffffffff);
	wr(PCI_BASE_ADDRESS_5, 4, 0xffffffff);
	cr_assert_eq(rd(PCI_BASE_ADDRESS_4, 4),
		     PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	cr_assert_eq(rd(PCI_BASE_ADDRESS_5, 4), 0xffffffff, "4 GiB: bit 32 is writable");
}

Test(pci_function, bar__decodes_while_memory_is_enabled)
{
	pci_probe_init(&p, 0, 0, &small, 0xc0000000);
	cr_assert_eq(p.moves, 0);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	cr_assert_eq(p.moves, 0);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	cr_assert_eq(p.moves, 1);
	cr_assert(p.decodes);
	cr_assert_eq(p.base, 0xc0000000);
	wr(PCI_COMMAND, 1, PCI_COMMAND_MEMORY);
	cr_assert_eq(p.moves, 1, "nothing has changed for the BAR");
	wr(PCI_COMMAND, 1, 0);
	cr_assert_eq(p.moves, 2);
	cr_assert_not(p.decodes);
}

Test(pci_function, bar__moves_while_it_decodes)
{
	pci_probe_init(&p, 0, 0, &wide, 0xc0000000);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	wr(PCI_BASE_ADDRESS_0, 4, 0xc0010000);
	cr_assert_eq(p.moves, 2);
	cr_assert_eq(p.base, 0xc0010000);
	wr(PCI_BASE_ADDRESS_1, 4, 0x3000);
	cr_assert_eq(p.moves, 3);
	cr_assert_eq(p.base, 0x3000c0010000);
	wr(PCI_BASE_ADDRESS_0 + 1, 1, 0x80);
	cr_assert_eq(p.base, 0x3000c0018000, "by a byte of the register");
	wr(PCI_BASE_ADDRESS_0, 4, 0xc0018000);
	cr_assert_eq(p.moves, 4, "the same place");
}

Test(pci_function, reset__takes_bars_back)
{
	pci_probe_init(&p, 0, 0, &small, 0xc0000000);
	wr(PCI_BASE_ADDRESS_0, 4, 0xc0010000);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	cr_assert(pci_function_is_bus_master(&p.f));
	cr_assert_eq(p.moves, 1);
	pci_function_reset(&p.f);
	cr_assert_eq(p.moves, 2);
	cr_assert_not(p.decodes);
	cr_assert_not(pci_function_is_bus_master(&p.f));
	cr_assert_eq(rd(PCI_BASE_ADDRESS_0, 4), 0xc0000000);
	cr_assert_eq(rd(PCI_COMMAND, 2), 0);
}

Test(pci_function, capabilities__are_a_chain_of_aligned_pieces)
{
	static const uint8_t first[7] = {0, 0, 1, 2, 3, 4, 5}, second[4] = {0, 0, 0xaa, 0x55};
	static const uint8_t mask[4] = {0xff, 0xff, 0x0f, 0};
	unsigned a, b;

	pci_probe_init(&p, 0, 0, &small, 0);
	a = pci_function_add_capability(&p.f, 9, first, NULL, sizeof(first));
	b = pci_function_add_capability(&p.f, 0x11, second, mask, sizeof(second));
	cr_assert_eq(rd(PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	cr_assert_eq(rd(PCI_CAPABILITY_LIST, 1), a);
	cr_assert_eq(a, 0x40);
	cr_assert_eq(rd(a, 4), 0x02010009u | b << 8);
	cr_assert_eq(b, 0x48);
	cr_assert_eq(rd(b, 4), 0x55aa0011);
	wr(b + 2, 2, 0xffff);
	cr_assert_eq(rd(b, 4), 0x55af0011);
	pci_function_reset(&p.f);
	cr_assert_eq(rd(b, 4), 0x55aa0011);
}

Test(pci_function, capabilities__take_all_the_room_there_is)
{
	uint8_t bytes[0x60] = {0};

	pci_probe_init(&p, 0, 0, &small, 0);
	(void)pci_function_add_capability(&p.f, 9, bytes, NULL, 0x60);
	cr_assert_eq(pci_function_add_capability(&p.f, 9, bytes, NULL, 0x60), 0xa0);
	cr_assert_eq(rd(0xa0, 2), 9, "the last one has no next");
}

Test(pci_function, hooks__hear_of_configuration_accesses)
{
	pci_probe_init(&p, 0, 0, &small, 0);
	(void)rd(PCI_VENDOR_ID, 2);
	cr_assert_eq(p.config_reads, 1);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	cr_assert_eq(p.config_writes, 1);
	cr_assert_eq(p.offset, PCI_COMMAND);
	cr_assert_eq(p.size, 2);
}

/* ---- PCI Express ---- */

static unsigned express(void)
{
	pci_probe_init(&p, 0, 0, &small, 0xc0000000);
	pci_function_add_express(&p.f);
	return rd(PCI_CAPABILITY_LIST, 1);
}

Test(pci_function, express__is_an_integrated_endpoint_with_flr)
{
	unsigned at = express();

	cr_assert_eq(rd(at, 1), PCI_CAP_ID_EXP);
	cr_assert_eq(rd(at + PCI_EXP_FLAGS, 2), 0x92);
	cr_assert(rd(at + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR);
	cr_assert_eq(rd(at + PCI_EXP_LNKCAP, 4), 0, "it has no link");
}

Test(pci_function, flr__resets_configuration_space_and_tells_the_owner)
{
	unsigned at = express();

	wr(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	wr(PCI_BASE_ADDRESS_0, 4, 0xc0010000);
	p.config_writes = 0;
	wr(at + PCI_EXP_DEVCTL, 2, rd(at + PCI_EXP_DEVCTL, 2) | PCI_EXP_DEVCTL_BCR_FLR);
	cr_assert_eq(p.flrs, 1);
	cr_assert_not(p.decodes);
	cr_assert_eq(rd(PCI_COMMAND, 2), 0);
	cr_assert_eq(rd(PCI_BASE_ADDRESS_0, 4), 0xc0000000);
	cr_assert_eq(p.config_writes, 0, "there is nothing left of that write");
	cr_assert_not(rd(at + PCI_EXP_DEVCTL, 2) & PCI_EXP_DEVCTL_BCR_FLR);
}

Test(pci_function, flr__is_asked_for_by_any_width)
{
	unsigned at = express();

	wr(at + PCI_EXP_DEVCTL + 1, 1, 0x80);
	cr_assert_eq(p.flrs, 1);
	wr(at + PCI_EXP_DEVCTL, 4, 0x8000);
	cr_assert_eq(p.flrs, 2);
	wr(at + PCI_EXP_DEVCTL - 2, 4, 0x80000000);
	cr_assert_eq(p.flrs, 3);
	wr(at + PCI_EXP_DEVCTL, 1, 0x80);
	wr(at + PCI_EXP_DEVCTL, 2, 0x7fff);
	wr(at + PCI_EXP_DEVSTA, 2, 0x8000);
	wr(at + PCI_EXP_DEVCAP, 4, 0x80008000);
	cr_assert_eq(p.flrs, 3, "not by its neighbours");
}

Test(pci_function, flr__is_nothing_to_a_function_without_the_capability)
{
	pci_probe_init(&p, 0, 0, &small, 0);
	for (unsigned at = 0; at < 256; at += 4)
		wr(at, 4, 0xffffffff);
	cr_assert_eq(p.flrs, 0);
}

/* ---- state ---- */

static void save(void *from, struct state_writer *w)
{
	pci_function_save(from, w);
}

static void load(void *to, struct state_reader *r)
{
	pci_function_load(to, r);
}

Test(pci_function, state__comes_back_with_bars_where_they_were)
{
	struct pci_probe other;

	pci_probe_init(&p, 0, 0, &wide, 0);
	pci_probe_init(&other, 0, 0, &wide, 0);
	pci_function_add_express(&p.f);
	pci_function_add_express(&other.f);
	wr(PCI_BASE_ADDRESS_0, 4, 0xc0010000);
	wr(PCI_BASE_ADDRESS_1, 4, 0x3000);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	cr_assert_eq(pci_world_carry(save, &p.f, load, &other.f), 0);
	cr_assert_eq(memcmp(p.f.config, other.f.config, PCI_CONFIG_SIZE), 0);
	cr_assert_eq(other.moves, 1);
	cr_assert(other.decodes);
	cr_assert_eq(other.base, 0x3000c0010000);
}

static void save_noise(void *from, struct state_writer *w)
{
	(void)from;
	for (unsigned i = 0; i < 64; i++)
		state_put_u8(w, 0xff);
}

Test(pci_function, state__cannot_change_what_the_guest_cannot)
{
	pci_probe_init(&p, 0, 0, &small, 0);
	cr_assert_neq(pci_world_carry(save_noise, NULL, load, &p.f), 0, "there is too much of it");
	cr_assert_eq(rd(PCI_VENDOR_ID, 4), 0x10421af4);
	cr_assert_eq(rd(PCI_COMMAND, 2), 0x0407);
	cr_assert_eq(rd(PCI_BASE_ADDRESS_0, 4), 0xffffc000);
}

static void save_nothing(void *from, struct state_writer *w)
{
	(void)from;
	(void)w;
}

Test(pci_function, state__cut_off_is_refused)
{
	pci_probe_init(&p, 0, 0, &small, 0);
	cr_assert_neq(pci_world_carry(save_nothing, NULL, load, &p.f), 0);
}
