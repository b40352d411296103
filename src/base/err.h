/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct err: an error that a person reads. Used only where configuration, files and host resources
 * meet the user; everything deeper returns plain negative errno.
 *
 * A good message names the option, file or JSON path, says what was wrong, and what to do about it.
 */
#ifndef VMM_BASE_ERR_H
#define VMM_BASE_ERR_H

#include "base/compiler.h"

struct err {
	int code; /* negative errno; 0 while no error is set */
	char msg[1024];
};

/*
 * Stores code and text (cut to fit) and returns code, so that `return err_set(err, -EINVAL, ...)`
 * reads well. The first error wins: a second call on the same err keeps the first text. `err` may
 * be NULL.
 */
int err_set(struct err *err, int code, const char *fmt, ...) printf_like(3, 4);

/* Puts "prefix: " before the text that is there. */
void err_prefix(struct err *err, const char *fmt, ...) printf_like(2, 3);

#endif
