/* SPDX-License-Identifier: Apache-2.0 */
/* What a file is, by content: a kernel that we can boot, or a name for what it is instead. */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/fd.h"
#include "boot/kernel.h"
#include "boot/x86/formats.h"

struct magic {
	unsigned offset;
	unsigned len;
	const char *bytes;
	const char *what, *remedy;
};

#define MAGIC(offset, bytes, what, remedy)                                                         \
	{                                                                                          \
		offset, sizeof(bytes) - 1, bytes, what, remedy                                     \
	}

static const char use_a_kernel[] = "use a bzImage (vmlinuz) or an ELF vmlinux";

/* First match wins. Remedies complete "FILE: WHAT; REMEDY". */
static const struct magic magics[] = {
	MAGIC(0, "\x1f\x8b", "gzip-compressed data", "unpack it with gzip -d, or use a bzImage"),
	MAGIC(0, "\x28\xb5\x2f\xfd", "zstd-compressed data",
	      "unpack it with zstd -d, or use a bzImage"),
	MAGIC(0,
	      "\xfd"
	      "7zXZ",
	      "xz-compressed data", "unpack it with xz -d, or use a bzImage"),
	MAGIC(0, "BZh", "bzip2-compressed data", "unpack it with bzip2 -d, or use a bzImage"),
	MAGIC(0, "\x5d\0\0", "lzma-compressed data", "unpack it with unlzma, or use a bzImage"),
	MAGIC(0, "\x02\x21\x4c\x18", "lz4-compressed data",
	      "unpack it with lz4 -d, or use a bzImage"),
	MAGIC(0, "\x04\x22\x4d\x18", "lz4-compressed data",
	      "unpack it with lz4 -d, or use a bzImage"),
	MAGIC(0, "\x89LZO", "lzo-compressed data", "unpack it with lzop -d, or use a bzImage"),
	MAGIC(0, "#!", "a script", use_a_kernel),
	MAGIC(0, "07070", "a cpio archive, which looks like an initramfs",
	      "give it with --initrd, and a kernel with --kernel"),
	MAGIC(0, "\x27\x05\x19\x56", "a U-Boot image (uImage)", use_a_kernel),
	MAGIC(0, "\xd0\x0d\xfe\xed", "a device tree or a FIT image", use_a_kernel),
	MAGIC(0, "QFI\xfb", "a qcow2 disk image", use_a_kernel),
	MAGIC(0, "!<arch>\n", "an ar archive (a library or a Debian package)",
	      "unpack it (dpkg -x) and use boot/vmlinuz-* of it"),
	MAGIC(0, "\xed\xab\xee\xdb", "an RPM package",
	      "unpack it (rpm2cpio) and use the vmlinuz in it"),
	MAGIC(257, "ustar", "a tar archive", "unpack it and use the kernel in it"),
	MAGIC(0x38, "ARMd", "a Linux kernel for arm64", "use one built for x86-64"),
	MAGIC(0x38, "RSC\x05", "a Linux kernel for RISC-V", "use one built for x86-64"),
	MAGIC(4, "zimg", "a compressed EFI kernel (zboot)", "use a bzImage built for x86-64"),
	MAGIC(0, "MZ",
	      "an EFI or Windows program without Linux's boot header (unified kernel image?)",
	      "use the plain bzImage"),
	MAGIC(0x1fe, "\x55\xaa", "a boot sector or disk image", use_a_kernel),
};

static bool magic_matches(const struct magic *m, const struct kernel_head *head)
{
	return m->offset + m->len <= head->len &&
	       memcmp(head->bytes + m->offset, m->bytes, m->len) == 0;
}

static bool is_text(const struct kernel_head *head)
{
	for (size_t i = 0; i < head->len; i++) {
		uint8_t c = head->bytes[i];

		if (c == 0x7f || (c < ' ' && c != '\t' && c != '\n' && c != '\r'))
			return false;
	}
	return true;
}

int kernel_refuse(const struct boot_file *file, const struct kernel_head *head, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		if (magic_matches(&magics[i], head))
			return err_set(err, -ENOEXEC,
				       "kernel '%s': %s, not a kernel that vmm boots; %s",
				       file->name, magics[i].what, magics[i].remedy);
	}
	return err_set(err, -ENOEXEC, "kernel '%s': %s, not a kernel that vmm boots; %s",
		       file->name, is_text(head) ? "a text file" : "data of an unknown kind",
		       use_a_kernel);
}

int kernel_read(const struct boot_file *file, void *to, uint64_t len, uint64_t offset,
		struct err *err)
{
	int r = fd_pread_full(file->fd, to, len, offset);

	if (r == -ENODATA)
		return err_set(
			err, r,
			"'%s' became shorter while it was read; try again when it is written",
			file->name);
	if (r == -ESPIPE)
		return err_set(err, r, "'%s' is a pipe or a device, not a regular file",
			       file->name);
	if (r < 0)
		return err_set(err, r, "cannot read '%s': %s", file->name, strerror(-r));
	return 0;
}

int kernel_read_head(const struct boot_file *file, struct kernel_head *ret, struct err *err)
{
	*ret = (struct kernel_head){.len = MIN(file->size, (uint64_t)KERNEL_HEAD_SIZE)};
	return kernel_read(file, ret->bytes, ret->len, 0, err);
}

int kernel_check(const struct boot_file *file, struct kernel_info *ret, struct err *err)
{
	struct kernel_head head;
	int r;

	*ret = (struct kernel_info){0};
	if (file->size == 0)
		return err_set(err, -ENOEXEC, "kernel '%s': the file is empty; %s", file->name,
			       use_a_kernel);
	r = kernel_read_head(file, &head, err);
	if (r < 0)
		return r;
	if (elf_matches(&head))
		return elf_check(file, &head, ret, err);
	if (bzimage_matches(&head))
		return bzimage_check(file, &head, ret, err);
	return kernel_refuse(file, &head, err);
}
