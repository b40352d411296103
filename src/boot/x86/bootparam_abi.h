/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offsets in Linux's zero page and setup header (Documentation/arch/x86/boot.rst and
 * zero-page.rst). The setup header lies at the same offset in a bzImage and in the zero page. All
 * numbers are little-endian.
 */
#ifndef VMM_BOOT_X86_BOOTPARAM_ABI_H
#define VMM_BOOT_X86_BOOTPARAM_ABI_H

enum {
	/* zero page only */
	ZP_ACPI_RSDP_ADDR = 0x070,    /* 8 */
	ZP_EXT_RAMDISK_IMAGE = 0x0c0, /* 4 */
	ZP_EXT_RAMDISK_SIZE = 0x0c4,  /* 4 */
	ZP_EXT_CMD_LINE_PTR = 0x0c8,  /* 4 */
	ZP_E820_ENTRIES = 0x1e8,      /* 1 */
	ZP_E820_TABLE = 0x2d0,	      /* 20 bytes each: address 8, size 8, type 4 */
	ZP_E820_ENTRY_SIZE = 20,
	ZP_E820_MAX = 128,
	ZP_SIZE = 0x1000,

	/* setup header */
	HDR_START = 0x1f1,
	HDR_SETUP_SECTS = 0x1f1, /* 1 */
	HDR_SYSSIZE = 0x1f4,	 /* 4, in 16 bytes */
	HDR_BOOT_FLAG = 0x1fe,	 /* 2 */
	HDR_JUMP_LENGTH = 0x201, /* 1: the header ends so far behind 0x202 */
	HDR_JUMP_FROM = 0x202,
	HDR_MAGIC = 0x202,	      /* 4 */
	HDR_VERSION = 0x206,	      /* 2 */
	HDR_TYPE_OF_LOADER = 0x210,   /* 1 */
	HDR_LOADFLAGS = 0x211,	      /* 1 */
	HDR_RAMDISK_IMAGE = 0x218,    /* 4 */
	HDR_RAMDISK_SIZE = 0x21c,     /* 4 */
	HDR_CMD_LINE_PTR = 0x228,     /* 4 */
	HDR_INITRD_ADDR_MAX = 0x22c,  /* 4 */
	HDR_KERNEL_ALIGNMENT = 0x230, /* 4 */
	HDR_RELOCATABLE = 0x234,      /* 1 */
	HDR_XLOADFLAGS = 0x236,	      /* 2 */
	HDR_CMDLINE_SIZE = 0x238,     /* 4 */
	HDR_PAYLOAD_OFFSET = 0x248,   /* 4 */
	HDR_PAYLOAD_LENGTH = 0x24c,   /* 4 */
	HDR_SETUP_DATA = 0x250,	      /* 8 */
	HDR_PREF_ADDRESS = 0x258,     /* 8 */
	HDR_INIT_SIZE = 0x260,	      /* 4 */
	HDR_END_2_12 = 0x268,	      /* a header of protocol 2.12 reaches so far */
	HDR_END_MAX = 0x290,

	BOOT_FLAG = 0xaa55,
	BOOT_VERSION_2_12 = 0x20c,
	LOADER_UNDEFINED = 0xff,
	LOADFLAG_LOADED_HIGH = 1 << 0,
	XLOADFLAG_KERNEL_64 = 1 << 0,
	XLOADFLAG_ABOVE_4G = 1 << 1,

	SETUP_SECTOR = 512,
	ENTRY_64_OFFSET = 0x200, /* of the 64-bit entry from where the kernel was loaded */
};

#define HDR_MAGIC_HDRS 0x53726448U /* "HdrS" */

#endif
