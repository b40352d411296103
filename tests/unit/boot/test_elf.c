/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "boot/x86/bootparam_abi.h"

static struct elf_maker elf;
static struct guest g;

static void setup(void)
{
	elf_make(&elf, true);
	guest_init(&g, MIB(64));
}

static void teardown(void)
{
	guest_done(&g);
}

TestSuite(elf, .init = setup, .fini = teardown);

static void boot(void)
{
	g.params.kernel = file_make("vmlinux", &elf, sizeof(elf));
	guest_boot(&g);
}

Test(elf, pvh_note_means_pvh_by_itself)
{
	boot();
	cr_assert_eq(g.entry.protocol, BOOT_PVH);
	cr_assert_eq(g.entry.kind, KERNEL_ELF_PVH);
	cr_assert_eq(g.entry.rip, MIB(16) + 0x80);
	cr_assert_eq(memcmp(guest_at(&g, MIB(16), sizeof(elf.code)), elf.code, sizeof(elf.code)),
		     0);
}

Test(elf, bss_is_zeroed_and_not_a_byte_more)
{
	uint64_t bss = MIB(16) + sizeof(elf.code);
	const uint8_t *at;

	memset(guest_at(&g, bss, KIB(8) + 1), 0xa5, KIB(8) + 1);
	boot();
	at = guest_at(&g, bss, KIB(8) + 1);
	for (size_t i = 0; i < KIB(8); i++)
		cr_assert_eq(at[i], 0, "byte %zu of bss", i);
	cr_assert_eq(at[KIB(8)], 0xa5);
}

Test(elf, without_note_it_is_the_64_bit_entry)
{
	elf_make(&elf, false);
	boot();
	cr_assert_eq(g.entry.protocol, BOOT_LINUX64);
	cr_assert_eq(g.entry.kind, KERNEL_ELF);
	cr_assert_eq(g.entry.rip, MIB(16) + 0x40);
}

Test(elf, with_note_the_64_bit_entry_can_be_chosen)
{
	g.params.protocol = BOOT_LINUX64;
	boot();
	cr_assert_eq(g.entry.protocol, BOOT_LINUX64);
	cr_assert_eq(g.entry.kind, KERNEL_ELF_PVH);
	cr_assert_eq(g.entry.rip, MIB(16) + 0x40);
}

Test(elf, virtual_entry_becomes_physical)
{
	g.params.protocol = BOOT_LINUX64;
	elf.e.e_entry = 0xffffffff81000040;
	boot();
	cr_assert_eq(g.entry.rip, MIB(16) + 0x40);
}

Test(elf, physical_entry_wins_over_a_segment_at_virtual_zero)
{
	g.params.protocol = BOOT_LINUX64;
	elf.e.e_phnum = 3;
	elf.ph[2] = elf.ph[0];
	elf.ph[2].p_paddr = MIB(20);
	elf.ph[2].p_vaddr = 0;
	elf.ph[2].p_memsz = MIB(20);
	boot();
	cr_assert_eq(g.entry.rip, MIB(16) + 0x40);
}

Test(elf, entry_outside_every_segment_is_refused_for_linux64)
{
	g.params.protocol = BOOT_LINUX64;
	elf.e.e_entry = MIB(32);
	g.params.kernel = file_make("vmlinux", &elf, sizeof(elf));
	guest_refuses(&g, -ENOEXEC, "'vmlinux'", "0x2000000", "protocol pvh", NULL);
}

Test(elf, entry_outside_every_segment_does_not_matter_to_pvh)
{
	elf.e.e_entry = 0;
	boot();
}

Test(elf, pvh_without_note_is_refused)
{
	elf_make(&elf, false);
	g.params.protocol = BOOT_PVH;
	g.params.kernel = file_make("vmlinux", &elf, sizeof(elf));
	guest_refuses(&g, -EINVAL, "'vmlinux'", "no PVH note", "CONFIG_PVH", NULL);
}

Test(elf, pvh_note_of_four_bytes)
{
	elf.note.h.n_descsz = 4;
	elf.ph[1].p_filesz -= 4;
	boot();
	cr_assert_eq(g.entry.rip, MIB(16) + 0x80);
}

Test(elf, other_notes_before_it_are_skipped)
{
	static const struct {
		Elf64_Nhdr h;
		char name[8];
		char desc[4];
	} other = {{5, 3, 18}, "Xenx", "abc"};

	/* The code's place in the file holds the notes: it does not matter what is in it. */
	memcpy(elf.code, &other, sizeof(other));
	memcpy(elf.code + sizeof(other), &elf.note, 24);
	elf.ph[1].p_offset = offsetof(struct elf_maker, code);
	elf.ph[1].p_filesz = sizeof(other) + 24;
	boot();
	cr_assert_eq(g.entry.protocol, BOOT_PVH);
	cr_assert_eq(g.entry.rip, MIB(16) + 0x80);
}

Test(elf, note_longer_than_its_segment_is_no_note)
{
	elf.ph[1].p_filesz -= 1;
	boot();
	cr_assert_eq(g.entry.kind, KERNEL_ELF);
}

Test(elf, other_owner_or_type_is_no_pvh_note)
{
	elf.note.h.n_type = 17;
	boot();
	cr_assert_eq(g.entry.kind, KERNEL_ELF);
	elf.note.h.n_type = 18;
	memcpy(elf.note.name, "Xem", 4);
	boot();
	cr_assert_eq(g.entry.kind, KERNEL_ELF);
}

Test(elf, empty_segments_and_other_headers_are_skipped)
{
	elf.e.e_phnum = 4;
	elf.ph[2] = (Elf64_Phdr){.p_type = PT_LOAD, .p_paddr = 0x1234};
	elf.ph[3] = (Elf64_Phdr){.p_type = PT_GNU_STACK, .p_offset = UINT64_MAX};
	boot();
}

Test(elf, zero_page_of_a_vmlinux_has_a_header)
{
	const uint8_t *zp;

	elf_make(&elf, false);
	boot();
	zp = guest_at(&g, g.entry.rsi, ZP_SIZE);
	cr_assert_eq(get_le32(zp + HDR_MAGIC), HDR_MAGIC_HDRS);
	cr_assert_eq(get_le16(zp + HDR_BOOT_FLAG), 0xaa55);
	cr_assert_eq(zp[HDR_TYPE_OF_LOADER], 0xff);
	cr_assert_eq(zp[HDR_LOADFLAGS] & 1, 1);
	cr_assert_eq(get_le32(zp + HDR_CMDLINE_SIZE), 2047);
}

Test(elf, cmdline_limit_is_linuxs)
{
	uint32_t limit = 0;

	g.params.kernel = file_make("vmlinux", &elf, sizeof(elf));
	cr_assert_eq(boot_cmdline_limit(&g.params.kernel, &limit, &g.err), 0);
	cr_assert_eq(limit, 2047);
}

Test(elf, too_little_memory_says_how_much_is_needed)
{
	elf.ph[0].p_memsz = MIB(60);
	g.params.kernel = file_make("vmlinux", &elf, sizeof(elf));
	guest_refuses(&g, -ENOMEM, "'vmlinux'", "at least 76 MiB", "has 64", NULL);
}

Test(elf, the_last_byte_of_memory_can_be_used)
{
	elf.ph[0].p_memsz = MIB(48);
	boot();
}
