/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are no kernel, or a broken one: each gets the message that helps. */
#include "guest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/endian.h"
#include "boot/x86/bootparam_abi.h"

static uint8_t bz[BZ_SIZE];
static struct elf_maker elf;

/* boot_load() and boot_identify() both refuse, with a message that has the name and the two texts.
 */
static void refused(const void *bytes, size_t len, int code, const char *text, const char *remedy)
{
	enum boot_kernel_kind kind;
	struct err err = {0};
	struct guest g;

	guest_init(&g, MIB(64));
	g.params.kernel = file_make("some-file", bytes, len);
	guest_refuses(&g, code, "'some-file'", text, remedy, NULL);
	if (code == -ENOEXEC && boot_identify(&g.params.kernel, &kind, &err) != 0)
		cr_assert_str_eq(err.msg, g.err.msg);
	guest_done(&g);
}

#define REFUSED(bytes, text, remedy) refused(bytes, sizeof(bytes) - 1, -ENOEXEC, text, remedy)

static void bz_refused(const char *text, const char *remedy)
{
	refused(bz, sizeof(bz), -ENOEXEC, text, remedy);
}

static void elf_refused(const char *text, const char *remedy)
{
	refused(&elf, sizeof(elf), -ENOEXEC, text, remedy);
}

static void setup(void)
{
	bzimage_make(bz);
	elf_make(&elf, true);
}

TestSuite(malformed, .init = setup);

Test(malformed, empty_file)
{
	refused("", 0, -ENOEXEC, "empty", "bzImage");
}

Test(malformed, one_byte)
{
	refused("\x7f", 1, -ENOEXEC, "unknown kind", "bzImage");
}

Test(malformed, compressed_vmlinux_of_each_kind)
{
	REFUSED("\x1f\x8b\x08\0\0\0\0\0\0", "gzip", "gzip -d");
	REFUSED("\x28\xb5\x2f\xfd\0\0\0\0", "zstd", "zstd -d");
	REFUSED("\xfd"
		"7zXZ\0\0",
		"xz", "xz -d");
	REFUSED("BZh91AY", "bzip2", "bzip2 -d");
	REFUSED("\x5d\0\0\x80\0\xff", "lzma", "unlzma");
	REFUSED("\x02\x21\x4c\x18\0\0", "lz4", "lz4 -d");
	REFUSED("\x04\x22\x4d\x18\0\0", "lz4", "lz4 -d");
	REFUSED("\x89LZO\0\r\n", "lzo", "lzop -d");
}

Test(malformed, script_and_text)
{
	REFUSED("#!/bin/sh\nexec vmlinuz\n", "a script", "vmlinux");
	REFUSED("not a kernel at all\n", "a text file", "vmlinux");
}

Test(malformed, initramfs_given_as_kernel)
{
	REFUSED("07070100000000", "initramfs", "--initrd");
}

Test(malformed, packages_and_images)
{
	REFUSED("!<arch>\ndebian-binary", "Debian package", "dpkg -x");
	REFUSED("\xed\xab\xee\xdb\3", "RPM", "rpm2cpio");
	REFUSED("QFI\xfb\0\0\0\3", "qcow2", "vmlinux");
	REFUSED("\x27\x05\x19\x56\0", "U-Boot", "vmlinux");
	REFUSED("\xd0\x0d\xfe\xed\0", "device tree", "vmlinux");
}

static void put_magic(uint8_t *b, size_t len, size_t at, const char *magic)
{
	memset(b, 0, len);
	memcpy(b, "MZ", 2);
	memcpy(b + at, magic, strlen(magic));
}

Test(malformed, efi_programs_and_other_machines_kernels)
{
	uint8_t b[600];

	put_magic(b, sizeof(b), 0x80, "PE");
	refused(b, sizeof(b), -ENOEXEC, "EFI or Windows program", "plain bzImage");
	put_magic(b, sizeof(b), 0x38, "ARMd");
	refused(b, sizeof(b), -ENOEXEC, "arm64", "x86-64");
	put_magic(b, sizeof(b), 0x38, "RSC\x05");
	refused(b, sizeof(b), -ENOEXEC, "RISC-V", "x86-64");
	put_magic(b, sizeof(b), 4, "zimg");
	refused(b, sizeof(b), -ENOEXEC, "zboot", "x86-64");
}

Test(malformed, boot_sector_and_tar)
{
	uint8_t b[600] = {0xeb, 0x3c};

	put_le16(b + 0x1fe, 0xaa55);
	refused(b, sizeof(b), -ENOEXEC, "boot sector", "vmlinux");
	memset(b, 0, sizeof(b));
	memcpy(b, "boot/vmlinuz", 12);
	memcpy(b + 257, "ustar", 5);
	refused(b, sizeof(b), -ENOEXEC, "tar archive", "unpack");
}

Test(malformed, bzimage_cut_at_any_length_is_never_accepted)
{
	for (size_t len = 0x208; len < BZ_SIZE - 15; len += 37)
		refused(bz, len, -ENOEXEC, len <= BZ_SETUP ? "setup" : "truncated", "'some-file'");
}

