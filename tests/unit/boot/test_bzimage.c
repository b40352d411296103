/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "boot/x86/bootparam_abi.h"

static uint8_t bz[BZ_SIZE];
static struct guest g;

static void setup(void)
{
	bzimage_make(bz);
	guest_init(&g, MIB(64));
}

static void teardown(void)
{
	guest_done(&g);
}

TestSuite(bzimage, .init = setup, .fini = teardown);

static void boot(void)
{
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	guest_boot(&g);
}

static uint8_t *zero_page(void)
{
	return guest_at(&g, g.entry.rsi, ZP_SIZE);
}

Test(bzimage, goes_to_its_preferred_address_whole)
{
	boot();
	cr_assert_eq(g.entry.protocol, BOOT_LINUX64);
	cr_assert_eq(g.entry.kind, KERNEL_BZIMAGE);
	cr_assert_eq(g.entry.rip, MIB(16) + 0x200);
	cr_assert_eq(memcmp(guest_at(&g, MIB(16), BZ_SYS), bz + BZ_SETUP, BZ_SYS), 0);
}

Test(bzimage, what_follows_the_image_in_the_file_is_not_loaded)
{
	uint8_t more[BZ_SIZE + 100];

	memcpy(more, bz, sizeof(bz));
	memset(more + sizeof(bz), 0xaa, 100);
	g.params.kernel = file_make("signed", more, sizeof(more));
	guest_boot(&g);
	cr_assert_eq(*(uint8_t *)guest_at(&g, MIB(16) + BZ_SYS, 1), 0);
}

Test(bzimage, zero_setup_sects_means_four)
{
	uint8_t more[BZ_SYS + 5 * 512] = {0};

	memcpy(more, bz, BZ_SETUP);
	memcpy(more + (size_t)5 * 512, bz + BZ_SETUP, BZ_SYS);
	more[HDR_SETUP_SECTS] = 0;
	g.params.kernel = file_make("old", more, sizeof(more));
	guest_boot(&g);
	cr_assert_eq(memcmp(guest_at(&g, MIB(16), BZ_SYS), bz + BZ_SETUP, BZ_SYS), 0);
}

Test(bzimage, last_unit_may_lack_its_padding)
{
	g.params.kernel = file_make("unpadded", bz, sizeof(bz) - 15);
	guest_boot(&g);
}

Test(bzimage, relocatable_kernel_is_aligned_upwards)
{
	put_le64(bz + HDR_PREF_ADDRESS, MIB(16) + 0x1000);
	boot();
	cr_assert_eq(g.entry.rip, MIB(18) + 0x200);
}

Test(bzimage, fixed_kernel_goes_exactly_where_it_says)
{
	put_le64(bz + HDR_PREF_ADDRESS, MIB(1));
	bz[HDR_RELOCATABLE] = 0;
	boot();
	cr_assert_eq(g.entry.rip, MIB(1) + 0x200);
}

Test(bzimage, zero_page_has_the_kernels_header_and_our_fields)
{
	const uint8_t *zp;

	put_le64(bz + HDR_SETUP_DATA, 0x1234);
	boot();
	zp = zero_page();
	cr_assert_eq(zp[HDR_TYPE_OF_LOADER], 0xff);
	cr_assert_eq(get_le16(zp + HDR_VERSION), 0x20f);
	cr_assert_eq(get_le32(zp + HDR_INIT_SIZE), MIB(4));
	cr_assert_eq(get_le64(zp + HDR_SETUP_DATA), 0);
	cr_assert_eq(get_le64(zp + ZP_ACPI_RSDP_ADDR), g.entry.rsdp.v);
	cr_assert_str_eq(guest_at(&g, get_le32(zp + HDR_CMD_LINE_PTR), 100), "console=ttyS0");
	cr_assert_eq(get_le32(zp + ZP_EXT_CMD_LINE_PTR), 0);
	cr_assert_eq(get_le32(zp + HDR_RAMDISK_IMAGE), 0);
	cr_assert_eq(get_le32(zp + HDR_RAMDISK_SIZE), 0);
	cr_assert_eq(zp[0x1ef], 0, "the sentinel stays clear");
}

Test(bzimage, nothing_behind_the_header_reaches_the_zero_page)
{
	memset(bz + 0x26c, 0xcc, BZ_SETUP - 0x26c);
	boot();
	cr_assert_eq(zero_page()[0x26b], 0);
	cr_assert_eq(zero_page()[0x26c], 0);
}

