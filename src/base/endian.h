/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Little-endian values as types of their own: arithmetic on one does not compile, and no sparse is
 * needed. Unaligned access goes through the get/put functions on bytes.
 */
#ifndef VMM_BASE_ENDIAN_H
#define VMM_BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

typedef struct {
	uint16_t raw;
} le16_t;
typedef struct {
	uint32_t raw;
} le32_t;
typedef struct {
	uint64_t raw;
} le64_t;

static inline uint16_t le16_get(le16_t v)
{
	return le16toh(v.raw);
}

static inline uint32_t le32_get(le32_t v)
{
	return le32toh(v.raw);
}

static inline uint64_t le64_get(le64_t v)
{
	return le64toh(v.raw);
}

static inline le16_t le16_make(uint16_t v)
{
	return (le16_t){htole16(v)};
}

static inline le32_t le32_make(uint32_t v)
{
	return (le32_t){htole32(v)};
}

static inline le64_t le64_make(uint64_t v)
{
	return (le64_t){htole64(v)};
}

static inline uint16_t get_le16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static inline uint32_t get_le32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t get_le64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline void put_le16(void *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put_le32(void *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put_le64(void *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

/* The `size` low bytes (1, 2, 4 or 8) as a register access sees them. */
static inline uint64_t get_le_n(const void *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p, size);
	return le64toh(v);
}

static inline void put_le_n(void *p, unsigned size, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, size);
}

#endif