Test(malformed, setup_bin_alone)
{
	refused(bz, BZ_SETUP, -ENOEXEC, "only the setup part", "arch/x86/boot/bzImage");
}

Test(malformed, bzimage_of_an_old_protocol)
{
	put_le16(bz + HDR_VERSION, 0x20b);
	bz_refused("2.11", "2.12");
}

Test(malformed, bzimage_for_32_bits)
{
	put_le16(bz + HDR_XLOADFLAGS, 0);
	bz_refused("32-bit", "x86-64");
}

Test(malformed, bzimage_header_too_short)
{
	bz[HDR_JUMP_LENGTH] = 0x60;
	bz_refused("corrupt", "0x262");
}

Test(malformed, bzimage_syssize_zero)
{
	put_le32(bz + HDR_SYSSIZE, 0);
	bz_refused("corrupt", "syssize");
}

Test(malformed, bzimage_syssize_beyond_the_file)
{
	put_le32(bz + HDR_SYSSIZE, UINT32_MAX);
	bz_refused("truncated", "68719477744");
}

Test(malformed, bzimage_payload_outside)
{
	put_le32(bz + HDR_PAYLOAD_OFFSET, BZ_SYS - 0x1ff);
	bz_refused("corrupt", "payload");
	put_le32(bz + HDR_PAYLOAD_OFFSET, UINT32_MAX);
	put_le32(bz + HDR_PAYLOAD_LENGTH, UINT32_MAX);
	bz_refused("corrupt", "payload");
}

Test(malformed, bzimage_alignment_no_power_of_two)
{
	put_le32(bz + HDR_KERNEL_ALIGNMENT, 0);
	bz_refused("corrupt", "kernel_alignment");
	put_le32(bz + HDR_KERNEL_ALIGNMENT, 0x300000);
	bz_refused("corrupt", "kernel_alignment 0x300000");
}

Test(malformed, bzimage_alignment_of_two_gigabytes)
{
	put_le32(bz + HDR_KERNEL_ALIGNMENT, 0x80000000);
	refused(bz, sizeof(bz), -ENOMEM, "at least 2052 MiB", "--mem");
}

Test(malformed, bzimage_wants_impossible_addresses)
{
	put_le64(bz + HDR_PREF_ADDRESS, 0);
	bz_refused("outside 1 MiB", "0");
	put_le64(bz + HDR_PREF_ADDRESS, UINT64_MAX);
	bz_refused("outside 1 MiB", "0xffffffffffffffff");
}

Test(malformed, bzimage_init_size_of_four_gigabytes)
{
	put_le32(bz + HDR_INIT_SIZE, UINT32_MAX);
	refused(bz, sizeof(bz), -ENOMEM, "needs memory up to", "another machine");
}

Test(malformed, bzimage_init_size_smaller_than_the_image)
{
	struct guest g;

	put_le32(bz + HDR_INIT_SIZE, 1);
	guest_init(&g, MIB(16));
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	guest_refuses(&g, -ENOMEM, "at least 17 MiB", NULL);
	guest_done(&g);
}

Test(malformed, elf_cut_inside_its_header)
{
	for (size_t len = 4; len < sizeof(Elf64_Ehdr); len++)
		refused(&elf, len, -ENOEXEC, "truncated ELF", "again");
}

Test(malformed, elf_cut_at_any_length_is_never_accepted)
{
	for (size_t len = sizeof(Elf64_Ehdr); len < sizeof(elf); len += 61)
		refused(&elf, len, -ENOEXEC, "truncated ELF", "again");
}

Test(malformed, elf_for_another_machine)
{
	static const struct {
		unsigned machine;
		const char *text;
	} cases[] = {{EM_386, "32-bit x86"}, {EM_AARCH64, "arm64"}, {EM_ARM, "32-bit Arm"},
		     {EM_RISCV, "RISC-V"},   {EM_S390, "s390"},	    {EM_PPC64, "POWER"},
		     {0xffff, "65535"}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		elf.e.e_machine = (uint16_t)cases[i].machine;
		elf_refused(cases[i].text, "x86-64");
	}
}

Test(malformed, elf_big_endian)
{
	elf.e.e_ident[EI_DATA] = ELFDATA2MSB;
	elf_refused("big-endian", "x86-64");
}

Test(malformed, elf_class_32_and_none)
{
	elf.e.e_ident[EI_CLASS] = ELFCLASS32;
	elf_refused("x32", "ELF64");
	elf.e.e_ident[EI_CLASS] = 0;
	elf_refused("corrupt", "class 0");
}

Test(malformed, elf_of_another_type)
{
	elf.e.e_type = ET_REL;
	elf_refused("object file", "vmlinux");
	elf.e.e_type = ET_CORE;
	elf_refused("core dump", "vmlinux");
	elf.e.e_type = 0x1234;
	elf_refused("no known type", "vmlinux");
}

Test(malformed, elf_program_headers)
{
	elf.e.e_phnum = 0;
	elf_refused("0 program headers", "corrupt");
	elf.e.e_phnum = 0xffff;
	elf_refused("65535 program headers", "corrupt");
	elf.e.e_phnum = 2;
	elf.e.e_phentsize = 32;
	elf_refused("of 32 bytes", "corrupt");
	elf.e.e_phentsize = sizeof(Elf64_Phdr);
	elf.e.e_phoff = UINT64_MAX - 8;
	elf_refused("program headers at 0xfffffffffffffff7", "again");
}

