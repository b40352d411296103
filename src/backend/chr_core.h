/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of character streams share: inside this room only. */
#ifndef VMM_BACKEND_CHR_CORE_H
#define VMM_BACKEND_CHR_CORE_H

#include <stdbool.h>
#include <sys/types.h>

#include "backend/chr.h"
#include "backend/chr_in.h"
#include "backend/chr_out.h"

/* One row per kind, by enum chr_kind. open gives in and out their descriptors and sets the
 * description. */
struct chr_kind_ops {
	int (*open)(struct chr *chr, const char *path, struct err *err);
	int (*start)(struct chr *chr, struct err *err); /* NULL: nothing more to do */
	void (*close)(struct chr *chr); /* NULL likewise; runs on a half-opened one too */
};

extern const struct chr_kind_ops chr_none_ops, chr_stdio_ops, chr_file_ops, chr_pty_ops,
	chr_unix_ops;

/* The listening side of unix=PATH. */
struct chr_listener {
	int fd, dir_fd;
	char *name; /* within dir_fd */
	dev_t dev;
	ino_t ino;
	struct loop_fd acceptable, hangup;
	struct loop_timer retry;
};

struct chr {
	const struct chr_kind_ops *ops;
	char *what, *description;
	struct loop *loop;
	struct chr_out out;
	struct chr_in in;

	bool has_stdio;	   /* stdio: this is the one stream that has it */
	bool has_terminal; /* stdio: chr_tty_remember() was said */
	int slave;	   /* pty: kept open, so that the master never hangs up */
	struct chr_listener listener;
};

int chr_set_description(struct chr *chr, struct err *err, const char *fmt, ...)
	printf_like(3, 4) must_check;

#endif
