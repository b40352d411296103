/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI and SMBIOS tables, read as a guest would find them, and by ACPICA's own tools. */
#include "guest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "boot/x86/acpi_abi.h"
#include "boot/x86/tables.h"

static struct guest g;

static void setup(void)
{
	guest_init(&g, GIB(5));
}

static void teardown(void)
{
	guest_done(&g);
}

TestSuite(tables, .init = setup, .fini = teardown);

static void build(void)
{
	int r = acpi_build(&g.params.platform, &g.ram, &g.entry.rsdp, &g.err);

	cr_assert_eq(r, 0, "%s", g.err.msg);
	r = smbios_build(&g.params.platform, &g.ram, &g.err);
	cr_assert_eq(r, 0, "%s", g.err.msg);
}

static uint8_t sum(const void *p, size_t len)
{
	const uint8_t *bytes = p;
	uint8_t s = 0;

	for (size_t i = 0; i < len; i++)
		s = (uint8_t)(s + bytes[i]);
	return s;
}

/* A table at gpa: whole inside the area for it, with the right sum. */
static const struct acpi_header *table_at(uint64_t gpa)
{
	const struct acpi_header *h = guest_at(&g, gpa, sizeof(*h));
	uint32_t len = le32_get(h->length);

	cr_assert(range_inside(gpa, len, 0xe0000, 0x10000), "%.4s at %#llx", h->signature,
		  (unsigned long long)gpa);
	cr_assert_eq(sum(h, len), 0, "checksum of %.4s", h->signature);
	return h;
}

static const struct acpi_header *find(const char *signature)
{
	const struct acpi_rsdp *rsdp = guest_at(&g, 0xe0000, sizeof(*rsdp));
	const struct acpi_header *xsdt = table_at(le64_get(rsdp->xsdt));
	size_t n = (le32_get(xsdt->length) - sizeof(*xsdt)) / 8;

	if (strcmp(signature, "XSDT") == 0)
		return xsdt;
	for (size_t i = 0; i < n; i++) {
		uint64_t gpa = get_le64((const uint8_t *)(xsdt + 1) + i * 8);
		const struct acpi_header *h = table_at(gpa);

		if (memcmp(h->signature, signature, 4) == 0)
			return h;
		if (memcmp(h->signature, "FACP", 4) == 0 && strcmp(signature, "DSDT") == 0)
			return table_at(get_le64((const uint8_t *)h + 140));
	}
	cr_assert_fail("no table %s", signature);
	return NULL;
}

Test(tables, rsdp_is_where_a_scan_finds_it)
{
	const struct acpi_rsdp *rsdp;

	build();
	cr_assert_eq(g.entry.rsdp.v, 0xe0000);
	rsdp = guest_at(&g, 0xe0000, sizeof(*rsdp));
	cr_assert_eq(memcmp(rsdp, "RSD PTR ", 8), 0);
	cr_assert_eq(rsdp->revision, 2);
	cr_assert_eq(sum(rsdp, 20), 0);
	cr_assert_eq(sum(rsdp, 36), 0);
}

Test(tables, every_table_is_in_reach_with_the_right_sum)
{
	static const char *const names[] = {"XSDT", "FACP", "APIC", "MCFG", "DSDT"};

	build();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		cr_assert_eq(memcmp(find(names[i])->signature, names[i], 4), 0);
}

/* By the numbers of ACPI 6.3, table 5-33, not by our struct. */
Test(tables, fadt_says_hardware_reduced_with_our_registers)
{
	const uint8_t *f;

	build();
	f = (const uint8_t *)find("FACP");
	cr_assert_eq(get_le32(f + 4), 276);
	cr_assert_eq(f[8], 6);
	cr_assert_eq(f[131], 3);
	cr_assert_eq(get_le32(f + 40), get_le64(f + 140), "DSDT and X_DSDT");
	cr_assert_eq(get_le32(f + 36), 0, "no FACS");
	cr_assert_eq(get_le16(f + 109), 1 << 2, "no VGA; no 8042; MSI and CMOS clock work");
	cr_assert(get_le32(f + 112) & 1 << 20, "HW_REDUCED_ACPI");
	cr_assert(get_le32(f + 112) & 1 << 10, "RESET_REG_SUP");
	cr_assert_eq(f[116], 1, "reset in system I/O");
	cr_assert_eq(f[117], 8);
	cr_assert_eq(get_le64(f + 120), 0x602);
	cr_assert_eq(f[128], 1, "reset value");
	cr_assert_eq(f[244], 1);
	cr_assert_eq(get_le64(f + 248), 0x600, "sleep control");
	cr_assert_eq(get_le64(f + 260), 0x601, "sleep status");
	for (size_t i = 46; i < 109; i++)
		cr_assert_eq(f[i], 0, "fixed hardware at %zu", i);
	for (size_t i = 148; i < 244; i++)
		cr_assert_eq(f[i], 0, "fixed hardware at %zu", i);
}

