/* SPDX-License-Identifier: Apache-2.0 */
#include "pci_guest.h"

#include <criterion/criterion.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "base/fd.h"

enum { SLOT = 1, BAR_SIZE = 0x8000, COMMAND_ON = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER };

#define AT(field) offsetof(struct virtio_common_cfg, field)

/* ---- life ---- */

void pci_guest_init_bare(struct pci_guest *g)
{
	*g = (struct pci_guest){0};
	guest_mem_init(&g->mem);
	pci_world_init(&g->pci);
	fake_wires_init(&g->wires);
	cr_assert_eq(loop_new(&g->loop), 0);
	g->buffers = guest_alloc(&g->mem, 8 * ECHO_QUEUES, 8);
}

void pci_guest_init(struct pci_guest *g)
{
	struct virtio_transport *transport;

	pci_guest_init_bare(g);
	g->echo = echo_new(&g->mem.map, &g->loop, 1);
	g->dev = &g->echo->virtio;
	cr_assert_eq(virtio_pci_new(g->dev, g->pci.bus, SLOT, &g->wires.maker, &transport), 0);
}

static void *run_loop(void *arg)
{
	cr_assert_eq(loop_run(arg), 0);
	return NULL;
}

void pci_guest_start(struct pci_guest *g)
{
	cr_assert_eq(pthread_create(&g->thread, NULL, run_loop, g->loop), 0);
	g->running = true;
	pci_guest_settle(g);
}

static void forget_queues(struct pci_guest *g)
{
	for (unsigned i = 0; g->has_queues && i < ECHO_QUEUES; i++)
		driver_done(&g->dq[i]);
	g->has_queues = false;
}

void pci_guest_done(struct pci_guest *g)
{
	if (g->running) {
		loop_stop(g->loop);
		cr_assert_eq(pthread_join(g->thread, NULL), 0);
	}
	if (g->dev)
		(void)device_free(&g->dev->dev);
	(void)loop_free(g->loop);
	forget_queues(g);
	pci_world_done(&g->pci);
	fake_wires_done(&g->wires);
	guest_mem_done(&g->mem);
}

/* The device's own map is g->mem's, whose regions become those of the other. */
void pci_guest_inherit(struct pci_guest *g, const struct pci_guest *from)
{
	guest_mem_done(&g->mem);
	g->mem = from->mem;
	memcpy(g->place, from->place, sizeof(g->place));
	g->bar = from->bar;
	g->window = from->window;
	g->msix = from->msix;
	g->notify_multiplier = from->notify_multiplier;
	memcpy(g->dq, from->dq, sizeof(g->dq));
	memcpy(g->vectors, from->vectors, sizeof(g->vectors));
	g->buffers = from->buffers;
}

void pci_guest_disinherit(struct pci_guest *g)
{
	struct echo *echo = g->echo;

	loop_stop(g->loop);
	cr_assert_eq(pthread_join(g->thread, NULL), 0);
	g->running = false;
	(void)device_free(&echo->virtio.dev);
	g->dev = NULL;
	guest_mem_init(&g->mem);
}

/* ---- configuration space ---- */

uint64_t pci_guest_bar(struct pci_guest *g, unsigned slot)
{
	uint64_t low = pci_world_config(&g->pci, slot, PCI_BASE_ADDRESS_0, 4);
	uint64_t high = pci_world_config(&g->pci, slot, PCI_BASE_ADDRESS_0 + 4, 4);

	cr_assert_eq(low & 0xf, PCI_BASE_ADDRESS_MEM_TYPE_64);
	return high << 32 | (low & ~UINT64_C(0xf));
}

static void note(struct pci_guest *g, unsigned at)
{
	unsigned type = (unsigned)pci_world_config(&g->pci, SLOT, at + 3, 1);

	cr_assert_eq(pci_world_config(&g->pci, SLOT, at + 4, 1), 0, "in the one BAR");
	if (type == VIRTIO_CAP_PCI) {
		g->window = at;
		return;
	}
	cr_assert(type >= VIRTIO_CAP_COMMON && type <= VIRTIO_CAP_DEVICE);
	cr_assert_eq(g->place[type].len, 0, "each once");
	g->place[type] = (struct pci_place){.offset = pci_world_config(&g->pci, SLOT, at + 8, 4),
					    .len = pci_world_config(&g->pci, SLOT, at + 12, 4)};
	if (type == VIRTIO_CAP_NOTIFY)
		g->notify_multiplier = (uint32_t)pci_world_config(&g->pci, SLOT, at + 16, 4);
}

