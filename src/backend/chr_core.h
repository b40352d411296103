/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of character streams share, and how inputs and outputs are put together: inside
 * this room only. */
#ifndef VMM_BACKEND_CHR_CORE_H
#define VMM_BACKEND_CHR_CORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "backend/chr.h"
#include "backend/chr_in.h"
#include "backend/chr_out.h"
#include "backend/unix_socket.h"
#include "base/mutex.h"

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
	struct unix_listener socket;
	struct loop_fd acceptable, hangup;
	struct loop_timer retry;
};

/* Where one of a stream's inputs runs into its one receiver. */
struct chr_inlet {
	struct chr_rx rx;
	struct chr *chr;
};

struct chr_client {
	struct chr *chr;
	struct chr_client_watcher *watcher;
	struct chr_fd fd;
	struct chr_out out;
	bool input; /* the next two are in use */
	struct chr_in in;
	struct chr_inlet inlet;
	struct loop_fd hangup; /* while no input is read */
	struct loop_work gone; /* tells the watcher */
	bool is_gone;
};

struct chr {
	const struct chr_kind_ops *ops;
	char *what, *description;
	struct loop *loop;
	struct chr_out out;
	struct chr_in in;

	struct chr_tx *tx; /* NULL: none */
	bool no_peer;	   /* unix: no client */

	/* chr_funnel.c: several inputs, one receiver. Loop's thread, but for posting `ask`. */
	struct chr_rx *rx; /* NULL: none */
	bool refused;	   /* it took less than it was given, and has not asked for more */
	struct loop_work ask;
	unsigned turn; /* the input that is served first */
	struct chr_inlet inlet, typed_inlet;
	bool has_typed;
	struct chr_in typed; /* by chr_type(), and what clients left behind */

	/* chr_client.c. The loop's thread changes clients under the lock, others read under it; it
	 * is taken before the lock of an output. */
	struct mutex clients_lock;
	struct chr_client *clients[CHR_MAX_CLIENTS];
	atomic_uint n_clients;

	bool has_stdio;	   /* stdio: this is the one stream that has it */
	bool has_terminal; /* stdio: chr_tty_remember() was said */
	int slave;	   /* pty: kept open, so that the master never hangs up */
	struct chr_listener listener;
};

void chr_funnel_init(struct chr *chr);
void chr_funnel_done(struct chr *chr);
/* Has an input deliver to the stream's receiver, through inlet. */
void chr_funnel_add(struct chr *chr, struct chr_in *in, struct chr_inlet *inlet);
/* The input of chr_type(), made when it is first wanted. 0 or -errno. */
int chr_funnel_typed(struct chr *chr, struct chr_in **ret) must_check;

void chr_clients_init(struct chr *chr);
void chr_clients_done(struct chr *chr);
void chr_clients_write(struct chr *chr, const void *buf, size_t n); /* any thread */
void chr_clients_flush(struct chr *chr, uint64_t deadline_ns);

/* A client of a unix= stream has come or gone; may be said twice. */
void chr_set_peer(struct chr *chr, bool there);

int chr_set_description(struct chr *chr, struct err *err, const char *fmt, ...)
	printf_like(3, 4) must_check;

#endif
