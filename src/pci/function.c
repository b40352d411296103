/* SPDX-License-Identifier: Apache-2.0 */
#include "pci/function.h"

#include <linux/pci_regs.h>
#include <string.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/endian.h"
#include "state/state.h"

enum {
	FIRST_CAPABILITY = 0x40,
	CAPABILITIES_END = 0x100, /* above is extended configuration space */
	BAR_REGISTER = 4,	  /* bytes each */
	BARS_END = PCI_BASE_ADDRESS_0 + PCI_BARS * BAR_REGISTER,
	MIN_BAR_SIZE = 4096,
};

/* ---- making one ---- */

static void power_on_copy(struct pci_function *f)
{
	memcpy(f->config, f->power_on, sizeof(f->config));
}

void pci_function_init(struct pci_function *f, const struct pci_identity *id,
		       const struct pci_function_ops *ops)
{
	enum {
		COMMAND_WRITABLE = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				   PCI_COMMAND_INTX_DISABLE
	};

	*f = (struct pci_function){.ops = ops, .next_capability = FIRST_CAPABILITY};
	put_le16(f->power_on + PCI_VENDOR_ID, id->vendor);
	put_le16(f->power_on + PCI_DEVICE_ID, id->device);
	put_le32(f->power_on + PCI_CLASS_REVISION, id->class_code << 8 | id->revision);
	put_le16(f->power_on + PCI_SUBSYSTEM_VENDOR_ID, id->subsystem_vendor);
	put_le16(f->power_on + PCI_SUBSYSTEM_ID, id->subsystem);
	put_le16(f->writable + PCI_COMMAND, COMMAND_WRITABLE);
	power_on_copy(f);
}

static unsigned bar_register(unsigned bar)
{
	return PCI_BASE_ADDRESS_0 + bar * BAR_REGISTER;
}

/*
 * The address bits below the size are wired to 0, which is how the guest finds the size (PCI Local
 * Bus 3.0, 6.2.5.1): it writes all ones and reads back which of them stuck.
 */
void pci_function_add_bar(struct pci_function *f, unsigned bar, const struct pci_bar *layout,
			  uint64_t base)
{
	unsigned at = bar_register(bar), len = layout->is_64 ? 8 : 4;
	uint64_t size = layout->size;
	uint64_t flags = (layout->is_64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) |
			 (layout->prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0);

	vmm_assert(bar < PCI_BARS && at + len <= BARS_END && f->bars[bar].size == 0);
	vmm_assert(size >= MIN_BAR_SIZE && is_aligned(size, size) && is_aligned(base, size));
	f->bars[bar] = (struct pci_bar){
		.size = size, .is_64 = layout->is_64, .prefetchable = layout->prefetchable};
	put_le_n(f->power_on + at, len, base | flags);
	put_le_n(f->writable + at, len, ~(size - 1));
	power_on_copy(f);
}

