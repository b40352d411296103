/* SPDX-License-Identifier: Apache-2.0 */
#include "base/iov.h"

#include <string.h>

#include "base/assert.h"
#include "base/checked.h"

uint64_t iov_bytes(const struct iov *v)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < v->n; i++)
		total += v->at[i].iov_len;
	return total;
}

void iov_skip(struct iov *v, uint64_t len)
{
	while (v->n && len >= v->at->iov_len) {
		len -= v->at->iov_len;
		v->at++;
		v->n--;
	}
	if (v->n) {
		v->at->iov_base = (char *)v->at->iov_base + len;
		v->at->iov_len -= len;
	}
}

void iov_limit(struct iov *v, uint64_t len)
{
	unsigned n = 0;

	for (; n < v->n && len > 0; n++) {
		v->at[n].iov_len = MIN((uint64_t)v->at[n].iov_len, len);
		len -= v->at[n].iov_len;
	}
	v->n = n;
}

size_t iov_copy_out(const struct iov *v, void *to, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < v->n && done < len; i++) {
		size_t n = MIN(v->at[i].iov_len, len - done);

		memcpy((char *)to + done, v->at[i].iov_base, n);
		done += n;
	}
	return done;
}

size_t iov_copy_in(const struct iov *v, const void *from, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < v->n && done < len; i++) {
		size_t n = MIN(v->at[i].iov_len, len - done);

		memcpy(v->at[i].iov_base, (const char *)from + done, n);
		done += n;
	}
	return done;
}

struct iov_cut iov_cut(struct iov *v, uint64_t len)
{
	struct iov_cut cut;
	unsigned i = 0;

	vmm_assert(v->n);
	for (; i < v->n - 1 && len > v->at[i].iov_len; i++)
		len -= v->at[i].iov_len;
	cut.last = &v->at[i];
	vmm_assert(len <= cut.last->iov_len);
	cut.rest.iov_base = (char *)cut.last->iov_base + len;
	cut.rest.iov_len = cut.last->iov_len - len;
	cut.n_behind = v->n - i - 1;
	cut.last->iov_len = len;
	v->n = i + 1;
	return cut;
}

void iov_uncut(struct iov *v, const struct iov_cut *cut)
{
	*cut->last = cut->rest;
	v->at = cut->last;
	v->n = cut->n_behind + 1;
	iov_skip(v, 0);
}