Test(tables, mcfg_covers_all_buses_of_the_ecam)
{
	const uint8_t *m;

	build();
	m = (const uint8_t *)find("MCFG");
	cr_assert_eq(get_le64(m + 44), 0xe0000000);
	cr_assert_eq(m[54], 0);
	cr_assert_eq(m[55], 0xff);
}

struct madt_count {
	unsigned short_cpus, long_cpus, io_apics;
	uint32_t last_id, io_apic_id;
};

static struct madt_count count_madt(void)
{
	const struct acpi_header *h = find("APIC");
	const uint8_t *at = (const uint8_t *)h + 44,
		      *end = (const uint8_t *)h + le32_get(h->length);
	struct madt_count n = {0};

	cr_assert_eq(get_le32((const uint8_t *)h + 40), 0, "no 8259");
	for (; at < end; at += at[1]) {
		cr_assert_gt(at[1], 0);
		cr_assert_leq(at[1], end - at);
		if (at[0] == 0) {
			n.short_cpus++;
			n.last_id = at[3];
			cr_assert_eq(get_le32(at + 4), 1);
		} else if (at[0] == 9) {
			n.long_cpus++;
			n.last_id = get_le32(at + 4);
			cr_assert_eq(get_le32(at + 8), 1);
		} else if (at[0] == 1) {
			n.io_apics++;
			n.io_apic_id = at[2];
			cr_assert_eq(get_le32(at + 4), 0xfec00000);
			cr_assert_eq(get_le32(at + 8), 0);
		}
	}
	return n;
}

Test(tables, madt_lists_every_cpu)
{
	static const unsigned counts[] = {1, 2, 4, 64, 254};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct madt_count n;

		guest_cpus(&g, counts[i], 0);
		build();
		n = count_madt();
		cr_assert_eq(n.short_cpus, counts[i]);
		cr_assert_eq(n.long_cpus, 0);
		cr_assert_eq(n.last_id, counts[i] - 1);
		cr_assert_eq(n.io_apics, 1);
		cr_assert_eq(n.io_apic_id, counts[i], "the first id that no CPU has");
	}
}

Test(tables, madt_takes_x2apic_entries_from_id_255)
{
	struct madt_count n;

	guest_cpus(&g, 10, 250);
	build();
	n = count_madt();
	cr_assert_eq(n.short_cpus, 5);
	cr_assert_eq(n.long_cpus, 5);
	cr_assert_eq(n.last_id, 259);
	cr_assert_eq(n.io_apic_id, 0);
}

/* How often the bytes are in the DSDT. */
static unsigned count_in_dsdt(const void *bytes, size_t len)
{
	const struct acpi_header *dsdt = find("DSDT");
	const uint8_t *at = (const uint8_t *)dsdt;
	unsigned n = 0;

	for (size_t i = 0; i + len <= le32_get(dsdt->length); i++)
		n += memcmp(at + i, bytes, len) == 0;
	return n;
}

static struct boot_virtio_mmio mmio[20];

static void describe_mmio(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		mmio[i] = (struct boot_virtio_mmio){0xfeb00000 + i * 0x1000, 0x1000,
						    (uint8_t)(i + 3)};
	g.params.platform.virtio_mmio = mmio;
	g.params.platform.n_virtio_mmio = n;
}

Test(tables, dsdt_has_virtio_mmio_devices_only_where_there_are_some)
{
	static const uint8_t registers[] = {0x86, 9, 0, 1, 0, 0x30, 0xb1, 0xfe, 0, 0x10, 0, 0};
	static const uint8_t interrupt[] = {0x89, 6, 0, 3, 1, 22, 0, 0, 0};

	build();
	cr_assert_eq(count_in_dsdt("LNRO0005", 9), 0);
	describe_mmio(20);
	build();
	cr_assert_eq(count_in_dsdt("LNRO0005", 9), 20);
	cr_assert_eq(count_in_dsdt("VM00", 4), 1);
	cr_assert_eq(count_in_dsdt("VM19", 4), 1);
	cr_assert_eq(count_in_dsdt(registers, sizeof(registers)), 1, "of the last one");
	cr_assert_eq(count_in_dsdt(interrupt, sizeof(interrupt)), 1,
		     "edge, active high, exclusive");
}

