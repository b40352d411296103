/* SPDX-License-Identifier: Apache-2.0 */
/* Our numbers against the kernel's own header. It has a struct boot_params too, so boot.h stays
 * out. */
#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <elf.h>
#include <stddef.h>

#include "boot/x86/bootparam_abi.h"

#define SAME_ZP(ours, field)  cr_assert_eq((size_t)(ours), offsetof(struct boot_params, field))
#define SAME_HDR(ours, field) SAME_ZP(ours, hdr.field)

Test(bootparam_abi, zero_page_offsets_are_the_kernels)
{
	cr_assert_eq((size_t)ZP_SIZE, sizeof(struct boot_params));
	SAME_ZP(ZP_ACPI_RSDP_ADDR, acpi_rsdp_addr);
	SAME_ZP(ZP_EXT_RAMDISK_IMAGE, ext_ramdisk_image);
	SAME_ZP(ZP_EXT_RAMDISK_SIZE, ext_ramdisk_size);
	SAME_ZP(ZP_EXT_CMD_LINE_PTR, ext_cmd_line_ptr);
	SAME_ZP(ZP_E820_ENTRIES, e820_entries);
	SAME_ZP(ZP_E820_TABLE, e820_table);
	cr_assert_eq((size_t)ZP_E820_ENTRY_SIZE, sizeof(struct boot_e820_entry));
	cr_assert_eq((int)ZP_E820_MAX, E820_MAX_ENTRIES_ZEROPAGE);
	cr_assert_eq(offsetof(struct boot_e820_entry, size), 8);
	cr_assert_eq(offsetof(struct boot_e820_entry, type), 16);
}

Test(bootparam_abi, setup_header_offsets_are_the_kernels)
{
	SAME_ZP(HDR_START, hdr);
	SAME_HDR(HDR_SETUP_SECTS, setup_sects);
	SAME_HDR(HDR_SYSSIZE, syssize);
	SAME_HDR(HDR_BOOT_FLAG, boot_flag);
	SAME_HDR(HDR_JUMP_LENGTH - 1, jump);
	SAME_HDR(HDR_MAGIC, header);
	SAME_HDR(HDR_JUMP_FROM, header);
	SAME_HDR(HDR_VERSION, version);
	SAME_HDR(HDR_TYPE_OF_LOADER, type_of_loader);
	SAME_HDR(HDR_LOADFLAGS, loadflags);
	SAME_HDR(HDR_RAMDISK_IMAGE, ramdisk_image);
	SAME_HDR(HDR_RAMDISK_SIZE, ramdisk_size);
	SAME_HDR(HDR_CMD_LINE_PTR, cmd_line_ptr);
	SAME_HDR(HDR_INITRD_ADDR_MAX, initrd_addr_max);
	SAME_HDR(HDR_KERNEL_ALIGNMENT, kernel_alignment);
	SAME_HDR(HDR_RELOCATABLE, relocatable_kernel);
	SAME_HDR(HDR_XLOADFLAGS, xloadflags);
	SAME_HDR(HDR_CMDLINE_SIZE, cmdline_size);
	SAME_HDR(HDR_PAYLOAD_OFFSET, payload_offset);
	SAME_HDR(HDR_PAYLOAD_LENGTH, payload_length);
	SAME_HDR(HDR_SETUP_DATA, setup_data);
	SAME_HDR(HDR_PREF_ADDRESS, pref_address);
	SAME_HDR(HDR_INIT_SIZE, init_size);
	SAME_HDR(HDR_END_2_12, kernel_info_offset);
	SAME_ZP(HDR_END_MAX, edd_mbr_sig_buffer);
}

Test(bootparam_abi, flags_are_the_kernels)
{
	cr_assert_eq((int)LOADFLAG_LOADED_HIGH, LOADED_HIGH);
	cr_assert_eq((int)XLOADFLAG_KERNEL_64, XLF_KERNEL_64);
	cr_assert_eq((int)XLOADFLAG_ABOVE_4G, XLF_CAN_BE_LOADED_ABOVE_4G);
}
