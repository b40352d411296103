/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bzImage: a real-mode setup part with a header, then the protected-mode part, of which we use the
 * 64-bit entry (Documentation/arch/x86/boot.rst, protocol 2.12 and later).
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "boot/x86/bootparam_abi.h"
#include "boot/x86/formats.h"
#include "boot/x86/layout.h"

enum { SETUP_SECTS_DEFAULT = 4, SYSSIZE_UNIT = 16 };

/* The header's numbers, taken out once. */
struct header {
	unsigned version;
	unsigned xloadflags;
	uint64_t setup_size; /* bytes of the file before the protected-mode part */
	uint64_t sys_size;   /* bytes of the protected-mode part, rounded up to 16 */
	size_t end;	     /* of the header */
	uint64_t payload_offset, payload_length;
	uint64_t alignment, pref_address, init_size;
	bool relocatable;
};

bool bzimage_matches(const struct kernel_head *head)
{
	return head->len >= HDR_VERSION + 2 && get_le16(head->bytes + HDR_BOOT_FLAG) == BOOT_FLAG &&
	       get_le32(head->bytes + HDR_MAGIC) == HDR_MAGIC_HDRS;
}

static struct header read_header(const uint8_t *b)
{
	unsigned sects = b[HDR_SETUP_SECTS] ? b[HDR_SETUP_SECTS] : SETUP_SECTS_DEFAULT;

	return (struct header){
		.version = get_le16(b + HDR_VERSION),
		.xloadflags = get_le16(b + HDR_XLOADFLAGS),
		.setup_size = (sects + 1) * (uint64_t)SETUP_SECTOR,
		.sys_size = (uint64_t)get_le32(b + HDR_SYSSIZE) * SYSSIZE_UNIT,
		.end = HDR_JUMP_FROM + (size_t)b[HDR_JUMP_LENGTH],
		.payload_offset = get_le32(b + HDR_PAYLOAD_OFFSET),
		.payload_length = get_le32(b + HDR_PAYLOAD_LENGTH),
		.alignment = get_le32(b + HDR_KERNEL_ALIGNMENT),
		.pref_address = get_le64(b + HDR_PREF_ADDRESS),
		.init_size = get_le32(b + HDR_INIT_SIZE),
		.relocatable = b[HDR_RELOCATABLE] != 0,
	};
}

static int check_version(const struct boot_file *file, const struct header *h, struct err *err)
{
	if (h->version < BOOT_VERSION_2_12)
		return err_set(
			err, -ENOEXEC,
			"kernel '%s': a bzImage of boot protocol %u.%02u; vmm needs 2.12, which is "
			"Linux 3.8 or newer",
			file->name, h->version >> 8, h->version & 0xff);
	return 0;
}

static int check_flags(const struct boot_file *file, const struct header *h, struct err *err)
{
	if (!(h->xloadflags & XLOADFLAG_KERNEL_64))
		return err_set(
			err, -ENOEXEC,
			"kernel '%s': a bzImage for 32-bit x86 (no 64-bit entry); use one built "
			"for x86-64",
			file->name);
	if (h->end < HDR_END_2_12)
		return err_set(
			err, -ENOEXEC,
			"kernel '%s': corrupt bzImage: its setup header ends at %#zx, before the "
			"fields of protocol 2.12; get the file again",
			file->name, h->end);
	return 0;
}

static int check_sizes(const struct boot_file *file, const struct header *h, struct err *err)
{
	uint64_t have;

	if (file->size <= h->setup_size)
		return err_set(
			err, -ENOEXEC,
			"kernel '%s': only the setup part of a bzImage (setup.bin, or truncated: "
			"%llu bytes, setup alone is %llu); use arch/x86/boot/bzImage",
			file->name, (unsigned long long)file->size,
			(unsigned long long)h->setup_size);
	have = file->size - h->setup_size;
	if (h->sys_size == 0)
		return err_set(err, -ENOEXEC,
			       "kernel '%s': corrupt bzImage: syssize is 0; get the file again",
			       file->name);
	/* The last unit of 16 may lack its padding. */
	if (have + (SYSSIZE_UNIT - 1) < h->sys_size)
		return err_set(
			err, -ENOEXEC,
			"kernel '%s': truncated bzImage: %llu bytes, its header says %llu; get the "
			"file again",
			file->name, (unsigned long long)file->size,
			(unsigned long long)(h->setup_size + h->sys_size));
	if (!range_inside(h->payload_offset, h->payload_length, 0, h->sys_size))
		return err_set(
			err, -ENOEXEC,
			"kernel '%s': corrupt bzImage: payload (%#llx bytes at %#llx) outside the "
			"image (%#llx bytes); get the file again",
			file->name, (unsigned long long)h->payload_length,
			(unsigned long long)h->payload_offset, (unsigned long long)h->sys_size);
	return 0;
}