Test(tables, virtio_mmio_that_cannot_be_described_is_refused)
{
	describe_mmio(2);
	mmio[1].base = 0xfffff001;
	cr_assert_eq(acpi_build(&g.params.platform, &g.ram, &g.entry.rsdp, &g.err), -EINVAL);
	cr_assert(strstr(g.err.msg, "device 1"));
	g.err = (struct err){0};
	g.params.platform.n_virtio_mmio = 101;
	cr_assert_eq(acpi_build(&g.params.platform, &g.ram, &g.entry.rsdp, &g.err), -EINVAL);
}

Test(tables, platform_that_cannot_be_described_is_refused)
{
	g.params.platform.ecam_size = MIB(257);
	cr_assert_eq(acpi_build(&g.params.platform, &g.ram, &g.entry.rsdp, &g.err), -EINVAL);
	cr_assert(strstr(g.err.msg, "ECAM"));
	g.err = (struct err){0};
	g.params.platform.ecam_size = MIB(256);
	g.params.platform.n_cpus = 0;
	cr_assert_eq(acpi_build(&g.params.platform, &g.ram, &g.entry.rsdp, &g.err), -EINVAL);
	cr_assert(strstr(g.err.msg, "CPU"));
}

Test(tables, too_many_cpus_do_not_fit_and_nothing_is_written_past_the_area)
{
	static uint32_t ids[8192];
	const uint8_t *smbios;

	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++)
		ids[i] = i;
	g.params.platform.apic_ids = ids;
	g.params.platform.n_cpus = ARRAY_SIZE(ids);
	cr_assert_eq(acpi_build(&g.params.platform, &g.ram, &g.entry.rsdp, &g.err), -ENOSPC);
	cr_assert(strstr(g.err.msg, "8192 CPUs"));
	smbios = guest_at(&g, 0xf0000, 0x10000);
	for (size_t i = 0; i < 0x10000; i++)
		cr_assert_eq(smbios[i], 0);
}

/* ---- SMBIOS ---- */

struct smbios_seen {
	unsigned types[128];
	unsigned handles[32], n;
	uint64_t memory_mib, mapped;
	unsigned cores;
};

static void look_at(const uint8_t *s, struct smbios_seen *seen)
{
	unsigned handle = get_le16(s + 2);

	cr_assert_lt(s[0], 128);
	seen->types[s[0]]++;
	for (unsigned i = 0; i < seen->n; i++)
		cr_assert_neq(seen->handles[i], handle, "handle %#x twice", handle);
	cr_assert_lt(seen->n, ARRAY_SIZE(seen->handles));
	seen->handles[seen->n++] = handle;
	if (s[0] == 4)
		seen->cores = get_le16(s + 0x2a);
	if (s[0] == 17)
		seen->memory_mib = get_le16(s + 12) == 0x7fff ? get_le32(s + 28) : get_le16(s + 12);
	if (s[0] == 19)
		seen->mapped += get_le64(s + 0x17) - get_le64(s + 0xf) + 1;
}

/* Walks the structures as Linux's dmi_decode_table() does. */
static struct smbios_seen walk_smbios(void)
{
	const uint8_t *e = guest_at(&g, 0xf0000, 24), *at, *end;
	struct smbios_seen seen = {0};
	uint64_t table = get_le64(e + 16);
	uint32_t len = get_le32(e + 12);

	cr_assert_eq(memcmp(e, "_SM3_", 5), 0);
	cr_assert_eq(e[6], 24);
	cr_assert_eq(sum(e, 24), 0);
	cr_assert(range_inside(table, len, 0xf0018, 0xffe8));
	at = guest_at(&g, table, len);
	end = at + len;
	while (end - at >= 4) {
		const uint8_t *s = at;

		look_at(s, &seen);
		at += s[1];
		while (end - at >= 2 && (at[0] || at[1]))
			at++;
		cr_assert_geq(end - at, 2, "structure %u has no end", s[0]);
		at += 2;
		if (s[0] == 127)
			break;
	}
	cr_assert_eq(at, end, "nothing behind the end");
	return seen;
}