Test(malformed, elf_segment_outside_the_file)
{
	elf.ph[0].p_offset = UINT64_MAX;
	elf_refused("segment 0", "again");
	elf.ph[0].p_offset = sizeof(elf) - 1;
	elf_refused("segment 0", "again");
}

Test(malformed, elf_note_outside_the_file)
{
	elf.ph[1].p_filesz = UINT64_MAX;
	elf_refused("segment 1", "again");
}

Test(malformed, elf_segment_larger_in_file_than_in_memory)
{
	elf.ph[0].p_memsz = 4095;
	elf_refused("larger in the file", "segment 0");
}

Test(malformed, elf_segment_at_impossible_addresses)
{
	elf.ph[0].p_paddr = 0;
	elf_refused("outside 1 MiB to 4 GiB", "segment 0");
	elf.ph[0].p_paddr = UINT64_MAX - 100;
	elf_refused("outside 1 MiB to 4 GiB", "segment 0");
	elf.ph[0].p_paddr = GIB(4) - 4096;
	elf_refused("outside 1 MiB to 4 GiB", "segment 0");
}

Test(malformed, elf_bss_that_overflows)
{
	elf.ph[0].p_memsz = UINT64_MAX;
	elf_refused("outside 1 MiB to 4 GiB", "segment 0");
}

Test(malformed, elf_segment_in_the_pci_hole)
{
	elf.ph[0].p_paddr = 0xc0000000;
	refused(&elf, sizeof(elf), -ENOMEM, "ends at 0xc0000000", "another machine");
}

Test(malformed, elf_ordinary_program)
{
	struct guest g;

	guest_init(&g, MIB(64));
	g.params.kernel = file_open("/proc/self/exe");
	g.params.kernel.name = "program";
	guest_refuses(&g, -ENOEXEC, "'program'", "not a kernel", NULL);
	guest_done(&g);
}

Test(malformed, elf_with_nothing_to_load)
{
	elf.ph[0].p_type = PT_NULL;
	elf_refused("nothing to load", "vmlinux");
}

Test(malformed, elf_pvh_entry_outside_what_is_loaded)
{
	put_le64(&elf.note.desc, MIB(32));
	refused(&elf, sizeof(elf), -ENOEXEC, "PVH entry 0x2000000", "corrupt");
}

Test(malformed, elf_endless_empty_notes_end)
{
	memset(elf.code, 0, sizeof(elf.code));
	elf.ph[1].p_offset = offsetof(struct elf_maker, code);
	elf.ph[1].p_filesz = sizeof(elf.code);
	put_le64(&elf.note.desc, 0);
	struct guest g;

	guest_init(&g, MIB(64));
	g.params.kernel = file_make("notes", &elf, sizeof(elf));
	guest_boot(&g);
	cr_assert_eq(g.entry.kind, KERNEL_ELF);
	guest_done(&g);
}

Test(malformed, file_that_becomes_shorter)
{
	struct guest g;

	guest_init(&g, MIB(64));
	g.params.kernel = file_make("shrinking", bz, sizeof(bz));
	cr_assert_eq(ftruncate(g.params.kernel.fd, 2000), 0);
	guest_refuses(&g, -ENODATA, "'shrinking'", "became shorter", NULL);
	guest_done(&g);
}

Test(malformed, directory_and_pipe)
{
	struct guest g;
	int ends[2];

	guest_init(&g, MIB(64));
	g.params.kernel = file_open("/");
	guest_refuses(&g, -EISDIR, "'/'", "directory", NULL);
	guest_done(&g);
	guest_init(&g, MIB(64));
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	g.params.kernel = (struct boot_file){.fd = ends[0], .name = "fifo", .size = 4096};
	guest_refuses(&g, -ESPIPE, "'fifo'", "pipe", NULL);
	(void)close(ends[1]);
	guest_done(&g);
}

Test(malformed, any_byte_of_the_headers_may_be_wrong)
{
	struct guest g;

	guest_init(&g, MIB(64));
	for (size_t i = 0; i < 2 * (size_t)0x290; i++) {
		uint8_t *b = i % 2 ? (uint8_t *)&elf : bz;
		uint8_t kept = b[i / 2];

		for (unsigned v = 0; v < 3; v++) {
			int r;

			b[i / 2] = v == 0 ? 0 : v == 1 ? 0xff : (uint8_t)(kept ^ 0x80);
			g.params.kernel = file_make("fuzzed", b, i % 2 ? sizeof(elf) : sizeof(bz));
			g.err = (struct err){0};
			r = boot_load(&g.params, &g.entry, &g.err);
			cr_assert(r == 0 || strstr(g.err.msg, "'fuzzed'"),
				  "%d without a message: %s", r, g.err.msg);
			(void)close(g.params.kernel.fd);
		}
		b[i / 2] = kept;
	}
	g.params.kernel.fd = -1;
	guest_done(&g);
}
