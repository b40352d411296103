/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that a client leaves for a later request: on the socket fd.sock it sends, with one
 * descriptor by SCM_RIGHTS, the name and a newline, and gets a line of JSON back:
 *
 *   -> "NAME\n" + descriptor      <- {"fd": "NAME"}
 *                                 <- {"code": "...", "message": "...", "where": ..., "hint": ...}
 *
 * A JSON body then says "fd:NAME", which takes it out. A name is made of letters, digits, '.', '_'
 * and '-'; one that is there already is replaced. At most FDSTORE_MAX wait at a time. More names
 * may follow on the same connection, each after the answer to the one before; an error ends it.
 * Same peers as the control socket; a client that is slow, or does not read its answer, is dropped.
 * Main thread.
 */
#ifndef VMM_CONTROL_FDSTORE_H
#define VMM_CONTROL_FDSTORE_H

#include <stddef.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "base/err.h"
#include "event/loop.h"

enum {
	FDSTORE_MAX = 16,
	FDSTORE_NAME_LEN = 64, /* with the 0 at the end */
	FDSTORE_MAX_CONNS = 8,
	FDSTORE_IDLE_MS = 60 * 1000
};

struct fdstore;

/* listen_fd is borrowed, non-blocking. idle_ms: how long a client may be silent, FDSTORE_IDLE_MS
 * unless it is a test. */
int fdstore_new(struct loop *loop, int listen_fd, uid_t allowed_uid, unsigned idle_ms,
		struct fdstore **ret) must_check;
/* Closes connections and the descriptors that still wait. */
struct fdstore *fdstore_free(struct fdstore *store);

/* "fd:NAME" -> the descriptor, close-on-exec, owned by the caller. -EINVAL for a text that is none,
 * -ENOENT when nothing waits under that name; with a message. */
int fdstore_take(struct fdstore *store, const char *text, struct err *err) must_check;
/* The names that wait, in the order they came; NULL past the last. */
const char *fdstore_name(const struct fdstore *store, unsigned index);

#endif
