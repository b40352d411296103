/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X as a driver uses it: the capability by configuration space, table and PBA in a BAR. */
#include "pci_world.h"

#include <criterion/criterion.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/checked.h"
#include "base/fd.h"
#include "pci/msix.h"
#include "state/state.h"
#include "tests/fakes/wires.h"

enum {
	SLOT = 1,
	VECTORS = 70,
	BAR_SIZE = 0x4000,
	TABLE = 0x1000,
	PBA = 0x2000,
};
#define BASE	   MMIO32
#define APIC	   UINT64_C(0xfee00000)
#define ENTRY(n)   (BASE + TABLE + (n)*16)
#define MASK_OF(n) (ENTRY(n) + PCI_MSIX_ENTRY_VECTOR_CTRL)

/* A device with nothing but MSI-X. */
struct card {
	struct pci_function f;
	struct pci_msix msix;
	struct fake_wires wires;
};

static struct pci_world w;
static struct card card, other;
static unsigned cap;

static void card_written(struct pci_function *f, unsigned offset, unsigned size)
{
	(void)offset;
	(void)size;
	pci_msix_config_written(&container_of(f, struct card, f)->msix, f);
}

static uint64_t card_read(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size)
{
	struct card *c = container_of(f, struct card, f);

	(void)bar;
	return pci_msix_covers(&c->msix, offset) ? pci_msix_read(&c->msix, offset, size) : 0;
}

static void card_write(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size,
		       uint64_t value)
{
	(void)bar;
	pci_msix_write(&container_of(f, struct card, f)->msix, offset, size, value);
}

static const struct pci_function_ops card_ops = {
	.config_written = card_written, .bar_read = card_read, .bar_write = card_write};
static const struct pci_msix_layout layout = {
	.n = VECTORS, .bar = 2, .table_offset = TABLE, .pba_offset = PBA};

static void card_init(struct card *c)
{
	static const struct pci_identity identity = {.vendor = 0x1af4, .device = 0x1042};
	static const struct pci_bar bar = {.size = BAR_SIZE};

	fake_wires_init(&c->wires);
	pci_function_init(&c->f, &identity, &card_ops);
	pci_function_add_bar(&c->f, 2, &bar, BASE);
	cr_assert_eq(pci_msix_init(&c->msix, &c->f, &layout, &c->wires.maker), 0);
}