void pci_guest_probe(struct pci_guest *g)
{
	unsigned at = (unsigned)pci_world_config(&g->pci, SLOT, PCI_CAPABILITY_LIST, 1);

	memset(g->place, 0, sizeof(g->place));
	for (unsigned n = 0; at; n++) {
		cr_assert_lt(n, 48, "the list of capabilities has no end");
		if (pci_world_config(&g->pci, SLOT, at, 1) == PCI_CAP_ID_VNDR)
			note(g, at);
		at = (unsigned)pci_world_config(&g->pci, SLOT, at + 1, 1);
	}
	g->msix = pci_world_capability(&g->pci, SLOT, PCI_CAP_ID_MSIX);
	g->bar = pci_guest_bar(g, SLOT);
	pci_world_set_config(&g->pci, SLOT, PCI_COMMAND, 2, COMMAND_ON);
}

void pci_guest_move_bar(struct pci_guest *g, uint64_t base)
{
	pci_world_set_config(&g->pci, SLOT, PCI_BASE_ADDRESS_0, 4, (uint32_t)base);
	pci_world_set_config(&g->pci, SLOT, PCI_BASE_ADDRESS_0 + 4, 4, base >> 32);
	g->bar = base;
}

/* ---- the BAR ---- */

uint64_t pci_guest_load(struct pci_guest *g, unsigned type, uint64_t offset, unsigned size)
{
	return pci_world_load(&g->pci, g->bar + g->place[type].offset + offset, size);
}

void pci_guest_store(struct pci_guest *g, unsigned type, uint64_t offset, unsigned size,
		     uint64_t value)
{
	pci_world_store(&g->pci, g->bar + g->place[type].offset + offset, size, value);
}

uint64_t pci_get(struct pci_guest *g, uint64_t offset, unsigned size)
{
	return pci_guest_load(g, VIRTIO_CAP_COMMON, offset, size);
}

void pci_set(struct pci_guest *g, uint64_t offset, unsigned size, uint64_t value)
{
	pci_guest_store(g, VIRTIO_CAP_COMMON, offset, size, value);
}

/* ---- the driver ---- */

