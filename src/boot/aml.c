/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/aml.h"

#include <string.h>

#include "base/assert.h"
#include "base/endian.h"

/* Opcodes and prefixes (ACPI 6.3, table 20-440). */
enum {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_DUAL_NAME = 0x2e,
	OP_MULTI_NAME = 0x2f,
	OP_EXT = 0x5b,
	EXT_REGION = 0x80,
	EXT_FIELD = 0x81,
	EXT_DEVICE = 0x82,
	OP_IF = 0xa0,
	OP_ELSE = 0xa1,
};

enum { NAME_SEG = 4, METHOD_SERIALIZED = 1 << 3, REGION_SYSTEM_IO = 1, FIELD_BYTE_ACCESS = 1 };

void aml_bytes(struct aml *aml, const void *bytes, size_t len)
{
	if (aml->failed || len > aml->cap - aml->len) {
		aml->failed = true;
		return;
	}
	memcpy(aml->buf + aml->len, bytes, len);
	aml->len += len;
}

void aml_byte(struct aml *aml, uint8_t byte)
{
	aml_bytes(aml, &byte, 1);
}

static void name_seg(struct aml *aml, const char *name, size_t len)
{
	char seg[NAME_SEG] = {'_', '_', '_', '_'};

	vmm_assert(len >= 1 && len <= NAME_SEG);
	memcpy(seg, name, len);
	aml_bytes(aml, seg, sizeof(seg));
}

static uint8_t count_segs(const char *path)
{
	uint8_t n = 1;

	for (; *path; path++)
		n = (uint8_t)(n + (*path == '.'));
	return n;
}

/* ACPI 6.3, 20.2.2: NameString. */
void aml_path(struct aml *aml, const char *path)
{
	uint8_t n;

	if (*path == '\\')
		aml_byte(aml, (uint8_t)*path++);
	n = count_segs(path);
	if (n == 2)
		aml_byte(aml, OP_DUAL_NAME);
	if (n > 2) {
		aml_byte(aml, OP_MULTI_NAME);
		aml_byte(aml, n);
	}
	for (;;) {
		size_t len = strcspn(path, ".");

		name_seg(aml, path, len);
		path += len;
		if (!*path++)
			return;
	}
}

void aml_int(struct aml *aml, uint64_t value)
{
	uint8_t raw[8];

	put_le64(raw, value);
	if (value <= 1) {
		aml_byte(aml, value ? OP_ONE : OP_ZERO);
	} else if (value <= UINT8_MAX) {
		aml_byte(aml, OP_BYTE);
		aml_bytes(aml, raw, 1);
	} else if (value <= UINT16_MAX) {
		aml_byte(aml, OP_WORD);
		aml_bytes(aml, raw, 2);
	} else if (value <= UINT32_MAX) {
		aml_byte(aml, OP_DWORD);
		aml_bytes(aml, raw, 4);
	} else {
		aml_byte(aml, OP_QWORD);
		aml_bytes(aml, raw, 8);
	}
}

void aml_string(struct aml *aml, const char *text)
{
	aml_byte(aml, OP_STRING);
	aml_bytes(aml, text, strlen(text) + 1);
}

/* Three letters of five bits, four hex digits of four; stored in big-endian order. */
void aml_eisa_id(struct aml *aml, const char *id)
{
	uint32_t v = 0;
	uint8_t raw[5] = {OP_DWORD};

	vmm_assert(strlen(id) == 7);
	for (int i = 0; i < 3; i++)
		v = v << 5 | (uint32_t)(id[i] - '@');
	for (int i = 3; i < 7; i++)
		v = v << 4 | (uint32_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
	raw[1] = (uint8_t)(v >> 24);
	raw[2] = (uint8_t)(v >> 16);
	raw[3] = (uint8_t)(v >> 8);
	raw[4] = (uint8_t)v;
	aml_bytes(aml, raw, sizeof(raw));
}

static uint8_t hex_digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* ACPI 6.3, 19.6.142: the place in the text of each byte; the first three groups are little-endian.
 */
void aml_uuid(struct aml *aml, const char *uuid)
{
	static const uint8_t place[16] = {6,  4,  2,  0,  11, 9,  16, 14,
					  19, 21, 24, 26, 28, 30, 32, 34};
	uint8_t raw[16];

	vmm_assert(strlen(uuid) == 36);
	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)(hex_digit(uuid[place[i]]) << 4 | hex_digit(uuid[place[i] + 1]));
	aml_buffer(aml, raw, sizeof(raw));
}

/* Room for the longest package length: aml_end() moves the content back over what it does not need.
 */
enum { PKG_LENGTH_MAX = 4 };

