/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/saved.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "state/state.h"

void saved_take(struct saved *saved, struct device *dev)
{
	struct state_writer *w = NULL;
	struct state_reader *r = NULL;
	struct state_section s;
	struct err err = {0};
	const void *bytes;
	size_t len;

	saved->ops = dev->ops;
	cr_assert_not_null(dev->ops->save);
	cr_assert_not_null(dev->ops->load);
	cr_assert_eq(state_writer_new(&w), 0);
	state_begin(w, dev->id, dev->ops->state_type, dev->ops->state_version);
	dev->ops->save(dev, w);
	state_end(w);
	cr_assert_eq(state_finish(w, &bytes, &len), 0);
	cr_assert_eq(state_reader_new(bytes, len, &r, &err), 0, "%s", err.msg);
	cr_assert(state_next(r, &s));
	cr_assert_leq(s.len, sizeof(saved->payload));
	saved->len = s.len;
	cr_assert_eq(state_open(r, dev->id, dev->ops->state_type, dev->ops->state_version, &err),
		     0);
	state_get_bytes(r, saved->payload, s.len);
	cr_assert_eq(state_close(r, &err), 0);
	state_reader_free(r);
	state_writer_free(w);
}

static int load(const struct saved *saved, size_t len, struct device *dev, struct err *err)
{
	struct state_writer *w = NULL;
	struct state_reader *r = NULL;
	const void *bytes;
	size_t file_len;
	int ret;

	cr_assert_eq(state_writer_new(&w), 0);
	state_begin(w, dev->id, dev->ops->state_type, dev->ops->state_version);
	state_put_bytes(w, saved->payload, len);
	state_end(w);
	cr_assert_eq(state_finish(w, &bytes, &file_len), 0);
	cr_assert_eq(state_reader_new(bytes, file_len, &r, NULL), 0);
	cr_assert_eq(state_open(r, dev->id, saved->ops->state_type, saved->ops->state_version, err),
		     0);
	dev->ops->load(dev, r);
	ret = state_close(r, err);
	state_reader_free(r);
	state_writer_free(w);
	return ret;
}

int saved_load(const struct saved *saved, struct device *dev, struct err *err)
{
	return load(saved, saved->len, dev, err);
}

void saved_check_lengths(const struct saved *saved, struct device *dev)
{
	for (size_t len = 0; len < saved->len; len++)
		cr_assert_lt(load(saved, len, dev, NULL), 0, "%zu bytes of %zu", len, saved->len);
	cr_assert_eq(load(saved, saved->len + 1, dev, NULL), -EMSGSIZE);
}

void saved_check_bytes(const struct saved *saved, struct device *dev,
		       void (*use)(struct device *dev))
{
	static const uint8_t values[] = {0, 1, 2, 0x7f, 0x80, 0xff};
	struct saved spoilt = *saved;

	for (size_t at = 0; at < saved->len; at++) {
		for (size_t i = 0; i < sizeof(values); i++) {
			spoilt.payload[at] = values[i];
			(void)load(&spoilt, spoilt.len, dev, NULL);
			if (use)
				use(dev);
		}
		spoilt.payload[at] = saved->payload[at];
	}
}