static void turn_msix_on(struct pci_guest *g)
{
	uint64_t table = g->bar + pci_world_config(&g->pci, SLOT, g->msix + PCI_MSIX_TABLE, 4);
	unsigned n = (unsigned)pci_world_config(&g->pci, SLOT, g->msix + PCI_MSIX_FLAGS, 2) &
		     PCI_MSIX_FLAGS_QSIZE;

	pci_world_set_config(&g->pci, SLOT, g->msix + PCI_MSIX_FLAGS, 2,
			     PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (unsigned i = 0; i <= n; i++) {
		pci_world_store(&g->pci, table + 16 * i, 4, 0xfee00000);
		pci_world_store(&g->pci, table + 16 * i + 4, 4, 0);
		pci_world_store(&g->pci, table + 16 * i + 8, 4, 0x40 + i);
		pci_world_store(&g->pci, table + 16 * i + 12, 4, 0);
	}
	pci_world_set_config(&g->pci, SLOT, g->msix + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
}

void pci_guest_agree(struct pci_guest *g, const struct driver_setup *setup)
{
	uint64_t features;

	forget_queues(g);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		driver_init(&g->dq[i], &g->mem, setup);
	g->has_queues = true;
	features = driver_features(&g->dq[0]) | VIRTIO_BIT(40 /* RING_RESET */);
	pci_set(g, AT(device_status), 1, DEV_FOUND);
	for (unsigned word = 0; word < 2; word++) {
		pci_set(g, AT(driver_feature_select), 4, word);
		pci_set(g, AT(driver_feature), 4, (uint32_t)(features >> (32 * word)));
	}
	pci_set(g, AT(device_status), 1, DEV_AGREED);
	cr_assert_eq(pci_get(g, AT(device_status), 1), DEV_AGREED);
	if (!g->no_msix)
		turn_msix_on(g);
}

void pci_guest_set_up_queue(struct pci_guest *g, unsigned i)
{
	pci_set(g, AT(queue_select), 2, i);
	cr_assert_eq(pci_get(g, AT(queue_enable), 2), 0);
	pci_set(g, AT(queue_size), 2, g->dq[i].setup.size);
	pci_set(g, AT(queue_desc), 4, (uint32_t)g->dq[i].desc_gpa);
	pci_set(g, AT(queue_desc) + 4, 4, g->dq[i].desc_gpa >> 32);
	pci_set(g, AT(queue_driver), 8, g->dq[i].driver_gpa);
	pci_set(g, AT(queue_device), 8, g->dq[i].device_gpa);
	g->vectors[i] = i + 1;
	if (!g->no_msix) {
		pci_set(g, AT(queue_msix_vector), 2, i + 1);
		cr_assert_eq(pci_get(g, AT(queue_msix_vector), 2), i + 1);
	}
	pci_set(g, AT(queue_enable), 2, 1);
	cr_assert_eq(pci_get(g, AT(queue_enable), 2), 1);
}

void pci_guest_up(struct pci_guest *g, const struct driver_setup *setup)
{
	pci_guest_agree(g, setup);
	if (!g->no_msix)
		pci_set(g, AT(config_msix_vector), 2, 0);
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		pci_guest_set_up_queue(g, i);
	pci_set(g, AT(device_status), 1, DEV_UP);
}

void pci_guest_reset(struct pci_guest *g)
{
	pci_set(g, AT(device_status), 1, 0);
	while (pci_get(g, AT(device_status), 1) != 0)
		;
}

/* ---- requests ---- */

uint64_t pci_guest_bell(struct pci_guest *g, unsigned i)
{
	return g->bar + g->place[VIRTIO_CAP_NOTIFY].offset + (uint64_t)i * g->notify_multiplier;
}

bool pci_guest_add(struct pci_guest *g, unsigned i)
{
	struct driver_seg segs[2] = {{.gpa = g->buffers + 8 * i, .len = 4},
				     {.gpa = g->buffers + 8 * i + 4, .len = 4}};

	memset(guest_ptr(&g->mem, segs[0].gpa, 8), 0, 8);
	if (driver_add(&g->dq[i], segs, 1, 1, NULL) < 0)
		return false;
	(void)driver_publish(&g->dq[i]);
	return true;
}

void pci_guest_kick(struct pci_guest *g, unsigned i)
{
	uint64_t at = pci_guest_bell(g, i);

	if (!fake_wires_write(&g->wires, at, 2, i))
		pci_world_store(&g->pci, at, 2, i);
}

bool pci_guest_collect(struct pci_guest *g, unsigned i)
{
	struct driver_used used;
	uint32_t word;

	if (!driver_collect(&g->dq[i], &used))
		return false;
	memcpy(&word, guest_ptr(&g->mem, g->buffers + 8 * i + 4, 4), 4);
	cr_assert_eq(word, UINT32_MAX);
	return true;
}

void pci_guest_await(struct pci_guest *g, unsigned i)
{
	struct fake_msi *msi = &g->wires.msi[g->vectors[i]];

	while (!pci_guest_collect(g, i))
		if (!driver_interrupts_on(&g->dq[i])) {
			cr_assert(fake_msi_await(msi), "no interrupt for queue %u", i);
			cr_assert_eq(msi->data, 0x40 + g->vectors[i]);
		}
	(void)driver_interrupts_on(&g->dq[i]);
}

void pci_guest_works(struct pci_guest *g)
{
	for (unsigned i = 0; i < ECHO_QUEUES; i++) {
		cr_assert(pci_guest_add(g, i));
		pci_guest_kick(g, i);
		pci_guest_await(g, i);
	}
	for (unsigned i = 0; i < g->wires.n_msis; i++)
		(void)fake_msi_take(&g->wires.msi[i]);
}

struct settle {
	struct loop_work work;
	int fd;
};

static void settled(struct loop_work *work)
{
	eventfd_kick(container_of(work, struct settle, work)->fd);
}

void pci_guest_settle(struct pci_guest *g)
{
	struct settle settle = {.work.run = settled, .fd = eventfd_new()};

	loop_post(g->loop, &settle.work);
	dev_await(settle.fd, "the loop");
	(void)fd_close(settle.fd);
}
