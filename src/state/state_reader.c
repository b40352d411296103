/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/crc32.h"
#include "base/endian.h"
#include "state/state.h"
#include "state/state_format.h"

struct section {
	char name[STATE_NAME_MAX + 1], type[STATE_NAME_MAX + 1];
	uint32_t version;
	const uint8_t *payload;
	size_t len;
	bool opened;
};

struct state_reader {
	struct section *sections;
	unsigned n, next; /* next: where state_next() goes on */

	struct section *open;
	size_t at; /* in its payload */
	int failed;
	const char *why; /* of state_fail() */
};

DEFINE_CLEANUP(struct state_reader *, state_reader_free);

/* ---- the file as a whole ---- */

/* What is still to be looked at of the file. */
struct cursor {
	const uint8_t *bytes;
	size_t len, at;
};

static const uint8_t *take(struct cursor *c, uint64_t len)
{
	if (len > c->len - c->at)
		return NULL;
	c->at += (size_t)len;
	return c->bytes + c->at - (size_t)len;
}

static int cut_off(const struct cursor *c, const char *where, struct err *err)
{
	return err_set(err, -ENODATA, "saved state: cut off: it has %zu bytes and ends within %s",
		       c->len, where);
}

/* ret has room for STATE_NAME_MAX + 1. n is its length byte. */
static int read_text(struct cursor *c, unsigned n, char *ret, struct err *err)
{
	size_t start = c->at;
	const uint8_t *text;

	if (n == 0 || n > STATE_NAME_MAX)
		return err_set(err, -EINVAL,
			       "saved state: a name of %u bytes at offset %zu, but 1 to %u are "
			       "allowed",
			       n, start, (unsigned)STATE_NAME_MAX);
	text = take(c, n);
	if (!text)
		return cut_off(c, "the name of a section", err);
	for (unsigned i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return err_set(err, -EINVAL,
				       "saved state: byte 0x%02x in a name, at offset %zu", text[i],
				       start + i);
	memcpy(ret, text, n);
	ret[n] = '\0';
	return 0;
}

static int read_section(struct cursor *c, unsigned name_len, struct section *s, struct err *err)
{
	const uint8_t *p;
	uint64_t len;
	int r = read_text(c, name_len, s->name, err);

	if (r < 0)
		return r;
	p = take(c, 1);
	if (!p)
		return cut_off(c, "the head of a section", err);
	r = read_text(c, *p, s->type, err);
	if (r < 0)
		return r;
	p = take(c, 12);
	if (!p)
		return cut_off(c, "the head of a section", err);
	s->version = get_le32(p);
	len = get_le64(p + 4);
	s->payload = take(c, len);
	if (!s->payload)
		return err_set(err, -ENODATA,
			       "saved state: section '%s' at offset %zu is %llu bytes long, but "
			       "the file has only %zu more: it is cut off",
			       s->name, c->at, (unsigned long long)len, c->len - c->at);
	s->len = (size_t)len;
	return 0;
}

static struct section *find(const struct state_reader *r, const char *name)
{
	for (unsigned i = 0; i < r->n; i++)
		if (strcmp(r->sections[i].name, name) == 0)
			return &r->sections[i];
	return NULL;
}

static int add_section(struct state_reader *r, const struct section *s, struct err *err)
{
	struct section *sections;

	if (find(r, s->name))
		return err_set(err, -EEXIST, "saved state: two sections are named '%s'", s->name);
	if (r->n >= STATE_MAX_SECTIONS)
		return err_set(err, -E2BIG, "saved state: more than %u sections",
			       (unsigned)STATE_MAX_SECTIONS);
	if ((r->n & (r->n - 1)) == 0) { /* a power of two, so full */
		size_t room = r->n ? r->n * (size_t)2 : 1;

		sections = realloc(r->sections, room * sizeof(*sections));
		if (!sections)
			return err_set(err, -ENOMEM, "saved state: out of memory");
		r->sections = sections;
	}
	r->sections[r->n++] = *s;
	return 0;
}

static int check_header(struct cursor *c, struct err *err)
{
	const uint8_t *magic = take(c, STATE_MAGIC_LEN), *version;

	if (!magic)
		return cut_off(c, "the header", err);
	if (memcmp(magic, STATE_MAGIC, STATE_MAGIC_LEN) != 0)
		return err_set(err, -EINVAL,
			       "saved state: it does not begin with " STATE_MAGIC
			       ": this is no saved state of vmm");
	version = take(c, 4);
	if (!version)
		return cut_off(c, "the header", err);
	if (get_le32(version) != STATE_FORMAT)
		return err_set(err, -EPROTONOSUPPORT,
			       "saved state: it has format %u, this vmm knows format %u only",
			       get_le32(version), (unsigned)STATE_FORMAT);
	return 0;
}

static int check_end(struct cursor *c, struct err *err)
{
	size_t covered = c->at;
	const uint8_t *crc = take(c, 4);

	if (!crc)
		return cut_off(c, "the end mark", err);
	if (c->at != c->len)
		return err_set(err, -EMSGSIZE, "saved state: %zu bytes behind the end mark",
			       c->len - c->at);
	if (get_le32(crc) != crc32_update(0, c->bytes, covered))
		return err_set(err, -EBADMSG,
			       "saved state: the checksum is wrong: the file is damaged");
	return 0;
}

static int scan(struct state_reader *r, struct cursor *c, struct err *err)
{
	int ret = check_header(c, err);

	while (ret == 0) {
		struct section s = {0};
		const uint8_t *name_len = take(c, 1);

		if (!name_len)
			return cut_off(c, "the sections", err);
		if (*name_len == 0)
			return check_end(c, err);
		ret = read_section(c, *name_len, &s, err);
		if (ret == 0)
			ret = add_section(r, &s, err);
	}
	return ret;
}

int state_reader_new(const void *bytes, size_t len, struct state_reader **ret, struct err *err)
{
	_cleanup_(state_reader_free_cleanup) struct state_reader *r = calloc(1, sizeof(*r));
	struct cursor c = {.bytes = bytes, .len = len};
	int code;

	if (!r)
		return err_set(err, -ENOMEM, "saved state: out of memory");
	code = scan(r, &c, err);
	if (code < 0)
		return code;
	*ret = TAKE_PTR(r);
	return 0;
}

struct state_reader *state_reader_free(struct state_reader *r)
{
	if (!r)
		return NULL;
	free(r->sections);
	free(r);
	return NULL;
}

/* ---- sections ---- */

bool state_next(struct state_reader *r, struct state_section *ret)
{
	while (r->next < r->n && r->sections[r->next].opened)
		r->next++;
	if (r->next == r->n)
		return false;
	const struct section *s = &r->sections[r->next++];

	*ret = (struct state_section){
		.name = s->name, .type = s->type, .version = s->version, .len = s->len};
	return true;
}

int state_open(struct state_reader *r, const char *name, const char *type, uint32_t max_version,
	       struct err *err)
{
	struct section *s = find(r, name);

	vmm_assert(!r->open);
	if (!s || s->opened)
		return err_set(err, -ENOENT, "saved state: it has no section '%s'", name);
	if (strcmp(s->type, type) != 0)
		return err_set(err, -EPROTO, "saved state: '%s' is a %s, not a %s", name, s->type,
			       type);
	if (s->version == 0 || s->version > max_version)
		return err_set(err, -EPROTO,
			       "saved state: '%s' (%s) has version %u, this vmm knows versions up "
			       "to %u",
			       name, type, s->version, max_version);
	s->opened = true;
	r->open = s;
	r->at = 0;
	r->failed = 0;
	r->why = NULL;
	return 0;
}

uint32_t state_version(const struct state_reader *r)
{
	vmm_assert(r->open);
	return r->open->version;
}

static int report(const struct state_reader *r, const struct section *s, struct err *err)
{
	if (r->failed == -ENODATA)
		return err_set(err, -ENODATA,
			       "saved state: section '%s' (%s) is too short: %zu bytes", s->name,
			       s->type, s->len);
	if (r->failed < 0)
		return err_set(err, r->failed, "saved state: section '%s' (%s), byte %zu: %s",
			       s->name, s->type, r->at, r->why);
	if (r->at < s->len)
		return err_set(err, -EMSGSIZE,
			       "saved state: section '%s' (%s) is %zu bytes long, %zu more than "
			       "were expected",
			       s->name, s->type, s->len, s->len - r->at);
	return 0;
}

int state_close(struct state_reader *r, struct err *err)
{
	const struct section *s = r->open;

	vmm_assert(s);
	r->open = NULL;
	return report(r, s, err);
}

/* ---- values ---- */

static void fail(struct state_reader *r, int code, const char *why)
{
	if (r->failed == 0) {
		r->failed = code;
		r->why = why;
	}
}

void state_fail(struct state_reader *r, const char *what)
{
	vmm_assert(r->open);
	fail(r, -EINVAL, what);
}

static const uint8_t *get(struct state_reader *r, size_t len)
{
	vmm_assert(r->open);
	if (r->failed == 0 && len > r->open->len - r->at)
		fail(r, -ENODATA, NULL);
	if (r->failed < 0)
		return NULL;
	r->at += len;
	return r->open->payload + r->at - len;
}

static uint64_t get_number(struct state_reader *r, unsigned size)
{
	const uint8_t *p = get(r, size);

	return p ? get_le_n(p, size) : 0;
}

uint8_t state_get_u8(struct state_reader *r)
{
	return (uint8_t)get_number(r, 1);
}

uint16_t state_get_u16(struct state_reader *r)
{
	return (uint16_t)get_number(r, 2);
}

uint32_t state_get_u32(struct state_reader *r)
{
	return (uint32_t)get_number(r, 4);
}

uint64_t state_get_u64(struct state_reader *r)
{
	return get_number(r, 8);
}

bool state_get_bool(struct state_reader *r)
{
	uint64_t v = get_number(r, 1);

	if (v > 1)
		fail(r, -EINVAL, "neither yes nor no");
	return v == 1;
}

void state_get_bytes(struct state_reader *r, void *to, size_t len)
{
	const uint8_t *p = get(r, len);

	if (len == 0)
		return;
	if (p)
		memcpy(to, p, len);
	else
		memset(to, 0, len);
}