/*
 * boot.rst, init_size: a relocatable kernel never runs below pref_address, wherever it was loaded,
 * so a lower place than that saves no memory.
 */
static int choose_address(const struct boot_file *file, const struct header *h, uint64_t *ret,
			  struct err *err)
{
	bool power_of_two = h->alignment && !(h->alignment & (h->alignment - 1));

	if (h->relocatable && !power_of_two)
		return err_set(err, -ENOEXEC,
			       "kernel '%s': corrupt bzImage: kernel_alignment %#llx is no power "
			       "of two; get "
			       "the file again",
			       file->name, (unsigned long long)h->alignment);
	if (h->pref_address < HIGH_RAM_START || h->pref_address >= LOW_4G)
		return err_set(err, -ENOEXEC,
			       "kernel '%s': corrupt bzImage, or one for another machine: it wants "
			       "to run at "
			       "%#llx, outside 1 MiB to 4 GiB",
			       file->name, (unsigned long long)h->pref_address);
	*ret = h->relocatable ? align_up(h->pref_address, h->alignment) : h->pref_address;
	return 0;
}

static void fill_info(const struct boot_file *file, const struct header *h, const uint8_t *b,
		      struct kernel_info *ret)
{
	size_t end = MIN(h->end, (size_t)HDR_END_MAX);

	static_assert(HDR_END_MAX - HDR_START <= KERNEL_HEADER_MAX, "the whole header is kept");
	ret->kind = KERNEL_BZIMAGE;
	ret->cmdline_limit = MIN(get_le32(b + HDR_CMDLINE_SIZE), (uint32_t)LOW_CMDLINE_MAX - 1);
	ret->initrd_limit = (uint64_t)get_le32(b + HDR_INITRD_ADDR_MAX) + 1;
	ret->initrd_above_4g = (h->xloadflags & XLOADFLAG_ABOVE_4G) != 0;
	ret->payload_offset = h->setup_size;
	ret->payload_size = MIN(h->sys_size, file->size - h->setup_size);
	ret->run_size = MAX(h->init_size, ret->payload_size);
	ret->header_len = end - HDR_START;
	memcpy(ret->header, b + HDR_START, ret->header_len);
}

int bzimage_check(const struct boot_file *file, const struct kernel_head *head,
		  struct kernel_info *ret, struct err *err)
{
	struct header h = read_header(head->bytes);
	int r = check_version(file, &h, err);

	if (r == 0)
		r = check_sizes(file, &h, err);
	if (r == 0)
		r = check_flags(file, &h, err);
	if (r == 0)
		r = choose_address(file, &h, &ret->load_addr, err);
	if (r == 0)
		fill_info(file, &h, head->bytes, ret);
	return r;
}

int bzimage_load(const struct boot_params *params, const struct kernel_info *info,
		 struct kernel_image *ret, struct err *err)
{
	const struct mm_region *low = &params->ram->regions[0];
	uint64_t end = info->load_addr + info->run_size; /* both below 2^33: checked */
	void *host;
	int r;

	if (!range_inside(info->load_addr, info->run_size, 0, low->size))
		return kernel_needs_memory(params, &params->kernel, end, err);
	host = mm_map_host(params->ram, GPA(info->load_addr), info->payload_size);
	if (!host)
		return kernel_needs_memory(params, &params->kernel, end, err);
	r = kernel_read(&params->kernel, host, info->payload_size, info->payload_offset, err);
	if (r < 0)
		return r;
	*ret = (struct kernel_image){
		.start = info->load_addr,
		.end = align_up(end, GUEST_PAGE),
		.entry64 = info->load_addr + ENTRY_64_OFFSET,
	};
	return 0;
}
