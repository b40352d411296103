/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saved state: a stream of tagged, versioned sections. It knows no device.
 *
 *   file     magic, format version, sections, end mark with CRC-32 of all before
 *   section  name ("disk0"), type ("virtio-blk"), version, length, payload
 *
 * A payload is a row of little-endian numbers and byte strings in an order that its writer and its
 * reader agree on by the version. The reader trusts nothing: every get checks what is left, and the
 * first failure sticks, so that a load function reads all its fields and asks once at the end.
 * Main thread.
 */
#ifndef VMM_STATE_STATE_H
#define VMM_STATE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

/* ---- writing: into memory; running out of it sticks, as a failed read does ---- */

struct state_writer;

int state_writer_new(struct state_writer **ret) must_check;
struct state_writer *state_writer_free(struct state_writer *w);

/* Sections don't nest. Names and types: 1 to 63 bytes. */
void state_begin(struct state_writer *w, const char *name, const char *type, uint32_t version);
void state_end(struct state_writer *w);

void state_put_u8(struct state_writer *w, uint8_t v);
void state_put_u16(struct state_writer *w, uint16_t v);
void state_put_u32(struct state_writer *w, uint32_t v);
void state_put_u64(struct state_writer *w, uint64_t v);
void state_put_bool(struct state_writer *w, bool v);
void state_put_bytes(struct state_writer *w, const void *bytes, size_t len); /* no length written */

/* Adds the end mark. The bytes stay the writer's. 0 or -errno of the first failure. */
int state_finish(struct state_writer *w, const void **ret_bytes, size_t *ret_len) must_check;

/* ---- reading ---- */

struct state_reader;

/* Checks magic, version, all section headers and the CRC; bytes are borrowed. 0 or -errno with a
 * message that says what is wrong and where (offset): -ENODATA for a file that is cut off, -EBADMSG
 * for a damaged one. */
int state_reader_new(const void *bytes, size_t len, struct state_reader **ret,
		     struct err *err) must_check;
struct state_reader *state_reader_free(struct state_reader *r);

/* Goes through the sections in their order, once, past those that are opened already: name and
 * type, borrowed; false at the end. Asked once after everything known was opened, true is a section
 * that nobody knows. */
struct state_section {
	const char *name, *type;
	uint32_t version;
	size_t len;
};
bool state_next(struct state_reader *r, struct state_section *ret);

/* Opens the section of this name for the gets, each once. -ENOENT; -EPROTO when the type is
 * another, or the version is 0 or above max_version. */
int state_open(struct state_reader *r, const char *name, const char *type, uint32_t max_version,
	       struct err *err) must_check;
uint32_t state_version(const struct state_reader *r); /* of the open section */
/* Closes it. -ENODATA when a get went past the end, -EMSGSIZE when payload is left over, or what
 * state_fail() said. */
int state_close(struct state_reader *r, struct err *err) must_check;

/* 0, false or zero bytes after a failure. */
uint8_t state_get_u8(struct state_reader *r);
uint16_t state_get_u16(struct state_reader *r);
uint32_t state_get_u32(struct state_reader *r);
uint64_t state_get_u64(struct state_reader *r);
bool state_get_bool(struct state_reader *r); /* anything but 0 and 1 is a failure */
void state_get_bytes(struct state_reader *r, void *to, size_t len);
/* The loader found a value that can't be: state_close() says so with this text (static). */
void state_fail(struct state_reader *r, const char *what);

#endif