static void set_up(void)
{
	pci_world_init(&w);
	card_init(&card);
	card_init(&other);
	cr_assert_eq(pci_bus_attach(w.bus, SLOT, &card.f), 0);
	pci_world_set_config(&w, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	cap = pci_world_capability(&w, SLOT, PCI_CAP_ID_MSIX);
}

static void tear_down(void)
{
	pci_msix_done(&card.msix);
	pci_msix_done(&other.msix);
	fake_wires_done(&card.wires);
	fake_wires_done(&other.wires);
	pci_world_done(&w);
}

TestSuite(msix, .init = set_up, .fini = tear_down);

static void control(unsigned bits)
{
	pci_world_set_config(&w, SLOT, cap + PCI_MSIX_FLAGS, 2, bits);
}

static void program(unsigned vector, uint64_t address, uint32_t data)
{
	pci_world_store(&w, ENTRY(vector), 4, (uint32_t)address);
	pci_world_store(&w, ENTRY(vector) + 4, 4, address >> 32);
	pci_world_store(&w, ENTRY(vector) + 8, 4, data);
}

static void mask(unsigned vector, bool on)
{
	pci_world_store(&w, MASK_OF(vector), 4, on);
}

/* As Linux does it. */
static void open_vector(unsigned vector, uint32_t data)
{
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	program(vector, APIC, data);
	mask(vector, false);
	control(PCI_MSIX_FLAGS_ENABLE);
}

static void raise(unsigned vector)
{
	eventfd_kick(pci_msix_fd(&card.msix, vector));
}

static bool pending(unsigned vector)
{
	return pci_world_load(&w, BASE + PBA + vector / 64 * 8, 8) >> vector % 64 & 1;
}

Test(msix, capability__says_where_table_and_pba_are)
{
	cr_assert_eq(pci_world_config(&w, SLOT, cap + PCI_MSIX_FLAGS, 2), VECTORS - 1);
	cr_assert_eq(pci_world_config(&w, SLOT, cap + PCI_MSIX_TABLE, 4), TABLE | 2);
	cr_assert_eq(pci_world_config(&w, SLOT, cap + PCI_MSIX_PBA, 4), PBA | 2);
	control(0xffff);
	cr_assert_eq(pci_world_config(&w, SLOT, cap + PCI_MSIX_FLAGS, 2), 0xc000 | (VECTORS - 1));
}

Test(msix, table__begins_empty_and_masked)
{
	for (unsigned i = 0; i < VECTORS; i++) {
		cr_assert_eq(pci_world_load(&w, ENTRY(i), 8), 0);
		cr_assert_eq(pci_world_load(&w, ENTRY(i) + 8, 8), UINT64_C(1) << 32);
	}
	cr_assert_eq(pci_world_load(&w, BASE + PBA, 8), 0);
	cr_assert_eq(pci_world_load(&w, BASE + PBA + 8, 8), 0);
}

Test(msix, table__reads_back_what_was_written_in_either_width)
{
	program(3, APIC | 0x1000, 0x4031);
	cr_assert_eq(pci_world_load(&w, ENTRY(3), 8), APIC | 0x1000);
	cr_assert_eq(pci_world_load(&w, ENTRY(3) + 8, 4), 0x4031);
	pci_world_store(&w, ENTRY(VECTORS - 1), 8, UINT64_C(0x12345678fee02003));
	pci_world_store(&w, ENTRY(VECTORS - 1) + 8, 8, UINT64_C(0xfffffffe00000077));
	cr_assert_eq(pci_world_load(&w, ENTRY(VECTORS - 1), 4), 0xfee02000, "a dword's address");
	cr_assert_eq(pci_world_load(&w, ENTRY(VECTORS - 1) + 4, 4), 0x12345678);
	cr_assert_eq(pci_world_load(&w, ENTRY(VECTORS - 1) + 8, 4), 0x77);
	cr_assert_eq(pci_world_load(&w, MASK_OF(VECTORS - 1), 4), 0, "reserved bits are 0");
}

Test(msix, table__ignores_other_widths_and_places)
{
	program(0, APIC, 0x31);
	for (unsigned size = 1; size <= 2; size++) {
		pci_world_store(&w, ENTRY(0), size, 0xff);
		pci_world_store(&w, ENTRY(0) + 8 + size, size, 0xff);
	}
	pci_msix_write(&card.msix, TABLE + 2, 4, UINT32_MAX);
	pci_msix_write(&card.msix, TABLE + 4, 8, UINT64_MAX);
	pci_msix_write(&card.msix, TABLE + VECTORS * 16, 4, UINT32_MAX);
	pci_msix_write(&card.msix, UINT64_MAX - 7, 8, UINT64_MAX);
	pci_msix_write(&card.msix, PBA, 8, UINT64_MAX);
	cr_assert_eq(pci_world_load(&w, ENTRY(0), 8), APIC);
	cr_assert_eq(pci_world_load(&w, ENTRY(0) + 8, 8), UINT64_C(1) << 32 | 0x31);
	cr_assert_eq(pci_world_load(&w, BASE + PBA, 8), 0, "the PBA is read-only");
	cr_assert_eq(pci_msix_read(&card.msix, TABLE + VECTORS * 16, 4), UINT64_MAX);
	cr_assert_eq(pci_msix_read(&card.msix, TABLE - 8, 8), UINT64_MAX);
	cr_assert_eq(pci_msix_read(&card.msix, TABLE + 4, 8), UINT64_MAX);
	cr_assert_eq(pci_msix_read(&card.msix, PBA + 16, 8), UINT64_MAX);
	cr_assert_not(pci_msix_covers(&card.msix, TABLE + VECTORS * 16));
	cr_assert_not(pci_msix_covers(&card.msix, UINT64_MAX));
}

Test(msix, vector__is_through_only_when_nothing_masks_it)
{
	const struct fake_msi *m = &card.wires.msi[5];

	program(5, APIC, 0x35);
	mask(5, false);
	cr_assert_not(m->unmasked, "MSI-X is off");
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	cr_assert_not(m->unmasked, "the function is masked");
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert(m->unmasked);
	cr_assert_eq(m->address, APIC);
	cr_assert_eq(m->data, 0x35);
	mask(5, true);
	cr_assert_not(m->unmasked);
	mask(5, false);
	cr_assert(m->unmasked);
	control(0);
	cr_assert_not(m->unmasked);
	cr_assert_eq(m->unmasks, 2);
	for (unsigned i = 0; i < VECTORS; i++)
		cr_assert(i == 5 || card.wires.msi[i].unmasks == 0, "vector %u", i);
}

Test(msix, vector__never_written_stays_masked)
{
	control(PCI_MSIX_FLAGS_ENABLE);
	mask(1, false);
	cr_assert_not(card.wires.msi[1].unmasked);
	pci_world_store(&w, ENTRY(1), 8, APIC);
	cr_assert(card.wires.msi[1].unmasked);
}

Test(msix, vector__rewritten_while_open_is_routed_anew)
{
	open_vector(0, 0x31);
	cr_assert_eq(card.wires.msi[0].unmasks, 1);
	pci_world_store(&w, ENTRY(0) + 8, 4, 0x32);
	cr_assert_eq(card.wires.msi[0].unmasks, 2);
	cr_assert_eq(card.wires.msi[0].data, 0x32);
	pci_world_store(&w, ENTRY(0) + 8, 4, 0x32);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(card.wires.msi[0].unmasks, 2, "nothing new, no work");
}

Test(msix, both_halves_of_8_bytes__are_one_write)
{
	open_vector(0, 0x31);
	pci_world_store(&w, ENTRY(0), 8, APIC | 0x5000 | UINT64_C(1) << 32);
	cr_assert_eq(card.wires.msi[0].unmasks, 2);
	cr_assert_eq(card.wires.msi[0].address, APIC | 0x5000 | UINT64_C(1) << 32);
}

Test(msix, raised__is_delivered)
{
	open_vector(2, 0x32);
	raise(2);
	cr_assert_eq(fake_msi_take(&card.wires.msi[2]), 1);
	cr_assert_not(pending(2));
}

Test(msix, raised_while_masked__is_pending_and_delivered_once)
{
	struct fake_msi *m = &card.wires.msi[2];

	open_vector(2, 0x32);
	mask(2, true);
	raise(2);
	raise(2);
	cr_assert(pending(2));
	cr_assert(pending(2), "reading the bit takes nothing away");
	cr_assert_not(pending(1));
	cr_assert_eq(fake_msi_take(m), 0);
	mask(2, false);
	cr_assert_not(pending(2));
	cr_assert_eq(fake_msi_take(m), 1);
	mask(2, true);
	cr_assert_not(pending(2));
	mask(2, false);
	cr_assert_eq(fake_msi_take(m), 0);
}

Test(msix, raised_before_masking__is_not_pending)
{
	open_vector(2, 0x32);
	raise(2);
	mask(2, true);
	cr_assert_not(pending(2), "it has gone to the guest");
	cr_assert_eq(fake_msi_take(&card.wires.msi[2]), 1);
}

Test(msix, raised_under_the_function_mask__is_pending_for_each_vector)
{
	open_vector(0, 0x31);
	open_vector(69, 0x32);
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	raise(0);
	raise(69);
	cr_assert_eq(pci_world_load(&w, BASE + PBA, 8), 1);
	cr_assert_eq(pci_world_load(&w, BASE + PBA + 8, 8), 1 << 5);
	cr_assert_eq(pci_world_load(&w, BASE + PBA + 8, 4), 1 << 5, "by halves too");
	cr_assert_eq(pci_world_load(&w, BASE + PBA + 12, 4), 0);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(fake_msi_take(&card.wires.msi[0]), 1);
	cr_assert_eq(fake_msi_take(&card.wires.msi[69]), 1);
	cr_assert_eq(pci_world_load(&w, BASE + PBA + 8, 8), 0);
}

Test(msix, turned_off__forgets_what_is_pending)
{
	open_vector(2, 0x32);
	mask(2, true);
	raise(2);
	control(0);
	cr_assert_not(pci_msix_is_enabled(&card.msix));
	cr_assert_not(pending(2));
	control(PCI_MSIX_FLAGS_ENABLE);
	mask(2, false);
	cr_assert_eq(fake_msi_take(&card.wires.msi[2]), 0);
	raise(2);
	cr_assert_eq(fake_msi_take(&card.wires.msi[2]), 1);
}

Test(msix, refused_by_the_host__stays_pending)
{
	card.wires.refuse_unmask = true;
	open_vector(2, 0x32);
	raise(2);
	cr_assert(pending(2));
	card.wires.refuse_unmask = false;
	mask(2, true);
	mask(2, false);
	cr_assert_eq(fake_msi_take(&card.wires.msi[2]), 1);
}

Test(msix, fds__one_for_each_vector_and_no_more)
{
	for (unsigned i = 0; i < VECTORS; i++)
		cr_assert_eq(pci_msix_fd(&card.msix, i), card.wires.msi[i].route.fd);
	cr_assert_eq(pci_msix_fd(&card.msix, VECTORS), -1);
	cr_assert_eq(pci_msix_fd(&card.msix, PCI_MSIX_NO_VECTOR), -1);
}

Test(msix, reset__masks_and_forgets_all)
{
	open_vector(2, 0x32);
	open_vector(3, 0x33);
	mask(3, true);
	raise(3);
	pci_msix_reset(&card.msix);
	pci_function_reset(&card.f);
	cr_assert_not(pci_msix_is_enabled(&card.msix));
	cr_assert_not(card.wires.msi[2].unmasked);
	cr_assert_not(pci_msix_read(&card.msix, PBA, 8));
	cr_assert_eq(pci_msix_read(&card.msix, TABLE + 32, 8), 0);
	cr_assert_eq(pci_msix_read(&card.msix, TABLE + 40, 8), UINT64_C(1) << 32);
}

Test(msix, too_few_routes__fail_and_leave_nothing_behind)
{
	static struct card poor;
	static const struct pci_identity identity = {.vendor = 0x1af4, .device = 0x1042};

	fake_wires_init(&poor.wires);
	poor.wires.most_msis = 3;
	pci_function_init(&poor.f, &identity, &card_ops);
	cr_assert_lt(pci_msix_init(&poor.msix, &poor.f, &layout, &poor.wires.maker), 0);
	pci_msix_done(&poor.msix);
	fake_wires_done(&poor.wires);
}

/* ---- state ---- */

static void save(void *from, struct state_writer *to)
{
	struct card *c = from;

	pci_function_save(&c->f, to);
	pci_msix_save(&c->msix, to);
}

static void load(void *to, struct state_reader *r)
{
	struct card *c = to;

	pci_function_load(&c->f, r);
	pci_msix_load(&c->msix, &c->f, r);
}

Test(msix, state__open_and_pending_vectors_come_back)
{
	open_vector(2, 0x32);
	open_vector(3, 0x33);
	mask(3, true);
	raise(3);
	eventfd_kick(pci_msix_fd(&other.msix, 4)); /* of another life */
	cr_assert_eq(pci_world_carry(save, &card, load, &other), 0);
	cr_assert(pci_msix_is_enabled(&other.msix));
	cr_assert(other.wires.msi[2].unmasked);
	cr_assert_eq(other.wires.msi[2].data, 0x32);
	cr_assert_not(other.wires.msi[3].unmasked);
	cr_assert_eq(pci_msix_read(&other.msix, PBA, 8), 1 << 3);
	pci_msix_write(&other.msix, TABLE + 3 * 16 + 12, 4, 0);
	cr_assert_eq(fake_msi_take(&other.wires.msi[3]), 1);
	cr_assert(pending(3), "the one that was saved still has its own");
}

/* ---- many threads ---- */

static atomic_bool done;

static void *raiser(void *arg)
{
	unsigned *n = arg;

	for (*n = 0; *n < 20000; ++*n)
		raise(2);
	atomic_store(&done, true);
	return NULL;
}

Test(msix, masked_and_unmasked_under_fire__the_last_one_is_never_lost)
{
	uint64_t got = 0;
	pthread_t thread;
	unsigned raised;

	open_vector(2, 0x32);
	cr_assert_eq(pthread_create(&thread, NULL, raiser, &raised), 0);
	while (!atomic_load(&done)) {
		mask(2, true);
		(void)pending(2);
		mask(2, false);
		got += fake_msi_take(&card.wires.msi[2]);
	}
	cr_assert_eq(pthread_join(thread, NULL), 0);
	got += fake_msi_take(&card.wires.msi[2]);
	cr_assert_geq(got, 1);
	cr_assert_leq(got, raised);
	mask(2, true);
	cr_assert_not(pending(2), "all have been delivered");
}
