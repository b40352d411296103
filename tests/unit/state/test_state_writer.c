/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32.h"
#include "base/endian.h"
#include "state/state.h"

Test(state_writer, bytes_are_the_documented_ones)
{
	static const uint8_t expected[] = "VMMSTATE\1\0\0\0"
					  "\2a0\4type\3\0\0\0\x16\0\0\0\0\0\0\0"
					  "\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee"
					  "\xff\1\0bytes"
					  "\1b\1t\1\0\0\0\0\0\0\0\0\0\0\0"
					  "\0";
	struct state_writer *w = NULL;
	const void *bytes;
	size_t len;

	cr_assert_eq(state_writer_new(&w), 0);
	state_begin(w, "a0", "type", 3);
	state_put_u8(w, 0x11);
	state_put_u16(w, 0x3322);
	state_put_u32(w, 0x77665544);
	state_put_u64(w, UINT64_C(0xffeeddccbbaa9988));
	state_put_bool(w, true);
	state_put_bool(w, false);
	state_put_bytes(w, "bytes", 5);
	state_end(w);
	state_begin(w, "b", "t", 1);
	state_put_bytes(w, NULL, 0);
	state_end(w);
	cr_assert_eq(state_finish(w, &bytes, &len), 0);
	cr_assert_eq(len, sizeof(expected) - 1 + 4);
	cr_assert_arr_eq(bytes, expected, sizeof(expected) - 1);
	cr_assert_eq(get_le32((const uint8_t *)bytes + len - 4), crc32_update(0, bytes, len - 4));
	cr_assert_null(state_writer_free(w));
}

Test(state_writer, grows_as_far_as_needed)
{
	static uint8_t block[100000];
	struct state_writer *w = NULL;
	const void *bytes;
	size_t len;

	memset(block, 0x5a, sizeof(block));
	cr_assert_eq(state_writer_new(&w), 0);
	state_begin(w, "big", "blocks", 1);
	for (int i = 0; i < 100; i++)
		state_put_bytes(w, block, sizeof(block));
	state_end(w);
	cr_assert_eq(state_finish(w, &bytes, &len), 0);
	cr_assert_gt(len, 100 * sizeof(block));
	cr_assert_arr_eq((const uint8_t *)bytes + len - 5 - sizeof(block), block, sizeof(block));
	state_writer_free(w);
}

Test(state_writer, running_out_of_memory_sticks_until_finish)
{
	struct state_writer *w = NULL;
	const void *bytes = NULL;
	size_t len = 7;

	cr_assert_eq(state_writer_new(&w), 0);
	state_begin(w, "a", "t", 1);
	/* Longer than an address space: never read. */
	state_put_bytes(w, "x", SIZE_MAX - 4);
	state_put_u8(w, 1);
	state_end(w);
	state_begin(w, "b", "t", 1);
	state_put_u64(w, 1);
	state_end(w);
	cr_assert_eq(state_finish(w, &bytes, &len), -ENOMEM);
	cr_assert_null(bytes);
	cr_assert_eq(len, 7);
	state_writer_free(w);
}

Test(state_writer, more_sections_than_a_reader_takes_is_a_failure)
{
	struct state_writer *w = NULL;
	const void *bytes;
	size_t len;

	cr_assert_eq(state_writer_new(&w), 0);
	for (int i = 0; i < 4097; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "n%d", i);
		state_begin(w, name, "t", 1);
		state_end(w);
	}
	cr_assert_eq(state_finish(w, &bytes, &len), -E2BIG);
	state_writer_free(w);
}

Test(state_writer, free_takes_null)
{
	cr_assert_null(state_writer_free(NULL));
}