unsigned pci_function_add_capability(struct pci_function *f, uint8_t id, const void *bytes,
				     const void *writable, unsigned len)
{
	unsigned at = f->next_capability;
	unsigned link =
		f->last_capability ? f->last_capability + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST;

	vmm_assert(len >= PCI_CAP_SIZEOF && len <= CAPABILITIES_END - at);
	memcpy(f->power_on + at, bytes, len);
	f->power_on[at + PCI_CAP_LIST_ID] = id;
	f->power_on[at + PCI_CAP_LIST_NEXT] = 0;
	if (writable)
		memcpy(f->writable + at, writable, len);
	f->power_on[link] = (uint8_t)at;
	f->power_on[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	f->last_capability = at;
	f->next_capability = (unsigned)align_up(at + len, 4);
	power_on_copy(f);
	return at;
}

void pci_function_add_express(struct pci_function *f)
{
	enum { VERSION = 2, LEN = 0x3c, MAX_READ_512 = 2 << 12 };
	uint8_t bytes[LEN] = {0}, writable[LEN] = {0};

	put_le16(bytes + PCI_EXP_FLAGS, VERSION | PCI_EXP_TYPE_RC_END << 4);
	put_le32(bytes + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER | PCI_EXP_DEVCAP_FLR);
	put_le16(bytes + PCI_EXP_DEVCTL,
		 PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN | MAX_READ_512);
	put_le16(writable + PCI_EXP_DEVCTL,
		 PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE |
			 PCI_EXP_DEVCTL_URRE | PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN |
			 PCI_EXP_DEVCTL_READRQ);
	f->express = pci_function_add_capability(f, PCI_CAP_ID_EXP, bytes, writable, LEN);
}

/* ---- BARs ---- */

static bool reachable(const struct pci_function *f, uint64_t base, uint64_t size)
{
	if (!f->windows)
		return true;
	for (unsigned i = 0; i < PCI_WINDOWS; i++)
		if (range_inside(base, size, f->windows[i].base, f->windows[i].size))
			return true;
	return false;
}

/* Follows the registers. The owner hears of what changes for it only. */
static void update_bar(struct pci_function *f, unsigned index, bool enabled)
{
	struct pci_bar *bar = &f->bars[index];
	uint64_t base =
		get_le_n(f->config + bar_register(index), bar->is_64 ? 8 : 4) & ~(bar->size - 1);
	bool decodes = enabled && reachable(f, base, bar->size);
	bool changed = decodes != bar->decodes || (decodes && base != bar->base);

	bar->base = base;
	bar->decodes = decodes;
	if (changed && f->ops && f->ops->bar_moved)
		f->ops->bar_moved(f, index, decodes, base);
}

static void update_bars(struct pci_function *f)
{
	bool enabled = f->config[PCI_COMMAND] & PCI_COMMAND_MEMORY;

	for (unsigned i = 0; i < PCI_BARS; i++)
		if (f->bars[i].size)
			update_bar(f, i, enabled);
}

void pci_function_reset(struct pci_function *f)
{
	power_on_copy(f);
	update_bars(f);
}

bool pci_function_is_bus_master(const struct pci_function *f)
{
	return f->config[PCI_COMMAND] & PCI_COMMAND_MASTER;
}

/* ---- accesses ---- */

static bool touches(unsigned offset, unsigned size, unsigned start, unsigned end)
{
	return offset < end && offset + size > start;
}

uint32_t pci_function_read(struct pci_function *f, unsigned offset, unsigned size)
{
	if (f->ops && f->ops->config_read)
		f->ops->config_read(f, offset, size);
	return (uint32_t)get_le_n(f->config + offset, size);
}

/* The bit reads as 0 always, so that it is looked for in what is written. */
static bool asks_for_flr(const struct pci_function *f, unsigned offset, unsigned size,
			 uint32_t value)
{
	unsigned at = f->express + PCI_EXP_DEVCTL + 1;

	return f->express && offset <= at && at < offset + size &&
	       value >> (at - offset) * 8 & PCI_EXP_DEVCTL_BCR_FLR >> 8;
}

void pci_function_write(struct pci_function *f, unsigned offset, unsigned size, uint32_t value)
{
	uint32_t mask = (uint32_t)get_le_n(f->writable + offset, size);
	uint32_t old = (uint32_t)get_le_n(f->config + offset, size);

	if (asks_for_flr(f, offset, size, value)) {
		pci_function_reset(f);
		if (f->ops && f->ops->flr)
			f->ops->flr(f);
		return;
	}
	put_le_n(f->config + offset, size, (old & ~mask) | (value & mask));
	if (touches(offset, size, PCI_COMMAND, PCI_COMMAND + 2) ||
	    touches(offset, size, PCI_BASE_ADDRESS_0, BARS_END))
		update_bars(f);
	if (f->ops && f->ops->config_written)
		f->ops->config_written(f, offset, size);
}

/* ---- state ---- */

/* The bytes that the guest can write to, in order. */
void pci_function_save(const struct pci_function *f, struct state_writer *w)
{
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		if (f->writable[i])
			state_put_u8(w, f->config[i]);
}

void pci_function_load(struct pci_function *f, struct state_reader *r)
{
	power_on_copy(f);
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		if (f->writable[i])
			f->config[i] = (uint8_t)((f->power_on[i] & ~f->writable[i]) |
						 (state_get_u8(r) & f->writable[i]));
	update_bars(f);
}
