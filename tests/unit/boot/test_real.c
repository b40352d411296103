/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real kernels, where there are some: $VMM_TEST_BZIMAGE or the first of /boot/vmlinuz-*,
 * $VMM_TEST_VMLINUX.
 */
#include "guest.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"

static struct guest g;

static void setup(void)
{
	guest_init(&g, MIB(512));
}

static void teardown(void)
{
	guest_done(&g);
}

TestSuite(real, .init = setup, .fini = teardown);

static bool open_bzimage(void)
{
	glob_t found = {0};

	g.params.kernel = file_open(getenv("VMM_TEST_BZIMAGE"));
	if (g.params.kernel.fd < 0 && glob("/boot/vmlinuz-*", 0, NULL, &found) == 0)
		g.params.kernel = file_open(found.gl_pathv[0]);
	g.params.kernel.name = "vmlinuz";
	globfree(&found);
	if (g.params.kernel.fd < 0)
		cr_skip("no bzImage here: set VMM_TEST_BZIMAGE");
	return g.params.kernel.fd >= 0;
}

static bool open_vmlinux(void)
{
	g.params.kernel = file_open(getenv("VMM_TEST_VMLINUX"));
	if (g.params.kernel.fd < 0)
		cr_skip("no vmlinux here: set VMM_TEST_VMLINUX");
	return g.params.kernel.fd >= 0;
}

Test(real, bzimage_is_loaded_for_its_64_bit_entry)
{
	uint32_t limit = 0;

	if (!open_bzimage())
		return;
	g.params.initrd = file_sparse("initrd", 12345);
	guest_boot(&g);
	cr_assert_eq(g.entry.protocol, BOOT_LINUX64);
	cr_assert_eq(g.entry.kind, KERNEL_BZIMAGE);
	/* startup_64 begins with cld; cli on every kernel so far. */
	cr_assert_eq(memcmp(guest_at(&g, g.entry.rip, 2), "\xfc\xfa", 2), 0);
	cr_assert_eq(boot_cmdline_limit(&g.params.kernel, &limit, &g.err), 0);
	cr_assert_eq(limit, 2047);
}

Test(real, vmlinux_by_its_pvh_note)
{
	if (!open_vmlinux())
		return;
	guest_boot(&g);
	cr_assert_eq(g.entry.protocol, BOOT_PVH);
	cr_assert_eq(g.entry.kind, KERNEL_ELF_PVH);
	cr_assert_eq(*(uint8_t *)guest_at(&g, g.entry.rip, 1), 0xfc, "cld");
}

Test(real, vmlinux_by_its_64_bit_entry)
{
	if (!open_vmlinux())
		return;
	g.params.protocol = BOOT_LINUX64;
	guest_boot(&g);
	cr_assert_eq(g.entry.rip, MIB(16));
}
