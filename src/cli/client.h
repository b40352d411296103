/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of a VM's control socket: one blocking connection for each request. What the VM
 * refuses comes back as an error in its own words.
 */
#ifndef VMM_CLI_CLIENT_H
#define VMM_CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/err.h"

/* How long a VM may take for an answer, or for making its socket; and what an answer may weigh. */
enum { CLIENT_ANSWER_MS = 5000, CLIENT_MAX_BODY = 8 << 20 };

struct client_request {
	const char *method, *target;
	const char *body; /* or NULL */
	size_t body_len;
	bool upgrade;	     /* to a plain stream of bytes */
	unsigned timeout_ms; /* 0: CLIENT_ANSWER_MS. Of a stream, for its beginning only */
	/* Gets the pieces of a good answer's body as they come; false ends the request, which is
	 * then a good one. NULL: the body is collected. */
	bool (*sink)(void *arg, const char *bytes, size_t n);
	void *arg;
};

struct client_reply {
	char *body; /* malloc()ed, 0-terminated; after an upgrade the stream's first bytes */
	size_t len;
	int fd; /* of an upgrade, owned by the caller; else -1 */
};

/*
 * 0, or -errno with a message: -ESRCH when the VM is dead, -ETIMEDOUT when it does not answer,
 * -ECONNRESET when the connection was closed before the answer was complete; -ENOENT, -EBUSY
 * (conflict), -EAGAIN (busy), -EPERM, -EINVAL or -EIO by what it said. While a living VM has not
 * made its socket yet it is waited for.
 */
int client_do(int dir_fd, const struct client_request *request, struct client_reply *ret,
	      struct err *err) must_check;
/* The same on a connected socket, which is owned by the callee. */
int client_do_on(int fd, const struct client_request *request, struct client_reply *ret,
		 struct err *err) must_check;

/* An answer in JSON, always an object or an array; body may be NULL. */
int client_json(int dir_fd, const char *method, const char *target, const char *body, json_t **ret,
		struct err *err) must_check;

#endif