Test(tables, smbios_has_what_the_specification_requires)
{
	static const unsigned required[] = {0, 1, 3, 4, 16, 17, 19, 32, 127};
	struct smbios_seen seen;

	guest_cpus(&g, 4, 0);
	build();
	seen = walk_smbios();
	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		cr_assert_geq(seen.types[required[i]], 1, "type %u", required[i]);
	cr_assert_eq(seen.memory_mib, 5 * 1024);
	cr_assert_eq(seen.mapped, GIB(5));
	cr_assert_eq(seen.cores, 4);
}

Test(tables, smbios_tells_memory_of_any_size)
{
	static const uint64_t sizes[] = {MIB(32), GIB(32) - MIB(2), GIB(32) - MIB(1), GIB(48)};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		guest_done(&g);
		guest_init(&g, sizes[i]);
		build();
		cr_assert_eq(walk_smbios().memory_mib, sizes[i] >> 20);
	}
}

/* ---- ACPICA's compiler as a second opinion ---- */

static char dir[] = "/tmp/vmm-tables-XXXXXX";

static void write_table(const char *name)
{
	const struct acpi_header *h = find(name);
	char path[64];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	f = fopen(path, "we");
	cr_assert_not_null(f);
	cr_assert_eq(fwrite(h, 1, le32_get(h->length), f), le32_get(h->length));
	cr_assert_eq(fclose(f), 0);
}

/* Output of a shell command in dir; asserts that it exits with 0. */
static char *run(const char *command)
{
	static char out[65536];
	char line[256];
	size_t len;
	FILE *f;
	int status;

	(void)snprintf(line, sizeof(line), "cd %s && { %s; } 2>&1", dir, command);
	f = popen(line, "re");
	cr_assert_not_null(f);
	len = fread(out, 1, sizeof(out) - 1, f);
	out[len] = 0;
	status = pclose(f);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: %s", command, out);
	return out;
}

static bool have_iasl(void)
{
	bool have = system("command -v iasl >/dev/null 2>&1") == 0;

	if (!have)
		cr_skip("no iasl here: install acpica-tools");
	return have;
}

static void remove_dir(void)
{
	char line[64];

	(void)snprintf(line, sizeof(line), "rm -r %s", dir);
	cr_assert_eq(system(line), 0);
}

static void check_with_iasl(void)
{
	static const char *const names[] = {"XSDT", "FACP", "APIC", "MCFG", "DSDT"};
	char command[64];

	cr_assert_not_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *out;

		write_table(names[i]);
		(void)snprintf(command, sizeof(command), "iasl -d %s.dat", names[i]);
		out = run(command);
		cr_assert_not(strstr(out, "rror") || strstr(out, "arning") || strstr(out, "nvalid"),
			      "%s: %s", names[i], out);
		(void)snprintf(command, sizeof(command), "! grep -inE 'invalid|error' %s.dsl",
			       names[i]);
		(void)run(command);
		/* And back: the compiler checks what the disassembler lets pass. */
		(void)snprintf(command, sizeof(command), "iasl %s.dsl", names[i]);
		out = run(command);
		cr_assert(strstr(out, "0 Errors, 0 Warnings"), "%s: %s", names[i], out);
	}
	/* The same bytes, or the DSDT says something that ASL can't. */
	(void)run("iasl -oa -p back DSDT.dsl");
	(void)run("tail -c +37 DSDT.dat >a && tail -c +37 back.aml >b && cmp a b");
	remove_dir();
}

Test(tables, reset_vector_writes_the_reset_register)
{
	static const uint8_t code[] = {0xba, 0x02, 0x06, 0xb0, 0x01, 0xee, 0xf4, 0xeb, 0xfd};

	g.params.platform.reset_port = 0x602;
	g.params.platform.reset_value = 1;
	cr_assert_eq(reset_vector_build(&g.params.platform, &g.ram, &g.err), 0);
	cr_assert_arr_eq(guest_at(&g, 0xffff0, sizeof(code)), code, sizeof(code));
}

Test(tables, iasl_has_nothing_to_complain_about, .timeout = 60)
{
	if (!have_iasl())
		return;
	guest_cpus(&g, 254, 0);
	describe_mmio(20);
	build();
	check_with_iasl();
}

Test(tables, iasl_has_nothing_to_complain_about_in_a_small_machine, .timeout = 60)
{
	struct boot_platform *p = &g.params.platform;

	if (!have_iasl())
		return;
	p->serial_port = p->rtc_port = p->pvpanic_port = p->ged_port = 0;
	p->mmio64_size = 0;
	p->ecam_base = GIB(256);
	p->ecam_size = MIB(1);
	guest_cpus(&g, 3, 254);
	build();
	check_with_iasl();
}
