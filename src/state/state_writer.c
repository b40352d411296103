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

struct state_writer {
	uint8_t *buf;
	size_t len, cap;
	size_t payload; /* where that of the open section begins; 0: none is open */
	unsigned n_sections;
	int failed; /* the first failure, a negative errno */
	bool finished;
};

DEFINE_CLEANUP(struct state_writer *, state_writer_free);

static void fail(struct state_writer *w, int code)
{
	if (w->failed == 0)
		w->failed = code;
}

static bool grow(struct state_writer *w, size_t len)
{
	size_t need, cap = MAX(w->cap, (size_t)4096);
	uint8_t *buf;

	if (ckd_add(&need, w->len, len))
		return false;
	while (cap < need)
		if (ckd_mul(&cap, cap, (size_t)2))
			return false;
	buf = realloc(w->buf, cap);
	if (!buf)
		return false;
	w->buf = buf;
	w->cap = cap;
	return true;
}

/* Room for len bytes more, NULL after a failure. */
static uint8_t *extend(struct state_writer *w, size_t len)
{
	vmm_assert(!w->finished);
	if (w->failed < 0)
		return NULL;
	if (len > w->cap - w->len && !grow(w, len)) {
		fail(w, -ENOMEM);
		return NULL;
	}
	w->len += len;
	return w->buf + w->len - len;
}

static void append(struct state_writer *w, const void *bytes, size_t len)
{
	uint8_t *to = extend(w, len);

	if (to && len > 0)
		memcpy(to, bytes, len);
}

static void append_number(struct state_writer *w, uint64_t v, unsigned size)
{
	uint8_t *to = extend(w, size);

	if (to)
		put_le_n(to, size, v);
}

static void append_text(struct state_writer *w, const char *text)
{
	size_t len = strlen(text);

	vmm_assert(len > 0 && len <= STATE_NAME_MAX);
	append_number(w, len, 1);
	append(w, text, len);
}

int state_writer_new(struct state_writer **ret)
{
	_cleanup_(state_writer_free_cleanup) struct state_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	append(w, STATE_MAGIC, STATE_MAGIC_LEN);
	append_number(w, STATE_FORMAT, 4);
	if (w->failed < 0)
		return w->failed;
	*ret = TAKE_PTR(w);
	return 0;
}

struct state_writer *state_writer_free(struct state_writer *w)
{
	if (!w)
		return NULL;
	free(w->buf);
	free(w);
	return NULL;
}

void state_begin(struct state_writer *w, const char *name, const char *type, uint32_t version)
{
	vmm_assert(w->payload == 0 && version > 0);
	if (++w->n_sections > STATE_MAX_SECTIONS)
		fail(w, -E2BIG);
	append_text(w, name);
	append_text(w, type);
	append_number(w, version, 4);
	append_number(w, 0, 8); /* the length, filled in by state_end() */
	w->payload = w->failed < 0 ? SIZE_MAX : w->len;
}

void state_end(struct state_writer *w)
{
	vmm_assert(w->payload > 0);
	if (w->failed == 0)
		put_le64(w->buf + w->payload - 8, w->len - w->payload);
	w->payload = 0;
}

void state_put_u8(struct state_writer *w, uint8_t v)
{
	append_number(w, v, 1);
}

void state_put_u16(struct state_writer *w, uint16_t v)
{
	append_number(w, v, 2);
}

void state_put_u32(struct state_writer *w, uint32_t v)
{
	append_number(w, v, 4);
}

void state_put_u64(struct state_writer *w, uint64_t v)
{
	append_number(w, v, 8);
}

void state_put_bool(struct state_writer *w, bool v)
{
	append_number(w, v, 1);
}

void state_put_bytes(struct state_writer *w, const void *bytes, size_t len)
{
	append(w, bytes, len);
}

int state_finish(struct state_writer *w, const void **ret_bytes, size_t *ret_len)
{
	vmm_assert(w->payload == 0);
	append_number(w, 0, 1);
	if (w->failed == 0)
		append_number(w, crc32_update(0, w->buf, w->len), 4);
	w->finished = true;
	if (w->failed < 0)
		return w->failed;
	*ret_bytes = w->buf;
	*ret_len = w->len;
	return 0;
}
