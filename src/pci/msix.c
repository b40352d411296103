/* SPDX-License-Identifier: Apache-2.0 */
#include "pci/msix.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/endian.h"
#include "base/fd.h"
#include "base/log.h"
#include "state/state.h"

enum { ENTRY_SIZE = PCI_MSIX_ENTRY_SIZE, DWORD = 4, PENDING_BITS = 64 };

static uint64_t table_size(const struct pci_msix *m)
{
	return (uint64_t)m->n * ENTRY_SIZE;
}

static uint64_t pba_size(const struct pci_msix *m)
{
	return align_up(m->n, PENDING_BITS) / 8;
}

/* ---- the way of a vector to KVM ---- */

static void mask(struct pci_msix_vector *v)
{
	if (v->through)
		v->route->ops->mask(v->route);
	v->through = false;
}

/* Makes what KVM does agree with the registers. `rewritten`: address or data are new. */
static void update(struct pci_msix *m, struct pci_msix_vector *v, bool rewritten) REQUIRES(m->lock)
{
	bool through = m->enabled && !m->function_masked && !v->masked && v->address;
	int r;

	if (!through) {
		mask(v);
		return;
	}
	if (v->through && !rewritten)
		return;
	r = v->route->ops->unmask(v->route, v->address, v->data);
	v->through = r == 0;
	if (r < 0)
		log_guest("MSI-X: no interrupt can be sent to %#llx with %#x",
			  (unsigned long long)v->address, v->data);
}

static void update_all(struct pci_msix *m) REQUIRES(m->lock)
{
	for (unsigned i = 0; i < m->n; i++)
		update(m, &m->vectors[i], false);
}

static void clear_all(struct pci_msix *m) REQUIRES(m->lock)
{
	for (unsigned i = 0; i < m->n; i++) {
		struct pci_msix_vector *v = &m->vectors[i];

		v->route->ops->clear(v->route);
		v->through = false;
	}
}

static void follow_control(struct pci_msix *m, const struct pci_function *f) REQUIRES(m->lock)
{
	uint16_t control = get_le16(f->config + m->capability + PCI_MSIX_FLAGS);

	atomic_store(&m->enabled, control & PCI_MSIX_FLAGS_ENABLE);
	m->function_masked = control & PCI_MSIX_FLAGS_MASKALL;
}

void pci_msix_config_written(struct pci_msix *m, const struct pci_function *f)
{
	bool was_enabled;

	mutex_lock(&m->lock);
	was_enabled = m->enabled;
	follow_control(m, f);
	if (was_enabled && !m->enabled)
		clear_all(m);
	update_all(m);
	mutex_unlock(&m->lock);
}

/* ---- the table and the pending bits ---- */

static bool in_table(const struct pci_msix *m, uint64_t offset)
{
	return range_inside(offset, 1, m->table_offset, table_size(m));
}

static bool in_pba(const struct pci_msix *m, uint64_t offset)
{
	return range_inside(offset, 1, m->pba_offset, pba_size(m));
}

bool pci_msix_covers(const struct pci_msix *m, uint64_t offset)
{
	return in_table(m, offset) || in_pba(m, offset);
}

/* 6.8.2: whole aligned dwords or qwords, else the result is undefined; here all ones. */
static bool well_formed(uint64_t offset, unsigned size)
{
	return (size == DWORD || size == 2 * DWORD) && is_aligned(offset, size);
}

static uint32_t read_entry(const struct pci_msix_vector *v, uint64_t field)
{
	switch (field) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		return (uint32_t)v->address;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		return (uint32_t)(v->address >> 32);
	case PCI_MSIX_ENTRY_DATA:
		return v->data;
	default:
		return v->masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0;
	}
}

static bool is_pending(const struct pci_msix_vector *v)
{
	return !v->through && v->route->ops->pending(v->route);
}

static uint32_t read_pending(const struct pci_msix *m, uint64_t offset)
{
	unsigned first = (unsigned)offset * 8;
	uint32_t bits = 0;

	for (unsigned i = 0; i < 32 && first + i < m->n; i++)
		bits |= (uint32_t)is_pending(&m->vectors[first + i]) << i;
	return bits;
}

/* The dword at offset, which lies in one of the two. */
static uint32_t read_dword(const struct pci_msix *m, uint64_t offset)
{
	uint64_t at = offset - m->table_offset;

	if (in_table(m, offset))
		return read_entry(&m->vectors[at / ENTRY_SIZE], at % ENTRY_SIZE);
	return read_pending(m, offset - m->pba_offset);
}

uint64_t pci_msix_read(struct pci_msix *m, uint64_t offset, unsigned size)
{
	uint64_t value;

	if (!well_formed(offset, size) || !pci_msix_covers(m, offset))
		return UINT64_MAX;
	mutex_lock(&m->lock);
	value = read_dword(m, offset);
	if (size == 2 * DWORD)
		value |= (uint64_t)read_dword(m, offset + DWORD) << 32;
	mutex_unlock(&m->lock);
	return value;
}

