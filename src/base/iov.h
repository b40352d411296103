/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row of iovecs that is worked off from the front. The array is the owner's and changes on the
 * way. Where no more than the total is asked for, nothing here reads behind the end.
 */
#ifndef VMM_BASE_IOV_H
#define VMM_BASE_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/compiler.h"

struct iov {
	struct iovec *at;
	unsigned n;
};

uint64_t iov_bytes(const struct iov *v);

/* Drops the first len bytes, or all there are. */
void iov_skip(struct iov *v, uint64_t len);

/* Drops what lies behind the first len bytes, 0 to all there are. */
void iov_limit(struct iov *v, uint64_t len);

/* Copies between the front of the row and a buffer, without dropping anything. The bytes copied:
 * len, or all there are. */
size_t iov_copy_out(const struct iov *v, void *to, size_t len);
size_t iov_copy_in(const struct iov *v, const void *from, size_t len);

/* Hides what lies behind the first len bytes, 1 to all there are. When these are dropped,
 * iov_uncut() makes the rest the row again. */
struct iov_cut {
	struct iovec *last; /* the one that was cut */
	struct iovec rest;  /* of it */
	unsigned n_behind;
};
struct iov_cut iov_cut(struct iov *v, uint64_t len);
void iov_uncut(struct iov *v, const struct iov_cut *cut);

#endif
