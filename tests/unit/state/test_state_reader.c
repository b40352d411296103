/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32.h"
#include "base/endian.h"
#include "state/state.h"

/* A state that a test may spoil. */
static uint8_t file[4096];
static size_t file_len;
static struct state_reader *reader;
static uint8_t *exact; /* what it reads: of just the right size, so that a sanitizer sees more */
static struct err err;

static void keep(struct state_writer *w)
{
	const void *bytes;
	size_t len;

	cr_assert_eq(state_finish(w, &bytes, &len), 0);
	cr_assert_leq(len, sizeof(file));
	memcpy(file, bytes, len);
	file_len = len;
	state_writer_free(w);
}

static void set_up(void)
{
	struct state_writer *w = NULL;

	cr_assert_eq(state_writer_new(&w), 0);
	state_begin(w, "disk0", "virtio-blk", 2);
	state_put_u8(w, 0x11);
	state_put_u16(w, 0x2222);
	state_put_u32(w, 0x33333333);
	state_put_u64(w, UINT64_C(0x4444444444444444));
	state_put_bool(w, true);
	state_put_bytes(w, "five!", 5);
	state_end(w);
	state_begin(w, "empty", "nothing", 1);
	state_end(w);
	state_begin(w, "net0", "virtio-net", 1);
	state_put_u32(w, 7);
	state_end(w);
	keep(w);
	err = (struct err){0};
}

static void tear_down(void)
{
	reader = state_reader_free(reader);
	free(exact);
}

TestSuite(state_reader, .init = set_up, .fini = tear_down);

static int load(size_t len)
{
	int r;

	reader = state_reader_free(reader);
	free(exact);
	exact = malloc(len ? len : 1);
	cr_assert_not_null(exact);
	memcpy(exact, file, len);
	err = (struct err){0};
	r = state_reader_new(exact, len, &reader, &err);
	if (r < 0)
		cr_assert(err.code == r && strncmp(err.msg, "saved state: ", 13) == 0);
	return r;
}

static void reseal(void)
{
	put_le32(file + file_len - 4, crc32_update(0, file, file_len - 4));
}

static void read_disk(void)
{
	char text[5];

	cr_assert_eq(state_version(reader), 2);
	cr_assert_eq(state_get_u8(reader), 0x11);
	cr_assert_eq(state_get_u16(reader), 0x2222);
	cr_assert_eq(state_get_u32(reader), 0x33333333);
	cr_assert_eq(state_get_u64(reader), UINT64_C(0x4444444444444444));
	cr_assert(state_get_bool(reader));
	state_get_bytes(reader, text, 5);
	cr_assert_arr_eq(text, "five!", 5);
}

Test(state_reader, gives_back_what_was_written_in_any_order)
{
	cr_assert_eq(load(file_len), 0, "%s", err.msg);
	cr_assert_eq(state_open(reader, "net0", "virtio-net", 1, &err), 0);
	cr_assert_eq(state_get_u32(reader), 7);
	cr_assert_eq(state_close(reader, &err), 0);
	cr_assert_eq(state_open(reader, "disk0", "virtio-blk", 9, &err), 0);
	read_disk();
	cr_assert_eq(state_close(reader, &err), 0);
	cr_assert_eq(state_open(reader, "empty", "nothing", 1, &err), 0);
	cr_assert_eq(state_close(reader, &err), 0);
	cr_assert_eq(err.code, 0);
}

Test(state_reader, next_tells_what_nobody_has_opened)
{
	struct state_section s;

	cr_assert_eq(load(file_len), 0);
	cr_assert(state_next(reader, &s));
	cr_assert_str_eq(s.name, "disk0");
	cr_assert_str_eq(s.type, "virtio-blk");
	cr_assert_eq(s.version, 2);
	cr_assert_eq(s.len, 21);
	cr_assert_eq(state_open(reader, "empty", "nothing", 1, &err), 0);
	cr_assert_eq(state_close(reader, &err), 0);
	cr_assert(state_next(reader, &s));
	cr_assert_str_eq(s.name, "net0");
	cr_assert_not(state_next(reader, &s));
	cr_assert_not(state_next(reader, &s));
}

Test(state_reader, every_shorter_file_is_cut_off)
{
	for (size_t len = 0; len < file_len; len++) {
		cr_assert_eq(load(len), -ENODATA, "%zu bytes", len);
		cr_assert(strstr(err.msg, "cut off"), "%s", err.msg);
		cr_assert_null(reader);
	}
}

