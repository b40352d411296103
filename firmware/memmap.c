/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory is where the memory map says, and only once: writes a value of its own into the first and
 * the last bytes of each RAM range, reads all of them back when all are written, and puts back what
 * was there. Then finds the ACPI tables and adds them up.
 */
#include "rt/acpi.h"
#include "rt/guest.h"
#include "rt/paging.h"
#include "rt/print.h"

enum { MAX_PLACES = 64 };

struct place {
	uint64_t pa, before;
};

static struct place places[MAX_PLACES];
static unsigned n_places;

static const struct pvh_memmap_entry *entries(const struct pvh_start_info *info)
{
	return (const struct pvh_memmap_entry *)(uintptr_t)info->memmap;
}

static uint64_t value_for(unsigned i)
{
	return 0x5eed000000000000ULL | places[i].pa;
}

static void add_place(uint64_t pa)
{
	if (n_places < MAX_PLACES)
		places[n_places++].pa = pa;
}

static bool overlaps_earlier(const struct pvh_start_info *info, unsigned i)
{
	const struct pvh_memmap_entry *e = entries(info);

	for (unsigned k = 0; k < i; k++)
		if (e[i].base < e[k].base + e[k].size && e[k].base < e[i].base + e[i].size)
			return true;
	return false;
}

static bool list(const struct pvh_start_info *info)
{
	uint64_t total = 0;
	bool ok = true;

	for (unsigned i = 0; i < info->n_memmap; i++) {
		const struct pvh_memmap_entry *e = &entries(info)[i];

		print("memmap %lx %lx %u\n", e->base, e->size, e->type);
		ok &= guest_check(!overlaps_earlier(info, i), "ranges don't overlap");
		if (e->type != PVH_MEM_RAM)
			continue;
		total += e->size;
		add_place(e->base);
		add_place(e->base + e->size - sizeof(uint64_t));
	}
	print("total_kib %lu\n", total / 1024);
	return ok && guest_check(total != 0, "there is RAM in the map");
}

/* Nothing may be in a register or on its way elsewhere while the bytes are not what they were. */
static bool touch(void)
{
	bool ok = true;

	for (unsigned i = 0; i < n_places; i++) {
		volatile uint64_t *p = paging_map(places[i].pa);

		places[i].before = *p;
		*p = value_for(i);
	}
	for (unsigned i = 0; i < n_places; i++) {
		volatile uint64_t *p = paging_map(places[i].pa);
		uint64_t found = *p;

		if (found != value_for(i)) {
			print("at %lx: wrote %lx, read %lx\n", places[i].pa, value_for(i), found);
			ok = false;
		}
	}
	for (unsigned i = 0; i < n_places; i++)
		*(volatile uint64_t *)paging_map(places[i].pa) = places[i].before;
	return guest_check(ok, "each place keeps what was written there");
}

static bool tables_ok = true;

static void on_table(const struct acpi_header *table)
{
	bool ok = acpi_sum_ok(table, table->length);
	const char *s = table->signature;

	print("acpi %c%c%c%c %u %s\n", s[0], s[1], s[2], s[3], table->length, ok ? "ok" : "bad");
	tables_ok &= ok;
}

static bool check_acpi(const struct pvh_start_info *info)
{
	const struct acpi_rsdp *rsdp = acpi_rsdp(info);

	if (!guest_check(rsdp, "there is an RSDP with a good sum"))
		return false;
	return guest_check(acpi_each(rsdp, on_table) > 0, "there are tables in the XSDT") &&
	       guest_check(tables_ok, "the sum of each table is 0");
}

int guest_main(const struct pvh_start_info *info)
{
	bool ok;

	guest_init(info);
	if (!guest_check(info->magic == PVH_MAGIC && info->version >= 1, "start info is version 1"))
		return guest_finish("memmap", false);
	ok = list(info);
	ok &= touch();
	ok &= check_acpi(info);
	return guest_finish("memmap", ok);
}
