/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small builder of AML, the byte code of ACPI definition blocks (ACPI 6.3, chapter 20). It writes
 * into a buffer of the caller, never past its end: what does not fit sets `failed`, further calls
 * do nothing, and the caller looks at `failed` once, at the end.
 *
 * Paths: names of up to four characters parted by dots, "\\" first for an absolute one
 * ("\\_SB.PCI0"); short names are filled up with '_'. Paths are ours, not input: a bad one is an
 * assertion.
 */
#ifndef VMM_BOOT_AML_H
#define VMM_BOOT_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct aml {
	uint8_t *buf;
	size_t cap, len;
	bool failed;
};

/* Data. Numbers take the shortest form. */
void aml_byte(struct aml *aml, uint8_t byte);
void aml_bytes(struct aml *aml, const void *bytes, size_t len);
void aml_path(struct aml *aml, const char *path);
void aml_int(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
/* A Buffer of these bytes. */
void aml_buffer(struct aml *aml, const void *bytes, size_t len);
/* "PNP0A08" as a compressed id (ACPI 6.3, 19.3.4, EISAID). */
void aml_eisa_id(struct aml *aml, const char *id);
/* "33db4d5b-1ff7-401c-9657-7441c03dd766" as a Buffer (ToUUID). */
void aml_uuid(struct aml *aml, const char *uuid);

/* Name(path, ...): the object that follows is its value. The others are whole statements. */
void aml_name(struct aml *aml, const char *path);
void aml_name_int(struct aml *aml, const char *path, uint64_t value);
void aml_name_string(struct aml *aml, const char *path, const char *text);
void aml_name_eisa_id(struct aml *aml, const char *path, const char *id);

/*
 * Blocks: aml_*_begin() returns a mark, aml_end(mark) closes the block and gives it its package
 * length. Blocks nest; close them in reverse.
 */
size_t aml_scope_begin(struct aml *aml, const char *path) must_check;
size_t aml_device_begin(struct aml *aml, const char *path) must_check;
size_t aml_method_begin(struct aml *aml, const char *path, unsigned n_args,
			bool serialized) must_check;
size_t aml_package_begin(struct aml *aml, uint8_t n_elements) must_check;
/* The condition follows, then the statements. */
size_t aml_if_begin(struct aml *aml) must_check;
size_t aml_else_begin(struct aml *aml) must_check;
void aml_end(struct aml *aml, size_t mark);

/* OperationRegion in system I/O space and a Field of 8 bits at its start, byte access, no lock. */
void aml_io_region(struct aml *aml, const char *path, uint16_t port, uint8_t len);
void aml_byte_field(struct aml *aml, const char *region, const char *field);

/* Terms and statements (ACPI 6.3, 20.2.5, 20.2.6). */
enum aml_op {
	AML_LOCAL0 = 0x60,
	AML_ARG0 = 0x68,
	AML_ARG1 = 0x69,
	AML_ARG3 = 0x6b,
	AML_STORE = 0x70,	 /* source, target */
	AML_AND = 0x7b,		 /* a, b, target */
	AML_OR = 0x7d,		 /* a, b, target */
	AML_NOTIFY = 0x86,	 /* object, value */
	AML_CREATE_DWORD = 0x8a, /* buffer, byte index, name */
	AML_LNOT = 0x92,	 /* a */
	AML_LEQUAL = 0x93,	 /* a, b */
	AML_RETURN = 0xa4,	 /* value */
};
/* The operator alone: its operands follow. */
void aml_op(struct aml *aml, enum aml_op op);
/* No target: the result is only a value. */
void aml_no_target(struct aml *aml);

/*
 * Resource templates (ACPI 6.3, 6.4). Collected apart, then written as `Name(_CRS,
 * ResourceTemplate(){...})`, which puts the end tag.
 */
struct aml_crs {
	uint8_t bytes[256];
	struct aml aml;
};
void aml_crs_init(struct aml_crs *crs);
void aml_name_crs(struct aml *aml, const struct aml_crs *crs);

/* Fixed ports, 16-bit decode. */
void aml_crs_io(struct aml_crs *crs, uint16_t port, uint8_t len);
/* One interrupt: edge, active high, exclusive. */
void aml_crs_edge_irq(struct aml_crs *crs, uint32_t gsi);
/* Memory that the device itself takes up. */
void aml_crs_memory32(struct aml_crs *crs, uint32_t base, uint32_t len);
void aml_crs_memory64(struct aml_crs *crs, uint64_t base, uint64_t len);
/* Windows that a bridge hands on to what lies behind it. [base, base + len), len not 0. */
void aml_crs_bus_window(struct aml_crs *crs, uint16_t first, uint16_t count);
void aml_crs_io_window(struct aml_crs *crs, uint16_t base, uint16_t len);
void aml_crs_memory32_window(struct aml_crs *crs, uint32_t base, uint32_t len);
void aml_crs_memory64_window(struct aml_crs *crs, uint64_t base, uint64_t len);

#endif
