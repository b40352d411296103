/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/compiler.h"
#include "boot/aml.h"

static uint8_t buf[0x110000];

static struct aml fresh(void)
{
	memset(buf, 0xee, sizeof(buf));
	return (struct aml){.buf = buf, .cap = sizeof(buf)};
}

static void bytes_are(const struct aml *aml, const void *want, size_t len)
{
	cr_assert_not(aml->failed);
	cr_assert_eq(aml->len, len, "%zu bytes instead of %zu", aml->len, len);
	for (size_t i = 0; i < len; i++)
		cr_assert_eq(buf[i], ((const uint8_t *)want)[i], "byte %zu is %#x", i, buf[i]);
}

#define BYTES_ARE(aml, ...)                                                                        \
	do {                                                                                       \
		static const uint8_t want_[] = {__VA_ARGS__};                                      \
		bytes_are(aml, want_, sizeof(want_));                                              \
	} while (0)

Test(aml, int__takes_the_shortest_form)
{
	struct aml aml = fresh();

	aml_int(&aml, 0);
	aml_int(&aml, 1);
	aml_int(&aml, 2);
	aml_int(&aml, 0xff);
	aml_int(&aml, 0x100);
	aml_int(&aml, 0x10000);
	aml_int(&aml, 0x100000000);
	BYTES_ARE(&aml, 0x00, 0x01, 0x0a, 0x02, 0x0a, 0xff, 0x0b, 0x00, 0x01, 0x0c, 0x00, 0x00,
		  0x01, 0x00, 0x0e, 0, 0, 0, 0, 1, 0, 0, 0);
}

Test(aml, path__one_two_and_three_segments)
{
	struct aml aml = fresh();

	aml_path(&aml, "PCI0");
	aml_path(&aml, "\\_SB");
	aml_path(&aml, "\\_SB.GED");
	aml_path(&aml, "A.B.C");
	BYTES_ARE(&aml, 'P', 'C', 'I', '0', '\\', '_', 'S', 'B', '_', '\\', 0x2e, '_', 'S', 'B',
		  '_', 'G', 'E', 'D', '_', 0x2f, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C',
		  '_', '_', '_');
}

Test(aml, eisa_id__pci_express_bridge)
{
	struct aml aml = fresh();

	aml_eisa_id(&aml, "PNP0A08");
	BYTES_ARE(&aml, 0x0c, 0x41, 0xd0, 0x0a, 0x08);
}

Test(aml, uuid__first_groups_are_little_endian)
{
	struct aml aml = fresh();

	aml_uuid(&aml, "33db4d5b-1ff7-401c-9657-7441c03dd766");
	BYTES_ARE(&aml, 0x11, 0x13, 0x0a, 16, 0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40, 0x96,
		  0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66);
}

/* A scope "AAAA" with n bytes more in it; returns what its package length says and checks the
 * content. */
static size_t scope_length(size_t n, unsigned *ret_bytes)
{
	struct aml aml = fresh();
	size_t mark = aml_scope_begin(&aml, "AAAA"), length;
	unsigned more;

	for (size_t i = 0; i < n; i++)
		aml_byte(&aml, (uint8_t)(i * 3));
	aml_end(&aml, mark);
	cr_assert_not(aml.failed);
	more = buf[1] >> 6;
	length = more ? buf[1] & 0xf : buf[1] & 0x3f;
	for (unsigned i = 0; i < more; i++)
		length |= (size_t)buf[2 + i] << (4 + 8 * i);
	cr_assert_eq(memcmp(buf + 2 + more, "AAAA", 4), 0);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(buf[6 + more + i], (uint8_t)(i * 3));
	cr_assert_eq(aml.len, 1 + length);
	*ret_bytes = more + 1;
	return length;
}

Test(aml, package_length__right_at_each_boundary)
{
	static const struct {
		size_t n;
		unsigned bytes;
	} cases[] = {{0, 1}, {58, 1}, {59, 2}, {4089, 2}, {4090, 3}, {1048568, 3}, {1048569, 4}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned bytes = 0;
		size_t length = scope_length(cases[i].n, &bytes);

		cr_assert_eq(bytes, cases[i].bytes, "%zu bytes", cases[i].n);
		cr_assert_eq(length, bytes + 4 + cases[i].n);
	}
}

Test(aml, overflow__fails_and_writes_nothing_past_the_end)
{
	for (size_t cap = 0; cap < 40; cap++) {
		struct aml aml = fresh();
		size_t scope;

		aml.cap = cap;
		scope = aml_scope_begin(&aml, "\\_SB");
		aml_name_string(&aml, "_HID", "a string of some length");
		aml_end(&aml, scope);
		cr_assert_eq(aml.failed, true, "cap %zu", cap);
		cr_assert_eq(buf[cap], 0xee);
	}
}

Test(aml, crs__too_many_resources_fail_the_whole)
{
	struct aml aml = fresh();
	struct aml_crs crs;

	aml_crs_init(&crs);
	for (int i = 0; i < 6; i++)
		aml_crs_memory64_window(&crs, 0x100000000, 0x1000);
	aml_name_crs(&aml, &crs);
	cr_assert(aml.failed);
}

Test(aml, crs__io_and_irq)
{
	struct aml aml = fresh();
	struct aml_crs crs;

	aml_crs_init(&crs);
	aml_crs_io(&crs, 0x3f8, 8);
	aml_crs_edge_irq(&crs, 4);
	aml_name_crs(&aml, &crs);
	BYTES_ARE(&aml, 0x08, '_', 'C', 'R', 'S', 0x11, 22, 0x0a, 19, 0x47, 1, 0xf8, 0x03, 0xf8,
		  0x03, 1, 8, 0x89, 6, 0, 3, 1, 4, 0, 0, 0, 0x79, 0);
}
