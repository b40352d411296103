/* SPDX-License-Identifier: Apache-2.0 */
/* Resource descriptors (ACPI 6.3, 6.4): small ones (tag, fields) and large ones (tag, 16-bit
 * length, fields). */
#include "base/endian.h"
#include "boot/aml.h"

enum {
	RES_IO = 0x47,		/* small, 7 bytes */
	RES_END = 0x79,		/* small, 1 byte */
	RES_MEMORY32 = 0x86,	/* 32-bit fixed memory range */
	RES_DWORD_SPACE = 0x87, /* address space descriptors */
	RES_WORD_SPACE = 0x88,
	RES_INTERRUPT = 0x89, /* extended interrupt */
	RES_QWORD_SPACE = 0x8a,
};

enum { SPACE_MEMORY, SPACE_IO, SPACE_BUS };

/* General flags of an address space descriptor (ACPI 6.3, 6.4.3.5.1). */
enum { SPACE_CONSUMER = 1, SPACE_FIXED = 4 | 8 }; /* first and last are fixed */

/* Type-specific flags (6.4.3.5.5). */
enum { MEMORY_READ_WRITE = 1, IO_ENTIRE_RANGE = 3 };

enum { IRQ_CONSUMER = 1, IRQ_EDGE = 2, IO_DECODE16 = 1, MEMORY32_READ_WRITE = 1 };

void aml_crs_init(struct aml_crs *crs)
{
	crs->aml = (struct aml){.buf = crs->bytes, .cap = sizeof(crs->bytes)};
}

void aml_name_crs(struct aml *aml, const struct aml_crs *crs)
{
	struct aml_crs whole = *crs;

	whole.aml.buf = whole.bytes;
	aml_byte(&whole.aml, RES_END);
	aml_byte(&whole.aml, 0); /* checksum: 0 means "not used" */
	aml->failed |= whole.aml.failed;
	aml_name(aml, "_CRS");
	aml_buffer(aml, whole.bytes, whole.aml.len);
}

/* The `size` low bytes of v, little-endian. */
static void number(struct aml *aml, uint64_t v, unsigned size)
{
	uint8_t raw[8];

	put_le64(raw, v);
	aml_bytes(aml, raw, size);
}

static void large_header(struct aml *aml, uint8_t tag, uint16_t len)
{
	aml_byte(aml, tag);
	number(aml, len, 2);
}

void aml_crs_io(struct aml_crs *crs, uint16_t port, uint8_t len)
{
	struct aml *aml = &crs->aml;

	aml_byte(aml, RES_IO);
	aml_byte(aml, IO_DECODE16);
	number(aml, port, 2);
	number(aml, port, 2);
	aml_byte(aml, 1); /* alignment */
	aml_byte(aml, len);
}

void aml_crs_edge_irq(struct aml_crs *crs, uint32_t gsi)
{
	large_header(&crs->aml, RES_INTERRUPT, 6);
	aml_byte(&crs->aml, IRQ_CONSUMER | IRQ_EDGE);
	aml_byte(&crs->aml, 1); /* how many follow */
	number(&crs->aml, gsi, 4);
}

void aml_crs_memory32(struct aml_crs *crs, uint32_t base, uint32_t len)
{
	large_header(&crs->aml, RES_MEMORY32, 9);
	aml_byte(&crs->aml, MEMORY32_READ_WRITE);
	number(&crs->aml, base, 4);
	number(&crs->aml, len, 4);
}

struct space {
	uint8_t tag, type, flags, type_flags;
	uint64_t base, len;
};

/* Granularity, first, last, translation and length are numbers of 2, 4 or 8 bytes, by the tag. */
static void address_space(struct aml_crs *crs, const struct space *s)
{
	struct aml *aml = &crs->aml;
	unsigned size = s->tag == RES_WORD_SPACE ? 2 : s->tag == RES_DWORD_SPACE ? 4 : 8;

	large_header(aml, s->tag, (uint16_t)(3 + 5 * size));
	aml_byte(aml, s->type);
	aml_byte(aml, s->flags);
	aml_byte(aml, s->type_flags);
	number(aml, 0, size);
	number(aml, s->base, size);
	number(aml, s->base + (s->len - 1), size);
	number(aml, 0, size);
	number(aml, s->len, size);
}

static void memory_space(struct aml_crs *crs, uint8_t tag, uint8_t more_flags, uint64_t base,
			 uint64_t len)
{
	address_space(crs, &(struct space){.tag = tag,
					   .type = SPACE_MEMORY,
					   .flags = (uint8_t)(SPACE_FIXED | more_flags),
					   .type_flags = MEMORY_READ_WRITE,
					   .base = base,
					   .len = len});
}

void aml_crs_memory64(struct aml_crs *crs, uint64_t base, uint64_t len)
{
	memory_space(crs, RES_QWORD_SPACE, SPACE_CONSUMER, base, len);
}

void aml_crs_memory32_window(struct aml_crs *crs, uint32_t base, uint32_t len)
{
	memory_space(crs, RES_DWORD_SPACE, 0, base, len);
}

void aml_crs_memory64_window(struct aml_crs *crs, uint64_t base, uint64_t len)
{
	memory_space(crs, RES_QWORD_SPACE, 0, base, len);
}

void aml_crs_bus_window(struct aml_crs *crs, uint16_t first, uint16_t count)
{
	address_space(crs, &(struct space){.tag = RES_WORD_SPACE,
					   .type = SPACE_BUS,
					   .flags = SPACE_FIXED,
					   .base = first,
					   .len = count});
}

void aml_crs_io_window(struct aml_crs *crs, uint16_t base, uint16_t len)
{
	address_space(crs, &(struct space){.tag = RES_WORD_SPACE,
					   .type = SPACE_IO,
					   .flags = SPACE_FIXED,
					   .type_flags = IO_ENTIRE_RANGE,
					   .base = base,
					   .len = len});
}
