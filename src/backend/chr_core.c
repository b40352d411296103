/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/chr_core.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/chr.h"
#include "backend/chr_tty.h"
#include "base/cleanup.h"
#include "base/clock.h"

static const struct chr_kind_ops *const kinds[] = {
	[CHR_NONE] = &chr_none_ops, [CHR_STDIO] = &chr_stdio_ops, [CHR_FILE] = &chr_file_ops,
	[CHR_PTY] = &chr_pty_ops,   [CHR_UNIX] = &chr_unix_ops,
};

DEFINE_CLEANUP(struct chr *, chr_free);

int chr_set_description(struct chr *chr, struct err *err, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&chr->description, fmt, args);
	va_end(args);
	if (n < 0) {
		chr->description = NULL;
		return err_set(err, -ENOMEM, "%s: out of memory", chr->what);
	}
	return 0;
}

/* ---- room ---- */

static void on_room(struct chr_out *out)
{
	struct chr *chr = container_of(out, struct chr, out);

	if (chr->tx)
		chr->tx->room(chr->tx);
}

void chr_set_tx(struct chr *chr, struct chr_tx *tx)
{
	chr->tx = tx;
}

bool chr_has_room(struct chr *chr, size_t n)
{
	return chr_out_has_room(&chr->out, n);
}

void chr_push(struct chr *chr)
{
	chr_out_push(&chr->out);
}

bool chr_has_peer(const struct chr *chr)
{
	return !chr->no_peer;
}

void chr_set_peer(struct chr *chr, bool there)
{
	if (chr->no_peer == !there)
		return;
	chr->no_peer = !there;
	if (chr->tx)
		chr->tx->peer(chr->tx, there);
}

/* ---- life ---- */

static int chr_new(const char *what, struct chr **ret)
{
	_cleanup_(chr_free_cleanup) struct chr *chr = calloc(1, sizeof(*chr));
	int r;

	if (!chr)
		return -ENOMEM;
	chr->slave = -1;
	chr->listener.socket = UNIX_LISTENER_NONE;
	chr_funnel_init(chr);
	chr_clients_init(chr);
	chr->what = strdup(what);
	r = chr_out_init(&chr->out, chr->what);
	chr->out.room = on_room;
	if (r == 0)
		r = chr_in_init(&chr->in);
	if (r == 0 && !chr->what)
		r = -ENOMEM;
	if (r == 0)
		*ret = TAKE_PTR(chr);
	return r;
}

int chr_open(const struct chr_spec *spec, const char *what, struct chr **ret, struct err *err)
{
	_cleanup_(chr_free_cleanup) struct chr *chr = NULL;
	int r = chr_new(what, &chr);

	if (r < 0 || !chr)
		return err_set(err, r, "%s: %s", what, strerror(-r));
	chr->ops = kinds[spec->kind];
	r = chr->ops->open(chr, spec->path, err);
	if (r == 0)
		*ret = TAKE_PTR(chr);
	return r;
}

int chr_start(struct chr *chr, struct loop *loop, struct err *err)
{
	chr->loop = loop;
	if (chr->ops->start) {
		int r = chr->ops->start(chr, err);

		if (r < 0)
			return r;
	}
	chr_out_start(&chr->out, loop);
	chr_in_start(&chr->in, loop);
	return 0;
}

struct chr *chr_free(struct chr *chr)
{
	if (!chr)
		return NULL;
	chr_clients_done(chr);
	if (chr->ops) {
		chr_out_flush(&chr->out, 0);
		if (chr->ops->close)
			chr->ops->close(chr);
	}
	chr_funnel_done(chr);
	chr_in_done(&chr->in);
	chr_out_done(&chr->out);
	free(chr->description);
	free(chr->what);
	free(chr);
	return NULL;
}

void chr_set_keys(struct chr *chr, struct chr_keys *keys)
{
	chr->in.keys = keys;
}

size_t chr_write(struct chr *chr, const void *buf, size_t n)
{
	if (atomic_load_explicit(&chr->n_clients, memory_order_relaxed) > 0)
		chr_clients_write(chr, buf, n);
	return chr_out_write(&chr->out, buf, n);
}

void chr_flush(struct chr *chr, unsigned timeout_ms)
{
	uint64_t deadline = clock_now_ns() + timeout_ms * NS_PER_MS;

	chr_out_flush(&chr->out, timeout_ms);
	chr_clients_flush(chr, deadline);
}

void chr_set_limit(struct chr *chr, struct chr_limit *limit)
{
	chr->out.limit = limit;
}

const char *chr_describe(const struct chr *chr)
{
	return chr->description;
}

struct chr_stats chr_stats(const struct chr *chr)
{
	return (struct chr_stats){
		.written = atomic_load_explicit(&chr->out.written, memory_order_relaxed),
		.dropped = atomic_load_explicit(&chr->out.dropped, memory_order_relaxed),
		.received = atomic_load_explicit(&chr->in.received, memory_order_relaxed),
	};
}

bool chr_is_stdio(const struct chr *chr)
{
	return chr->has_stdio;
}

bool chr_is_raw(const struct chr *chr)
{
	return chr->has_terminal && chr_tty_is_raw();
}