/* True: address or data have changed. */
static bool write_entry(struct pci_msix_vector *v, uint64_t field, uint32_t value)
{
	uint64_t address = v->address;
	uint32_t data = v->data;

	switch (field) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		v->address = (address & ~(uint64_t)UINT32_MAX) | (value & ~3u);
		break;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		v->address = (address & UINT32_MAX) | (uint64_t)value << 32;
		break;
	case PCI_MSIX_ENTRY_DATA:
		v->data = value;
		break;
	default:
		v->masked = value & PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
	return v->address != address || v->data != data;
}

/* Both halves of 8 bytes count as one write, so that no half of an address is ever in use. */
void pci_msix_write(struct pci_msix *m, uint64_t offset, unsigned size, uint64_t value)
{
	uint64_t at = offset - m->table_offset;
	struct pci_msix_vector *v;
	bool rewritten;

	if (!well_formed(offset, size) || !in_table(m, offset))
		return; /* the PBA is read-only */
	mutex_lock(&m->lock);
	v = &m->vectors[at / ENTRY_SIZE];
	rewritten = write_entry(v, at % ENTRY_SIZE, (uint32_t)value);
	if (size == 2 * DWORD)
		rewritten |= write_entry(v, at % ENTRY_SIZE + DWORD, (uint32_t)(value >> 32));
	update(m, v, rewritten);
	mutex_unlock(&m->lock);
}

/* ---- making, reset, state ---- */

static unsigned add_capability(struct pci_function *f, const struct pci_msix_layout *layout)
{
	uint8_t bytes[PCI_CAP_MSIX_SIZEOF] = {0}, writable[PCI_CAP_MSIX_SIZEOF] = {0};

	put_le16(bytes + PCI_MSIX_FLAGS, (uint16_t)(layout->n - 1));
	put_le32(bytes + PCI_MSIX_TABLE, (uint32_t)layout->table_offset | layout->bar);
	put_le32(bytes + PCI_MSIX_PBA, (uint32_t)layout->pba_offset | layout->bar);
	put_le16(writable + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	return pci_function_add_capability(f, PCI_CAP_ID_MSIX, bytes, writable, sizeof(bytes));
}

int pci_msix_init(struct pci_msix *m, struct pci_function *f, const struct pci_msix_layout *layout,
		  struct wire_maker *maker)
{
	vmm_assert(layout->n >= 1 && layout->n <= PCI_MSIX_MAX_VECTORS);
	vmm_assert(is_aligned(layout->table_offset, 8) && is_aligned(layout->pba_offset, 8));
	*m = (struct pci_msix){.table_offset = layout->table_offset,
			       .pba_offset = layout->pba_offset};
	mutex_init(&m->lock);
	m->capability = add_capability(f, layout);
	m->vectors = calloc(layout->n, sizeof(*m->vectors));
	if (!m->vectors)
		return -ENOMEM;
	for (; m->n < layout->n; m->n++) {
		struct pci_msix_vector *v = &m->vectors[m->n];
		int r = maker->ops->msi(maker, &v->route);

		if (r < 0)
			return r;
		v->masked = true;
	}
	return 0;
}

void pci_msix_done(struct pci_msix *m)
{
	for (unsigned i = 0; i < m->n; i++)
		m->vectors[i].route->ops->clear(m->vectors[i].route);
	free(m->vectors);
	m->vectors = NULL;
	m->n = 0;
}

bool pci_msix_is_enabled(const struct pci_msix *m)
{
	return atomic_load_explicit(&m->enabled, memory_order_relaxed);
}

int pci_msix_fd(const struct pci_msix *m, unsigned vector)
{
	return vector < m->n ? m->vectors[vector].route->fd : -1;
}

void pci_msix_reset(struct pci_msix *m)
{
	mutex_lock(&m->lock);
	atomic_store(&m->enabled, false);
	m->function_masked = false;
	clear_all(m);
	for (unsigned i = 0; i < m->n; i++) {
		m->vectors[i].address = 0;
		m->vectors[i].data = 0;
		m->vectors[i].masked = true;
	}
	mutex_unlock(&m->lock);
}

void pci_msix_save(struct pci_msix *m, struct state_writer *w)
{
	mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->n; i++) {
		const struct pci_msix_vector *v = &m->vectors[i];

		state_put_u64(w, v->address);
		state_put_u32(w, v->data);
		state_put_bool(w, v->masked);
		state_put_bool(w, is_pending(v));
	}
	mutex_unlock(&m->lock);
}

void pci_msix_load(struct pci_msix *m, const struct pci_function *f, struct state_reader *r)
{
	mutex_lock(&m->lock);
	clear_all(m);
	for (unsigned i = 0; i < m->n; i++) {
		struct pci_msix_vector *v = &m->vectors[i];

		v->address = state_get_u64(r) & ~UINT64_C(3);
		v->data = state_get_u32(r);
		v->masked = state_get_bool(r);
		if (state_get_bool(r))
			eventfd_kick(v->route->fd);
	}
	follow_control(m, f);
	update_all(m);
	mutex_unlock(&m->lock);
}
