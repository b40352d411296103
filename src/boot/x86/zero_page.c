/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "boot/x86/bootparam_abi.h"
#include "boot/x86/entry.h"
#include "boot/x86/layout.h"

/* A vmlinux has no setup header: what its own setup part would have said. */
static void make_header(uint8_t *page, const struct kernel_info *info)
{
	put_le16(page + HDR_BOOT_FLAG, BOOT_FLAG);
	put_le32(page + HDR_MAGIC, HDR_MAGIC_HDRS);
	put_le16(page + HDR_VERSION, BOOT_VERSION_2_12);
	page[HDR_LOADFLAGS] = LOADFLAG_LOADED_HIGH;
	put_le32(page + HDR_INITRD_ADDR_MAX, (uint32_t)(MIN(info->initrd_limit, LOW_4G) - 1));
	put_le32(page + HDR_KERNEL_ALIGNMENT, (uint32_t)MIB(2));
	put_le16(page + HDR_XLOADFLAGS, XLOADFLAG_KERNEL_64);
	put_le32(page + HDR_CMDLINE_SIZE, info->cmdline_limit);
}

static void put_split(uint8_t *page, unsigned low, unsigned high, uint64_t v)
{
	put_le32(page + low, (uint32_t)v);
	put_le32(page + high, (uint32_t)(v >> 32));
}

static void put_e820(uint8_t *page, const struct e820 *e820)
{
	static_assert((int)E820_MAX <= (int)ZP_E820_MAX, "all entries fit the zero page");
	page[ZP_E820_ENTRIES] = (uint8_t)e820->n;
	for (unsigned i = 0; i < e820->n; i++) {
		uint8_t *at = page + ZP_E820_TABLE + (size_t)i * ZP_E820_ENTRY_SIZE;

		put_le64(at, e820->entries[i].addr);
		put_le64(at + 8, e820->entries[i].size);
		put_le32(at + 16, e820->entries[i].type);
	}
}

void zero_page_fill(uint8_t *page, const struct kernel_info *info, const struct handover *handover)
{
	memset(page, 0, ZP_SIZE);
	if (info->kind == KERNEL_BZIMAGE)
		memcpy(page + HDR_START, info->header, info->header_len);
	else
		make_header(page, info);
	page[HDR_TYPE_OF_LOADER] = LOADER_UNDEFINED;
	put_le64(page + HDR_SETUP_DATA, 0);
	put_split(page, HDR_CMD_LINE_PTR, ZP_EXT_CMD_LINE_PTR, handover->cmdline);
	put_split(page, HDR_RAMDISK_IMAGE, ZP_EXT_RAMDISK_IMAGE, handover->initrd);
	put_split(page, HDR_RAMDISK_SIZE, ZP_EXT_RAMDISK_SIZE, handover->initrd_size);
	put_le64(page + ZP_ACPI_RSDP_ADDR, handover->rsdp);
	put_e820(page, handover->e820);
}