Test(state_reader, every_flipped_bit_is_found)
{
	for (size_t bit = 0; bit < file_len * 8; bit++) {
		file[bit / 8] ^= (uint8_t)(1U << bit % 8);
		cr_assert_lt(load(file_len), 0, "bit %zu", bit);
		file[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	cr_assert_eq(load(file_len), 0);
}

/* Somebody who means it makes the checksum right as well: no access outside, and what is read is
 * still bounded. */
Test(state_reader, every_changed_byte_under_a_right_checksum_is_survived)
{
	for (size_t at = 0; at < file_len - 4; at++) {
		uint8_t was = file[at];

		for (unsigned v = 0; v < 256; v++) {
			struct state_section s;

			file[at] = (uint8_t)v;
			reseal();
			if (load(file_len) < 0)
				continue;
			while (state_next(reader, &s)) {
				if (state_open(reader, s.name, s.type, s.version, &err) < 0)
					continue;
				for (size_t i = 0; i <= s.len / 8; i++)
					(void)state_get_u64(reader);
				cr_assert_eq(state_close(reader, &err), -ENODATA);
			}
		}
		file[at] = was;
	}
}

Test(state_reader, other_file_is_refused_by_its_first_bytes)
{
	file[0] = 'v';
	reseal();
	cr_assert_eq(load(file_len), -EINVAL);
	cr_assert(strstr(err.msg, "no saved state"), "%s", err.msg);
}

Test(state_reader, other_format_is_refused_by_its_number)
{
	file[8] = 2;
	reseal();
	cr_assert_eq(load(file_len), -EPROTONOSUPPORT);
	cr_assert(strstr(err.msg, "format 2"), "%s", err.msg);
}

Test(state_reader, bytes_behind_the_end_are_refused)
{
	file[file_len] = 0;
	cr_assert_eq(load(file_len + 1), -EMSGSIZE);
	cr_assert(strstr(err.msg, "1 bytes behind"), "%s", err.msg);
}

/* Where the length of the first section lies. */
enum { LENGTH_AT = 12 + 6 + 11 + 4 };

Test(state_reader, huge_lengths_are_cut_off)
{
	static const uint64_t lengths[] = {
		UINT64_MAX, UINT64_MAX - 33, INT64_MAX, UINT64_C(1) << 32, sizeof(file),
	};

	cr_assert_eq(get_le64(file + LENGTH_AT), 21);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		put_le64(file + LENGTH_AT, lengths[i]);
		reseal();
		cr_assert_eq(load(file_len), -ENODATA);
		cr_assert(strstr(err.msg, "'disk0'"), "%s", err.msg);
	}
}

Test(state_reader, names_are_short_and_printable)
{
	file[12] = 64;
	reseal();
	cr_assert_eq(load(file_len), -EINVAL);
	file[12] = 5;
	file[13] = '\n';
	reseal();
	cr_assert_eq(load(file_len), -EINVAL);
	cr_assert(strstr(err.msg, "0x0a"), "%s", err.msg);
	file[13] = 'd';
	file[18] = 0; /* of the type */
	reseal();
	cr_assert_eq(load(file_len), -EINVAL);
}

Test(state_reader, longest_name_fits)
{
	static const char name[] =
		"0123456789012345678901234567890123456789012345678901234567890ab";
	struct state_writer *w = NULL;
	struct state_section s;

	cr_assert_eq(state_writer_new(&w), 0);
	state_begin(w, name, name, UINT32_MAX);
	state_end(w);
	keep(w);
	cr_assert_eq(load(file_len), 0, "%s", err.msg);
	cr_assert(state_next(reader, &s));
	cr_assert_str_eq(s.name, name);
	cr_assert_eq(state_open(reader, name, name, UINT32_MAX, &err), 0);
	cr_assert_eq(state_close(reader, &err), 0);
}

Test(state_reader, two_sections_of_one_name_are_refused)
{
	struct state_writer *w = NULL;

	cr_assert_eq(state_writer_new(&w), 0);
	state_begin(w, "a", "t", 1);
	state_end(w);
	state_begin(w, "a", "u", 1);
	state_end(w);
	keep(w);
	cr_assert_eq(load(file_len), -EEXIST);
	cr_assert(strstr(err.msg, "'a'"), "%s", err.msg);
}

Test(state_reader, missing_section_wrong_type_and_wrong_version_are_told_apart)
{
	cr_assert_eq(load(file_len), 0);
	cr_assert_eq(state_open(reader, "disk1", "virtio-blk", 2, &err), -ENOENT);
	cr_assert(strstr(err.msg, "'disk1'"), "%s", err.msg);
	err = (struct err){0};
	cr_assert_eq(state_open(reader, "disk0", "virtio-net", 2, &err), -EPROTO);
	cr_assert(strstr(err.msg, "virtio-blk"), "%s", err.msg);
	err = (struct err){0};
	cr_assert_eq(state_open(reader, "disk0", "virtio-blk", 1, &err), -EPROTO);
	cr_assert(strstr(err.msg, "version 2"), "%s", err.msg);
	/* None of them counts as opened. */
	cr_assert_eq(state_open(reader, "disk0", "virtio-blk", 2, &err), 0);
	read_disk();
	cr_assert_eq(state_close(reader, &err), 0);
	cr_assert_eq(state_open(reader, "disk0", "virtio-blk", 2, &err), -ENOENT,
		     "a section is loaded once");
}

Test(state_reader, version_0_is_never_right)
{
	put_le32(file + LENGTH_AT - 4, 0);
	reseal();
	cr_assert_eq(load(file_len), 0);
	cr_assert_eq(state_open(reader, "disk0", "virtio-blk", 2, &err), -EPROTO);
}

Test(state_reader, payload_left_over_is_refused)
{
	cr_assert_eq(load(file_len), 0);
	cr_assert_eq(state_open(reader, "disk0", "virtio-blk", 2, &err), 0);
	(void)state_get_u64(reader);
	cr_assert_eq(state_close(reader, &err), -EMSGSIZE);
	cr_assert(strstr(err.msg, "21 bytes long, 13 more"), "%s", err.msg);
}

Test(state_reader, first_failure_sticks_and_later_values_are_zero)
{
	char text[4] = "abc";

	cr_assert_eq(load(file_len), 0);
	cr_assert_eq(state_open(reader, "net0", "virtio-net", 1, &err), 0);
	cr_assert_eq(state_get_u64(reader), 0, "4 bytes are no 8");
	cr_assert_eq(state_get_u32(reader), 0, "the 4 bytes are not read after that");
	cr_assert_not(state_get_bool(reader));
	state_get_bytes(reader, text, sizeof(text));
	cr_assert_arr_eq(text, "\0\0\0\0", 4);
	state_fail(reader, "not this one");
	cr_assert_eq(state_close(reader, &err), -ENODATA);
	cr_assert(strstr(err.msg, "'net0' (virtio-net) is too short"), "%s", err.msg);
	/* The next one begins afresh. */
	cr_assert_eq(state_open(reader, "empty", "nothing", 1, &err), 0);
	cr_assert_eq(state_close(reader, &err), 0);
}

Test(state_reader, length_that_would_wrap_is_no_value)
{
	char text[4];

	cr_assert_eq(load(file_len), 0);
	cr_assert_eq(state_open(reader, "net0", "virtio-net", 1, &err), 0);
	(void)state_get_u8(reader);
	state_get_bytes(reader, text, 4);
	cr_assert_arr_eq(text, "\0\0\0\0", 4);
	cr_assert_eq(state_close(reader, &err), -ENODATA);
}

Test(state_reader, loader_tells_what_is_wrong_with_a_value)
{
	cr_assert_eq(load(file_len), 0);
	cr_assert_eq(state_open(reader, "net0", "virtio-net", 1, &err), 0);
	cr_assert_eq(state_get_u32(reader), 7);
	state_fail(reader, "no queue has 7 entries");
	state_fail(reader, "second");
	cr_assert_eq(state_close(reader, &err), -EINVAL);
	cr_assert(strstr(err.msg, "byte 4: no queue has 7 entries"), "%s", err.msg);
}

Test(state_reader, bool_is_0_or_1)
{
	file[file_len - 5 - 4] = 2; /* the first byte of net0's payload */
	reseal();
	cr_assert_eq(load(file_len), 0);
	cr_assert_eq(state_open(reader, "net0", "virtio-net", 1, &err), 0);
	cr_assert_not(state_get_bool(reader));
	cr_assert_eq(state_close(reader, &err), -EINVAL);
}

Test(state_reader, free_takes_null)
{
	cr_assert_null(state_reader_free(NULL));
}