static size_t block_begin(struct aml *aml)
{
	static const uint8_t room[PKG_LENGTH_MAX];
	size_t mark = aml->len;

	aml_bytes(aml, room, sizeof(room));
	return mark;
}

/* ACPI 6.3, 20.2.4: the length counts its own bytes. Returns how many there are. */
static size_t pkg_length(uint8_t raw[PKG_LENGTH_MAX], size_t content)
{
	size_t n = content + 1 < 0x40	    ? 1
		   : content + 2 < 0x1000   ? 2
		   : content + 3 < 0x100000 ? 3
					    : 4;
	size_t length = content + n;

	if (n == 1) {
		raw[0] = (uint8_t)length;
		return n;
	}
	raw[0] = (uint8_t)((n - 1) << 6 | (length & 0xf));
	length >>= 4;
	for (size_t i = 1; i < n; i++, length >>= 8)
		raw[i] = (uint8_t)length;
	return n;
}

void aml_end(struct aml *aml, size_t mark)
{
	uint8_t raw[PKG_LENGTH_MAX];
	uint8_t *at = aml->buf + mark;
	size_t content, n;

	if (aml->failed)
		return;
	content = aml->len - mark - PKG_LENGTH_MAX;
	n = pkg_length(raw, content);
	memmove(at + n, at + PKG_LENGTH_MAX, content);
	memcpy(at, raw, n);
	aml->len = mark + n + content;
}

void aml_buffer(struct aml *aml, const void *bytes, size_t len)
{
	size_t mark;

	aml_byte(aml, OP_BUFFER);
	mark = block_begin(aml);
	aml_int(aml, len);
	aml_bytes(aml, bytes, len);
	aml_end(aml, mark);
}

void aml_name(struct aml *aml, const char *path)
{
	aml_byte(aml, OP_NAME);
	aml_path(aml, path);
}

void aml_name_int(struct aml *aml, const char *path, uint64_t value)
{
	aml_name(aml, path);
	aml_int(aml, value);
}

void aml_name_string(struct aml *aml, const char *path, const char *text)
{
	aml_name(aml, path);
	aml_string(aml, text);
}

void aml_name_eisa_id(struct aml *aml, const char *path, const char *id)
{
	aml_name(aml, path);
	aml_eisa_id(aml, id);
}

size_t aml_scope_begin(struct aml *aml, const char *path)
{
	size_t mark;

	aml_byte(aml, OP_SCOPE);
	mark = block_begin(aml);
	aml_path(aml, path);
	return mark;
}

size_t aml_device_begin(struct aml *aml, const char *path)
{
	size_t mark;

	aml_byte(aml, OP_EXT);
	aml_byte(aml, EXT_DEVICE);
	mark = block_begin(aml);
	aml_path(aml, path);
	return mark;
}

size_t aml_method_begin(struct aml *aml, const char *path, unsigned n_args, bool serialized)
{
	size_t mark;

	vmm_assert(n_args <= 7);
	aml_byte(aml, OP_METHOD);
	mark = block_begin(aml);
	aml_path(aml, path);
	aml_byte(aml, (uint8_t)(n_args | (serialized ? METHOD_SERIALIZED : 0)));
	return mark;
}

size_t aml_package_begin(struct aml *aml, uint8_t n_elements)
{
	size_t mark;

	aml_byte(aml, OP_PACKAGE);
	mark = block_begin(aml);
	aml_byte(aml, n_elements);
	return mark;
}

size_t aml_if_begin(struct aml *aml)
{
	aml_byte(aml, OP_IF);
	return block_begin(aml);
}

size_t aml_else_begin(struct aml *aml)
{
	aml_byte(aml, OP_ELSE);
	return block_begin(aml);
}

void aml_io_region(struct aml *aml, const char *path, uint16_t port, uint8_t len)
{
	aml_byte(aml, OP_EXT);
	aml_byte(aml, EXT_REGION);
	aml_path(aml, path);
	aml_byte(aml, REGION_SYSTEM_IO);
	aml_int(aml, port);
	aml_int(aml, len);
}

void aml_byte_field(struct aml *aml, const char *region, const char *field)
{
	size_t mark;

	aml_byte(aml, OP_EXT);
	aml_byte(aml, EXT_FIELD);
	mark = block_begin(aml);
	aml_path(aml, region);
	aml_byte(aml, FIELD_BYTE_ACCESS);
	name_seg(aml, field, strlen(field));
	aml_byte(aml, 8); /* its width, coded as a package length */
	aml_end(aml, mark);
}

void aml_op(struct aml *aml, enum aml_op op)
{
	aml_byte(aml, (uint8_t)op);
}

void aml_no_target(struct aml *aml)
{
	aml_byte(aml, OP_ZERO);
}
