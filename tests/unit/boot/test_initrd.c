/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/endian.h"
#include "boot/x86/bootparam_abi.h"

static uint8_t bz[BZ_SIZE];
static struct guest g;

static void boot(uint64_t memory, uint64_t initrd_size)
{
	guest_init(&g, memory);
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	g.params.initrd = file_sparse("initrd", initrd_size);
	guest_boot(&g);
}

static void refuse(uint64_t memory, uint64_t initrd_size, const char *text)
{
	guest_init(&g, memory);
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	g.params.initrd = file_sparse("initrd", initrd_size);
	guest_refuses(&g, -ENOMEM, "'initrd'", text, NULL);
}

static void setup(void)
{
	bzimage_make(bz);
}

static void teardown(void)
{
	guest_done(&g);
}

TestSuite(initrd, .init = setup, .fini = teardown);

static uint64_t two_halves(unsigned low, unsigned high)
{
	const uint8_t *zp = guest_at(&g, g.entry.rsi, ZP_SIZE);

	return get_le32(zp + low) | (uint64_t)get_le32(zp + high) << 32;
}

static uint64_t address(void)
{
	return two_halves(HDR_RAMDISK_IMAGE, ZP_EXT_RAMDISK_IMAGE);
}

static uint64_t size(void)
{
	return two_halves(HDR_RAMDISK_SIZE, ZP_EXT_RAMDISK_SIZE);
}

Test(initrd, odd_sizes_keep_their_first_and_last_byte)
{
	static const uint64_t sizes[] = {1,    2,      511,	   4095,      4096,
					 4097, 123457, MIB(1) - 1, MIB(1) + 1};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const uint8_t *at;

		boot(MIB(64), sizes[i]);
		cr_assert_eq(size(), sizes[i]);
		cr_assert(is_aligned(address(), 4096));
		at = guest_at(&g, address(), sizes[i]);
		cr_assert_eq(at[sizes[i] - 1], 'Z');
		cr_assert_eq(at[0], sizes[i] > 1 ? 'A' : 'Z');
		cr_assert_lt(MIB(64) - (address() + sizes[i]), 4096, "not as high as possible");
		guest_done(&g);
	}
	guest_init(&g, MIB(64));
}

Test(initrd, rest_of_the_last_page_is_cleared)
{
	const uint8_t *at;

	guest_init(&g, MIB(64));
	memset(guest_at(&g, MIB(64) - 4096, 4096), 0xa5, 4096);
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	g.params.initrd = file_make("initrd", "xyz", 3);
	guest_boot(&g);
	at = guest_at(&g, MIB(64) - 4096, 4096);
	cr_assert_eq(memcmp(at, "xyz\0", 4), 0);
	cr_assert_eq(at[4095], 0);
}

Test(initrd, stays_below_the_kernels_own_limit)
{
	put_le32(bz + HDR_INITRD_ADDR_MAX, 0x37ffffff);
	boot(GIB(1), MIB(1));
	cr_assert_eq(address(), 0x37f00000);
}

Test(initrd, limit_inside_a_page_is_kept)
{
	put_le32(bz + HDR_INITRD_ADDR_MAX, 0x37ffff00);
	boot(GIB(1), MIB(1));
	cr_assert_eq(address(), 0x37eff000);
}

Test(initrd, fills_all_that_is_left_above_the_kernel)
{
	boot(MIB(64), MIB(44));
	cr_assert_eq(address(), MIB(20));
}

Test(initrd, goes_below_the_kernel_when_it_does_not_fit_above)
{
	boot(MIB(24), MIB(15));
	cr_assert_eq(address(), MIB(1));
}

Test(initrd, never_touches_the_kernels_area)
{
	put_le32(bz + HDR_INIT_SIZE, (uint32_t)MIB(4) + 1);
	boot(MIB(64), MIB(44) - 4096);
	cr_assert_eq(address(), MIB(20) + 4096);
}

Test(initrd, one_byte_too_many_says_how_much_memory_is_needed)
{
	refuse(MIB(64), MIB(44) + 1, "at least 65 MiB");
}

Test(initrd, goes_above_the_header_limit_when_the_kernel_can_take_it)
{
	put_le32(bz + HDR_INITRD_ADDR_MAX, (uint32_t)MIB(32) - 1);
	boot(MIB(256), MIB(100));
	cr_assert_eq(address(), MIB(156));
}

Test(initrd, never_goes_above_the_header_limit_otherwise)
{
	put_le32(bz + HDR_INITRD_ADDR_MAX, (uint32_t)MIB(32) - 1);
	put_le16(bz + HDR_XLOADFLAGS, XLOADFLAG_KERNEL_64);
	refuse(MIB(256), MIB(100), "at most 12 MiB");
}

Test(initrd, kernel_at_the_top_of_low_memory_has_it_below)
{
	put_le64(bz + HDR_PREF_ADDRESS, MIB(60));
	boot(MIB(64), MIB(7) + 1);
	cr_assert_eq(address(), MIB(60) - MIB(7) - 4096);
}

Test(initrd, larger_than_low_memory_goes_above_four_gigabytes)
{
	uint64_t bytes = GIB(3) + MIB(1);

	guest_init(&g, GIB(8));
	/* Nothing is read: the place is what matters, and reading 3 GiB of zeros would take too
	 * long. */
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	g.params.initrd = file_make("initrd", "short", 5);
	g.params.initrd.size = bytes;
	guest_refuses(&g, -ENODATA, "'initrd'", "became shorter", NULL);
	cr_assert_eq(memcmp(guest_at(&g, GIB(4) + GIB(5) - bytes, 5), "short", 5), 0);
}

Test(initrd, larger_than_low_memory_needs_more_than_low_memory)
{
	refuse(GIB(4), GIB(3) + MIB(1), "at least 6146 MiB");
}

Test(initrd, size_that_overflows_is_refused)
{
	guest_init(&g, MIB(64));
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	g.params.initrd = file_make("initrd", "x", 1);
	g.params.initrd.size = UINT64_MAX;
	guest_refuses(&g, -ENOMEM, "'initrd'", "17592186044416 MiB", NULL);
}

Test(initrd, empty_file_is_refused)
{
	guest_init(&g, MIB(64));
	g.params.kernel = file_make("bz", bz, sizeof(bz));
	g.params.initrd = file_make("initrd", "", 0);
	guest_refuses(&g, -EINVAL, "'initrd'", "empty", NULL);
}

Test(initrd, elf_kernel_clears_all_its_segments)
{
	static struct elf_maker elf;

	elf_make(&elf, false);
	elf.ph[0].p_memsz = MIB(40);
	guest_init(&g, MIB(64));
	g.params.kernel = file_make("vmlinux", &elf, sizeof(elf));
	g.params.initrd = file_sparse("initrd", MIB(8));
	guest_boot(&g);
	cr_assert_eq(address(), MIB(56));
	cr_assert_eq(*(uint8_t *)guest_at(&g, MIB(64) - 1, 1), 'Z');
}