Test(bzimage, longest_header_stops_before_the_next_field)
{
	bz[HDR_JUMP_LENGTH] = 0xff;
	memset(bz + 0x26c, 0xcc, 0x100);
	boot();
	cr_assert_eq(zero_page()[0x28f], 0xcc);
	cr_assert_eq(zero_page()[0x290], 0);
}

Test(bzimage, zero_page_e820_adds_up)
{
	const uint8_t *zp;
	uint64_t sum = 0;

	boot();
	zp = zero_page();
	cr_assert_eq(zp[ZP_E820_ENTRIES], 4);
	for (size_t i = 0; i < zp[ZP_E820_ENTRIES]; i++) {
		const uint8_t *e = zp + ZP_E820_TABLE + i * ZP_E820_ENTRY_SIZE;

		sum += get_le32(e + 16) == 1 ? get_le64(e + 8) : 0;
	}
	cr_assert_eq(sum, MIB(64) - KIB(384));
}

Test(bzimage, cmdline_of_exactly_the_limit_is_whole)
{
	char text[2048];

	memset(text, 'x', 2047);
	text[2047] = 0;
	g.params.cmdline = text;
	boot();
	cr_assert_str_eq(guest_at(&g, get_le32(zero_page() + HDR_CMD_LINE_PTR), 2048), text);
}

Test(bzimage, cmdline_one_longer_is_refused_with_both_lengths)
{
	char text[2049];

	memset(text, 'x', 2048);
	text[2048] = 0;
	g.params.cmdline = text;
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	guest_refuses(&g, -E2BIG, "2048", "2047", "'bz'", "--append", NULL);
}

Test(bzimage, cmdline_limit_is_the_headers)
{
	uint32_t limit = 0;

	put_le32(bz + HDR_CMDLINE_SIZE, 255);
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	cr_assert_eq(boot_cmdline_limit(&g.params.kernel, &limit, &g.err), 0);
	cr_assert_eq(limit, 255);
}

Test(bzimage, cmdline_limit_of_four_gigabytes_is_cut)
{
	uint32_t limit = 0;

	put_le32(bz + HDR_CMDLINE_SIZE, UINT32_MAX);
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	cr_assert_eq(boot_cmdline_limit(&g.params.kernel, &limit, &g.err), 0);
	cr_assert_eq(limit, 0x3ffff);
}

Test(bzimage, too_little_memory_says_how_much_is_needed)
{
	put_le32(bz + HDR_INIT_SIZE, (uint32_t)MIB(51) + 1);
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	guest_refuses(&g, -ENOMEM, "'bz'", "at least 68 MiB", "has 64", "--mem", NULL);
}

Test(bzimage, init_size_that_just_fits)
{
	put_le32(bz + HDR_INIT_SIZE, (uint32_t)MIB(48));
	boot();
}

Test(bzimage, beyond_any_low_memory_is_for_another_machine)
{
	put_le64(bz + HDR_PREF_ADDRESS, GIB(3));
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	guest_refuses(&g, -ENOMEM, "'bz'", "0xc0000000", "another machine", NULL);
}

Test(bzimage, second_load_is_the_same_on_dirty_memory)
{
	static uint8_t first[ZP_SIZE];
	struct boot_entry entry;

	boot();
	memcpy(first, zero_page(), ZP_SIZE);
	entry = g.entry;
	memset(guest_at(&g, 0x1000, 0x9f000), 0xa5, 0x9f000);
	memset(guest_at(&g, 0xe0000, 0x20000), 0xa5, 0x20000);
	guest_boot(&g);
	cr_assert_eq(memcmp(first, zero_page(), ZP_SIZE), 0);
	cr_assert_eq(memcmp(&entry, &g.entry, sizeof(entry)), 0);
	cr_assert_str_eq(guest_at(&g, get_le32(zero_page() + HDR_CMD_LINE_PTR), 100),
			 "console=ttyS0");
}

Test(bzimage, pvh_protocol_is_refused)
{
	g.params.protocol = BOOT_PVH;
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	guest_refuses(&g, -EINVAL, "'bz'", "no PVH entry", "linux64", NULL);
}

Test(bzimage, identify)
{
	enum boot_kernel_kind kind = KERNEL_ELF;

	g.params.kernel = file_make("bz", bz, sizeof(bz));
	cr_assert_eq(boot_identify(&g.params.kernel, &kind, &g.err), 0);
	cr_assert_eq(kind, KERNEL_BZIMAGE);
}
